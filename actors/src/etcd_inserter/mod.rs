//! EtcdInserter: owns what should be in the store, and what is.

mod lease;
mod store_watch;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Handler, MessageResult, ResponseActFuture, SpawnHandle,
    WrapFuture,
};
use futures_util::future::join;
use slog::{Logger, warn};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::messages::{
    CheckNow, CountPendingWrites, Domain, Flush, GetRecords, GetRecordsStatus, LiveContainers, Ping,
};
use crate::model::record::RecordKey;
use crate::ports::record_store::{
    KeepAliveMode, LeaseId, LeaseNamespace, RecordStore, StoreError, StoreErrorKind, StoredRecord,
    WriteOutcome,
};
use crate::reconciler::{
    Batch, CompletedRead, PendingWrite, Priority, Reconciler, RecordPolicy, WriteLog,
};
use crate::runtime::backoff::Backoff;
use crate::runtime::metered_context::{Metered, MeteredContext};
use crate::runtime::metrics::MailboxMetrics;
use crate::status::{RecordsStatus, StatusRecorder};
use lease::LeaseManager;
use store_watch::WatchState;

static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new("EtcdInserter", 64);

/// How many keys go to the store in one batch.
const BATCH_SIZE_MAX: usize = 256;
/// Between two tries while the store is away; the cap leaves room, within the
/// second that SPEC 5 allows, for reading and writing after the try that succeeds.
const PROBE_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(50), factor: 2, cap: Duration::from_millis(500) };
/// What the store holds is compared with what it should at least this often.
const AUDIT_INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Whether the store can be written to, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CircuitBreaker {
    /// It answered the last time; `failures` are those before it, until a batch shows
    /// that they are over: a store that is read but not written to answers probes.
    Closed { failures: u32 },
    /// It did not; nothing but a probe is sent, at `retry_at`.
    Open { failures: u32, retry_at: Instant },
    /// It is being probed, and after a probe that it answered, asked for our lease and
    /// read.
    HalfOpen { failures: u32 },
}

/// What the inserter is to know of its publisher besides the [`RecordPolicy`].
pub(crate) struct InserterSetup<R: RecordStore> {
    /// Where records go.
    pub store: Rc<R>,
    /// How they are kept.
    pub policy: RecordPolicy,
    /// Whose leases are ours, where records hang on leases.
    pub namespace: LeaseNamespace,
    /// What this process wrote; takes note of what it writes.
    pub write_log: WriteLog,
    /// To be called when Docker should be listed anew: records of an earlier life were
    /// found, and only a newer listing tells which of them are wanted.
    pub request_listing: Rc<dyn Fn()>,
    /// Where to write down what an operator may ask for.
    pub recorder: StatusRecorder,
    /// Where to log.
    pub log: Logger,
}

/// Brings the store to what the watchers say should be there, and keeps it there.
pub struct EtcdInserter<R: RecordStore> {
    store: Rc<R>,
    policy: RecordPolicy,
    reconciler: Reconciler,
    circuit_breaker: CircuitBreaker,
    lease_manager: LeaseManager,
    watch: WatchState,
    request_listing: Rc<dyn Fn()>,
    change_in_flight: bool,
    refresh_in_flight: bool,
    audit_in_flight: bool,
    next_audit: Instant,
    unavailable_since: Option<Instant>,
    /// How many records an outage has changed, as far as audits showed.
    drifted: u64,
    pending_flushes: Vec<oneshot::Sender<()>>,
    timer: Option<SpawnHandle>,
    recorder: StatusRecorder,
    log: Logger,
}

type CompletedWrite = (PendingWrite, Result<WriteOutcome, StoreError>);

