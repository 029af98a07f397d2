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
    ContainerRemoved, CountRecords, Domain, GetReport, IsUpToDate, NetworkDependency, Observation,
    RemovalOutcome, ResendDesired,
};
use crate::model::container::{Container, ContainerId, ContainerSummary, NetworkMode};
use crate::model::event_history::{EventHistory, Withholding};
pub use crate::model::network_path::NetworkChain;
use crate::model::publish_config::PublishConfig;
use crate::model::record::DesiredRecord;
use crate::model::service::SkippedEntry;
use crate::ports::container_source::{ContainerSource, SourceError, SourceErrorKind};
use crate::ports::record_store::RecordStore;
use crate::publish::endpoint::PortAccess;
use crate::publish::{PublishPlan, ignores_drain, plan};
use crate::runtime::actor_ref::ActorRef;
use crate::runtime::backoff::Backoff;
use crate::runtime::latest_sender::{LatestSender, earlier};
use crate::runtime::metered_context::{Metered, MeteredContext};
use crate::runtime::metrics::MailboxMetrics;
use crate::status::{
    ChangeKind, ContainerReport, DisplayState, RecentChange, StateGauge, StatusRecorder,
};
use inspection::{Inspection, inspect_with_permit};
pub(crate) use inspection::{InspectionResult, inspect};
use restart_limiter::RestartLimiter;

static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new("ContainerWatcher", 16);

/// After an inspection that failed; capped by the time between two looks.
const INSPECTION_RETRY_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2, cap: Duration::from_secs(60) };
/// A container is inspected after so long (or up to half of it sooner), even though
/// its row never differed.
const REINSPECT_INTERVAL: Duration = Duration::from_secs(3600);
/// How many of a container's reasons are logged: a container may give thousands, and
/// the log is not its own.
const LOGGED_REASONS_MAX: usize = 50;
/// Why a container that restarts again and again is left out.
const RESTART_LIMITED: &str =
    "restarts again and again: it is published once in a few seconds at most";

/// What all watchers share.
pub struct WatcherSetup<S: ContainerSource, R: RecordStore> {
    /// Whom to ask.
    pub source: Rc<S>,
    /// Whom to tell.
    pub inserter: ActorRef<EtcdInserter<R>>,
    /// Reports to the registry that a container shares another's network.
    pub report_dependency: Rc<dyn Fn(NetworkDependency)>,
    /// What is the same for all of this host's records.
    pub publish_config: PublishConfig,
    /// Time between two looks at the container.
    pub recheck_interval: Duration,
    /// How long a container that got its stop signal is left out at the most; `None`: that
    /// signal is no reason to.
    pub drain: Option<Duration>,
    /// How many inspections may be under way at a time, over all watchers.
    pub inspections: Semaphore,
    /// Where to write down what an operator may ask for.
    pub(crate) recorder: StatusRecorder,
    /// Where to log.
    pub log: Logger,
}

/// What an inspection told, and what follows from it.
struct LastInspection {
    requested_at: Instant,
    container: Container,
    plan: PublishPlan,
}

/// Watches one container.
pub struct ContainerWatcher<S: ContainerSource, R: RecordStore> {
    setup: Rc<WatcherSetup<S, R>>,
    id: ContainerId,
    name: String,
    newest: Rc<RefCell<Observation>>,
    /// The newest row that an inspection accounts for.
    inspected_summary: Option<Arc<ContainerSummary>>,
    /// Whether an inspection was answered since the newest row came.
    inspected_since_summary: bool,
    /// How many of the stirs were there when it was last inspected; `None`: never.
    inspected_generation: Option<u64>,
    /// When the last inspection was answered, where it found the container alive.
    last_seen_running: Option<Instant>,
    inspecting: bool,
    failures: u32,
    /// Why the newest inspection failed.
    last_error: Option<String>,
    next_inspection: Instant,
    last_inspection: Option<LastInspection>,
    restart_limiter: RestartLimiter,
    /// Why what it offers is not published now, for another reason than Docker's state.
    withheld_by: Option<Withholding>,
    /// What was last told; its `since` is none.
    last_sent: Option<Domain>,
    /// When a change was first told of that nothing was made of yet.
    since: Option<Instant>,
    state_gauge: StateGauge,
    /// All that was ever logged: a pause, say, hides a reason for a while only.
    logged_reasons: HashSet<SkippedEntry>,
    domain_sender: LatestSender<Domain>,
    timer: Option<SpawnHandle>,
    log: Logger,
}

