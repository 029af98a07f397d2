//! Reports records that expire while the store is unreachable.

use slog::error;
use tokio::time::Instant;

use super::EtcdInserter;
use crate::ports::record_store::RecordStore;

impl<R: RecordStore> EtcdInserter<R> {
    /// Logs that records expired, once per outage.
    pub(super) fn report_expiry(&mut self, now: Instant) {
        if self.expiry_logged {
            return;
        }
        let expired = self.reconciler.expired_records(now);
        if expired == 0 {
            return;
        }
        self.expiry_logged = true;
        let unavailable = self.unavailable_since.map_or(0, |since| (now - since).as_secs());
        error!(self.log, "records expired: etcd is unreachable for longer than etcd.ttl; \
            check etcd, the records are written again when it returns";
            "records" => expired, "ttl_seconds" => self.policy.ttl.as_secs(),
            "unreachable_seconds" => unavailable);
    }

    /// Returns the time at which the first record expires, unless an expiry is logged already.
    pub(super) fn next_expiry(&self, now: Instant) -> Option<Instant> {
        if self.expiry_logged { None } else { self.reconciler.next_expiry(now) }
    }
}