impl<R: RecordStore> EtcdInserter<R> {
    /// An inserter that knows of no container.
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
            // The first probe tells an operator at once whether etcd is there.
            circuit_breaker: CircuitBreaker::Open { failures: 0, retry_at: now },
            lease_manager: LeaseManager::new(namespace, now),
            watch: WatchState::new(now),
            request_listing,
            change_in_flight: false,
            refresh_in_flight: false,
            audit_in_flight: false,
            next_audit: now + audit_interval(&policy),
            policy,
            unavailable_since: None,
            drifted: 0,
            pending_flushes: Vec::new(),
            timer: None,
            recorder,
            log,
        }
    }

    /// Sends what is due, and sees to it that it is called again when more is.
    fn process_due(&mut self, context: &mut MeteredContext<Self>) {
        let now = Instant::now();
        match self.circuit_breaker {
            CircuitBreaker::HalfOpen { .. } => {}
            CircuitBreaker::Open { failures, retry_at } if now >= retry_at => {
                self.circuit_breaker = CircuitBreaker::HalfOpen { failures };
                if failures > 0 {
                    self.recorder.record_store_retry();
                }
                self.probe(context);
            }
            CircuitBreaker::Open { retry_at, .. } => self.wake_at(retry_at, context),
            CircuitBreaker::Closed { .. } => {
                self.maintain_lease(now, context);
                self.maintain_watch(now, context);
                if now >= self.next_audit && !self.audit_in_flight {
                    self.audit(context);
                }
                self.start_batch(Priority::Change, now, context);
                self.start_batch(Priority::Refresh, now, context);
                // Where all that could be due is busy, there is nothing to wake for; a timer
                // for an audit that is under way would fire at once, over and over.
                if let Some(due) = self.next_wake() {
                    self.wake_at(due, context);
                }
            }
        }
        self.complete_flushes();
    }

    /// The next moment at which something that is idle has something to do. What is
    /// busy calls again by itself.
    fn next_wake(&self) -> Option<Instant> {
        let priorities = [
            (Priority::Change, self.change_in_flight),
            (Priority::Refresh, self.refresh_in_flight),
        ];
        let idle = priorities.into_iter().filter(|(_, busy)| !busy).map(|(priority, _)| priority);
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

    fn start_batch(
        &mut self,
        priority: Priority,
        now: Instant,
        context: &mut MeteredContext<Self>,
    ) {
        let busy = match priority {
            Priority::Change => &mut self.change_in_flight,
            Priority::Refresh => &mut self.refresh_in_flight,
        };
        if *busy {
            return;
        }
        let mut batch = self.reconciler.take_batch(priority, BATCH_SIZE_MAX, now);
        if planted!(RefreshForgetsABatch) && priority == Priority::Refresh {
            batch.writes.truncate(batch.writes.len() / 2);
        }
        if batch.is_empty() {
            return;
        }
        *busy = true;
        let sent = send_batch(Rc::clone(&self.store), batch);
        context.spawn(sent.into_actor(self).map(move |(writes, reads), inserter, context| {
            match priority {
                Priority::Change => inserter.change_in_flight = false,
                Priority::Refresh => inserter.refresh_in_flight = false,
            }
            inserter.apply_results(priority, writes, reads);
            inserter.process_due(context);
        }));
    }

    fn apply_results(
        &mut self,
        priority: Priority,
        writes: Vec<CompletedWrite>,
        reads: Vec<CompletedRead>,
    ) {
        let now = Instant::now();
        if writes.iter().any(|(_, outcome)| matches!(outcome, Ok(WriteOutcome::Done))) {
            self.recorder.record_store_write();
        }
        let failures = writes.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
        let failures = failures.chain(read_errors(&reads));
        let (outage, lease_lost) = failures.fold((None, false), |(outage, lost), error| {
            (more_severe(outage, error), lost || error.kind == StoreErrorKind::LeaseLost)
        });
        let outage = outage.cloned();
        if priority == Priority::Refresh {
            info!(self.log, "refreshed"; "records" => writes.len(), "looked_at" => reads.len());
        }
        for (write, outcome) in writes {
            self.reconciler.apply_write(write, outcome, now);
        }
        for (key, outcome) in reads {
            self.reconciler.apply_read(&key, outcome, now);
        }
        if lease_lost {
            self.lose_lease(now);
        }
        match outage {
            Some(error) => self.open_circuit(&error),
            None => self.handle_success(),
        }
    }

    /// A batch went through.
    fn handle_success(&mut self) {
        let CircuitBreaker::Closed { failures } = &mut self.circuit_breaker else { return };
        *failures = 0;
        if let Some(since) = self.unavailable_since.take() {
            self.recorder.record_store_available();
            notice!(self.log, "etcd answers again"; "away_seconds" => since.elapsed().as_secs_f64(),
                "mended" => std::mem::take(&mut self.drifted));
        }
    }

    fn open_circuit(&mut self, error: &StoreError) {
        let failures = match self.circuit_breaker {
            CircuitBreaker::Open { .. } => return,
            CircuitBreaker::Closed { failures } | CircuitBreaker::HalfOpen { failures } => failures,
        };
        self.recorder.record_store_error(error);
        if self.unavailable_since.is_none() {
            self.unavailable_since = Some(Instant::now());
            warn!(self.log, "etcd does not answer; all changes are kept and written once it does";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "etcd still does not answer";
                "error" => %error, "tries" => failures + 1);
        }
        let failures = failures.saturating_add(1);
        let retry_at = Instant::now() + PROBE_BACKOFF.wait(failures, fastrand::f64());
        self.circuit_breaker = CircuitBreaker::Open { failures, retry_at };
    }

    /// Has the store asked at once whether it is there.
    fn request_probe(&mut self, now: Instant) {
        if let CircuitBreaker::Closed { failures } = self.circuit_breaker {
            self.circuit_breaker = CircuitBreaker::Open { failures, retry_at: now };
        }
    }

    /// After a failure: asks whether the store is there, whether our lease lives, and
    /// what the store holds, before anything else is sent.
    fn probe(&mut self, context: &mut MeteredContext<Self>) {
        let store = Rc::clone(&self.store);
        let ensure_lease = self.ensure_lease();
        let probe = async move {
            store.probe().await?;
            ensure_lease.await
        };
        context.spawn(probe.into_actor(self).map(|answer, inserter, context| match answer {
            Ok(outcome) => {
                inserter.handle_lease_outcome(outcome);
                inserter.audit(context);
            }
            Err(error) => {
                inserter.open_circuit(&error);
                inserter.process_due(context);
            }
        }));
    }

    fn audit(&mut self, context: &mut MeteredContext<Self>) {
        self.audit_in_flight = true;
        let (began, keys) = self.reconciler.begin_audit();
        let read = read_all(Rc::clone(&self.store), keys, self.lease_manager.leases());
        context.spawn(read.into_actor(self).map(move |found, inserter, context| {
            inserter.audit_in_flight = false;
            inserter.handle_audit(began, found);
            inserter.process_due(context);
        }));
    }

    fn handle_audit(&mut self, began: u64, found: Result<Vec<CompletedRead>, StoreError>) {
        let now = Instant::now();
        self.next_audit = now + audit_interval(&self.policy);
        let compared = found.is_ok();
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind.is_outage() => return self.open_circuit(&error),
            Err(error) => {
                warn!(self.log, "etcd can't be compared with what should be there";
                    "error" => %error, "kind" => error.kind.as_str());
                Vec::new()
            }
        };
        let outage = read_errors(&found).fold(None, more_severe).cloned();
        let keys = found.len();
        if self.policy.keep_alive_mode == KeepAliveMode::Lease
            && self.reconciler.handle_unknown_keys(&found, now)
        {
            (self.request_listing)();
        }
        let drifted = self.reconciler.apply_audit(began, found, now);
        if let Some(error) = outage {
            return self.open_circuit(&error);
        }
        info!(self.log, "audited"; "records" => keys, "mended" => drifted);
        if compared {
            self.recorder.record_store_audit();
        }
        let CircuitBreaker::HalfOpen { failures } = self.circuit_breaker else { return };
        // A keep-alive that was under way may have told meanwhile that the lease is lost. With
        // an open gate and no lease nothing would be put any more, nor a lease asked for.
        if self.policy.keep_alive_mode == KeepAliveMode::Lease && !self.lease_manager.has_current()
        {
            self.circuit_breaker = CircuitBreaker::Open { failures, retry_at: now };
            return;
        }
        self.drifted += drifted;
        self.circuit_breaker = CircuitBreaker::Closed { failures };
        if self.unavailable_since.is_none() {
            self.recorder.record_store_available();
        }
        let due = |priority| self.reconciler.next_due(priority).is_some_and(|at| at <= now);
        if !due(Priority::Change) && !due(Priority::Refresh) {
            self.handle_success();
        }
    }

    /// Has Docker listed again where its last listing is not believed.
    fn confirm_listing(&mut self) {
        if self.reconciler.take_listing_request() {
            (self.request_listing)();
        }
    }

    fn complete_flushes(&mut self) {
        if self.pending_flushes.is_empty() || self.reconciler.pending_writes() > 0 {
            return;
        }
        for flush in self.pending_flushes.drain(..) {
            // Who asked may have given up waiting.
            let _ = flush.send(());
        }
    }
}

