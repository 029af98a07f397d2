//! The expiry of published records while the store is unreachable.

use tokio::time::Instant;

use super::Reconciler;
use super::entry::KeyEntry;
use super::report::is_published;
use crate::ports::record_store::KeepAliveMode;

impl Reconciler {
    /// Sets the time at which the lease of the records expires unless it is kept alive.
    pub fn set_lease_expiry(&mut self, expires_at: Instant) {
        self.lease_expires_at = Some(expires_at);
    }

    /// Returns the number of published records that the store has deleted by `now`, because their
    /// lease or TTL ran out.
    pub fn expired_records(&self, now: Instant) -> usize {
        self.published().filter(|entry| self.is_expired(entry, now)).count()
    }

    /// Returns the next time after `now` at which a published record expires.
    pub fn next_expiry(&self, now: Instant) -> Option<Instant> {
        let expiries = self.published().filter_map(|entry| self.expires_at(entry));
        expiries.filter(|expires_at| *expires_at > now).min()
    }

    /// Returns `true` if the record ran out by `now`.
    pub(super) fn is_expired(&self, entry: &KeyEntry, now: Instant) -> bool {
        self.expires_at(entry).is_some_and(|expires_at| expires_at <= now)
    }

    fn expires_at(&self, entry: &KeyEntry) -> Option<Instant> {
        match self.policy.keep_alive_mode {
            KeepAliveMode::Lease => self.lease_expires_at,
            KeepAliveMode::PerRecord => entry.expires_at,
        }
    }

    fn published(&self) -> impl Iterator<Item = &KeyEntry> {
        self.entries.values().filter(|entry| is_published(entry))
    }
}
