//! Registry: owns who watches what, and supervises the watchers.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Handler, MailboxError, MessageResult, WrapFuture,
};
use slog::error;
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::container_watcher::{ContainerWatcher, NetworkChain, WatcherSetup};
use crate::etcd_inserter::EtcdInserter;
use crate::messages::{
    AffectedRecords, ContainerEvent, ContainerGone, ContainerRemoved, ContainerSeen,
    CountAffectedRecords, CountRecords, Domain, GetContainers, GetKnownContainers, GetReport,
    InserterRestarted, IsCaughtUp, IsUpToDate, KnownContainer, KnownContainers, ListingComplete,
    LiveContainers, NetworkDependency, Observation, Ping, RemovalOutcome, ResendDesired,
};
use crate::model::container::{ContainerId, ContainerSummary};
use crate::model::event::EventKind;
use crate::model::event_history::{EventHistories, EventHistory};
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::RecordStore;
use crate::runtime::backoff::Backoff;
use crate::runtime::failure_window::FailureWindow;
use crate::runtime::latest_sender::{LatestSender, earlier};
use crate::runtime::metered_context::{AbortOnDrop, Metered, MeteredContext};
use crate::runtime::metrics::MailboxMetrics;
use crate::runtime::supervisor::EscalationHandle;
use crate::status::{ChangeKind, ContainerReport, RecentChange};

static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new("Registry", 64);

/// After a watcher's panic. It grows so fast that one container alone never uses up
/// what [`FailureWindow`] allows.
const WATCHER_RESTART_BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(4), factor: 4, cap: Duration::from_secs(60) };

/// One container under watch.
struct WatcherEntry<S: ContainerSource, R: RecordStore> {
    name: String,
    /// What is newest of what listings and events told.
    observation: Observation,
    /// Through whom it has its network, as far as that is known.
    chain: NetworkChain,
    /// Whether it was reached by way of them when it was last inspected; `None`: it was not
    /// inspected yet, or has a network of its own.
    is_reachable: Option<bool>,
    /// `None` while the watcher lies fallen and waits for its successor.
    watcher: Option<Addr<ContainerWatcher<S, R>>>,
    observations: Option<LatestSender<Observation>>,
    task: Option<AbortOnDrop>,
    failures: FailureWindow,
    /// A listing lacks it, and its watcher is asked to withdraw what it offered.
    removing: bool,
    /// Counts what was told, so that a departure can tell whether something came after it.
    updates_sent: u64,
}

impl<S: ContainerSource, R: RecordStore> WatcherEntry<S, R> {
    fn new(name: String) -> Self {
        Self {
            name,
            observation: Observation::default(),
            chain: NetworkChain::default(),
            is_reachable: None,
            watcher: None,
            observations: None,
            task: None,
            failures: FailureWindow::default(),
            removing: false,
            updates_sent: 0,
        }
    }

    /// Hands the watcher what is newest, first told of at `since`. One that lies fallen gets
    /// it when it is replaced.
    fn push_state(&mut self, since: Option<Instant>) {
        self.updates_sent += 1;
        match &mut self.observations {
            Some(observations) => {
                observations.send(Observation { since, ..self.observation.clone() })
            }
            None => self.observation.since = earlier(self.observation.since, since),
        }
    }

    fn set_summary(&mut self, summary: Arc<ContainerSummary>) {
        if self.chain == NetworkChain::default() {
            self.chain.target = summary.network.target();
        }
        self.name.clone_from(&summary.name);
        self.observation.summary = Some(summary);
    }

    /// Has the container inspected, whatever its row says.
    fn mark_stale(&mut self, since: Option<Instant>) {
        self.observation.refresh_generation += 1;
        self.push_state(since);
    }
}

/// Keeps one watcher for every container that runs.
pub struct Registry<S: ContainerSource, R: RecordStore> {
    setup: Rc<WatcherSetup<S, R>>,
    entries: BTreeMap<ContainerId, WatcherEntry<S, R>>,
    histories: EventHistories,
    live_containers_sender: LatestSender<LiveContainers>,
    /// Who is watched; `None` since it changed.
    live_containers: Option<Arc<BTreeSet<ContainerId>>>,
    /// When the newest listing was asked for.
    last_listing: Option<Instant>,
    escalation: EscalationHandle,
}