fn read_errors(reads: &[CompletedRead]) -> impl Iterator<Item = &StoreError> {
    reads.iter().filter_map(|(_, outcome)| outcome.as_ref().err())
}

/// Of the errors that tell of the store as a whole the one that says most: what a
/// request met, rather than that others were not sent because of it.
fn more_severe<'a>(
    so_far: Option<&'a StoreError>,
    error: &'a StoreError,
) -> Option<&'a StoreError> {
    match so_far {
        _ if !error.kind.is_outage() => so_far,
        Some(known) if known.kind.is_uncertain() || !error.kind.is_uncertain() => so_far,
        _ => Some(error),
    }
}

fn audit_interval(policy: &RecordPolicy) -> Duration {
    policy.ttl.min(AUDIT_INTERVAL_MAX).mul_f64(0.9 + fastrand::f64() * 0.1)
}

/// Reads all that hangs on our leases, and of the other keys each by itself.
async fn read_all<R: RecordStore>(
    store: Rc<R>,
    keys: Vec<RecordKey>,
    leases: Vec<LeaseId>,
) -> Result<Vec<CompletedRead>, StoreError> {
    let mut found: BTreeMap<RecordKey, ReadResult> = BTreeMap::new();
    for lease in leases {
        let on_lease = store.leased(lease).await?;
        found.extend(on_lease.into_iter().map(|(key, found)| (key, Ok(Some(found)))));
    }
    let others: Vec<_> = keys.into_iter().filter(|key| !found.contains_key(key)).collect();
    if !others.is_empty() {
        let read = store.read(others.clone()).await;
        found.extend(others.into_iter().zip(read));
    }
    Ok(found.into_iter().collect())
}

