//! ContainerWatcher: owns what one container offers.

mod inspection;
pub(crate) mod restart_limiter;

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Handler, MessageResult, ResponseFuture, SpawnHandle,
    WrapFuture,
};
use slog::{Logger, o, warn};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::etcd_inserter::EtcdInserter;
use crate::messages::{
    CountRecords, Departed, Departure, Domain, HasTold, Look, Report, Retell, SharesNetwork,
};
use crate::model::container::{Container, ContainerId, ContainerRow, NetworkMode};
use crate::model::event_history::{Hearsay, Withdrawal};
pub use crate::model::network_path::NetworkPath;
use crate::model::publish_config::Rules;
use crate::model::record::WantedRecord;
use crate::model::service::Skipped;
use crate::ports::container_source::{ContainerSource, SourceError, SourceErrorKind};
use crate::ports::record_store::RecordStore;
use crate::publish::endpoint::Reach;
use crate::publish::{Offer, ignores_drain, offer};
use crate::runtime::actor_ref::Seat;
use crate::runtime::backoff::Backoff;
use crate::runtime::latest_sender::{Courier, earlier};
use crate::runtime::metered_context::{Metered, MeteredContext};
use crate::runtime::metrics::Meter;
use crate::status::{
    ChangeKind, Chronicle, ContainerReport, ContainerState, Counted, RecentChange,
};
pub(crate) use inspection::{Found, inspect};
use inspection::{Inspection, inspect_in_turn};
use restart_limiter::Damper;

static METER: Meter = Meter::new("ContainerWatcher", 16);

/// After an inspection that failed; capped by the time between two looks.
const RETRY: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2, cap: Duration::from_secs(60) };
/// A container is inspected after so long (or up to half of it sooner), even though
/// its row never differed.
const LONG_WHILE: Duration = Duration::from_secs(3600);
/// How many of a container's reasons are logged: a container may give thousands, and
/// the log is not its own.
const MOST_REASONS: usize = 50;
/// Why a container that restarts again and again is left out.
const DAMPED: &str = "restarts again and again: it is published once in a few seconds at most";

/// What all watchers share.
pub struct WatcherSetup<S: ContainerSource, R: RecordStore> {
    /// Whom to ask.
    pub source: Rc<S>,
    /// Whom to tell.
    pub inserter: Seat<EtcdInserter<R>>,
    /// Reports to the registry that a container shares another's network.
    pub report_dependency: Rc<dyn Fn(SharesNetwork)>,
    /// What is the same for all of this host's records.
    pub rules: Rules,
    /// Time between two looks at the container.
    pub look_every: Duration,
    /// How long a container that got its stop signal is left out at the most; `None`: that
    /// signal is no reason to.
    pub drain: Option<Duration>,
    /// How many inspections may be under way at a time, over all watchers.
    pub inspections: Semaphore,
    /// Where to write down what an operator may ask for.
    pub(crate) chronicle: Chronicle,
    /// Where to log.
    pub log: Logger,
}

/// What an inspection told, and what follows from it.
struct Known {
    asked: Instant,
    container: Container,
    offer: Offer,
}

/// Watches one container.
pub struct ContainerWatcher<S: ContainerSource, R: RecordStore> {
    setup: Rc<WatcherSetup<S, R>>,
    id: ContainerId,
    name: String,
    newest: Rc<RefCell<Look>>,
    /// The newest row that an inspection accounts for.
    settled_row: Option<Arc<ContainerRow>>,
    /// Whether an inspection was answered since the newest row came.
    inspected_since_row: bool,
    /// How many of the stirs were there when it was last inspected; `None`: never.
    settled_stirs: Option<u64>,
    /// When the last inspection was answered, where it found the container alive.
    seen_running: Option<Instant>,
    inspecting: bool,
    failures: u32,
    /// Why the newest inspection failed.
    trouble: Option<String>,
    next_inspection: Instant,
    known: Option<Known>,
    damper: Damper,
    /// Why what it offers is not published now, for another reason than Docker's state.
    held_back: Option<Withdrawal>,
    /// What was last told; its `since` is none.
    domain: Option<Domain>,
    /// When a change was first told of that nothing was made of yet.
    since: Option<Instant>,
    counted: Counted,
    /// All that was ever logged: a pause, say, hides a reason for a while only.
    explained: HashSet<Skipped>,
    courier: Courier<Domain>,
    timer: Option<SpawnHandle>,
    log: Logger,
}

