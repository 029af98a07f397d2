//! The claims of containers to keys, and the withdrawal of containers that are gone.

use slog::warn;
use std::collections::BTreeSet;
use tokio::time::Instant;

use super::Reconciler;
use super::claim::Claim;
use super::entry::{KeyEntry, StoreState};
use super::latency::ChangeStamp;
use crate::messages::{Domain, LiveContainers};
use crate::model::container::ContainerId;
use crate::model::mass_withdrawal::is_mass_withdrawal;
use crate::model::record::RecordKey;
use crate::status::{ChangeKind, RecentChange};

impl Reconciler {
    /// Returns the value of the desired record that holds the key, as JSON.
    fn desired_value(&self, key: &RecordKey) -> Option<&str> {
        self.entries.get(key)?.holder().map(|claim| claim.json.as_str())
    }

    /// Replaces the desired records of a container.
    pub fn set_desired(&mut self, mut domain: Domain, now: Instant) {
        let id = domain.container.clone();
        let since = domain.since.take();
        if self.closed && !domain.desired.is_empty() {
            return;
        }
        if self.containers.get(&id) == Some(&domain) {
            return;
        }
        let before = self.containers.insert(id.clone(), domain.clone());
        let is_view_complete = self.first_view.add_report(&id, now);
        let desired = before.iter().chain([&domain]).flat_map(|domain| domain.desired.iter());
        let keys: BTreeSet<RecordKey> = desired.map(|record| record.key.clone()).collect();
        let desired = |reconciler: &Self, key| reconciler.desired_value(key).map(str::to_owned);
        let wanted_before: Vec<_> = keys.iter().map(|key| desired(self, key)).collect();
        for key in &keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.remove_claims_of(&id);
            }
        }
        for (position, record) in domain.desired.iter().enumerate() {
            let claim = Claim {
                started: domain.started,
                container: id.clone(),
                name: domain.name.clone(),
                position,
                json: record.value.to_json(),
                record: record.clone(),
            };
            self.claim(claim, now);
        }
        self.note_withdrawn(before.as_ref(), now);
        for (key, before) in keys.iter().zip(wanted_before) {
            if let Some(since) = since.filter(|_| self.desired_value(key) != before.as_deref()) {
                self.latency.start(key, ChangeStamp::new(since));
            }
            if let Some(entry) = self.entries.get_mut(key) {
                entry.failure = None;
            }
            self.schedule(key, now);
        }
        if is_view_complete {
            self.schedule_all(now);
        }
        self.release_orphans(now);
    }

    fn claim(&mut self, claim: Claim, now: Instant) {
        let key = claim.record.key.clone();
        let entry = self
            .entries
            .entry(key.clone())
            .or_insert_with(|| KeyEntry::new(StoreState::Unknown, now));
        let rank = entry.claims.partition_point(|other| other.rank() < claim.rank());
        let newcomer = claim.clone();
        entry.claims.insert(rank, claim);
        (entry.orphan, entry.found_version) = (false, None);
        self.orphans.forget_withdrawn(&key);
        if let [holder, _, ..] = entry.claims.as_slice() {
            let second = if rank == 0 { &entry.claims[1] } else { &newcomer };
            let reason = conflict_reason(holder, second);
            warn!(self.log, "record on standby"; "key" => %key, "container" => %second.container,
                "name" => &*second.name, "reason" => &reason);
            let change = RecentChange::new(ChangeKind::RecordOnStandby).with_key(&key);
            self.recorder.record_change(
                change.with_container(&second.container, &second.name).with_reason(reason),
            );
        }
    }

    /// Sets the live containers, and withdraws the records of all others, unless another container
    /// may exist (ARCHITECTURE.md, "Rows without an id").
    pub fn set_live_containers(&mut self, live_containers: LiveContainers, now: Instant) {
        if !live_containers.is_complete {
            self.live_containers = Some(live_containers);
            return;
        }
        let listed = &live_containers.containers;
        let gone: BTreeSet<ContainerId> =
            self.containers.keys().filter(|id| !listed.contains(*id)).cloned().collect();
        let suspect_gone = std::mem::take(&mut self.suspect_gone);
        let suspect = self.is_suspect_listing(gone.difference(&suspect_gone));
        for id in &gone {
            if !suspect || suspect_gone.contains(id) {
                self.remove_container(id, now);
            }
        }
        if suspect {
            self.suspect_gone = gone;
            return;
        }
        let has_reported = |id: &ContainerId| self.containers.contains_key(id);
        if self.first_view.add_listing(&live_containers, has_reported, now) {
            self.schedule_all(now);
        }
        self.live_containers = Some(live_containers);
        self.release_orphans(now);
    }

    fn remove_container(&mut self, id: &ContainerId, now: Instant) {
        if mutated!(LiveContainersIgnored) {
            return;
        }
        self.set_desired(Domain::empty(id.clone()), now);
        self.containers.remove(id);
    }

    /// Returns `true` if the listing lacks the containers of most records, and requests another
    /// listing (ARCHITECTURE.md, "Suspect listings").
    ///
    /// A registry that knows the containers reports their removal one by one, and the poller
    /// confirms a suspect listing before. A restarted registry never knew them, and all of them
    /// are missing at once.
    fn is_suspect_listing<'a>(&mut self, missing: impl Iterator<Item = &'a ContainerId>) -> bool {
        if mutated!(MassWithdrawalUnconfirmed) {
            return false;
        }
        let desired = |domain: &Domain| domain.desired.len();
        let affected = missing.filter_map(|id| self.containers.get(id)).map(desired).sum();
        let total = self.containers.values().map(desired).sum();
        let is_mass = is_mass_withdrawal(affected, total);
        if is_mass {
            warn!(
                self.log,
                "suspect listing: containers of most records are missing; \
                waiting for a second listing";
                "records" => affected, "of" => total
            );
            self.listing_requested = true;
        }
        is_mass
    }

    /// Withdraws the orphans that no container wants, once every container of a listing that is
    /// newer than the orphans has reported its desired records.
    fn release_orphans(&mut self, now: Instant) {
        if mutated!(OrphansKept) {
            return;
        }
        let live_containers = self.live_containers.as_ref();
        let Some(live_containers) = live_containers.filter(|live| live.is_complete) else { return };
        if !self.orphans.are_decided_by(live_containers) || !self.all_reported(live_containers) {
            return;
        }
        if self.orphans_are_majority() && self.orphans.suspect(now) {
            warn!(
                self.log,
                "suspect listing: no container wants most records of an earlier run; \
                waiting for a second listing"
            );
            self.listing_requested = true;
            return;
        }
        self.clear_orphans(now);
    }

    fn all_reported(&self, live_containers: &LiveContainers) -> bool {
        if mutated!(OrphansWithdrawnEarly) {
            return true;
        }
        live_containers.containers.iter().all(|id| self.containers.contains_key(id))
    }

    fn orphans_are_majority(&self) -> bool {
        let orphans = self.entries.values().filter(|entry| entry.orphan).count();
        is_mass_withdrawal(orphans, self.entries.len())
    }

    /// Returns `true` once if another listing has to confirm the last one.
    pub fn take_listing_request(&mut self) -> bool {
        std::mem::take(&mut self.listing_requested)
    }

    fn clear_orphans(&mut self, now: Instant) {
        self.orphans.release();
        for entry in self.entries.values_mut() {
            entry.orphan = false;
        }
        self.schedule_all(now);
    }

    /// Withdraws every owned record. Desired records that a watcher still reports are ignored.
    pub fn withdraw_all(&mut self, now: Instant) {
        self.closed = true;
        for id in self.containers.keys().cloned().collect::<Vec<_>>() {
            self.set_desired(Domain::empty(id), now);
        }
        self.clear_orphans(now);
    }
}

