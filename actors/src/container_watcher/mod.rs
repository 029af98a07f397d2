//! [`ContainerWatcher`]: owns the desired records of one container.

mod inspection;
pub(crate) mod restart_limiter;
mod run_tracker;
mod shared_ports;

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
use crate::model::network_path::NetworkGuests;
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
use run_tracker::RunTracker;
use shared_ports::are_claims_known;
pub(crate) use shared_ports::{shared_network, shared_ports};

static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new("ContainerWatcher", 16);

/// The pause before a failed inspection is retried. The recheck interval caps it.
const INSPECTION_RETRY_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2, cap: Duration::from_secs(60) };
/// The longest time after which a container is inspected again although its row has not changed.
/// Up to half of it is subtracted at random, so that inspections spread out.
const REINSPECT_INTERVAL: Duration = Duration::from_secs(3600);
/// The longest time for which the records of a guest wait for the inspections of the other guests
/// of its network, as for the first view.
const GUESTS_WAIT_MAX: Duration = Duration::from_secs(2);
/// The number of skipped entries that are logged per container. A container may declare
/// thousands of invalid entries, and must not fill the log.
const LOGGED_REASONS_MAX: usize = 50;
/// The reason for withholding a container that the restart limiter blocks.
const RESTART_LIMITED: &str = "restarts repeatedly: published at most once every few seconds";

/// The parameters and connections that all watchers share.
pub struct WatcherSetup<S: ContainerSource, R: RecordStore> {
    /// The source of inspections.
    pub source: Rc<S>,
    /// The receiver of the desired records.
    pub inserter: ActorRef<EtcdInserter<R>>,
    /// Sends the message to the registry. A watcher does not know the registry's type.
    pub report_dependency: Rc<dyn Fn(NetworkDependency)>,
    /// The parameters that all records of this host share.
    pub publish_config: PublishConfig,
    /// The longest time between two checks for due work.
    pub recheck_interval: Duration,
    /// The longest time for which a container is withdrawn after its stop signal. With `None` a
    /// container is published until it ends.
    pub drain: Option<Duration>,
    /// One permit per inspection that may be in flight, over all watchers.
    pub inspections: Semaphore,
    /// The status for the admin interface.
    pub(crate) recorder: StatusRecorder,
    /// The logger of all watchers. Each watcher adds its container.
    pub log: Logger,
}

/// The last inspection that found the container, and the resulting records.
struct LastInspection {
    requested_at: Instant,
    container: Container,
    access: PortAccess,
    /// The time from which guests that were not inspected yet claim no port.
    guests_wait_until: Instant,
    /// `None` while the claims of other guests are unknown, or have changed.
    plan: Option<PublishPlan>,
}

impl LastInspection {
    /// Returns the domain with all desired records, or `None` until they are planned.
    fn domain(&self) -> Option<Domain> {
        Some(Domain {
            container: self.container.id.clone(),
            name: Arc::from(self.container.name.as_str()),
            started: self.container.started,
            desired: Arc::from(self.plan.as_ref()?.desired.as_slice()),
            since: None,
        })
    }

    /// Plans the records. Returns `None` if they depend on guests that are not inspected yet, and
    /// `now` is too early to decide without them.
    fn plan(
        &mut self,
        config: &PublishConfig,
        guests: Option<&NetworkGuests>,
        now: Instant,
    ) -> Option<&PublishPlan> {
        let network = shared_network(&self.container, &self.access, config);
        let needs_claims = network.is_some() && self.container.condition().is_some();
        let is_known = !needs_claims || are_claims_known(&self.container.id, guests);
        if !is_known && now < self.guests_wait_until {
            return None;
        }
        let none = NetworkGuests::new();
        let ports = network.map(|it| shared_ports(&self.container, it, guests.unwrap_or(&none)));
        self.container.shared_ports = ports;
        Some(self.plan.insert(plan(&self.container, &self.access, config)))
    }
}

