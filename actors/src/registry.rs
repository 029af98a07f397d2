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

use crate::container_watcher::{ContainerWatcher, NetworkPath, WatcherSetup};
use crate::etcd_inserter::EtcdInserter;
use crate::messages::{
    AllInspected, ContainerGone, ContainerNamed, ContainerSeen, CountRecords, Departed, Departure,
    Domain, HasTold, InserterRebuilt, Known, KnownContainer, KnownContainers, Listed, Look, Pulse,
    Report, ReportContainers, Retell, Roster, SharesNetwork, Weigh, Weight,
};
use crate::model::container::{ContainerId, ContainerRow};
use crate::model::event::Happening;
use crate::model::event_history::{Hearsay, Hearsays};
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::RecordStore;
use crate::runtime::backoff::Backoff;
use crate::runtime::failure_window::Failures;
use crate::runtime::latest_sender::{Courier, earlier};
use crate::runtime::metered_context::{AbortOnDrop, Metered, MeteredContext};
use crate::runtime::metrics::Meter;
use crate::runtime::supervisor::Exhausted;
use crate::status::{ChangeKind, ContainerReport, RecentChange};

static METER: Meter = Meter::new("Registry", 64);

/// After a watcher's panic. It grows so fast that one container alone never uses up
/// what [`Failures`] allows.
const RESPAWN: Backoff =
    Backoff { first: Duration::from_secs(4), factor: 4, cap: Duration::from_secs(60) };

/// One container under watch.
struct Watched<S: ContainerSource, R: RecordStore> {
    name: String,
    /// What is newest of what listings and events told.
    newest: Look,
    /// Through whom it has its network, as far as that is known.
    path: NetworkPath,
    /// Whether it was reached by way of them when it was last inspected; `None`: it was not
    /// inspected yet, or has a network of its own.
    is_reached: Option<bool>,
    /// `None` while the watcher lies fallen and waits for its successor.
    watcher: Option<Addr<ContainerWatcher<S, R>>>,
    looks: Option<Courier<Look>>,
    task: Option<AbortOnDrop>,
    failures: Failures,
    /// A listing lacks it, and its watcher is asked to withdraw what it offered.
    departing: bool,
    /// Counts what was told, so that a departure can tell whether something came after it.
    told: u64,
}

impl<S: ContainerSource, R: RecordStore> Watched<S, R> {
    fn new(name: String) -> Self {
        Self {
            name,
            newest: Look::default(),
            path: NetworkPath::default(),
            is_reached: None,
            watcher: None,
            looks: None,
            task: None,
            failures: Failures::default(),
            departing: false,
            told: 0,
        }
    }

    /// Hands the watcher what is newest, first told of at `since`. One that lies fallen gets
    /// it when it is replaced.
    fn tell(&mut self, since: Option<Instant>) {
        self.told += 1;
        match &mut self.looks {
            Some(looks) => looks.bring(Look { since, ..self.newest.clone() }),
            None => self.newest.since = earlier(self.newest.since, since),
        }
    }

    fn take_row(&mut self, row: Arc<ContainerRow>) {
        if self.path == NetworkPath::default() {
            self.path.to = row.network.target();
        }
        self.name.clone_from(&row.name);
        self.newest.row = Some(row);
    }

    /// Has the container inspected, whatever its row says.
    fn stir(&mut self, since: Option<Instant>) {
        self.newest.stirs += 1;
        self.tell(since);
    }
}

/// Keeps one watcher for every container that runs.
pub struct Registry<S: ContainerSource, R: RecordStore> {
    setup: Rc<WatcherSetup<S, R>>,
    watched: BTreeMap<ContainerId, Watched<S, R>>,
    hearsays: Hearsays,
    roster_courier: Courier<Roster>,
    /// Who is watched; `None` since it changed.
    roster: Option<Arc<BTreeSet<ContainerId>>>,
    /// When the newest listing was asked for.
    listed: Option<Instant>,
    exhausted: Exhausted,
}

impl<S: ContainerSource, R: RecordStore> Registry<S, R> {
    /// A registry that knows of no container yet.
    pub(crate) fn new(
        setup: Rc<WatcherSetup<S, R>>,
        hearsays: Hearsays,
        exhausted: Exhausted,
    ) -> Self {
        let inserter = setup.inserter.clone();
        let roster = Courier::new(EtcdInserter::<R>::meter(), move |roster: Roster| {
            let inserter = inserter.clone();
            async move { inserter.deliver(roster).await }
        });
        Self {
            setup,
            watched: BTreeMap::new(),
            hearsays,
            roster_courier: roster,
            roster: None,
            listed: None,
            exhausted,
        }
    }

