//! [`Registry`]: owns the watcher of each container, and restarts watchers that crashed.

mod entry;
mod guests;
#[cfg(feature = "test-hooks")]
mod test_hooks;

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, MessageResult, WrapFuture};
use slog::error;
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::container_watcher::{ContainerWatcher, WatcherSetup};
use crate::etcd_inserter::EtcdInserter;
use crate::messages::{
    AffectedRecords, ContainerEvent, ContainerGone, ContainerRemoved, ContainerSeen,
    CountAffectedRecords, CountRecords, Domain, GetContainers, GetKnownContainers, GetReport,
    InserterRestarted, IsCaughtUp, IsUpToDate, KnownContainer, KnownContainers, ListingReported,
    LiveContainers, NetworkDependency, Observation, Ping, RemovalOutcome, ResendDesired,
};
use crate::model::container::ContainerId;
use crate::model::event::{Event, EventKind};
use crate::model::event_history::{EventHistories, EventHistory};
use crate::model::network_path::NetworkChain;
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::RecordStore;
use crate::runtime::backoff::Backoff;
use crate::runtime::latest_sender::LatestSender;
use crate::runtime::metered_context::{AbortOnDrop, Metered, MeteredContext};
use crate::runtime::metrics::MailboxMetrics;
use crate::runtime::supervisor::EscalationHandle;
use crate::status::{ChangeKind, ContainerReport, RecentChange};
use entry::WatcherEntry;

static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new("Registry", 64);

/// The pause before a watcher that crashed is restarted. It grows so fast that the crashes of
/// one container alone never exceed the limit of
/// [`FailureWindow`](crate::runtime::failure_window::FailureWindow).
const WATCHER_RESTART_BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(4), factor: 4, cap: Duration::from_secs(60) };

/// Owns one watcher for each existing container.
///
/// The poller reports listings and events to the registry, which passes them to the watchers. A
/// container gets a watcher with its first row, start event or signal, and loses the watcher when a
/// listing lacks the container and the inserter has handled the withdrawal of its records.
///
/// The registry also connects containers that share a network: it has a container inspected
/// again when a container of its network chain changes, and sends each guest of a network the
/// ports of the other guests. After a restart the registry is empty.
/// The next listing and the carried event histories restore its state.
pub struct Registry<S: ContainerSource, R: RecordStore> {
    setup: Rc<WatcherSetup<S, R>>,
    entries: BTreeMap<ContainerId, WatcherEntry<S, R>>,
    histories: EventHistories,
    live_containers_sender: LatestSender<LiveContainers>,
    /// The containers in `entries`, as sent to the inserter. `None` if `entries` has changed
    /// since.
    live_containers: Option<Arc<BTreeSet<ContainerId>>>,
    /// The latest listing.
    last_listing: Option<ListingReported>,
    escalation: EscalationHandle,
}

impl<S: ContainerSource, R: RecordStore> Registry<S, R> {
    /// Returns a registry without containers. `histories` may hold events from before a restart.
    pub(crate) fn new(
        setup: Rc<WatcherSetup<S, R>>,
        histories: EventHistories,
        escalation: EscalationHandle,
    ) -> Self {
        let inserter = setup.inserter.clone();
        let sender = LatestSender::new(
            EtcdInserter::<R>::mailbox_metrics(),
            move |live_containers: LiveContainers| {
                let inserter = inserter.clone();
                async move { inserter.send_until_handled(live_containers).await }
            },
        );
        Self {
            setup,
            entries: BTreeMap::new(),
            histories,
            live_containers_sender: sender,
            live_containers: None,
            last_listing: None,
            escalation,
        }
    }

