//! Outages of the store: detected by failures, ended by a probe.

use std::rc::Rc;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use slog::warn;
use tokio::time::Instant;

use super::EtcdInserter;
use crate::ports::record_store::{RecordStore, StoreError};
use crate::runtime::metered_context::MeteredContext;

impl<R: RecordStore> EtcdInserter<R> {
    /// A batch went through.
    pub(super) fn handle_success(&mut self) {
        if !self.circuit_breaker.is_closed() {
            return;
        }
        self.circuit_breaker.record_success();
        if let Some(since) = self.unavailable_since.take() {
            self.recorder.record_store_available();
            notice!(self.log, "etcd answers again"; "away_seconds" => since.elapsed().as_secs_f64(),
                "mended" => std::mem::take(&mut self.drifted));
        }
    }

    pub(super) fn open_circuit(&mut self, error: &StoreError) {
        let now = Instant::now();
        let Some(failures) = self.circuit_breaker.record_failure(now) else { return };
        self.recorder.record_store_error(error);
        if self.unavailable_since.is_none() {
            self.unavailable_since = Some(now);
            warn!(self.log, "etcd does not answer; all changes are kept and written once it does";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "etcd still does not answer";
                "error" => %error, "tries" => failures);
        }
    }

    /// Has the store asked at once whether it is there.
    pub(super) fn request_probe(&mut self, now: Instant) {
        self.circuit_breaker.request_probe(now);
    }

    /// After a failure: asks whether the store is there, whether our lease lives, and
    /// what the store holds, before anything else is sent.
    pub(super) fn probe(&mut self, context: &mut MeteredContext<Self>) {
        self.circuit_breaker.start_probe();
        if self.circuit_breaker.failures() > 0 {
            self.recorder.record_store_retry();
        }
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
}