    fn spawn_watcher(&mut self, id: &ContainerId, context: &mut MeteredContext<Self>) {
        let Some(watched) = self.watched.get_mut(id) else { return };
        let (setup, newest) = (Rc::clone(&self.setup), watched.newest.clone());
        watched.newest.since = None;
        let watcher = ContainerWatcher::new(setup, id.clone(), &watched.name, newest);
        let (address, task) = MeteredContext::start(watcher);
        let receiver = address.clone();
        watched.looks = Some(Courier::new(ContainerWatcher::<S, R>::meter(), move |look: Look| {
            let sent = receiver.send(look);
            // A watcher that fell needs no look: its successor gets the newest row.
            async move {
                let _ = sent.await;
            }
        }));
        watched.watcher = Some(address);
        watched.task = Some(AbortOnDrop::new(&task));
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
        ContainerWatcher::<S, R>::meter().count_panic();
        let Some(watched) = self.watched.get_mut(id) else { return };
        watched.watcher = None;
        watched.looks = None;
        if planted!(WatcherNotRespawned) {
            return;
        }
        let Some(failures) = watched.failures.add(Instant::now()) else {
            self.exhausted.report("ContainerWatcher");
            return;
        };
        let wait = RESPAWN.wait(failures, fastrand::f64());
        error!(self.setup.log, "a container's watcher panicked; a fresh one follows";
            "container" => %id, "name" => &watched.name,
            "failures" => failures, "wait_seconds" => wait.as_secs_f64());
        let id = id.clone();
        context.run_later(wait, move |registry, context| {
            if registry.watched.get(&id).is_some_and(|watched| watched.watcher.is_none()) {
                ContainerWatcher::<S, R>::meter().count_restart();
                registry.spawn_watcher(&id, context);
            }
        });
    }

    /// Has the watcher, or in its place the registry itself, withdraw what the
    /// container offered; forgets the container once that has reached the inserter.
    fn see_off(
        &mut self,
        id: &ContainerId,
        asked: Instant,
        since: Option<Instant>,
        context: &mut MeteredContext<Self>,
    ) {
        let Some(watched) = self.watched.get_mut(id) else { return };
        let (told, watcher) = (watched.told, watched.watcher.clone());
        if watcher.is_none() && watched.newest.hearsay.named_after(asked) {
            // Overtaken, as the watcher would say: its successor has a look.
            return;
        }
        watched.departing = true;
        let gone = Domain { since, ..Domain::nothing(id.clone()) };
        let inserter = self.setup.inserter.clone();
        let departure = async move {
            match watcher {
                Some(watcher) => watcher.send(Departed { asked, since }).await,
                None => {
                    inserter.deliver(gone).await;
                    Ok(Departure::Withdrawn)
                }
            }
        };
        let id = id.clone();
        context.spawn(departure.into_actor(self).map(
            move |departure: Result<Departure, MailboxError>, registry, _| {
                // Overtaken, or the watcher fell: the next listing says it again.
                let withdrawn = matches!(departure, Ok(Departure::Withdrawn));
                let came_back = registry.watched.get(&id).is_none_or(|now| now.told != told);
                if withdrawn && !came_back {
                    if let Some(gone) = registry.watched.remove(&id) {
                        let change = RecentChange::now(ChangeKind::ContainerGone);
                        registry.setup.chronicle.note(change.of(&id, &gone.name));
                    }
                    registry.roster = None;
                } else if let Some(watched) = registry.watched.get_mut(&id) {
                    watched.departing = false;
                }
            },
        ));
    }

    /// A container in another's network shows no change of that other in its own row. It
    /// may be in it by way of a third.
    fn stir_dependents(&mut self, changed: &ContainerId, since: Option<Instant>) {
        let name = self.watched.get(changed).map(|watched| watched.name.clone());
        for watched in self.watched.values_mut() {
            if !watched.departing && watched.path.leads_by(changed, name.as_deref()) {
                watched.stir(since);
            }
        }
    }