    fn spawn_watcher(&mut self, id: &ContainerId, context: &mut MeteredContext<Self>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (setup, observation) = (Rc::clone(&self.setup), entry.observation.clone());
        entry.observation.since = None;
        let watcher = ContainerWatcher::new(setup, id.clone(), &entry.name, observation);
        let (address, task) = MeteredContext::start(watcher);
        let receiver = address.clone();
        entry.observations = Some(LatestSender::new(
            ContainerWatcher::<S, R>::mailbox_metrics(),
            move |observation: Observation| {
                let sent = receiver.send(observation);
                async move {
                    // An error means that the watcher crashed. Its successor starts with the
                    // latest observation.
                    let _ = sent.await;
                }
            },
        ));
        entry.watcher = Some(address);
        entry.task = Some(AbortOnDrop::new(&task));
        let id = id.clone();
        context.spawn(task.into_actor(self).map(move |ended, registry, context| {
            registry.watcher_ended(&id, ended, context);
        }));
    }

    fn watcher_ended(
        &mut self,
        id: &ContainerId,
        ended: Result<(), JoinError>,
        context: &mut MeteredContext<Self>,
    ) {
        if !ended.is_err_and(|end| end.is_panic()) {
            return;
        }
        ContainerWatcher::<S, R>::mailbox_metrics().count_panic();
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.watcher = None;
        entry.observations = None;
        self.schedule_restart(id, context);
    }

    /// Restarts the watcher after a pause, unless it crashed too often.
    fn schedule_restart(&mut self, id: &ContainerId, context: &mut MeteredContext<Self>) {
        if mutated!(WatcherNotRestarted) {
            return;
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        let Some(failures) = entry.failures.record(Instant::now()) else {
            self.escalation.report("ContainerWatcher");
            return;
        };
        let wait = WATCHER_RESTART_BACKOFF.wait(failures, fastrand::f64());
        error!(self.setup.log, "container watcher crashed; restarting";
            "container" => %id, "name" => &entry.name,
            "failures" => failures, "wait_seconds" => wait.as_secs_f64());
        let id = id.clone();
        context.run_later(wait, move |registry, context| {
            if registry.entries.get(&id).is_some_and(|entry| entry.watcher.is_none()) {
                ContainerWatcher::<S, R>::mailbox_metrics().count_restart();
                registry.spawn_watcher(&id, context);
            }
        });
    }

    /// Withdraws the records of a container, and removes its entry when the inserter has handled
    /// the withdrawal.
    ///
    /// The watcher sends the withdrawal. If the watcher crashed, the registry sends it.
    fn remove_container(
        &mut self,
        id: &ContainerId,
        requested_at: Instant,
        since: Option<Instant>,
        context: &mut MeteredContext<Self>,
    ) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let (updates_sent, watcher) = (entry.updates_sent, entry.watcher.clone());
        if watcher.is_none() && entry.observation.history.has_event_after(requested_at) {
            // Superseded: the restarted watcher inspects the container.
            return;
        }
        entry.removing = true;
        let gone = Domain { since, ..Domain::empty(id.clone()) };
        let inserter = self.setup.inserter.clone();
        let removal = async move {
            match watcher {
                Some(watcher) => watcher.send(ContainerRemoved { requested_at, since }).await,
                None => {
                    inserter.send_until_handled(gone).await;
                    Ok(RemovalOutcome::Withdrawn)
                }
            }
        };
        let id = id.clone();
        context.spawn(removal.into_actor(self).map(move |outcome, registry, _| {
            let is_withdrawn = matches!(outcome, Ok(RemovalOutcome::Withdrawn));
            registry.finish_removal(&id, is_withdrawn, updates_sent);
        }));
    }

    /// Removes the entry of a container whose records are withdrawn, unless the registry has
    /// received newer information since the removal began.
    ///
    /// The events of the container are forgotten: its run is over. If it runs again, the engine's
    /// clock may have been set back, and a stop signal would count as one of the new run.
    ///
    /// If the listing was superseded or the watcher crashed, the entry stays, and the next
    /// listing reports the container as gone again.
    fn finish_removal(&mut self, id: &ContainerId, is_withdrawn: bool, updates_sent: u64) {
        let is_updated =
            self.entries.get(id).is_none_or(|entry| entry.updates_sent != updates_sent);
        if is_withdrawn && !is_updated {
            self.histories.borrow_mut().remove(id);
            if let Some(gone) = self.entries.remove(id) {
                let change = RecentChange::new(ChangeKind::ContainerGone);
                self.setup.recorder.record_change(change.with_container(id, &gone.name));
            }
            self.live_containers = None;
        } else if let Some(entry) = self.entries.get_mut(id) {
            entry.removing = false;
            self.update_guests(None);
        }
    }