impl<S: ContainerSource, R: RecordStore> Registry<S, R> {
    /// A registry that knows of no container yet.
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
                // A watcher that fell needs no look: its successor gets the newest row.
                async move {
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
        if planted!(WatcherNotRespawned) {
            return;
        }
        let Some(failures) = entry.failures.record(Instant::now()) else {
            self.escalation.report("ContainerWatcher");
            return;
        };
        let wait = WATCHER_RESTART_BACKOFF.wait(failures, fastrand::f64());
        error!(self.setup.log, "a container's watcher panicked; a fresh one follows";
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

    /// Has the watcher, or in its place the registry itself, withdraw what the
    /// container offered; forgets the container once that has reached the inserter.
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
            // Overtaken, as the watcher would say: its successor has a look.
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
        context.spawn(removal.into_actor(self).map(
            move |removal: Result<RemovalOutcome, MailboxError>, registry, _| {
                // Overtaken, or the watcher fell: the next listing says it again.
                let withdrawn = matches!(removal, Ok(RemovalOutcome::Withdrawn));
                let came_back =
                    registry.entries.get(&id).is_none_or(|now| now.updates_sent != updates_sent);
                if withdrawn && !came_back {
                    if let Some(gone) = registry.entries.remove(&id) {
                        let change = RecentChange::new(ChangeKind::ContainerGone);
                        registry
                            .setup
                            .recorder
                            .record_change(change.with_container(&id, &gone.name));
                    }
                    registry.live_containers = None;
                } else if let Some(entry) = registry.entries.get_mut(&id) {
                    entry.removing = false;
                }
            },
        ));
    }

    /// A container in another's network shows no change of that other in its own row. It
    /// may be in it by way of a third.
    fn refresh_dependents(&mut self, changed: &ContainerId, since: Option<Instant>) {
        let name = self.entries.get(changed).map(|entry| entry.name.clone());
        for entry in self.entries.values_mut() {
            if !entry.removing && entry.chain.contains(changed, name.as_deref()) {
                entry.mark_stale(since);
            }
        }
    }

    /// Of one that isn't listed nobody tells when it ends, or what else becomes of it: it may
    /// have been running for a moment between two listings. So those that were reached by way
    /// of one are looked at again. And so are those for which an inspection did not find one
    /// that is listed: the two contradict each other.
    fn refresh_orphaned_dependents(&mut self) {
        let all = &self.entries;
        // Hardly ever asked for, and then rather once than once a guest.
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

    /// Whether an event named the container since the listing before the newest.
    fn was_announced(&self, entry: &WatcherEntry<S, R>) -> bool {
        let history = &entry.observation.history;
        history.is_down() || self.has_event_since_listing(history)
    }

    fn has_event_since_listing(&self, history: &EventHistory) -> bool {
        self.last_listing.is_none_or(|listed| history.has_event_after(listed))
    }

    /// Since when a listing's news are known, where they are: an event that had told of them
    /// said so itself, and what the first listing tells is no change.
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

    /// Tells the inserter who is watched. Before the first listing that would be: nobody.
    fn send_live_containers(&mut self) {
        let Some(requested_at) = self.last_listing else { return };
        let all = || Arc::new(self.entries.keys().cloned().collect());
        let containers = Arc::clone(self.live_containers.get_or_insert_with(all));
        self.live_containers_sender.send(LiveContainers { containers, requested_at });
    }
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
            // A listing that still had it knows better than an older word of its end.
            let is_down = history.is_down() && self.has_event_since_listing(history);
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
            // Of all others the next listing tells, if they run at all. One that is told to
            // stop may be in a listing that is on its way.
            if matches!(event.kind, EventKind::Started | EventKind::Signalled(_)) {
                let name = event.name.clone().unwrap_or_else(|| id.to_string());
                self.histories.borrow_mut().entry(id.clone()).or_default().record(&event, now);
                let mut entry = WatcherEntry::new(name);
                entry.observation.since = Some(now);
                self.add_container(&id, entry, context);
            }
            return;
        };
        let was_down = entry.observation.history.is_down();
        entry.observation.history.record(&event, now);
        self.histories.borrow_mut().insert(id.clone(), entry.observation.history.clone());
        match event.kind {
            EventKind::Started => entry.mark_stale(Some(now)),
            // What changes about one that ended is looked at when it is started again.
            EventKind::Changed if !was_down => entry.mark_stale(Some(now)),
            _ => entry.push_state(Some(now)),
        }
        if !matches!(event.kind, EventKind::Signalled(_)) {
            self.refresh_dependents(&id, Some(now));
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<NetworkDependency> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, message: NetworkDependency, _: &mut Self::Context) {
        if let Some(entry) = self.entries.get_mut(&message.container) {
            (entry.chain, entry.is_reachable) = (message.chain, Some(message.is_reachable));
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

impl<S: ContainerSource, R: RecordStore> Handler<ListingComplete> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, message: ListingComplete, _: &mut Self::Context) {
        self.last_listing = Some(message.requested_at);
        self.histories.borrow_mut().retain(|id, _| self.entries.contains_key(id));
        self.refresh_orphaned_dependents();
        self.send_live_containers();
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<InserterRestarted> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: InserterRestarted, _: &mut Self::Context) {
        if planted!(InserterNotToldAgain) {
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
        let known = |(id, entry): (&ContainerId, &WatcherEntry<S, R>)| {
            (
                entry.watcher.clone(),
                ContainerReport::for_crashed_watcher(id.clone(), entry.name.clone()),
            )
        };
        let containers: Vec<_> = self.entries.iter().map(known).collect();
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
        let listed = self.last_listing.is_some();
        Box::pin(async move {
            for watcher in watchers {
                // One that lies fallen knows nothing.
                let Some(watcher) = watcher else { return false };
                if !watcher.send(IsUpToDate).await.unwrap_or(false) {
                    return false;
                }
            }
            listed
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Ping> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::InjectHang> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: crate::messages::InjectHang, context: &mut Self::Context) {
        context.wait(std::future::pending().into_actor(self));
    }
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::InjectPanic> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: crate::messages::InjectPanic, _: &mut Self::Context) {
        panic!("a test asked for it");
    }
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::InjectWatcherPanic>
    for Registry<S, R>
{
    type Result = ();

    fn handle(&mut self, request: crate::messages::InjectWatcherPanic, _: &mut Self::Context) {
        let matching = self.entries.values().filter(|entry| entry.name == request.0);
        for watcher in matching.filter_map(|entry| entry.watcher.as_ref()) {
            watcher.do_send(crate::messages::InjectPanic);
        }
    }
}
