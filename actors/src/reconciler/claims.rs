//! Who wants what: the ledger's side towards the watchers.

use slog::warn;
use std::collections::BTreeSet;
use tokio::time::Instant;

use super::Ledger;
use super::entry::{Claim, Entry, Held, Told};
use crate::messages::{Domain, Roster};
use crate::model::container::ContainerId;
use crate::model::mass_withdrawal::are_most;
use crate::model::record::RecordKey;
use crate::status::{ChangeKind, RecentChange};

impl Ledger {
    /// Takes what a container wants, in place of what it wanted before.
    pub fn tell(&mut self, mut domain: Domain, now: Instant) {
        let id = domain.container.clone();
        let since = domain.since.take();
        if self.closed && !domain.wanted.is_empty() {
            return;
        }
        if self.containers.get(&id) == Some(&domain) {
            return;
        }
        let before = self.containers.insert(id.clone(), domain.clone());
        let wanted = before.iter().chain([&domain]).flat_map(|domain| domain.wanted.iter());
        let keys: BTreeSet<RecordKey> = wanted.map(|record| record.key.clone()).collect();
        let wanted = |ledger: &Self, key| ledger.wanted_at(key).map(str::to_owned);
        let wanted_before: Vec<_> = keys.iter().map(|key| wanted(self, key)).collect();
        for key in &keys {
            if let Some(entry) = self.entries.get_mut(key) {
                if let Some(claim) = entry.holder().filter(|claim| claim.container == id) {
                    entry.parted = Some((id.clone(), claim.name.clone()));
                }
                entry.claims.retain(|claim| claim.container != id);
            }
        }
        for (place, record) in domain.wanted.iter().enumerate() {
            let claim = Claim {
                started: domain.started,
                container: id.clone(),
                name: domain.name.clone(),
                place,
                json: record.value.to_json(),
                record: record.clone(),
            };
            self.claim(claim, now);
        }
        self.note_given_up(before.as_ref(), now);
        for (key, before) in keys.iter().zip(wanted_before) {
            if let Some(since) = since.filter(|_| self.wanted_at(key) != before.as_deref()) {
                self.owe(key, Told::at(since));
            }
            if let Some(entry) = self.entries.get_mut(key) {
                entry.trouble = None;
            }
            self.schedule(key, now);
        }
        self.release_orphans(now);
    }