type ReadResult = Result<Option<StoredRecord>, StoreError>;

async fn send_batch<R: RecordStore>(
    store: Rc<R>,
    batch: Batch,
) -> (Vec<CompletedWrite>, Vec<CompletedRead>) {
    let Batch { writes, reads } = batch;
    let requests = writes.iter().map(|pending| pending.write.clone()).collect::<Vec<_>>();
    let write =
        async { if requests.is_empty() { Vec::new() } else { store.write(requests).await } };
    let read =
        async { if reads.is_empty() { Vec::new() } else { store.read(reads.clone()).await } };
    let (written, found) = join(write, read).await;
    (writes.into_iter().zip(written).collect(), reads.into_iter().zip(found).collect())
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
        // In the actor's own context: an inserter that falls before it answers has not flushed,
        // and a future that outlived it would say that it has.
        Box::pin(flushed.into_actor(self).map(|_, _, _| ()))
    }
}

impl<R: RecordStore> Handler<CheckNow> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, _: CheckNow, context: &mut Self::Context) {
        let now = Instant::now();
        self.reconciler.refresh_all(now);
        // With the probe come a keep-alive and an audit.
        self.request_probe(now);
        self.process_due(context);
    }
}

impl<R: RecordStore> Handler<CountPendingWrites> for EtcdInserter<R> {
    type Result = usize;

    fn handle(&mut self, _: CountPendingWrites, _: &mut Self::Context) -> usize {
        self.reconciler.pending_writes()
    }
}

impl<R: RecordStore> Handler<GetRecordsStatus> for EtcdInserter<R> {
    type Result = MessageResult<GetRecordsStatus>;

    fn handle(&mut self, _: GetRecordsStatus, _: &mut Self::Context) -> Self::Result {
        let lease_remaining = self.lease_remaining(Instant::now());
        MessageResult(RecordsStatus { lease_remaining, ..self.reconciler.status() })
    }
}

impl<R: RecordStore> Handler<GetRecords> for EtcdInserter<R> {
    type Result = MessageResult<GetRecords>;

    fn handle(&mut self, _: GetRecords, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.reconciler.report())
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
