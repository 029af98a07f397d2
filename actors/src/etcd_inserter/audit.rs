//! The audit: compares the store with the reconciler's state.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use slog::warn;
use tokio::time::Instant;

use super::EtcdInserter;
use super::batches::{more_severe, read_errors};
use super::lease::{LeaseReading, read_leases};
use crate::model::record::RecordKey;
use crate::ports::record_store::{KeepAliveMode, LeaseId, RecordStore, StoreError, StoredRecord};
use crate::reconciler::{CompletedRead, Priority, RecordPolicy};
use crate::runtime::metered_context::MeteredContext;

/// The longest interval between two audits.
const AUDIT_INTERVAL_MAX: Duration = Duration::from_secs(60);

type ReadResult = Result<Option<StoredRecord>, StoreError>;

impl<R: RecordStore> EtcdInserter<R> {
    pub(super) fn audit(&mut self, context: &mut MeteredContext<Self>) {
        self.audit_in_flight = true;
        let (began, keys) = self.reconciler.begin_audit();
        let read = read_all(Rc::clone(&self.store), keys, self.lease_manager.leases());
        context.spawn(read.into_actor(self).map(move |found, inserter, context| {
            inserter.audit_in_flight = false;
            inserter.handle_audit(began, found);
            inserter.process_due(context);
        }));
    }

    fn handle_audit(&mut self, began: u64, audited: Result<AuditReading, StoreError>) {
        let now = Instant::now();
        self.next_audit = now + audit_interval(&self.policy);
        let compared = audited.is_ok();
        let AuditReading { found, revision } = match audited {
            Ok(reading) => reading,
            Err(error) if error.kind.is_outage() => return self.open_circuit(&error),
            Err(error) => {
                warn!(self.log, "audit failed: cannot read etcd; will retry";
                    "error" => %error, "kind" => error.kind.as_str());
                AuditReading::default()
            }
        };
        let outage = read_errors(&found).fold(None, more_severe).cloned();
        let keys = found.len();
        if self.policy.keep_alive_mode == KeepAliveMode::Lease {
            if self.reconciler.handle_unknown_keys(&found, now) {
                (self.request_listing)();
            }
            self.reconciler.note_lease_reading(revision, found_keys(&found));
        }
        self.latest_revision = self.latest_revision.max(revision.unwrap_or(0));
        let drifted = self.reconciler.apply_audit(began, found, now);
        if let Some(error) = outage {
            return self.open_circuit(&error);
        }
        if compared {
            info!(self.log, "audited"; "records" => keys, "repaired" => drifted);
            self.recorder.record_store_audit();
        }
        if self.circuit_breaker.is_half_open() {
            self.finish_probe(drifted, now);
        }
    }

    /// Closes the circuit breaker after the audit of a probe.
    fn finish_probe(&mut self, drifted: u64, now: Instant) {
        // A keep-alive that was in flight may have reported the loss of the lease. With a closed
        // breaker and no lease, no record would be written and no lease acquired.
        if self.policy.keep_alive_mode == KeepAliveMode::Lease && !self.lease_manager.has_current()
        {
            self.circuit_breaker.repeat_probe(now);
            return;
        }
        self.drifted += drifted;
        self.circuit_breaker.close();
        if self.unavailable_since.is_none() {
            self.recorder.record_store_available();
        }
        let due = |priority| self.reconciler.next_due(priority).is_some_and(|at| at <= now);
        if !due(Priority::Change) && !due(Priority::Refresh) {
            self.handle_success();
        }
    }
}

pub(super) fn audit_interval(policy: &RecordPolicy) -> Duration {
    policy.ttl.min(AUDIT_INTERVAL_MAX).mul_f64(0.9 + fastrand::f64() * 0.1)
}

/// The results of the reads of an audit.
#[derive(Default)]
struct AuditReading {
    found: Vec<CompletedRead>,
    /// A revision of the store at which the records on all leases were complete. `None` if a
    /// lease could not be read, or if there are none.
    revision: Option<u64>,
}

/// Returns the keys that have a record.
fn found_keys(found: &[CompletedRead]) -> impl Iterator<Item = RecordKey> {
    found.iter().filter(|(_, found)| matches!(found, Ok(Some(_)))).map(|(key, _)| key.clone())
}

/// Reads all records on these leases, and each of the other keys.
async fn read_all<R: RecordStore>(
    store: Rc<R>,
    keys: Vec<RecordKey>,
    leases: Vec<LeaseId>,
) -> Result<AuditReading, StoreError> {
    let LeaseReading { records, revision, .. } = read_leases(&*store, &leases).await?;
    let records = records.into_iter().map(|(key, found)| (key, Ok(Some(found))));
    let mut found: BTreeMap<RecordKey, ReadResult> = records.collect();
    let others: Vec<_> = keys.into_iter().filter(|key| !found.contains_key(key)).collect();
    if !others.is_empty() {
        let read = store.read(others.clone()).await;
        found.extend(others.into_iter().zip(read));
    }
    Ok(AuditReading { found: found.into_iter().collect(), revision })
}