    /// Has each container inspected that uses the network of the changed container, directly or
    /// through other containers. Its own row does not show the change.
    fn refresh_dependents(&mut self, changed: &ContainerId, since: Option<Instant>) {
        let name = self.entries.get(changed).map(|entry| entry.name.clone());
        for entry in self.entries.values_mut() {
            if !entry.removing && entry.chain.contains(changed, name.as_deref()) {
                entry.mark_stale(since);
            }
        }
    }

    /// Has each container inspected whose network chain contradicts the latest listing.
    ///
    /// A chain contradicts the listing in two cases. A container was reached through a container
    /// that is not listed: it may have run only between two listings, so no listing will report
    /// its end. Or a container was not reached because its target was not found, but the target
    /// is listed.
    fn refresh_orphaned_dependents(&mut self) {
        let all = &self.entries;
        // Rarely needed, and then computed once for all containers.
        let names: LazyCell<BTreeSet<&str>, _> =
            LazyCell::new(|| all.values().map(|entry| entry.name.as_str()).collect());
        let is_listed = |target: &String| {
            all.contains_key(&ContainerId::new(target)) || names.contains(target.as_str())
        };
        let is_orphaned = |entry: &WatcherEntry<S, R>| {
            let NetworkChain { hops, target } = &entry.chain;
            match entry.is_reachable.filter(|_| !entry.removing) {
                Some(true) => hops.iter().any(|hop| !all.contains_key(hop)),
                Some(false) => target.as_ref().is_some_and(is_listed),
                None => false,
            }
        };
        let orphaned = all.iter().filter(|(_, entry)| is_orphaned(entry));
        for id in orphaned.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.mark_stale(None);
            }
        }
    }

    /// Returns `true` if an event announced the change that a listing reports now.
    fn was_announced(&self, entry: &WatcherEntry<S, R>) -> bool {
        let history = &entry.observation.history;
        history.is_down() || self.has_event_since_listing(history)
    }

    /// Returns `true` if an event reported the end of the container. A later listing that contained
    /// the container overrides the event.
    fn is_down(&self, history: &EventHistory) -> bool {
        history.is_down() && self.has_event_since_listing(history)
    }

    fn has_event_since_listing(&self, history: &EventHistory) -> bool {
        self.last_listing
            .as_ref()
            .is_none_or(|listing| history.has_event_after(listing.requested_at))
    }

    /// Returns the time of a change that a listing reports now.
    ///
    /// Returns `None` if an event announced the change, because the event carried the time. The
    /// first listing reports no changes.
    fn change_time(&self, announced: bool) -> Option<Instant> {
        (self.last_listing.is_some() && !announced).then(Instant::now)
    }

    fn add_container(
        &mut self,
        id: &ContainerId,
        mut entry: WatcherEntry<S, R>,
        context: &mut MeteredContext<Self>,
    ) {
        if let Some(known) = self.histories.borrow().get(id) {
            entry.observation.history.clone_from(known);
        }
        let change = RecentChange::new(ChangeKind::ContainerSeen).with_container(id, &entry.name);
        self.setup.recorder.record_change(change);
        self.entries.insert(id.clone(), entry);
        self.live_containers = None;
        self.spawn_watcher(id, context);
    }

    /// Handles an event of an unknown container. A start event or a signal adds the container.
    ///
    /// Other events add no container: the next listing reports the container if it is running. A
    /// container that gets a signal may be in a listing that is in flight, so its event is
    /// kept.
    ///
    /// A container that does not run is unknown to the registry, and may be known to the containers
    /// that share its network. Such a container can start again or be removed.
    fn handle_unknown_container(
        &mut self,
        event: &Event,
        now: Instant,
        context: &mut MeteredContext<Self>,
    ) {
        let id = &event.container;
        if adds_container(event.kind) {
            let name = event.name.clone().unwrap_or_else(|| id.to_string());
            self.histories.borrow_mut().entry(id.clone()).or_default().record(event, now);
            let mut entry = WatcherEntry::new(name);
            entry.observation.since = Some(now);
            self.add_container(id, entry, context);
        }
        if matches!(event.kind, EventKind::Started | EventKind::Ended) {
            self.refresh_dependents(id, Some(now));
        }
    }

    /// Sends the set of existing containers to the inserter. Before the first listing
    /// the set is unknown, and nothing is sent.
    fn send_live_containers(&mut self) {
        let Some(ListingReported { requested_at, is_complete }) = self.last_listing else { return };
        let all = || Arc::new(self.entries.keys().cloned().collect());
        let containers = Arc::clone(self.live_containers.get_or_insert_with(all));
        self.live_containers_sender.send(LiveContainers { containers, requested_at, is_complete });
    }
}

