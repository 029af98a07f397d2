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
    CheckNow, Domain, Flush, Pulse, ReportRecords, ReportStanding, Roster, Unsettled,
};
use crate::model::record::RecordKey;
use crate::ports::record_store::{
    Found, LeaseFamily, LeaseId, RecordStore, StoreError, StoreErrorKind, Upkeep, Written,
};
use crate::reconciler::{Batch, Deeds, Lane, Ledger, PendingWrite, ReadOutcome, Terms};
use crate::runtime::backoff::Backoff;
use crate::runtime::metered_context::{Metered, MeteredContext};
use crate::runtime::metrics::Meter;
use crate::status::{Chronicle, RecordsStanding};
use lease::Tenancy;
use store_watch::Watch;

static METER: Meter = Meter::new("EtcdInserter", 64);

/// How many keys go to the store in one batch.
const BATCH: usize = 256;
/// Between two tries while the store is away; the cap leaves room, within the
/// second that SPEC 5 allows, for reading and writing after the try that succeeds.
const PROBE: Backoff =
    Backoff { first: Duration::from_millis(50), factor: 2, cap: Duration::from_millis(500) };
/// What the store holds is compared with what it should at least this often.
const AUDIT_AT_LEAST: Duration = Duration::from_secs(60);

/// Whether the store can be written to, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// It answered the last time; `failures` are those before it, until a batch shows
    /// that they are over: a store that is read but not written to answers probes.
    Open { failures: u32 },
    /// It did not; nothing but a probe is sent, at `retry_at`.
    Closed { failures: u32, retry_at: Instant },
    /// It is being probed, and after a probe that it answered, asked for our lease and
    /// read.
    Probing { failures: u32 },
}

/// What the inserter is to know of its publisher besides the [`Terms`].
pub(crate) struct InserterSetup<R: RecordStore> {
    /// Where records go.
    pub store: Rc<R>,
    /// How they are kept.
    pub terms: Terms,
    /// Whose leases are ours, where records hang on leases.
    pub family: LeaseFamily,
    /// What this process wrote; takes note of what it writes.
    pub deeds: Deeds,
    /// To be called when Docker should be listed anew: records of an earlier life were
    /// found, and only a newer listing tells which of them are wanted.
    pub list_again: Rc<dyn Fn()>,
    /// Where to write down what an operator may ask for.
    pub chronicle: Chronicle,
    /// Where to log.
    pub log: Logger,
}

/// Brings the store to what the watchers say should be there, and keeps it there.
pub struct EtcdInserter<R: RecordStore> {
    store: Rc<R>,
    terms: Terms,
    ledger: Ledger,
    gate: Gate,
    tenancy: Tenancy,
    watch: Watch,
    list_again: Rc<dyn Fn()>,
    changing: bool,
    refreshing: bool,
    auditing: bool,
    next_audit: Instant,
    away_since: Option<Instant>,
    /// How many records an outage has changed, as far as audits showed.
    drifted: u64,
    flushes: Vec<oneshot::Sender<()>>,
    timer: Option<SpawnHandle>,
    chronicle: Chronicle,
    log: Logger,
}

type WriteOutcome = (PendingWrite, Result<Written, StoreError>);

impl<R: RecordStore> EtcdInserter<R> {
    /// An inserter that knows of no container.
    pub(crate) fn new(setup: InserterSetup<R>) -> Self {
        let now = Instant::now();
        let InserterSetup { store, terms, family, deeds, list_again, chronicle, log } = setup;
        Self {
            ledger: Ledger::new(terms.clone(), deeds, chronicle.clone(), now, log.clone()),
            store,
            // The first probe tells an operator at once whether etcd is there.
            gate: Gate::Closed { failures: 0, retry_at: now },
            tenancy: Tenancy::new(family, now),
            watch: Watch::new(now),
            list_again,
            changing: false,
            refreshing: false,
            auditing: false,
            next_audit: now + audit_every(&terms),
            terms,
            away_since: None,
            drifted: 0,
            flushes: Vec::new(),
            timer: None,
            chronicle,
            log,
        }
    }