impl<S: ContainerSource, R: RecordStore> ContainerWatcher<S, R> {
    /// A watcher for this container.
    pub fn new(
        setup: Rc<WatcherSetup<S, R>>,
        id: ContainerId,
        name: &str,
        mut newest: Look,
    ) -> Self {
        let (since, counted) = (newest.since.take(), setup.chronicle.count_container());
        let inserter = setup.inserter.clone();
        let courier = Courier::new(EtcdInserter::<R>::meter(), move |domain: Domain| {
            let inserter = inserter.clone();
            async move { inserter.deliver(domain).await }
        });
        let log = logger(&setup.log, &id, name);
        Self {
            setup,
            id,
            name: name.to_owned(),
            newest: Rc::new(RefCell::new(newest)),
            settled_row: None,
            inspected_since_row: false,
            settled_stirs: None,
            seen_running: None,
            inspecting: false,
            failures: 0,
            trouble: None,
            next_inspection: Instant::now(),
            known: None,
            damper: Damper::default(),
            held_back: None,
            domain: None,
            since,
            counted,
            explained: HashSet::new(),
            courier,
            timer: None,
            log,
        }
    }

    /// Takes what was told. A row that says what the last inspection said is settled by it.
    fn take(&mut self, mut look: Look) {
        self.since = earlier(self.since, look.since.take());
        let is_new = |row: &Arc<ContainerRow>| {
            self.newest.borrow().row.as_ref().is_none_or(|old| !Arc::ptr_eq(old, row))
        };
        if let Some(row) = look.row.clone().filter(is_new) {
            if self.accounts_for(&row, &look.hearsay) {
                self.next_inspection = self.next_inspection.max(Instant::now() + long_while());
                self.settled_row = Some(row);
            }
            self.inspected_since_row = false;
        }
        *self.newest.borrow_mut() = look;
    }

    /// Whether the last inspection told all that this row tells. A smaller uptime than
    /// before may be all that there is to see of a restart: then only an inspection that
    /// came after the row before tells. Where an event told of an end since, a container that
    /// was started anew may look just as it did: only an inspection that is still to come
    /// decides.
    fn accounts_for(&self, row: &ContainerRow, hearsay: &Hearsay) -> bool {
        let newest = self.newest.borrow();
        let restarted = newest.row.as_ref().is_some_and(|before| row.is_younger_than(before));
        let alike = |known: &Known| {
            known.container.likeness == row.likeness
                && hearsay.end_since(&known.container, known.asked).is_none()
        };
        self.failures == 0
            && self.known.as_ref().is_some_and(alike)
            && (!restarted || self.inspected_since_row)
    }

    /// Whether something was told that the last inspection doesn't account for.
    fn is_stale(&self) -> bool {
        let newest = self.newest.borrow();
        let differs = |row: &Arc<ContainerRow>| {
            self.settled_row.as_ref().is_none_or(|settled| row.differs_from(settled))
        };
        let odd = |known: &Known| newest.hearsay.is_odd(&known.container, known.asked);
        self.settled_stirs != Some(newest.stirs)
            || newest.row.as_ref().is_some_and(differs)
            || self.known.as_ref().is_some_and(odd)
    }

    /// Does what is due: withdraws or publishes, and inspects where something tells of a
    /// change, or where it is time.
    fn look(&mut self, context: &mut MeteredContext<Self>) {
        let now = Instant::now();
        let held_until = self.publish(now);
        if self.inspecting {
            return;
        }
        let waits = self.failures > 0 && now < self.next_inspection;
        if (self.is_stale() && !waits) || now >= self.next_inspection {
            return self.inspect(context);
        }
        if !self.is_stale() {
            // Whatever was told, it changes nothing about what is to be published.
            self.since = None;
        }
        let until_due = self.next_inspection.duration_since(now).min(self.setup.look_every);
        let held = held_until.map(|until| until.saturating_duration_since(now));
        self.look_in(held.map_or(until_due, |held| held.min(until_due)), context);
    }

    fn look_in(&mut self, wait: Duration, context: &mut MeteredContext<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = Some(context.run_later(wait, Self::look));
    }

    fn inspect(&mut self, context: &mut MeteredContext<Self>) {
        self.inspecting = true;
        let (setup, id, newest) =
            (Rc::clone(&self.setup), self.id.clone(), Rc::clone(&self.newest));
        let inspection =
            async move { inspect_in_turn(&*setup.source, &setup.inspections, &id, newest).await };
        context.spawn(inspection.into_actor(self).map(|inspection, watcher, context| {
            watcher.inspecting = false;
            let Inspection { asked, row, stirs, answer } = inspection;
            match answer {
                Ok(inspected) => {
                    (watcher.settled_stirs, watcher.settled_row) = (Some(stirs), row);
                    watcher.inspected(asked, inspected);
                }
                Err(error) => watcher.not_inspected(&error),
            }
            watcher.look(context);
        }));
    }