    /// Of one that isn't listed nobody tells when it ends, or what else becomes of it: it may
    /// have been running for a moment between two listings. So those that were reached by way
    /// of one are looked at again. And so are those for which an inspection did not find one
    /// that is listed: the two contradict each other.
    fn stir_orphaned_dependents(&mut self) {
        let all = &self.watched;
        // Hardly ever asked for, and then rather once than once a guest.
        let names: LazyCell<BTreeSet<&str>, _> =
            LazyCell::new(|| all.values().map(|watched| watched.name.as_str()).collect());
        let is_listed = |target: &String| {
            all.contains_key(&ContainerId::new(target)) || names.contains(target.as_str())
        };
        let is_orphaned = |watched: &Watched<S, R>| {
            let NetworkPath { through, to } = &watched.path;
            match watched.is_reached.filter(|_| !watched.departing) {
                Some(true) => through.iter().any(|target| !all.contains_key(target)),
                Some(false) => to.as_ref().is_some_and(is_listed),
                None => false,
            }
        };
        let orphaned = all.iter().filter(|(_, watched)| is_orphaned(watched));
        for id in orphaned.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            if let Some(watched) = self.watched.get_mut(&id) {
                watched.stir(None);
            }
        }
    }

    /// Whether an event named the container since the listing before the newest.
    fn is_foretold(&self, watched: &Watched<S, R>) -> bool {
        let hearsay = &watched.newest.hearsay;
        hearsay.is_down() || self.is_named_since_listing(hearsay)
    }

    fn is_named_since_listing(&self, hearsay: &Hearsay) -> bool {
        self.listed.is_none_or(|listed| hearsay.named_after(listed))
    }

    /// Since when a listing's news are known, where they are: an event that had told of them
    /// said so itself, and what the first listing tells is no change.
    fn news_since(&self, is_foretold: bool) -> Option<Instant> {
        (self.listed.is_some() && !is_foretold).then(Instant::now)
    }

    fn watch(
        &mut self,
        id: &ContainerId,
        mut watched: Watched<S, R>,
        context: &mut MeteredContext<Self>,
    ) {
        if let Some(known) = self.hearsays.borrow().get(id) {
            watched.newest.hearsay.clone_from(known);
        }
        let change = RecentChange::now(ChangeKind::ContainerSeen).of(id, &watched.name);
        self.setup.chronicle.note(change);
        self.watched.insert(id.clone(), watched);
        self.roster = None;
        self.spawn_watcher(id, context);
    }

    /// Tells the inserter who is watched. Before the first listing that would be: nobody.
    fn tell_roster(&mut self) {
        let Some(asked) = self.listed else { return };
        let all = || Arc::new(self.watched.keys().cloned().collect());
        let containers = Arc::clone(self.roster.get_or_insert_with(all));
        self.roster_courier.bring(Roster { containers, asked });
    }
}

impl<S: ContainerSource, R: RecordStore> Actor for Registry<S, R> {
    type Context = MeteredContext<Self>;
}