impl<S: ContainerSource, R: RecordStore> ContainerWatcher<S, R> {
    /// A watcher for this container.
    pub fn new(
        setup: Rc<WatcherSetup<S, R>>,
        id: ContainerId,
        name: &str,
        mut newest: Observation,
    ) -> Self {
        let (since, state_gauge) = (newest.since.take(), setup.recorder.track_container());
        let inserter = setup.inserter.clone();
        let domain_sender =
            LatestSender::new(EtcdInserter::<R>::mailbox_metrics(), move |domain: Domain| {
                let inserter = inserter.clone();
                async move { inserter.send_until_handled(domain).await }
            });
        let log = logger(&setup.log, &id, name);
        Self {
            setup,
            id,
            name: name.to_owned(),
            newest: Rc::new(RefCell::new(newest)),
            inspected_summary: None,
            inspected_since_summary: false,
            inspected_generation: None,
            last_seen_running: None,
            inspecting: false,
            failures: 0,
            last_error: None,
            next_inspection: Instant::now(),
            last_inspection: None,
            restart_limiter: RestartLimiter::default(),
            withheld_by: None,
            last_sent: None,
            since,
            state_gauge,
            logged_reasons: HashSet::new(),
            domain_sender,
            timer: None,
            log,
        }
    }

    /// Takes what was told. A row that says what the last inspection said is settled by it.
    fn set_observation(&mut self, mut observation: Observation) {
        self.since = earlier(self.since, observation.since.take());
        let is_new = |summary: &Arc<ContainerSummary>| {
            self.newest.borrow().summary.as_ref().is_none_or(|old| !Arc::ptr_eq(old, summary))
        };
        if let Some(summary) = observation.summary.clone().filter(is_new) {
            if self.accounts_for(&summary, &observation.history) {
                self.next_inspection =
                    self.next_inspection.max(Instant::now() + reinspect_interval());
                self.inspected_summary = Some(summary);
            }
            self.inspected_since_summary = false;
        }
        *self.newest.borrow_mut() = observation;
    }

    /// Whether the last inspection told all that this row tells. A smaller uptime than
    /// before may be all that there is to see of a restart: then only an inspection that
    /// came after the row before tells. Where an event told of an end since, a container that
    /// was started anew may look just as it did: only an inspection that is still to come
    /// decides.
    fn accounts_for(&self, summary: &ContainerSummary, history: &EventHistory) -> bool {
        let newest = self.newest.borrow();
        let restarted =
            newest.summary.as_ref().is_some_and(|before| summary.is_younger_than(before));
        let matches = |known: &LastInspection| {
            known.container.fingerprint == summary.fingerprint
                && history.end_confirmed_at(&known.container, known.requested_at).is_none()
        };
        self.failures == 0
            && self.last_inspection.as_ref().is_some_and(matches)
            && (!restarted || self.inspected_since_summary)
    }

    /// Whether something was told that the last inspection doesn't account for.
    fn is_stale(&self) -> bool {
        let newest = self.newest.borrow();
        let differs = |summary: &Arc<ContainerSummary>| {
            self.inspected_summary.as_ref().is_none_or(|settled| summary.differs_from(settled))
        };
        let contradicts = |known: &LastInspection| {
            newest.history.contradicts_start(&known.container, known.requested_at)
        };
        self.inspected_generation != Some(newest.refresh_generation)
            || newest.summary.as_ref().is_some_and(differs)
            || self.last_inspection.as_ref().is_some_and(contradicts)
    }