/// Derives the desired records of one container and sends them to the inserter.
///
/// The watcher decides when to inspect its container: after an observation that the last
/// inspection does not account for, after a failed inspection, and at long intervals. Only an
/// inspection publishes records. An event, the restart limiter, or a listing that lacks the
/// container withdraws them early (ARCHITECTURE.md, invariant 6).
pub struct ContainerWatcher<S: ContainerSource, R: RecordStore> {
    setup: Rc<WatcherSetup<S, R>>,
    id: ContainerId,
    name: String,
    observation: Rc<RefCell<Observation>>,
    /// The latest row for which an inspection accounts.
    inspected_summary: Option<Arc<ContainerSummary>>,
    /// `true` if an inspection was completed since the latest row arrived.
    inspected_since_summary: bool,
    /// The refresh generation for which an inspection accounts. `None` if the container was not
    /// inspected yet, or is gone.
    inspected_generation: Option<u64>,
    /// The time of the last inspection, if it found the container running.
    last_seen_running: Option<Instant>,
    inspecting: bool,
    failures: u32,
    /// The error of the last inspection, if it failed.
    last_error: Option<String>,
    next_inspection: Instant,
    last_inspection: Option<LastInspection>,
    restart_limiter: RestartLimiter,
    run_tracker: RunTracker,
    /// The reason for which the records are withheld now, although Docker's state allows them.
    withheld_by: Option<Withholding>,
    /// The last domain that was sent. Its `since` is `None`.
    last_sent: Option<Domain>,
    /// The time of the oldest change that no domain contains yet.
    since: Option<Instant>,
    state_gauge: StateGauge,
    /// Every entry that was logged, so that none is logged again after a pause of the container.
    logged_reasons: HashSet<SkippedEntry>,
    domain_sender: LatestSender<Domain>,
    timer: Option<SpawnHandle>,
    log: Logger,
}