    /// Sends what is due, and sees to it that it is called again when more is.
    fn pump(&mut self, context: &mut MeteredContext<Self>) {
        let now = Instant::now();
        match self.gate {
            Gate::Probing { .. } => {}
            Gate::Closed { failures, retry_at } if now >= retry_at => {
                self.gate = Gate::Probing { failures };
                if failures > 0 {
                    self.chronicle.store_retried();
                }
                self.probe(context);
            }
            Gate::Closed { retry_at, .. } => self.wake_at(retry_at, context),
            Gate::Open { .. } => {
                self.keep_lease(now, context);
                self.keep_watch(now, context);
                if now >= self.next_audit && !self.auditing {
                    self.audit(context);
                }
                self.run_lane(Lane::Change, now, context);
                self.run_lane(Lane::Routine, now, context);
                // Where all that could be due is busy, there is nothing to wake for; a timer
                // for an audit that is under way would fire at once, over and over.
                if let Some(due) = self.next_wake() {
                    self.wake_at(due, context);
                }
            }
        }
        self.answer_flushes();
    }

    /// The next moment at which something that is idle has something to do. What is
    /// busy calls again by itself.
    fn next_wake(&self) -> Option<Instant> {
        let lanes = [(Lane::Change, self.changing), (Lane::Routine, self.refreshing)];
        let idle = lanes.into_iter().filter(|(_, busy)| !busy).map(|(lane, _)| lane);
        idle.filter_map(|lane| self.ledger.next_due(lane))
            .chain((!self.auditing).then_some(self.next_audit))
            .chain(self.next_keep_alive())
            .chain(self.watch.next())
            .min()
    }

    fn wake_at(&mut self, at: Instant, context: &mut MeteredContext<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        let wait = at.saturating_duration_since(Instant::now());
        self.timer = Some(context.run_later(wait, Self::pump));
    }

    fn run_lane(&mut self, lane: Lane, now: Instant, context: &mut MeteredContext<Self>) {
        let busy = match lane {
            Lane::Change => &mut self.changing,
            Lane::Routine => &mut self.refreshing,
        };
        if *busy {
            return;
        }
        let mut batch = self.ledger.take(lane, BATCH, now);
        if planted!(RefreshForgetsABatch) && lane == Lane::Routine {
            batch.writes.truncate(batch.writes.len() / 2);
        }
        if batch.is_empty() {
            return;
        }
        *busy = true;
        let sent = send(Rc::clone(&self.store), batch);
        context.spawn(sent.into_actor(self).map(move |(writes, reads), inserter, context| {
            match lane {
                Lane::Change => inserter.changing = false,
                Lane::Routine => inserter.refreshing = false,
            }
            inserter.settle(lane, writes, reads);
            inserter.pump(context);
        }));
    }

    fn settle(&mut self, lane: Lane, writes: Vec<WriteOutcome>, reads: Vec<ReadOutcome>) {
        let now = Instant::now();
        if writes.iter().any(|(_, outcome)| matches!(outcome, Ok(Written::Done))) {
            self.chronicle.store_written();
        }
        let failures = writes.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
        let failures = failures.chain(errors_of(&reads));
        let (outage, lease_lost) = failures.fold((None, false), |(outage, lost), error| {
            (worse(outage, error), lost || error.kind == StoreErrorKind::LeaseLost)
        });
        let outage = outage.cloned();
        if lane == Lane::Routine {
            info!(self.log, "refreshed"; "records" => writes.len(), "looked_at" => reads.len());
        }
        for (write, outcome) in writes {
            self.ledger.wrote(write, outcome, now);
        }
        for (key, outcome) in reads {
            self.ledger.have_read(&key, outcome, now);
        }
        if lease_lost {
            self.lose_lease(now);
        }
        match outage {
            Some(error) => self.close_gate(&error),
            None => self.works_again(),
        }
    }

    /// A batch went through.
    fn works_again(&mut self) {
        let Gate::Open { failures } = &mut self.gate else { return };
        *failures = 0;
        if let Some(since) = self.away_since.take() {
            self.chronicle.store_answers();
            notice!(self.log, "etcd answers again"; "away_seconds" => since.elapsed().as_secs_f64(),
                "mended" => std::mem::take(&mut self.drifted));
        }
    }