    /// Does what is due: withdraws or publishes, and inspects where something tells of a
    /// change, or where it is time.
    fn check(&mut self, context: &mut MeteredContext<Self>) {
        let now = Instant::now();
        let withheld_until = self.publish(now);
        if self.inspecting {
            return;
        }
        let is_backing_off = self.failures > 0 && now < self.next_inspection;
        if (self.is_stale() && !is_backing_off) || now >= self.next_inspection {
            return self.inspect(context);
        }
        if !self.is_stale() {
            // Whatever was told, it changes nothing about what is to be published.
            self.since = None;
        }
        let until_due = self.next_inspection.duration_since(now).min(self.setup.recheck_interval);
        let withheld = withheld_until.map(|until| until.saturating_duration_since(now));
        self.schedule_check(
            withheld.map_or(until_due, |withheld| withheld.min(until_due)),
            context,
        );
    }

    fn schedule_check(&mut self, wait: Duration, context: &mut MeteredContext<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = Some(context.run_later(wait, Self::check));
    }

    fn inspect(&mut self, context: &mut MeteredContext<Self>) {
        self.inspecting = true;
        let (setup, id, newest) =
            (Rc::clone(&self.setup), self.id.clone(), Rc::clone(&self.newest));
        let inspection = async move {
            inspect_with_permit(&*setup.source, &setup.inspections, &id, newest).await
        };
        context.spawn(inspection.into_actor(self).map(|inspection, watcher, context| {
            watcher.inspecting = false;
            let Inspection { requested_at, summary, refresh_generation, result } = inspection;
            match result {
                Ok(inspected) => {
                    (watcher.inspected_generation, watcher.inspected_summary) =
                        (Some(refresh_generation), summary);
                    watcher.handle_inspection(requested_at, inspected);
                }
                Err(error) => watcher.handle_inspection_error(&error),
            }
            watcher.check(context);
        }));
    }

    fn handle_inspection(&mut self, requested_at: Instant, inspected: Option<InspectionResult>) {
        let now = Instant::now();
        (self.failures, self.last_error) = (0, None);
        self.inspected_since_summary = true;
        let condition = inspected.as_ref().and_then(|found| found.container.condition());
        self.last_seen_running = condition.map(|_| now);
        // The two overtake each other. Where they contradict, the container may be back in
        // what the row says by the next listing, whose row then looks no different: so
        // this may be the wrong one of the two, and is looked into again.
        let told = self.inspected_summary.as_ref().map(|summary| summary.condition);
        let agrees = match (condition, told) {
            (_, None) | (Some(_), Some(None)) => true,
            (None, Some(_)) => false,
            (found, Some(told)) => found == told,
        };
        self.next_inspection =
            now + if agrees { reinspect_interval() } else { self.setup.recheck_interval };
        let Some(InspectionResult { container, access, chain }) = inspected else {
            self.last_inspection = None;
            return;
        };
        if let NetworkMode::Container(_) = &container.network {
            let is_reachable = !matches!(access, PortAccess::Unreachable(_));
            let container = container.id.clone();
            (self.setup.report_dependency)(NetworkDependency { container, chain, is_reachable });
        }
        if condition.is_some() {
            self.restart_limiter.record_start(container.started, now);
        }
        if self.name != container.name {
            self.name.clone_from(&container.name);
            self.log = logger(&self.setup.log, &self.id, &self.name);
        }
        let plan = plan(&container, &access, &self.setup.publish_config);
        self.log_skipped(&container, &plan);
        self.last_inspection = Some(LastInspection { requested_at, container, plan });
    }

