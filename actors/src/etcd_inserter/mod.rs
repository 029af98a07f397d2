//! [`EtcdInserter`]: the actor that keeps the records in the store.

mod audit;
mod batches;
mod circuit_breaker;
mod expiry;
mod lease;
mod probe;
mod store_watch;

use std::rc::Rc;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Handler, MessageResult, ResponseActFuture, SpawnHandle,
    WrapFuture,
};
use slog::Logger;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::messages::{
    CheckNow, CountPendingWrites, Domain, Flush, GetRecords, GetRecordsStatus, LiveContainers, Ping,
};
use crate::ports::record_store::{LeaseNamespace, RecordStore};
use crate::reconciler::{Priority, Reconciler, RecordPolicy, WriteLog};
use crate::runtime::metered_context::{Metered, MeteredContext};
use crate::runtime::metrics::MailboxMetrics;
use crate::status::{RecordsStatus, StatusRecorder};
use audit::audit_interval;
use batches::BatchesInFlight;
use circuit_breaker::CircuitBreaker;
use lease::LeaseManager;
use store_watch::WatchState;

static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new("EtcdInserter", 64);

/// The arguments of [`EtcdInserter::new`].
pub(crate) struct InserterSetup<R: RecordStore> {
    /// The store.
    pub store: Rc<R>,
    /// The rules by which records are kept.
    pub policy: RecordPolicy,
    /// The ids of this publisher's leases (`KeepAliveMode::Lease` only).
    pub namespace: LeaseNamespace,
    /// The writes of this process. It survives a restart of the inserter.
    pub write_log: WriteLog,
    /// Requests a new listing. It is called when orphans were found, because only a newer listing
    /// decides which of them are desired, and after a suspect listing.
    pub request_listing: Rc<dyn Fn()>,
    /// The recorder of the status.
    pub recorder: StatusRecorder,
    /// The logger.
    pub log: Logger,
}

/// Writes the desired records to the store and keeps them there.
///
/// The reconciler decides which requests are due. The inserter sends them in batches, and
/// owns the lease, the circuit breaker, the audits and the watch of the store. While the breaker
/// is not closed, only the probe is sent.
pub struct EtcdInserter<R: RecordStore> {
    store: Rc<R>,
    policy: RecordPolicy,
    reconciler: Reconciler,
    circuit_breaker: CircuitBreaker,
    lease_manager: LeaseManager,
    watch: WatchState,
    request_listing: Rc<dyn Fn()>,
    in_flight: BatchesInFlight,
    audit_in_flight: bool,
    next_audit: Instant,
    unavailable_since: Option<Instant>,
    /// `true` if the log reports that records expired since the store is unreachable.
    expiry_logged: bool,
    /// The highest revision of the store that was seen.
    latest_revision: u64,
    /// The number of wrong records that the audits since the last outage found.
    drifted: u64,
    pending_flushes: Vec<oneshot::Sender<()>>,
    timer: Option<SpawnHandle>,
    recorder: StatusRecorder,
    log: Logger,
}

impl<R: RecordStore> EtcdInserter<R> {
    /// Creates an inserter without containers. Its circuit breaker is open until the first probe.
    pub(crate) fn new(setup: InserterSetup<R>) -> Self {
        let now = Instant::now();
        let InserterSetup { store, policy, namespace, write_log, request_listing, recorder, log } =
            setup;
        Self {
            reconciler: Reconciler::new(
                policy.clone(),
                write_log,
                recorder.clone(),
                now,
                log.clone(),
            ),
            store,
            circuit_breaker: CircuitBreaker::new(now),
            lease_manager: LeaseManager::new(namespace, now),
            watch: WatchState::new(now),
            request_listing,
            in_flight: BatchesInFlight::default(),
            audit_in_flight: false,
            next_audit: now + audit_interval(&policy),
            policy,
            unavailable_since: None,
            expiry_logged: false,
            latest_revision: 0,
            drifted: 0,
            pending_flushes: Vec::new(),
            timer: None,
            recorder,
            log,
        }
    }

    /// Sends the requests that are due, and sets the timer for the next one.
    fn process_due(&mut self, context: &mut MeteredContext<Self>) {
        let now = Instant::now();
        if self.circuit_breaker.is_closed() {
            self.start_due_requests(now, context);
        } else {
            self.await_store(now, context);
        }
        self.complete_flushes();
    }

    /// Probes an unreachable store if a probe is due, and reports the expiry of records meanwhile.
    fn await_store(&mut self, now: Instant, context: &mut MeteredContext<Self>) {
        self.report_expiry(now);
        if self.circuit_breaker.ready_to_probe(now) {
            self.probe(context);
        }
        let next = [self.circuit_breaker.next_probe(), self.next_expiry(now)];
        if let Some(next) = next.into_iter().flatten().min() {
            self.wake_at(next, context);
        }
    }

