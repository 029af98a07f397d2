//! The audit: compares the store with the reconciler's state.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use slog::warn;
use tokio::time::Instant;

use super::EtcdInserter;
use super::batches::{more_severe, read_errors};
use crate::model::record::RecordKey;
use crate::ports::record_store::{
    KeepAliveMode, LeaseId, RecordStore, StoreError, StoreErrorKind, StoredRecord,
};
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

    fn handle_audit(&mut self, began: u64, found: Result<Vec<CompletedRead>, StoreError>) {
        let now = Instant::now();
        self.next_audit = now + audit_interval(&self.policy);
        let compared = found.is_ok();
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind.is_outage() => return self.open_circuit(&error),
            Err(error) => {
                warn!(self.log, "audit failed: cannot read etcd; will retry";
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

/// Reads all records on these leases, and each of the other keys.
async fn read_all<R: RecordStore>(
    store: Rc<R>,
    keys: Vec<RecordKey>,
    leases: Vec<LeaseId>,
) -> Result<Vec<CompletedRead>, StoreError> {
    let mut found: BTreeMap<RecordKey, ReadResult> = BTreeMap::new();
    for lease in leases {
        let on_lease = match store.leased(lease).await {
            // The keys in use are read one by one.
            Err(error) if error.kind == StoreErrorKind::Refused => Vec::new(),
            on_lease => on_lease?,
        };
        found.extend(on_lease.into_iter().map(|(key, found)| (key, Ok(Some(found)))));
    }
    let others: Vec<_> = keys.into_iter().filter(|key| !found.contains_key(key)).collect();
    if !others.is_empty() {
        let read = store.read(others.clone()).await;
        found.extend(others.into_iter().zip(read));
    }
    Ok(found.into_iter().collect())
}