    fn close_gate(&mut self, error: &StoreError) {
        let failures = match self.gate {
            Gate::Closed { .. } => return,
            Gate::Open { failures } | Gate::Probing { failures } => failures,
        };
        self.chronicle.store_failed(error);
        if self.away_since.is_none() {
            self.away_since = Some(Instant::now());
            warn!(self.log, "etcd does not answer; all changes are kept and written once it does";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "etcd still does not answer";
                "error" => %error, "tries" => failures + 1);
        }
        let failures = failures.saturating_add(1);
        let retry_at = Instant::now() + PROBE.wait(failures, fastrand::f64());
        self.gate = Gate::Closed { failures, retry_at };
    }

    /// Has the store asked at once whether it is there.
    fn doubt_store(&mut self, now: Instant) {
        if let Gate::Open { failures } = self.gate {
            self.gate = Gate::Closed { failures, retry_at: now };
        }
    }

    /// After a failure: asks whether the store is there, whether our lease lives, and
    /// what the store holds, before anything else is sent.
    fn probe(&mut self, context: &mut MeteredContext<Self>) {
        let store = Rc::clone(&self.store);
        let occupy = self.occupy();
        let probe = async move {
            store.probe().await?;
            occupy.await
        };
        context.spawn(probe.into_actor(self).map(|answer, inserter, context| match answer {
            Ok(occupied) => {
                inserter.occupied(occupied);
                inserter.audit(context);
            }
            Err(error) => {
                inserter.close_gate(&error);
                inserter.pump(context);
            }
        }));
    }

    fn audit(&mut self, context: &mut MeteredContext<Self>) {
        self.auditing = true;
        let (began, keys) = self.ledger.audit();
        let read = read_all(Rc::clone(&self.store), keys, self.tenancy.leases());
        context.spawn(read.into_actor(self).map(move |found, inserter, context| {
            inserter.auditing = false;
            inserter.audited(began, found);
            inserter.pump(context);
        }));
    }

    fn audited(&mut self, began: u64, found: Result<Vec<ReadOutcome>, StoreError>) {
        let now = Instant::now();
        self.next_audit = now + audit_every(&self.terms);
        let compared = found.is_ok();
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind.is_outage() => return self.close_gate(&error),
            Err(error) => {
                warn!(self.log, "etcd can't be compared with what should be there";
                    "error" => %error, "kind" => error.kind.as_str());
                Vec::new()
            }
        };
        let outage = errors_of(&found).fold(None, worse).cloned();
        let keys = found.len();
        if self.terms.upkeep == Upkeep::Lease && self.ledger.take_unknown(&found, now) {
            (self.list_again)();
        }
        let drifted = self.ledger.audited(began, found, now);
        if let Some(error) = outage {
            return self.close_gate(&error);
        }
        info!(self.log, "audited"; "records" => keys, "mended" => drifted);
        if compared {
            self.chronicle.store_audited();
        }
        let Gate::Probing { failures } = self.gate else { return };
        // A keep-alive that was under way may have told meanwhile that the lease is lost. With
        // an open gate and no lease nothing would be put any more, nor a lease asked for.
        if self.terms.upkeep == Upkeep::Lease && !self.tenancy.has_current() {
            self.gate = Gate::Closed { failures, retry_at: now };
            return;
        }
        self.drifted += drifted;
        self.gate = Gate::Open { failures };
        if self.away_since.is_none() {
            self.chronicle.store_answers();
        }
        let due = |lane| self.ledger.next_due(lane).is_some_and(|at| at <= now);
        if !due(Lane::Change) && !due(Lane::Routine) {
            self.works_again();
        }
    }

    /// Has Docker listed again where its last listing is not believed.
    fn confirm(&mut self) {
        if self.ledger.take_doubt() {
            (self.list_again)();
        }
    }

    fn answer_flushes(&mut self) {
        if self.flushes.is_empty() || self.ledger.unsettled() > 0 {
            return;
        }
        for flush in self.flushes.drain(..) {
            // Who asked may have given up waiting.
            let _ = flush.send(());
        }
    }
}

fn errors_of(reads: &[ReadOutcome]) -> impl Iterator<Item = &StoreError> {
    reads.iter().filter_map(|(_, outcome)| outcome.as_ref().err())
}

