//! The batches of requests to the store: one of changes and one of refreshes at a time.

use std::rc::Rc;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use futures_util::future::join;
use tokio::time::Instant;

use super::EtcdInserter;
use crate::ports::record_store::{RecordStore, StoreError, StoreErrorKind, WriteOutcome};
use crate::reconciler::{Batch, CompletedRead, PendingWrite, Priority};
use crate::runtime::metered_context::MeteredContext;

/// The largest number of keys in one batch.
const BATCH_SIZE_MAX: usize = 256;

/// The priorities with a batch in flight. At most one batch of each priority is in flight.
#[derive(Default)]
pub(super) struct BatchesInFlight {
    change: bool,
    refresh: bool,
}

impl BatchesInFlight {
    /// Returns `true` if a batch of this priority is in flight.
    pub fn contains(&self, priority: Priority) -> bool {
        match priority {
            Priority::Change => self.change,
            Priority::Refresh => self.refresh,
        }
    }

    fn set(&mut self, priority: Priority, in_flight: bool) {
        match priority {
            Priority::Change => self.change = in_flight,
            Priority::Refresh => self.refresh = in_flight,
        }
    }
}

/// The outcome of every request of a batch.
struct BatchOutcomes {
    writes: Vec<CompletedWrite>,
    reads: Vec<CompletedRead>,
}

type CompletedWrite = (PendingWrite, Result<WriteOutcome, StoreError>);

impl<R: RecordStore> EtcdInserter<R> {
    pub(super) fn start_batch(
        &mut self,
        priority: Priority,
        now: Instant,
        context: &mut MeteredContext<Self>,
    ) {
        if self.in_flight.contains(priority) {
            return;
        }
        let batch = self.take_batch(priority, now);
        if batch.is_empty() {
            return;
        }
        self.in_flight.set(priority, true);
        let sent = send_batch(Rc::clone(&self.store), batch);
        context.spawn(sent.into_actor(self).map(move |outcomes, inserter, context| {
            inserter.in_flight.set(priority, false);
            inserter.apply_outcomes(priority, outcomes);
            inserter.process_due(context);
        }));
    }

    fn take_batch(&mut self, priority: Priority, now: Instant) -> Batch {
        let mut batch = self.reconciler.take_batch(priority, BATCH_SIZE_MAX, now);
        if mutated!(RefreshSkipsHalfOfBatch) && priority == Priority::Refresh {
            batch.writes.truncate(batch.writes.len() / 2);
        }
        batch
    }

    fn apply_outcomes(
        &mut self,
        priority: Priority,
        BatchOutcomes { writes, reads }: BatchOutcomes,
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
}

/// Returns the errors of the reads.
pub(super) fn read_errors(reads: &[CompletedRead]) -> impl Iterator<Item = &StoreError> {
    reads.iter().filter_map(|(_, outcome)| outcome.as_ref().err())
}

/// Returns the more informative of two outages: the error of a request that was sent, rather than
/// that of a request that was not sent because of it. Errors of single keys are ignored.
pub(super) fn more_severe<'a>(
    so_far: Option<&'a StoreError>,
    error: &'a StoreError,
) -> Option<&'a StoreError> {
    match so_far {
        _ if !error.kind.is_outage() => so_far,
        Some(known) if known.kind.is_uncertain() || !error.kind.is_uncertain() => so_far,
        _ => Some(error),
    }
}

async fn send_batch<R: RecordStore>(store: Rc<R>, batch: Batch) -> BatchOutcomes {
    let Batch { writes, reads } = batch;
    let requests = writes.iter().map(|pending| pending.write.clone()).collect::<Vec<_>>();
    let write =
        async { if requests.is_empty() { Vec::new() } else { store.write(requests).await } };
    let read =
        async { if reads.is_empty() { Vec::new() } else { store.read(reads.clone()).await } };
    let (written, found) = join(write, read).await;
    BatchOutcomes {
        writes: writes.into_iter().zip(written).collect(),
        reads: reads.into_iter().zip(found).collect(),
    }
}