impl<S: ContainerSource, R: RecordStore> ContainerWatcher<S, R> {
    /// Returns a watcher that has not inspected its container yet.
    pub fn new(
        setup: Rc<WatcherSetup<S, R>>,
        id: ContainerId,
        name: &str,
        mut observation: Observation,
    ) -> Self {
        let (since, state_gauge) = (observation.since.take(), setup.recorder.track_container());
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
            observation: Rc::new(RefCell::new(observation)),
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
            run_tracker: RunTracker::default(),
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

    /// Stores an observation. A new row that the last inspection accounts for postpones the next
    /// inspection.
    fn set_observation(&mut self, mut observation: Observation) {
        self.since = earlier(self.since, observation.since.take());
        let is_new = |summary: &Arc<ContainerSummary>| {
            let latest = self.observation.borrow();
            latest.summary.as_ref().is_none_or(|old| !Arc::ptr_eq(old, summary))
        };
        if let Some(summary) = observation.summary.clone().filter(is_new) {
            if self.accounts_for(&summary, &observation.history) {
                self.next_inspection =
                    self.next_inspection.max(Instant::now() + reinspect_interval());
                self.inspected_summary = Some(summary);
            }
            self.inspected_since_summary = false;
        }
        let before = self.observation.replace(observation);
        if before.guests != self.observation.borrow().guests
            && let Some(known) = &mut self.last_inspection
        {
            known.plan = None;
        }
    }

    /// Returns `true` if the last inspection accounts for this row.
    ///
    /// The fingerprint alone is not sufficient in two cases. A restart may show only as a smaller
    /// uptime: then the inspection must be newer than the previous row. After an event reported
    /// an end, a container that was started again has the same fingerprint as before: then only
    /// a later inspection decides.
    fn accounts_for(&self, summary: &ContainerSummary, history: &EventHistory) -> bool {
        let latest = self.observation.borrow();
        let restarted =
            latest.summary.as_ref().is_some_and(|before| summary.is_younger_than(before));
        let matches = |known: &LastInspection| {
            known.container.fingerprint == summary.fingerprint
                && history.end_confirmed_at(&known.container, known.requested_at).is_none()
        };
        self.failures == 0
            && self.last_inspection.as_ref().is_some_and(matches)
            && (!restarted || self.inspected_since_summary)
    }

    /// Returns `true` if the last inspection does not account for the latest observation.
    fn is_stale(&self) -> bool {
        let latest = self.observation.borrow();
        let differs = |summary: &Arc<ContainerSummary>| {
            self.inspected_summary.as_ref().is_none_or(|inspected| summary.differs_from(inspected))
        };
        let contradicts = |known: &LastInspection| {
            latest.history.contradicts_start(&known.container, known.requested_at)
        };
        self.inspected_generation != Some(latest.refresh_generation)
            || latest.summary.as_ref().is_some_and(differs)
            || self.last_inspection.as_ref().is_some_and(contradicts)
    }

    /// Does the due work: publishes or withdraws the records, and inspects the container if the
    /// last inspection is stale or too old. Then schedules the next check.
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
            // The change does not affect the records, so no latency is measured for it.
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
        let (setup, id, observation) =
            (Rc::clone(&self.setup), self.id.clone(), Rc::clone(&self.observation));
        let inspection = async move {
            inspect_with_permit(&*setup.source, &setup.inspections, &id, observation).await
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
        // A listing and an inspection overtake each other. If they contradict each other, the
        // inspection may be the older one. The next listing may then return the same row as
        // before and cause no inspection, so the container is inspected again soon.
        let listed = self.inspected_summary.as_ref().map(|summary| summary.condition);
        let agrees = match (condition, listed) {
            (_, None) | (Some(_), Some(None)) => true,
            (None, Some(_)) => false,
            (found, Some(listed)) => found == listed,
        };
        self.next_inspection =
            now + if agrees { reinspect_interval() } else { self.setup.recheck_interval };
        let Some(InspectionResult { container, access, chain }) = inspected else {
            self.last_inspection = None;
            return;
        };
        if let NetworkMode::Container(_) = &container.network {
            let is_reachable = !matches!(access, PortAccess::Unreachable(_));
            let exposed = Arc::from(container.exposed.as_slice());
            let container = container.id.clone();
            let dependency = NetworkDependency { container, chain, exposed, is_reachable };
            (self.setup.report_dependency)(dependency);
        }
        self.run_tracker.record(container.started, requested_at);
        if condition.is_some() {
            self.restart_limiter.record_start(container.started, now);
        }
        if self.name != container.name {
            self.name.clone_from(&container.name);
            self.log = logger(&self.setup.log, &self.id, &self.name);
        }
        let guests_wait_until = now + GUESTS_WAIT_MAX;
        self.last_inspection =
            Some(LastInspection { requested_at, container, access, guests_wait_until, plan: None });
    }

    /// Plans the records of the last inspection, unless that is done.
    fn update_plan(&mut self, now: Instant) {
        let Some(mut known) = self.last_inspection.take() else { return };
        if known.plan.is_none() {
            let guests = self.observation.borrow().guests.clone();
            if known.plan(&self.setup.publish_config, guests.as_deref(), now).is_some() {
                self.log_skipped(&known);
            }
        }
        self.last_inspection = Some(known);
    }

    fn handle_inspection_error(&mut self, error: &SourceError) {
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error.message.clone());
        let wait = INSPECTION_RETRY_BACKOFF
            .wait(self.failures, fastrand::f64())
            .min(self.setup.recheck_interval);
        self.next_inspection = Instant::now() + wait;
        // The poller warns once for all containers if the engine is unreachable.
        if self.failures == 1 && error.kind != SourceErrorKind::Unreachable {
            warn!(self.log, "inspection failed; keeping last known state";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "inspection failed; retrying"; "error" => %error);
        }
    }

    /// Sends the records that are published now, according to the last inspection and the events
    /// since.
    ///
    /// Returns the time at which the result may change without a further message.
    fn publish(&mut self, now: Instant) -> Option<Instant> {
        // Without an inspection the records are unknown, and unknown is not empty.
        self.inspected_generation?;
        self.update_plan(now);
        let Some(known) = &self.last_inspection else {
            self.state_gauge.set_state(DisplayState::Unknown);
            self.send_domain(Domain::empty(self.id.clone()));
            return None;
        };
        // Until the records are planned, the last ones are kept.
        let wait_until = known.plan.is_none().then_some(known.guests_wait_until);
        let Some(domain) = known.domain().or_else(|| self.last_sent.clone()) else {
            return wait_until;
        };
        let state = DisplayState::from_container(&known.container);
        let Some(withheld) = self.withholding(known, &domain.desired, now) else {
            self.state_gauge.set_state(state);
            self.withheld_by = None;
            if !domain.desired.is_empty() && !self.has_sent(&domain.desired) {
                self.restart_limiter.record_publication(now);
            }
            self.send_domain(domain);
            return wait_until;
        };
        let until = withheld.until;
        self.withhold(withheld);
        self.send_domain(Domain { desired: Arc::from(Vec::new()), ..domain });
        earlier(wait_until, Some(until).filter(|until| *until > now))
    }

