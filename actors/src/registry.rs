//! Registry: owns who watches what, and supervises the watchers.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Handler, MailboxError, Message, MessageResult,
    WrapFuture,
};
use slog::error;
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::container::{ContainerId, ContainerRow, NetworkMode};
use crate::courier::Courier;
use crate::failures::Failures;
use crate::inserter::{Domain, EtcdInserter, Roster};
use crate::life::Exhausted;
use crate::meter::Meter;
use crate::metered::{AbortOnDrop, Metered, MeteredContext};
use crate::poller::KnownRows;
use crate::source::ContainerSource;
use crate::store::RecordStore;
use crate::watcher::{
    ContainerReport, ContainerWatcher, Departed, Departure, Look, Report, Retell, WatcherSetup,
};

static METER: Meter = Meter::new("Registry", 64);

/// After a watcher's panic. It grows so fast that one container alone never uses up
/// what [`Failures`] allows.
const RESPAWN: Backoff =
    Backoff { first: Duration::from_secs(4), factor: 4, cap: Duration::from_secs(60) };

/// A container is in the newest listing, and its row is new.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ContainerSeen {
    /// The row.
    pub row: Arc<ContainerRow>,
}

/// A container is not in the newest listing.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ContainerGone {
    /// Which one.
    pub container: ContainerId,
    /// When that listing was asked for: it says nothing of what was inspected later.
    pub asked: Instant,
}

/// The registry has heard of every difference to the newest listing.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Listed {
    /// When that listing was asked for.
    pub asked: Instant,
}

/// Asks for the newest row of every container that the registry knows.
#[derive(Clone, Debug, Message)]
#[rtype(result = "KnownRows")]
pub struct KnownContainers;

/// The inserter is a new one and knows nothing: all is to be told again.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct InserterRebuilt;

/// Asks for what is known of every container.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<ContainerReport>")]
pub struct ReportContainers;

/// One container under watch.
struct Watched<S: ContainerSource, R: RecordStore> {
    row: Arc<ContainerRow>,
    /// `None` while the watcher lies fallen and waits for its successor.
    watcher: Option<Addr<ContainerWatcher<S, R>>>,
    looks: Option<Courier<Look>>,
    task: Option<AbortOnDrop>,
    failures: Failures,
    /// Counts the rows, so that a departure can tell whether one came after it.
    rows: u64,
}

/// Keeps one watcher for every container that runs.
pub struct Registry<S: ContainerSource, R: RecordStore> {
    setup: Rc<WatcherSetup<S, R>>,
    watched: HashMap<ContainerId, Watched<S, R>>,
    roster_courier: Courier<Roster>,
    /// Who is watched; `None` since it changed.
    roster: Option<Arc<HashSet<ContainerId>>>,
    /// When the newest listing was asked for.
    listed: Option<Instant>,
    exhausted: Exhausted,
}

impl<S: ContainerSource, R: RecordStore> Registry<S, R> {
    /// A registry that knows of no container yet.
    pub fn new(setup: Rc<WatcherSetup<S, R>>, exhausted: Exhausted) -> Self {
        let inserter = setup.inserter.clone();
        let roster = Courier::new(EtcdInserter::<R>::meter(), move |roster: Roster| {
            let inserter = inserter.clone();
            async move { inserter.deliver(roster).await }
        });
        Self {
            setup,
            watched: HashMap::new(),
            roster_courier: roster,
            roster: None,
            listed: None,
            exhausted,
        }
    }

    fn spawn_watcher(&mut self, id: &ContainerId, context: &mut MeteredContext<Self>) {
        let Some(watched) = self.watched.get_mut(id) else { return };
        let watcher = ContainerWatcher::new(Rc::clone(&self.setup), Arc::clone(&watched.row));
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
        let Some(failures) = watched.failures.add(Instant::now()) else {
            self.exhausted.report("ContainerWatcher");
            return;
        };
        let wait = RESPAWN.wait(failures, fastrand::f64());
        error!(self.setup.log, "a container's watcher panicked; a fresh one follows";
            "container" => %id, "name" => &watched.row.name,
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
    fn see_off(&mut self, id: &ContainerId, asked: Instant, context: &mut MeteredContext<Self>) {
        let Some(watched) = self.watched.get(id) else { return };
        let (rows, watcher) = (watched.rows, watched.watcher.clone());
        let (inserter, gone) = (self.setup.inserter.clone(), Domain::nothing(id.clone()));
        let departure = async move {
            match watcher {
                Some(watcher) => watcher.send(Departed { asked }).await,
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
                let came_back = registry.watched.get(&id).is_none_or(|now| now.rows != rows);
                if withdrawn && !came_back {
                    registry.watched.remove(&id);
                    registry.roster = None;
                }
            },
        ));
    }

    /// A container in another's network shows no change of that other in its own row.
    fn look_at_dependents(&mut self, target: &ContainerRow) {
        for watched in self.watched.values_mut() {
            let NetworkMode::Container(network) = &watched.row.network else { continue };
            if network != target.id.as_str() && *network != target.name {
                continue;
            }
            if let Some(looks) = &mut watched.looks {
                looks.bring(Look { row: Arc::clone(&watched.row), target_changed: true });
            }
        }
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
        let rows = self.watched.iter().map(|(id, watched)| (id.clone(), Arc::clone(&watched.row)));
        MessageResult(rows.collect())
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ContainerSeen> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, message: ContainerSeen, context: &mut Self::Context) {
        let row = message.row;
        if let Some(watched) = self.watched.get_mut(&row.id) {
            watched.row = Arc::clone(&row);
            watched.rows += 1;
            if let Some(looks) = &mut watched.looks {
                looks.bring(Look { row: Arc::clone(&row), target_changed: false });
            }
        } else {
            let watched = Watched {
                row: Arc::clone(&row),
                watcher: None,
                looks: None,
                task: None,
                failures: Failures::default(),
                rows: 0,
            };
            self.watched.insert(row.id.clone(), watched);
            self.roster = None;
            self.spawn_watcher(&row.id, context);
        }
        self.look_at_dependents(&row);
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ContainerGone> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, message: ContainerGone, context: &mut Self::Context) {
        let row = self.watched.get(&message.container).map(|watched| Arc::clone(&watched.row));
        self.see_off(&message.container, message.asked, context);
        if let Some(row) = row {
            self.look_at_dependents(&row);
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Listed> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, listed: Listed, _: &mut Self::Context) {
        self.listed = Some(listed.asked);
        self.tell_roster();
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<InserterRebuilt> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: InserterRebuilt, _: &mut Self::Context) {
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
        let watchers: Vec<_> =
            self.watched.values().filter_map(|watched| watched.watcher.clone()).collect();
        Box::pin(async move {
            let mut reports = Vec::with_capacity(watchers.len());
            for watcher in watchers {
                reports.extend(watcher.send(Report).await);
            }
            reports
        })
    }
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::life::Fall> for Registry<S, R> {
    type Result = ();

    fn handle(&mut self, _: crate::life::Fall, _: &mut Self::Context) {
        panic!("a test asked for it");
    }
}