/// Returns `true` if an event of this kind adds an unknown container.
fn adds_container(kind: EventKind) -> bool {
    if mutated!(UnknownStartIgnored) && kind == EventKind::Started {
        return false;
    }
    matches!(kind, EventKind::Started | EventKind::Signalled(_))
}

impl<S: ContainerSource, R: RecordStore> Actor for Registry<S, R> {
    type Context = MeteredContext<Self>;
}

impl<S: ContainerSource, R: RecordStore> Metered for Registry<S, R> {
    fn mailbox_metrics() -> &'static MailboxMetrics {
        &MAILBOX_METRICS
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<GetKnownContainers> for Registry<S, R> {
    type Result = MessageResult<GetKnownContainers>;

    fn handle(&mut self, _: GetKnownContainers, _: &mut Self::Context) -> Self::Result {
        let known = self.entries.iter().map(|(id, entry)| {
            let Observation { summary, history, .. } = &entry.observation;
            let is_down = self.is_down(history);
            (id.clone(), KnownContainer { summary: summary.clone(), is_down })
        });
        let has_listing = self.last_listing.is_some();
        MessageResult(KnownContainers { containers: known.collect(), has_listing })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ContainerSeen> for Registry<S, R> {
    type Result = bool;

    fn handle(&mut self, message: ContainerSeen, context: &mut Self::Context) -> bool {
        let summary = message.summary;
        let id = summary.id.clone();
        let announced = self.entries.get(&id).is_some_and(|entry| self.was_announced(entry));
        let since = self.change_time(announced);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.set_summary(summary);
            entry.push_state(since);
        } else {
            let mut entry = WatcherEntry::new(summary.name.clone());
            entry.set_summary(summary);
            entry.observation.since = since;
            self.add_container(&id, entry, context);
        }
        self.refresh_dependents(&id, since);
        self.update_guests_of(&id, since);
        announced
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ContainerGone> for Registry<S, R> {
    type Result = bool;

    fn handle(&mut self, message: ContainerGone, context: &mut Self::Context) -> bool {
        let id = message.container;
        let announced = self.entries.get(&id).is_some_and(|entry| self.was_announced(entry));
        let since = self.change_time(announced);
        self.remove_container(&id, message.requested_at, since, context);
        self.refresh_dependents(&id, since);
        self.update_guests_of(&id, since);
        announced
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ContainerEvent> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, message: ContainerEvent, context: &mut Self::Context) {
        let event = message.event;
        let id = event.container.clone();
        let now = Instant::now();
        let Some(entry) = self.entries.get_mut(&id) else {
            return self.handle_unknown_container(&event, now, context);
        };
        let was_down = entry.observation.history.is_down();
        entry.observation.history.record(&event, now);
        self.histories.borrow_mut().insert(id.clone(), entry.observation.history.clone());
        match event.kind {
            EventKind::Started => entry.mark_stale(Some(now)),
            // A change of a container that ended is seen by the inspection after its next start.
            EventKind::Changed if !was_down => entry.mark_stale(Some(now)),
            _ => entry.push_state(Some(now)),
        }
        if !matches!(event.kind, EventKind::Signalled(_)) {
            self.refresh_dependents(&id, Some(now));
        }
        if matches!(event.kind, EventKind::Started | EventKind::Ended) {
            self.update_guests_of(&id, Some(now));
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<NetworkDependency> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, message: NetworkDependency, _: &mut Self::Context) {
        let Some(entry) = self.entries.get_mut(&message.container) else { return };
        entry.is_reachable = Some(message.is_reachable);
        let exposed = Some(message.exposed);
        if entry.chain != message.chain || entry.exposed != exposed {
            (entry.chain, entry.exposed) = (message.chain, exposed);
            self.update_guests(None);
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<CountAffectedRecords> for Registry<S, R> {
    type Result = actix::ResponseFuture<AffectedRecords>;

    fn handle(&mut self, message: CountAffectedRecords, _: &mut Self::Context) -> Self::Result {
        let selected: BTreeSet<ContainerId> = message.containers.into_iter().collect();
        let watchers: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(id, entry)| Some((selected.contains(id), entry.watcher.clone()?)))
            .collect();
        Box::pin(async move {
            let mut affected = AffectedRecords { affected: 0, total: 0 };
            for (is_selected, watcher) in watchers {
                let records = watcher.send(CountRecords).await.unwrap_or(0);
                affected.total += records;
                affected.affected += if is_selected { records } else { 0 };
            }
            affected
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ListingReported> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, message: ListingReported, _: &mut Self::Context) {
        self.last_listing = Some(message);
        self.histories.borrow_mut().retain(|id, _| self.entries.contains_key(id));
        self.refresh_orphaned_dependents();
        self.update_guests(None);
        self.send_live_containers();
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<InserterRestarted> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: InserterRestarted, _: &mut Self::Context) {
        if mutated!(DesiredRecordsNotResent) {
            return;
        }
        for entry in self.entries.values() {
            if let Some(watcher) = &entry.watcher {
                watcher.do_send(ResendDesired);
            }
        }
        self.send_live_containers();
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<GetContainers> for Registry<S, R> {
    type Result = actix::ResponseFuture<Vec<ContainerReport>>;

    fn handle(&mut self, _: GetContainers, _: &mut Self::Context) -> Self::Result {
        let containers: Vec<_> = self
            .entries
            .iter()
            .map(|(id, entry)| {
                let crashed = ContainerReport::for_crashed_watcher(id.clone(), entry.name.clone());
                (entry.watcher.clone(), crashed)
            })
            .collect();
        Box::pin(async move {
            let mut reports = Vec::with_capacity(containers.len());
            for (watcher, crashed) in containers {
                let report = match watcher {
                    Some(watcher) => watcher.send(GetReport).await.unwrap_or(crashed),
                    None => crashed,
                };
                reports.push(report);
            }
            reports
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<IsCaughtUp> for Registry<S, R> {
    type Result = actix::ResponseFuture<bool>;

    fn handle(&mut self, _: IsCaughtUp, _: &mut Self::Context) -> Self::Result {
        let watchers: Vec<_> = self.entries.values().map(|entry| entry.watcher.clone()).collect();
        let has_listing = self.last_listing.is_some();
        Box::pin(async move {
            for watcher in watchers {
                // A watcher that is being restarted has inspected nothing.
                let Some(watcher) = watcher else { return false };
                if !watcher.send(IsUpToDate).await.unwrap_or(false) {
                    return false;
                }
            }
            has_listing
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Ping> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}