/// Of the errors that tell of the store as a whole the one that says most: what a
/// request met, rather than that others were not sent because of it.
fn worse<'a>(so_far: Option<&'a StoreError>, error: &'a StoreError) -> Option<&'a StoreError> {
    match so_far {
        _ if !error.kind.is_outage() => so_far,
        Some(known) if known.kind.leaves_doubt() || !error.kind.leaves_doubt() => so_far,
        _ => Some(error),
    }
}

fn audit_every(terms: &Terms) -> Duration {
    terms.ttl.min(AUDIT_AT_LEAST).mul_f64(0.9 + fastrand::f64() * 0.1)
}

/// Reads all that hangs on our leases, and of the other keys each by itself.
async fn read_all<R: RecordStore>(
    store: Rc<R>,
    keys: Vec<RecordKey>,
    leases: Vec<LeaseId>,
) -> Result<Vec<ReadOutcome>, StoreError> {
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

type ReadResult = Result<Option<Found>, StoreError>;

async fn send<R: RecordStore>(store: Rc<R>, batch: Batch) -> (Vec<WriteOutcome>, Vec<ReadOutcome>) {
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
        self.pump(context);
    }
}

impl<R: RecordStore> Metered for EtcdInserter<R> {
    fn meter() -> &'static Meter {
        &METER
    }
}

impl<R: RecordStore> Handler<Domain> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, domain: Domain, context: &mut Self::Context) {
        self.ledger.tell(domain, Instant::now());
        self.confirm();
        self.pump(context);
    }
}

impl<R: RecordStore> Handler<Roster> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, roster: Roster, context: &mut Self::Context) {
        self.ledger.take_roster(roster, Instant::now());
        self.confirm();
        self.pump(context);
    }
}

impl<R: RecordStore> Handler<Flush> for EtcdInserter<R> {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, flush: Flush, context: &mut Self::Context) -> Self::Result {
        if flush.withdraw {
            self.ledger.withdraw_all(Instant::now());
        }
        let (done, flushed) = oneshot::channel();
        self.flushes.push(done);
        self.pump(context);
        // In the actor's own context: an inserter that falls before it answers has not flushed,
        // and a future that outlived it would say that it has.
        Box::pin(flushed.into_actor(self).map(|_, _, _| ()))
    }
}

impl<R: RecordStore> Handler<CheckNow> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, _: CheckNow, context: &mut Self::Context) {
        let now = Instant::now();
        self.ledger.refresh_all(now);
        // With the probe come a keep-alive and an audit.
        self.doubt_store(now);
        self.pump(context);
    }
}

impl<R: RecordStore> Handler<Unsettled> for EtcdInserter<R> {
    type Result = usize;

    fn handle(&mut self, _: Unsettled, _: &mut Self::Context) -> usize {
        self.ledger.unsettled()
    }
}

impl<R: RecordStore> Handler<ReportStanding> for EtcdInserter<R> {
    type Result = MessageResult<ReportStanding>;

    fn handle(&mut self, _: ReportStanding, _: &mut Self::Context) -> Self::Result {
        let lease_remaining = self.lease_remaining(Instant::now());
        MessageResult(RecordsStanding { lease_remaining, ..self.ledger.standing() })
    }
}

impl<R: RecordStore> Handler<ReportRecords> for EtcdInserter<R> {
    type Result = MessageResult<ReportRecords>;

    fn handle(&mut self, _: ReportRecords, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.ledger.report())
    }
}

impl<R: RecordStore> Handler<Pulse> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, _: Pulse, _: &mut Self::Context) {}
}

#[cfg(feature = "test-hooks")]
impl<R: RecordStore> Handler<crate::messages::Hang> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, _: crate::messages::Hang, context: &mut Self::Context) {
        context.wait(std::future::pending().into_actor(self));
    }
}

#[cfg(feature = "test-hooks")]
impl<R: RecordStore> Handler<crate::messages::Dawdle> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, dawdle: crate::messages::Dawdle, context: &mut Self::Context) {
        context.wait(tokio::time::sleep(dawdle.0).into_actor(self));
    }
}