    fn start_due_requests(&mut self, now: Instant, context: &mut MeteredContext<Self>) {
        self.maintain_lease(now, context);
        self.maintain_watch(now, context);
        if now >= self.next_audit && !self.audit_in_flight {
            self.audit(context);
        }
        self.start_batch(Priority::Change, now, context);
        self.start_batch(Priority::Refresh, now, context);
        // Activities in flight need no timer: they call `process_due` when they end. A timer for
        // an audit in flight would fire at once, again and again.
        if let Some(due) = self.next_wake() {
            self.wake_at(due, context);
        }
    }

    /// Returns the time at which the next activity that is not in flight is due.
    fn next_wake(&self) -> Option<Instant> {
        let idle = [Priority::Change, Priority::Refresh]
            .into_iter()
            .filter(|priority| !self.in_flight.contains(*priority));
        idle.filter_map(|priority| self.reconciler.next_due(priority))
            .chain((!self.audit_in_flight).then_some(self.next_audit))
            .chain(self.next_keep_alive())
            .chain(self.watch.next_reopen())
            .min()
    }

    fn wake_at(&mut self, at: Instant, context: &mut MeteredContext<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        let wait = at.saturating_duration_since(Instant::now());
        self.timer = Some(context.run_later(wait, Self::process_due));
    }

    /// Requests another listing if the last one is suspect.
    fn confirm_listing(&mut self) {
        if self.reconciler.take_listing_request() {
            (self.request_listing)();
        }
    }

    fn complete_flushes(&mut self) {
        if self.pending_flushes.is_empty() || !self.reconciler.is_flushed(Instant::now()) {
            return;
        }
        for flush in self.pending_flushes.drain(..) {
            // The caller of the flush may have given up waiting.
            let _ = flush.send(());
        }
    }
}

impl<R: RecordStore> Actor for EtcdInserter<R> {
    type Context = MeteredContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.process_due(context);
    }
}

impl<R: RecordStore> Metered for EtcdInserter<R> {
    fn mailbox_metrics() -> &'static MailboxMetrics {
        &MAILBOX_METRICS
    }
}

impl<R: RecordStore> Handler<Domain> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, domain: Domain, context: &mut Self::Context) {
        self.reconciler.set_desired(domain, Instant::now());
        self.confirm_listing();
        self.process_due(context);
    }
}

impl<R: RecordStore> Handler<LiveContainers> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, live_containers: LiveContainers, context: &mut Self::Context) {
        self.reconciler.set_live_containers(live_containers, Instant::now());
        self.confirm_listing();
        self.process_due(context);
    }
}

impl<R: RecordStore> Handler<Flush> for EtcdInserter<R> {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, flush: Flush, context: &mut Self::Context) -> Self::Result {
        if flush.withdraw {
            self.reconciler.withdraw_all(Instant::now());
        }
        let (done, flushed) = oneshot::channel();
        self.pending_flushes.push(done);
        self.process_due(context);
        // The reply is a future of the actor's own context. If the inserter crashes before the
        // flush is complete, the reply is an error rather than a success.
        Box::pin(flushed.into_actor(self).map(|_, _, _| ()))
    }
}

impl<R: RecordStore> Handler<CheckNow> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, _: CheckNow, context: &mut Self::Context) {
        let now = Instant::now();
        self.reconciler.refresh_all(now);
        // The probe includes a keep-alive and an audit.
        self.circuit_breaker.request_probe(now);
        self.process_due(context);
    }
}

impl<R: RecordStore> Handler<CountPendingWrites> for EtcdInserter<R> {
    type Result = usize;

    fn handle(&mut self, _: CountPendingWrites, _: &mut Self::Context) -> usize {
        self.reconciler.pending_writes(Instant::now())
    }
}

impl<R: RecordStore> Handler<GetRecordsStatus> for EtcdInserter<R> {
    type Result = MessageResult<GetRecordsStatus>;

    fn handle(&mut self, _: GetRecordsStatus, _: &mut Self::Context) -> Self::Result {
        let now = Instant::now();
        let lease_remaining = self.lease_remaining(now);
        MessageResult(RecordsStatus { lease_remaining, ..self.reconciler.status(now) })
    }
}

impl<R: RecordStore> Handler<GetRecords> for EtcdInserter<R> {
    type Result = MessageResult<GetRecords>;

    fn handle(&mut self, _: GetRecords, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.reconciler.report(Instant::now()))
    }
}

impl<R: RecordStore> Handler<Ping> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

#[cfg(feature = "test-hooks")]
impl<R: RecordStore> Handler<crate::messages::InjectHang> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, _: crate::messages::InjectHang, context: &mut Self::Context) {
        context.wait(std::future::pending().into_actor(self));
    }
}

#[cfg(feature = "test-hooks")]
impl<R: RecordStore> Handler<crate::messages::InjectDelay> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, delay: crate::messages::InjectDelay, context: &mut Self::Context) {
        context.wait(tokio::time::sleep(delay.0).into_actor(self));
    }
}