    fn claim(&mut self, claim: Claim, now: Instant) {
        let key = claim.record.key.clone();
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(Held::Unmet, now));
        let rank = entry.claims.partition_point(|other| other.rank() < claim.rank());
        let newcomer = claim.clone();
        entry.claims.insert(rank, claim);
        (entry.orphan, entry.found_as) = (false, None);
        self.given_up.remove(&key);
        if let [holder, _, ..] = entry.claims.as_slice() {
            let second = if rank == 0 { &entry.claims[1] } else { &newcomer };
            let reason = why_second(holder, second);
            warn!(self.log, "stands by"; "key" => %key, "container" => %second.container,
                "name" => &*second.name, "reason" => &reason);
            let change = RecentChange::now(ChangeKind::RecordStandsBy).at_key(&key);
            self.chronicle.note(change.of(&second.container, &second.name).because(reason));
        }
    }

    /// Takes which containers there are: what others want is no longer wanted.
    pub fn take_roster(&mut self, roster: Roster, now: Instant) {
        let listed = &roster.containers;
        let gone: BTreeSet<ContainerId> =
            self.containers.keys().filter(|id| !listed.contains(*id)).cloned().collect();
        let missed = std::mem::take(&mut self.missed);
        let doubted = self.doubt_roster(gone.difference(&missed));
        for id in &gone {
            if planted!(RosterIgnored) || doubted && !missed.contains(id) {
                continue;
            }
            self.tell(Domain::nothing(id.clone()), now);
            self.containers.remove(id);
        }
        if doubted {
            self.missed = gone;
            return;
        }
        self.roster = Some(roster);
        self.release_orphans(now);
    }

    /// Whether a roster is not believed because it lacks the containers of most records.
    /// Those that a registry knows depart one by one, and most of them only after a second
    /// listing; a registry that was rebuilt never heard of them, and leaves them out at once.
    fn doubt_roster<'a>(&mut self, missing: impl Iterator<Item = &'a ContainerId>) -> bool {
        let wanted = |domain: &Domain| domain.wanted.len();
        let records = missing.filter_map(|id| self.containers.get(id)).map(wanted).sum();
        let of = self.containers.values().map(wanted).sum();
        let are_most = are_most(records, of) && !planted!(MostGoneBelieved);
        if are_most {
            warn!(
                self.log,
                "a new registry does not know the containers of most records; \
                docker is listed again before they are withdrawn";
                "records" => records, "of" => of
            );
            self.wants_listing = true;
        }
        are_most
    }

    /// Once every container of a listing that is newer than the orphans has told what
    /// it wants, those that nobody wants are withdrawn.
    fn release_orphans(&mut self, now: Instant) {
        let (Some(since), Some(roster)) = (self.orphans_since, &self.roster) else { return };
        let told = |id: &ContainerId| self.containers.contains_key(id);
        let all_told = roster.containers.iter().all(told) || planted!(OrphansLetGoEarly);
        if roster.asked < since || !all_told || planted!(OrphansKept) {
            return;
        }
        if !self.orphans_doubted && self.are_most_orphans() {
            warn!(
                self.log,
                "no container wants most of the records of an earlier life; \
                docker is listed again before they are withdrawn"
            );
            (self.orphans_doubted, self.orphans_since) = (true, Some(now));
            self.wants_listing = true;
            return;
        }
        self.let_go_of_orphans(now);
    }

    fn are_most_orphans(&self) -> bool {
        let orphans = self.entries.values().filter(|entry| entry.orphan).count();
        are_most(orphans, self.entries.len())
    }

    /// Whether another listing is to confirm the last one; tells it once.
    pub fn take_doubt(&mut self) -> bool {
        std::mem::take(&mut self.wants_listing)
    }

    fn let_go_of_orphans(&mut self, now: Instant) {
        (self.orphans_doubted, self.orphans_since) = (false, None);
        for key in self.entries.keys().cloned().collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.orphan = false;
            }
            self.schedule(&key, now);
        }
    }

    /// Wants nothing any more, whatever a watcher may tell that was not gone yet: every
    /// record of ours is to be withdrawn.
    pub fn withdraw_all(&mut self, now: Instant) {
        self.closed = true;
        for id in self.containers.keys().cloned().collect::<Vec<_>>() {
            self.tell(Domain::nothing(id), now);
        }
        self.let_go_of_orphans(now);
    }
}

/// Why the second of two claims to a key stands by.
pub(super) fn why_second(holder: &Claim, second: &Claim) -> String {
    if holder.container == second.container {
        return "another port of this container, listed before it, has the name; \
                use the instance layout to publish both"
            .into();
    }
    format!(
        "container {} ({}) on this host started earlier and has the name; \
         use the instance layout to publish both",
        holder.name, holder.container
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use slog::{Discard, Logger, o};

    use super::*;
    use crate::model::container::{Container, EngineTime};
    use crate::model::publish_config::Rules;
    use crate::model::record::Host;
    use crate::ports::record_store::Upkeep;
    use crate::publish::endpoint::Reach;
    use crate::publish::offer;
    use crate::reconciler::{Deeds, Lane, Terms};
    use crate::status::Chronicle;

    fn domain() -> Domain {
        let container =
            Container::sample().env("DISCOVER", "httpd:80").bind("80/tcp -> 0.0.0.0:8080");
        let offer = offer(&container, &Reach::of(&container), &Rules::sample());
        let name = Arc::from(container.name.as_str());
        let wanted = Arc::from(offer.wanted);
        Domain { container: container.id, name, started: EngineTime(1), wanted, since: None }
    }

    /// A watcher may tell something in the very moment of the stop.
    #[test]
    fn nothing_is_wanted_after_the_withdrawal() {
        let now = Instant::now();
        let terms = Terms {
            upkeep: Upkeep::Each,
            ttl: Duration::from_secs(15),
            host: Host::parse("10.77.66.0").unwrap(),
        };
        let chronicle = Chronicle::default();
        let log = Logger::root(Discard, o!());
        let mut ledger = Ledger::new(terms, Deeds::default(), chronicle, now, log);
        ledger.tell(domain(), now);
        assert_eq!(ledger.unsettled(), 1);
        ledger.withdraw_all(now);
        ledger.tell(domain(), now);
        assert_eq!(ledger.unsettled(), 0);
        assert!(ledger.take(Lane::Change, 9, now).is_empty());
    }
}
