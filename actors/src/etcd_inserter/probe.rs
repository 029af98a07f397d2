//! Outages of the store: detected by failures, ended by a probe.

use std::rc::Rc;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use slog::warn;
use tokio::time::Instant;

use super::EtcdInserter;
use crate::ports::record_store::{RecordStore, StoreError};
use crate::runtime::metered_context::MeteredContext;

impl<R: RecordStore> EtcdInserter<R> {
    /// Ends the outage: a batch succeeded, or the audit of a probe left nothing to write.
    pub(super) fn handle_success(&mut self) {
        if !self.circuit_breaker.is_closed() {
            return;
        }
        self.circuit_breaker.record_success();
        self.expiry_logged = false;
        if let Some(since) = self.unavailable_since.take() {
            self.recorder.record_store_available();
            notice!(self.log, "etcd connected"; "away_seconds" => since.elapsed().as_secs_f64(),
                "repaired" => std::mem::take(&mut self.drifted));
        }
    }

    /// Opens the circuit breaker after a failure, and logs the outage.
    pub(super) fn open_circuit(&mut self, error: &StoreError) {
        let now = Instant::now();
        let Some(failures) = self.circuit_breaker.record_failure(now) else { return };
        self.recorder.record_store_error(error);
        if self.unavailable_since.is_none() {
            self.unavailable_since = Some(now);
            warn!(self.log, "etcd unreachable; keeping changes until it returns";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "etcd still unreachable";
                "error" => %error, "tries" => failures);
        }
    }

    /// Compares the revision of a probe with the highest revision seen. If it is lower, the store
    /// went back in time, and nothing that was read before is certain.
    fn apply_revision(&mut self, revision: Option<u64>) {
        let Some(revision) = revision else { return };
        if revision < self.latest_revision {
            warn!(self.log, "etcd went back in time: its revision is lower than before; \
                comparing all records"; "revision" => revision, "before" => self.latest_revision);
            self.reconciler.forget_seen_keys();
        }
        self.latest_revision = revision;
    }

    /// Probes the store, acquires the lease and audits all keys, before any other request is
    /// sent.
    pub(super) fn probe(&mut self, context: &mut MeteredContext<Self>) {
        self.circuit_breaker.start_probe();
        if self.circuit_breaker.failures() > 0 {
            self.recorder.record_store_retry();
        }
        let store = Rc::clone(&self.store);
        let (request, latest) = (self.lease_request(), self.latest_revision);
        let probe = async move {
            let revision = store.probe().await?;
            let went_back = revision.is_some_and(|revision| revision < latest);
            let outcome = request.ensure_lease(&*store, went_back).await?;
            Ok((revision, outcome))
        };
        context.spawn(probe.into_actor(self).map(|answer, inserter, context| match answer {
            Ok((revision, outcome)) => {
                inserter.apply_revision(revision);
                inserter.handle_lease_outcome(outcome);
                inserter.audit(context);
            }
            Err(error) => {
                inserter.open_circuit(&error);
                inserter.process_due(context);
            }
        }));
    }
}