    fn inspected(&mut self, asked: Instant, inspected: Option<Found>) {
        let now = Instant::now();
        (self.failures, self.trouble) = (0, None);
        self.inspected_since_row = true;
        let condition = inspected.as_ref().and_then(|found| found.container.condition());
        self.seen_running = condition.map(|_| now);
        // The two overtake each other. Where they contradict, the container may be back in
        // what the row says by the next listing, whose row then looks no different: so
        // this may be the wrong one of the two, and is looked into again.
        let told = self.settled_row.as_ref().map(|row| row.condition);
        let agrees = match (condition, told) {
            (_, None) | (Some(_), Some(None)) => true,
            (None, Some(_)) => false,
            (found, Some(told)) => found == told,
        };
        self.next_inspection = now + if agrees { long_while() } else { self.setup.look_every };
        let Some(Found { container, reach, path }) = inspected else {
            self.known = None;
            return;
        };
        if let NetworkMode::Container(_) = &container.network {
            let is_reached = !matches!(reach, Reach::Nowhere(_));
            let container = container.id.clone();
            (self.setup.report_dependency)(SharesNetwork { container, path, is_reached });
        }
        if condition.is_some() {
            self.damper.saw_start(container.started, now);
        }
        if self.name != container.name {
            self.name.clone_from(&container.name);
            self.log = logger(&self.setup.log, &self.id, &self.name);
        }
        let offer = offer(&container, &reach, &self.setup.rules);
        self.explain(&container, &offer);
        self.known = Some(Known { asked, container, offer });
    }

    fn not_inspected(&mut self, error: &SourceError) {
        self.failures = self.failures.saturating_add(1);
        self.trouble = Some(error.message.clone());
        let wait = RETRY.wait(self.failures, fastrand::f64()).min(self.setup.look_every);
        self.next_inspection = Instant::now() + wait;
        // That nobody answers is the poller's to report, once for all containers.
        if self.failures == 1 && error.kind != SourceErrorKind::Unreachable {
            warn!(self.log, "a container can't be inspected; what was last known of it is kept up";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "a container can't be inspected"; "error" => %error);
        }
    }

    /// Tells the inserter what is to be published now, by Docker's state and what events
    /// told since. Gives when that may change by itself.
    fn publish(&mut self, now: Instant) -> Option<Instant> {
        // Where nothing is known, yet or any more, nothing is told: that is not nothing.
        self.settled_stirs?;
        let Some(known) = &self.known else {
            self.counted.move_to(ContainerState::Unknown);
            self.tell(Domain::nothing(self.id.clone()));
            return None;
        };
        let domain = Domain {
            container: known.container.id.clone(),
            name: Arc::from(known.container.name.as_str()),
            started: known.container.started,
            wanted: Arc::from(known.offer.wanted.as_slice()),
            since: None,
        };
        let state = ContainerState::of(&known.container);
        let Some(held) = self.hold_back(known, &domain.wanted, now) else {
            self.counted.move_to(state);
            self.held_back = None;
            if !domain.wanted.is_empty() && !self.has_told(&domain.wanted) {
                self.damper.published(now);
            }
            self.tell(domain);
            return None;
        };
        if self.failures == 0 {
            self.next_inspection = self.next_inspection.min(held.until);
        }
        self.note_left_out(held.state, held.reason);
        self.counted.move_to(held.state);
        let until = held.until;
        if self.held_back.as_ref().is_none_or(|before| before.reason != held.reason) {
            info!(self.log, "held back"; "reason" => held.reason);
        }
        self.held_back = Some(held);
        self.tell(Domain { wanted: Arc::from(Vec::new()), ..domain });
        Some(until).filter(|until| *until > now)
    }

    /// Why these records are not to be published now, although Docker's state allows it.
    fn hold_back(
        &self,
        known: &Known,
        wanted: &[WantedRecord],
        now: Instant,
    ) -> Option<Withdrawal> {
        if wanted.is_empty() {
            return None;
        }
        let drain = self.setup.drain.filter(|_| !ignores_drain(&known.container));
        let newest = self.newest.borrow();
        let told = newest.hearsay.withdrawal(&known.container, known.asked, drain, now);
        told.or_else(|| {
            let until = self.damper.hold(now).filter(|_| !self.has_told(wanted))?;
            Some(Withdrawal { state: ContainerState::CrashLooping, reason: DAMPED, until })
        })
    }

    fn has_told(&self, wanted: &[WantedRecord]) -> bool {
        self.domain.as_ref().is_some_and(|told| *told.wanted == *wanted)
    }