    /// Records that the container is withheld, and schedules the inspection at the end of that.
    fn withhold(&mut self, withheld: Withholding) {
        if self.failures == 0 {
            self.next_inspection = self.next_inspection.min(withheld.until);
        }
        self.note_withheld(withheld.state, withheld.reason);
        self.state_gauge.set_state(withheld.state);
        if self.withheld_by.as_ref().is_none_or(|before| before.reason != withheld.reason) {
            info!(self.log, "container withheld"; "reason" => withheld.reason);
        }
        self.withheld_by = Some(withheld);
    }

    /// Returns the reason for which these records are withheld now, although Docker's state
    /// allows them.
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
        let latest = self.observation.borrow();
        let restart = self.run_tracker.last_change();
        let by_event =
            latest.history.withholding(&known.container, known.requested_at, restart, drain, now);
        by_event.or_else(|| {
            let until =
                self.restart_limiter.blocked_until(now).filter(|_| !self.has_sent(desired))?;
            Some(Withholding { state: DisplayState::CrashLooping, reason: RESTART_LIMITED, until })
        })
    }

    fn has_sent(&self, desired: &[DesiredRecord]) -> bool {
        self.last_sent.as_ref().is_some_and(|sent| *sent.desired == *desired)
    }

    /// Returns `true` if the watcher has newer information than a listing that was requested at
    /// this time. An inspection in flight is newer too, because its result is still to come.
    fn supersedes_listing(&self, requested_at: Instant) -> bool {
        if mutated!(StaleListingApplied) {
            return false;
        }
        let was_seen = self.last_seen_running.is_some_and(|seen| seen > requested_at);
        self.inspecting
            || was_seen
            || self.observation.borrow().history.has_event_after(requested_at)
    }

    /// Logs each skipped entry once, and the reason for which the container is withheld.
    fn log_skipped(&mut self, inspection: &LastInspection) {
        let LastInspection { container, plan: Some(plan), .. } = inspection else { return };
        for skipped in &plan.skipped {
            if self.logged_reasons.len() > LOGGED_REASONS_MAX
                || self.logged_reasons.contains(skipped)
            {
                continue;
            }
            self.logged_reasons.insert(skipped.clone());
            if self.logged_reasons.len() > LOGGED_REASONS_MAX {
                notice!(self.log, "more entries skipped"; "logged" => LOGGED_REASONS_MAX);
            } else {
                notice!(self.log, "skipped";
                    "entry" => &skipped.entry, "reason" => &skipped.reason);
            }
        }
        if let Some(reason) = &plan.withheld {
            info!(self.log, "container withheld"; "reason" => reason);
            self.note_withheld(DisplayState::from_container(container), reason);
        }
    }

    /// Adds the withholding to the recent changes, unless the container is in this state already.
    ///
    /// Call it before the state gauge is set to the new state.
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

    /// Sends the domain, unless the last sent domain is equal.
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
        if self.supersedes_listing(requested_at) {
            return Box::pin(async { RemovalOutcome::Superseded });
        }
        (self.last_seen_running, self.last_inspection) = (None, None);
        (self.inspected_summary, self.inspected_generation) = (None, None);
        self.send_domain(Domain::empty(self.id.clone()));
        let drained = self.domain_sender.drained();
        Box::pin(async move {
            drained.await;
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
        let is_planned = self.last_inspection.as_ref().is_none_or(|known| known.plan.is_some());
        self.inspected_generation.is_some()
            && is_planned
            && self.failures == 0
            && self.domain_sender.is_idle()
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
        let plan = self.last_inspection.as_ref().and_then(|known| known.plan.clone());
        let plan = plan.unwrap_or_default();
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
        panic!("injected by a test");
    }
}