impl<S: ContainerSource, R: RecordStore> Metered for Registry<S, R> {
    fn meter() -> &'static Meter {
        &METER
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<KnownContainers> for Registry<S, R> {
    type Result = MessageResult<KnownContainers>;

    fn handle(&mut self, _: KnownContainers, _: &mut Self::Context) -> Self::Result {
        let known = self.watched.iter().map(|(id, watched)| {
            let Look { row, hearsay, .. } = &watched.newest;
            // A listing that still had it knows better than an older word of its end.
            let is_down = hearsay.is_down() && self.is_named_since_listing(hearsay);
            (id.clone(), KnownContainer { row: row.clone(), is_down })
        });
        let has_heard = self.listed.is_some();
        MessageResult(Known { containers: known.collect(), has_heard })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ContainerSeen> for Registry<S, R> {
    type Result = bool;

    fn handle(&mut self, message: ContainerSeen, context: &mut Self::Context) -> bool {
        let row = message.row;
        let id = row.id.clone();
        let foretold = self.watched.get(&id).is_some_and(|watched| self.is_foretold(watched));
        let since = self.news_since(foretold);
        if let Some(watched) = self.watched.get_mut(&id) {
            watched.take_row(row);
            watched.tell(since);
        } else {
            let mut watched = Watched::new(row.name.clone());
            watched.take_row(row);
            watched.newest.since = since;
            self.watch(&id, watched, context);
        }
        self.stir_dependents(&id, since);
        foretold
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ContainerGone> for Registry<S, R> {
    type Result = bool;

    fn handle(&mut self, message: ContainerGone, context: &mut Self::Context) -> bool {
        let id = message.container;
        let foretold = self.watched.get(&id).is_some_and(|watched| self.is_foretold(watched));
        let since = self.news_since(foretold);
        self.see_off(&id, message.asked, since, context);
        self.stir_dependents(&id, since);
        foretold
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ContainerNamed> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, message: ContainerNamed, context: &mut Self::Context) {
        let event = message.event;
        let id = event.container.clone();
        let now = Instant::now();
        let Some(watched) = self.watched.get_mut(&id) else {
            // Of all others the next listing tells, if they run at all. One that is told to
            // stop may be in a listing that is on its way.
            if matches!(event.what, Happening::Started | Happening::Signalled(_)) {
                let name = event.name.clone().unwrap_or_else(|| id.to_string());
                self.hearsays.borrow_mut().entry(id.clone()).or_default().note(&event, now);
                let mut watched = Watched::new(name);
                watched.newest.since = Some(now);
                self.watch(&id, watched, context);
            }
            return;
        };
        let was_down = watched.newest.hearsay.is_down();
        watched.newest.hearsay.note(&event, now);
        self.hearsays.borrow_mut().insert(id.clone(), watched.newest.hearsay.clone());
        match event.what {
            Happening::Started => watched.stir(Some(now)),
            // What changes about one that ended is looked at when it is started again.
            Happening::Changed if !was_down => watched.stir(Some(now)),
            _ => watched.tell(Some(now)),
        }
        if !matches!(event.what, Happening::Signalled(_)) {
            self.stir_dependents(&id, Some(now));
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<SharesNetwork> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, message: SharesNetwork, _: &mut Self::Context) {
        if let Some(watched) = self.watched.get_mut(&message.container) {
            (watched.path, watched.is_reached) = (message.path, Some(message.is_reached));
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Weigh> for Registry<S, R> {
    type Result = actix::ResponseFuture<Weight>;

    fn handle(&mut self, message: Weigh, _: &mut Self::Context) -> Self::Result {
        let weighed: BTreeSet<ContainerId> = message.containers.into_iter().collect();
        let watchers: Vec<_> = self
            .watched
            .iter()
            .filter_map(|(id, watched)| Some((weighed.contains(id), watched.watcher.clone()?)))
            .collect();
        Box::pin(async move {
            let mut weight = Weight { records: 0, of: 0 };
            for (is_weighed, watcher) in watchers {
                let records = watcher.send(CountRecords).await.unwrap_or(0);
                weight.of += records;
                weight.records += if is_weighed { records } else { 0 };
            }
            weight
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Listed> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, listed: Listed, _: &mut Self::Context) {
        self.listed = Some(listed.asked);
        self.hearsays.borrow_mut().retain(|id, _| self.watched.contains_key(id));
        self.stir_orphaned_dependents();
        self.tell_roster();
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<InserterRebuilt> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: InserterRebuilt, _: &mut Self::Context) {
        if planted!(InserterNotToldAgain) {
            return;
        }
        for watched in self.watched.values() {
            if let Some(watcher) = &watched.watcher {
                watcher.do_send(Retell);
            }
        }
        self.tell_roster();
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ReportContainers> for Registry<S, R> {
    type Result = actix::ResponseFuture<Vec<ContainerReport>>;

    fn handle(&mut self, _: ReportContainers, _: &mut Self::Context) -> Self::Result {
        let known = |(id, watched): (&ContainerId, &Watched<S, R>)| {
            (watched.watcher.clone(), ContainerReport::of_fallen(id.clone(), watched.name.clone()))
        };
        let watched: Vec<_> = self.watched.iter().map(known).collect();
        Box::pin(async move {
            let mut reports = Vec::with_capacity(watched.len());
            for (watcher, fallen) in watched {
                let report = match watcher {
                    Some(watcher) => watcher.send(Report).await.unwrap_or(fallen),
                    None => fallen,
                };
                reports.push(report);
            }
            reports
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<AllInspected> for Registry<S, R> {
    type Result = actix::ResponseFuture<bool>;

    fn handle(&mut self, _: AllInspected, _: &mut Self::Context) -> Self::Result {
        let watchers: Vec<_> =
            self.watched.values().map(|watched| watched.watcher.clone()).collect();
        let listed = self.listed.is_some();
        Box::pin(async move {
            for watcher in watchers {
                // One that lies fallen knows nothing.
                let Some(watcher) = watcher else { return false };
                if !watcher.send(HasTold).await.unwrap_or(false) {
                    return false;
                }
            }
            listed
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Pulse> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: Pulse, _: &mut Self::Context) {}
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::Hang> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: crate::messages::Hang, context: &mut Self::Context) {
        context.wait(std::future::pending().into_actor(self));
    }
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::Fall> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: crate::messages::Fall, _: &mut Self::Context) {
        panic!("a test asked for it");
    }
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::FallOfWatcher>
    for Registry<S, R>
{
    type Result = ();

    fn handle(&mut self, fall: crate::messages::FallOfWatcher, _: &mut Self::Context) {
        let of_that_name = self.watched.values().filter(|watched| watched.name == fall.0);
        for watcher in of_that_name.filter_map(|watched| watched.watcher.as_ref()) {
            watcher.do_send(crate::messages::Fall);
        }
    }
}