    /// Logs what is left out, once.
    fn explain(&mut self, container: &Container, offer: &Offer) {
        for skipped in &offer.skipped {
            if self.explained.len() > MOST_REASONS || self.explained.contains(skipped) {
                continue;
            }
            self.explained.insert(skipped.clone());
            if self.explained.len() > MOST_REASONS {
                notice!(self.log, "more is left out"; "reasons_given" => MOST_REASONS);
            } else {
                notice!(self.log, "left out";
                    "entry" => &skipped.entry, "reason" => &skipped.reason);
            }
        }
        if let Some(reason) = &offer.withheld {
            info!(self.log, "withheld"; "reason" => reason);
            self.note_left_out(ContainerState::of(container), reason);
        }
    }

    /// Notes that the container is left out, where that is new. To be called before it is
    /// counted in its new state.
    fn note_left_out(&self, state: ContainerState, reason: &str) {
        if self.counted.state() == state {
            return;
        }
        let what = match state {
            ContainerState::Draining => ChangeKind::ContainerDrained,
            _ => ChangeKind::ContainerWithheld,
        };
        let change = RecentChange::now(what).of(&self.id, &self.name).because(reason);
        self.setup.chronicle.note(change);
    }

    fn tell(&mut self, domain: Domain) {
        if self.domain.as_ref() != Some(&domain) {
            self.domain = Some(domain.clone());
            self.courier.bring(Domain { since: self.since.take(), ..domain });
        }
    }
}

fn logger(log: &Logger, id: &ContainerId, name: &str) -> Logger {
    log.new(o!("container" => id.to_string(), "name" => name.to_owned()))
}

fn long_while() -> Duration {
    LONG_WHILE.mul_f64(0.5 + fastrand::f64() / 2.0)
}

impl<S: ContainerSource, R: RecordStore> Actor for ContainerWatcher<S, R> {
    type Context = MeteredContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.look(context);
    }
}

impl<S: ContainerSource, R: RecordStore> Metered for ContainerWatcher<S, R> {
    fn meter() -> &'static Meter {
        &METER
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Look> for ContainerWatcher<S, R> {
    type Result = ();

    fn handle(&mut self, look: Look, context: &mut Self::Context) {
        self.take(look);
        self.look(context);
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Departed> for ContainerWatcher<S, R> {
    type Result = ResponseFuture<Departure>;

    fn handle(&mut self, message: Departed, _: &mut Self::Context) -> Self::Result {
        self.since = earlier(self.since, message.since);
        let asked = message.asked;
        let seen_since = self.seen_running.is_some_and(|seen| seen > asked);
        let named_since = self.newest.borrow().hearsay.named_after(asked);
        // An inspection under way is newer than the listing, and its answer decides.
        if (self.inspecting || seen_since || named_since) && !planted!(StaleListingBelieved) {
            return Box::pin(async { Departure::Overtaken });
        }
        (self.seen_running, self.known) = (None, None);
        (self.settled_row, self.settled_stirs) = (None, None);
        self.tell(Domain::nothing(self.id.clone()));
        let emptied = self.courier.emptied();
        Box::pin(async move {
            emptied.await;
            Departure::Withdrawn
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<CountRecords> for ContainerWatcher<S, R> {
    type Result = usize;

    fn handle(&mut self, _: CountRecords, _: &mut Self::Context) -> usize {
        self.domain.as_ref().map_or(0, |domain| domain.wanted.len())
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<HasTold> for ContainerWatcher<S, R> {
    type Result = bool;

    fn handle(&mut self, _: HasTold, _: &mut Self::Context) -> bool {
        self.settled_stirs.is_some() && self.failures == 0 && self.courier.is_idle()
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Retell> for ContainerWatcher<S, R> {
    type Result = ();

    fn handle(&mut self, _: Retell, _: &mut Self::Context) {
        if let Some(domain) = &self.domain {
            self.courier.bring(domain.clone());
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Report> for ContainerWatcher<S, R> {
    type Result = MessageResult<Report>;

    fn handle(&mut self, _: Report, _: &mut Self::Context) -> Self::Result {
        let offer = self.known.as_ref().map(|known| known.offer.clone()).unwrap_or_default();
        let held_back = || self.held_back.as_ref().map(|held| held.reason.to_owned());
        let unknown = || self.trouble.clone().filter(|_| self.known.is_none());
        MessageResult(ContainerReport {
            id: self.id.clone(),
            name: self.name.clone(),
            state: self.counted.state(),
            services: offer.services,
            skipped: offer.skipped,
            withheld: offer.withheld.or_else(held_back).or_else(unknown),
        })
    }
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::Fall> for ContainerWatcher<S, R> {
    type Result = ();

    fn handle(&mut self, _: crate::messages::Fall, _: &mut Self::Context) {
        panic!("a test asked for it");
    }
}