    fn handle_inspection_error(&mut self, error: &SourceError) {
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error.message.clone());
        let wait = INSPECTION_RETRY_BACKOFF
            .wait(self.failures, fastrand::f64())
            .min(self.setup.recheck_interval);
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
        self.inspected_generation?;
        let Some(known) = &self.last_inspection else {
            self.state_gauge.set_state(DisplayState::Unknown);
            self.send_domain(Domain::empty(self.id.clone()));
            return None;
        };
        let domain = Domain {
            container: known.container.id.clone(),
            name: Arc::from(known.container.name.as_str()),
            started: known.container.started,
            desired: Arc::from(known.plan.desired.as_slice()),
            since: None,
        };
        let state = DisplayState::from_container(&known.container);
        let Some(withheld) = self.withholding(known, &domain.desired, now) else {
            self.state_gauge.set_state(state);
            self.withheld_by = None;
            if !domain.desired.is_empty() && !self.has_sent(&domain.desired) {
                self.restart_limiter.record_publication(now);
            }
            self.send_domain(domain);
            return None;
        };
        if self.failures == 0 {
            self.next_inspection = self.next_inspection.min(withheld.until);
        }
        self.note_withheld(withheld.state, withheld.reason);
        self.state_gauge.set_state(withheld.state);
        let until = withheld.until;
        if self.withheld_by.as_ref().is_none_or(|before| before.reason != withheld.reason) {
            info!(self.log, "held back"; "reason" => withheld.reason);
        }
        self.withheld_by = Some(withheld);
        self.send_domain(Domain { desired: Arc::from(Vec::new()), ..domain });
        Some(until).filter(|until| *until > now)
    }

    /// Why these records are not to be published now, although Docker's state allows it.
    fn withholding(
        &self,
        known: &LastInspection,
        desired: &[DesiredRecord],
        now: Instant,
    ) -> Option<Withholding> {
        if desired.is_empty() {
            return None;
        }
        let drain = self.setup.drain.filter(|_| !ignores_drain(&known.container));
        let newest = self.newest.borrow();
        let told = newest.history.withholding(&known.container, known.requested_at, drain, now);
        told.or_else(|| {
            let until =
                self.restart_limiter.blocked_until(now).filter(|_| !self.has_sent(desired))?;
            Some(Withholding { state: DisplayState::CrashLooping, reason: RESTART_LIMITED, until })
        })
    }

    fn has_sent(&self, desired: &[DesiredRecord]) -> bool {
        self.last_sent.as_ref().is_some_and(|told| *told.desired == *desired)
    }

    /// Logs what is left out, once.
    fn log_skipped(&mut self, container: &Container, plan: &PublishPlan) {
        for skipped in &plan.skipped {
            if self.logged_reasons.len() > LOGGED_REASONS_MAX
                || self.logged_reasons.contains(skipped)
            {
                continue;
            }
            self.logged_reasons.insert(skipped.clone());
            if self.logged_reasons.len() > LOGGED_REASONS_MAX {
                notice!(self.log, "more is left out"; "reasons_given" => LOGGED_REASONS_MAX);
            } else {
                notice!(self.log, "left out";
                    "entry" => &skipped.entry, "reason" => &skipped.reason);
            }
        }
        if let Some(reason) = &plan.withheld {
            info!(self.log, "withheld"; "reason" => reason);
            self.note_withheld(DisplayState::from_container(container), reason);
        }
    }

    /// Notes that the container is left out, where that is new. To be called before it is
    /// counted in its new state.
    fn note_withheld(&self, state: DisplayState, reason: &str) {
        if self.state_gauge.state() == state {
            return;
        }
        let kind = match state {
            DisplayState::Draining => ChangeKind::ContainerDrained,
            _ => ChangeKind::ContainerWithheld,
        };
        let change =
            RecentChange::new(kind).with_container(&self.id, &self.name).with_reason(reason);
        self.setup.recorder.record_change(change);
    }

    fn send_domain(&mut self, domain: Domain) {
        if self.last_sent.as_ref() != Some(&domain) {
            self.last_sent = Some(domain.clone());
            self.domain_sender.send(Domain { since: self.since.take(), ..domain });
        }
    }
}