/// Returns the reason why the second of two claims to a key is on standby.
pub(super) fn conflict_reason(holder: &Claim, second: &Claim) -> String {
    if holder.container == second.container {
        return "another port of this container is listed first and holds the name; \
                use the instance layout to publish both"
            .into();
    }
    let remedy = if are_of_two_projects(holder, second) {
        "set discovery.composeProject to publish both, each below the name of its Compose project"
    } else {
        "use the instance layout to publish both"
    };
    format!(
        "container {} ({}) on this host started earlier and holds the name; {remedy}",
        holder.name, holder.container
    )
}

/// Returns `true` if the names of two Compose services equal only because the projects are not
/// part of them.
fn are_of_two_projects(one: &Claim, other: &Claim) -> bool {
    let project = |claim: &Claim| claim.record.compose_project.clone();
    project(one).zip(project(other)).is_some_and(|(one, other)| one != other)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use slog::{Discard, Logger, o};

    use super::*;
    use crate::model::container::{Container, EngineTime};
    use crate::model::publish_config::{DiscoveryMethod, PublishConfig};
    use crate::model::record::Host;
    use crate::ports::record_store::KeepAliveMode;
    use crate::publish::endpoint::PortAccess;
    use crate::publish::plan;
    use crate::reconciler::{Priority, RecordPolicy, WriteLog};
    use crate::status::StatusRecorder;

    fn domain() -> Domain {
        let container =
            Container::sample().env("DISCOVER", "httpd:80").bind("80/tcp -> 0.0.0.0:8080");
        let plan =
            plan(&container, &PortAccess::from_container(&container), &PublishConfig::sample());
        let name = Arc::from(container.name.as_str());
        let desired = Arc::from(plan.desired);
        Domain { container: container.id, name, started: EngineTime(1), desired, since: None }
    }

    /// The claim of a Compose service `web` in this project. Without a method `compose` the name
    /// comes from a label.
    fn web(number: char, project: &str, methods: &[DiscoveryMethod]) -> Claim {
        let container =
            Container { id: ContainerId::new(&number.to_string()), ..Container::sample() }
                .label("com.docker.compose.service", "web")
                .label("com.docker.compose.project", project)
                .label("highhock.discover", "web:80")
                .bind("80/tcp -> 0.0.0.0:8080");
        let config = PublishConfig { methods: methods.to_vec(), ..PublishConfig::sample() };
        let plan = plan(&container, &PortAccess::from_container(&container), &config);
        let record = plan.desired[0].clone();
        Claim {
            started: EngineTime(1),
            container: container.id,
            name: Arc::from("web"),
            position: 0,
            json: record.value.to_json(),
            record,
        }
    }

    #[test]
    fn conflict_reason_names_the_remedy() {
        use DiscoveryMethod::{Compose, Label};
        let (project, instance) = ("set discovery.composeProject", "use the instance layout");
        for (methods, one, other, remedy) in [
            ([Compose], "shop", "blog", project),
            // Two replicas of one service.
            ([Compose], "shop", "shop", instance),
            // The setting does not change names from other methods.
            ([Label], "shop", "blog", instance),
        ] {
            let reason = conflict_reason(&web('a', one, &methods), &web('b', other, &methods));
            assert!(reason.contains(remedy), "{one} {other}: {reason}");
            assert_ne!(reason.contains(project), reason.contains(instance), "{reason}");
        }
        let same = web('a', "shop", &[Compose]);
        assert!(conflict_reason(&same, &same).contains(instance));
    }

    /// A watcher may report desired records while the core stops.
    #[test]
    fn nothing_is_desired_after_withdraw_all() {
        let now = Instant::now();
        let policy = RecordPolicy {
            keep_alive_mode: KeepAliveMode::PerRecord,
            ttl: Duration::from_secs(15),
            host: Host::parse("10.77.66.0").unwrap(),
            exclusive_keys: false,
        };
        let recorder = StatusRecorder::default();
        let log = Logger::root(Discard, o!());
        let mut reconciler = Reconciler::new(policy, WriteLog::default(), recorder, now, log);
        reconciler.set_desired(domain(), now);
        assert_eq!(reconciler.pending_writes(now), 1);
        reconciler.withdraw_all(now);
        reconciler.set_desired(domain(), now);
        assert_eq!(reconciler.pending_writes(now), 0);
        assert!(reconciler.take_batch(Priority::Change, 9, now).is_empty());
    }
}