fn logger(log: &Logger, id: &ContainerId, name: &str) -> Logger {
    log.new(o!("container" => id.to_string(), "name" => name.to_owned()))
}

fn reinspect_interval() -> Duration {
    REINSPECT_INTERVAL.mul_f64(0.5 + fastrand::f64() / 2.0)
}

impl<S: ContainerSource, R: RecordStore> Actor for ContainerWatcher<S, R> {
    type Context = MeteredContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.check(context);
    }
}

impl<S: ContainerSource, R: RecordStore> Metered for ContainerWatcher<S, R> {
    fn mailbox_metrics() -> &'static MailboxMetrics {
        &MAILBOX_METRICS
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Observation> for ContainerWatcher<S, R> {
    type Result = ();

    fn handle(&mut self, observation: Observation, context: &mut Self::Context) {
        self.set_observation(observation);
        self.check(context);
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ContainerRemoved> for ContainerWatcher<S, R> {
    type Result = ResponseFuture<RemovalOutcome>;

    fn handle(&mut self, message: ContainerRemoved, _: &mut Self::Context) -> Self::Result {
        self.since = earlier(self.since, message.since);
        let requested_at = message.requested_at;
        let seen_since = self.last_seen_running.is_some_and(|seen| seen > requested_at);
        let named_since = self.newest.borrow().history.has_event_after(requested_at);
        // An inspection under way is newer than the listing, and its answer decides.
        if (self.inspecting || seen_since || named_since) && !planted!(StaleListingBelieved) {
            return Box::pin(async { RemovalOutcome::Superseded });
        }
        (self.last_seen_running, self.last_inspection) = (None, None);
        (self.inspected_summary, self.inspected_generation) = (None, None);
        self.send_domain(Domain::empty(self.id.clone()));
        let emptied = self.domain_sender.drained();
        Box::pin(async move {
            emptied.await;
            RemovalOutcome::Withdrawn
        })
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<CountRecords> for ContainerWatcher<S, R> {
    type Result = usize;

    fn handle(&mut self, _: CountRecords, _: &mut Self::Context) -> usize {
        self.last_sent.as_ref().map_or(0, |domain| domain.desired.len())
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<IsUpToDate> for ContainerWatcher<S, R> {
    type Result = bool;

    fn handle(&mut self, _: IsUpToDate, _: &mut Self::Context) -> bool {
        self.inspected_generation.is_some() && self.failures == 0 && self.domain_sender.is_idle()
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<ResendDesired> for ContainerWatcher<S, R> {
    type Result = ();

    fn handle(&mut self, _: ResendDesired, _: &mut Self::Context) {
        if let Some(domain) = &self.last_sent {
            self.domain_sender.send(domain.clone());
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<GetReport> for ContainerWatcher<S, R> {
    type Result = MessageResult<GetReport>;

    fn handle(&mut self, _: GetReport, _: &mut Self::Context) -> Self::Result {
        let plan =
            self.last_inspection.as_ref().map(|known| known.plan.clone()).unwrap_or_default();
        let withheld_by = || self.withheld_by.as_ref().map(|withheld| withheld.reason.to_owned());
        let unknown = || self.last_error.clone().filter(|_| self.last_inspection.is_none());
        MessageResult(ContainerReport {
            id: self.id.clone(),
            name: self.name.clone(),
            state: self.state_gauge.state(),
            services: plan.services,
            skipped: plan.skipped,
            withheld: plan.withheld.or_else(withheld_by).or_else(unknown),
        })
    }
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::InjectPanic>
    for ContainerWatcher<S, R>
{
    type Result = ();

    fn handle(&mut self, _: crate::messages::InjectPanic, _: &mut Self::Context) {
        panic!("a test asked for it");
    }
}
