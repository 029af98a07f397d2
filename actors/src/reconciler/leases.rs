//! The leases of the records, and the changes that the store reports.

use std::time::SystemTime;

use slog::warn;
use tokio::time::Instant;

use super::CompletedRead;
use super::Reconciler;
use super::entry::{KeyEntry, StoreState};
use super::orphans::OrphanOrigin;
use crate::messages::Domain;
use crate::model::record::RecordKey;
use crate::ports::record_store::{Change, Expiry, KeepAliveMode, LeaseId, StoredRecord};

impl Reconciler {
    /// Sets the leases of this publisher, and adopts the records that were found on them.
    ///
    /// A desired record is kept, and moved to the current lease. Any other record becomes an
    /// orphan.
    pub fn adopt_leases(
        &mut self,
        current: LeaseId,
        older: Vec<LeaseId>,
        found: Vec<(RecordKey, StoredRecord)>,
        now: Instant,
    ) {
        self.lease = Some(current);
        self.older_leases.replace(older);
        self.adopt_orphans(found, now);
    }

    /// Adopts records that were found on a lease of this publisher.
    fn adopt_orphans(&mut self, found: Vec<(RecordKey, StoredRecord)>, now: Instant) {
        for (key, found) in found {
            let entry = self
                .entries
                .entry(key.clone())
                .or_insert_with(|| KeyEntry::new(StoreState::Unknown, now));
            if entry.busy {
                continue;
            }
            if entry.claims.is_empty() {
                (entry.orphan, entry.found_version) = (true, Some(found.version));
                self.orphans.found(now);
            }
            // No container reports its desired records any more.
            entry.orphan &= !self.closed;
            self.update_store_state(&key, Some(found), now);
        }
        self.schedule_all(now);
    }

    /// Handles the loss of a lease: the store has deleted every record that was attached to it.
    pub fn lose_lease(&mut self, lost: LeaseId, now: Instant) {
        self.recorder.update_counts(|counts| counts.leases_lost += 1);
        self.older_leases.remove(lost);
        for entry in self.entries.values_mut() {
            if matches!(entry.store_state, StoreState::Owned { lease, .. } if lease == Some(lost)) {
                entry.store_state = StoreState::Absent;
            }
        }
        self.schedule_all(now);
        if self.lease == Some(lost) {
            self.lease = None;
        }
    }

    /// Notes that the leases were kept alive, and thereby their records. The records of a lost lease
    /// are marked as absent afterwards, by `lose_lease`.
    pub fn mark_refreshed(&mut self) {
        let now = SystemTime::now();
        for entry in self.entries.values_mut() {
            if matches!(entry.store_state, StoreState::Owned { .. }) {
                entry.refreshed = Some(now);
            }
        }
    }

    /// Returns an older lease to which no record is attached, as far as is known. Returns `None`
    /// while orphans are kept.
    pub fn unused_lease(&self) -> Option<LeaseId> {
        if self.orphans.are_kept() {
            return None;
        }
        let uses = |entry: &KeyEntry, id: LeaseId| {
            entry.busy
                || matches!(entry.store_state, StoreState::Owned { lease, .. } if lease == Some(id))
        };
        self.older_leases.first_unused(|id| self.entries.values().any(|entry| uses(entry, id)))
    }

    /// Removes an older lease that was revoked.
    pub fn forget_lease(&mut self, ended: LeaseId) {
        self.older_leases.remove(ended);
    }

    /// Remembers the records that a container wanted before and no container wants now.
    pub(super) fn note_withdrawn(&mut self, before: Option<&Domain>, now: Instant) {
        if self.policy.keep_alive_mode == KeepAliveMode::PerRecord {
            return;
        }
        for record in before.iter().flat_map(|domain| domain.desired.iter()) {
            let entry = self.entries.get(&record.key);
            if entry.is_some_and(|entry| entry.claims.is_empty()) {
                self.orphans.remember_withdrawn(record.key.clone(), record.value.to_json(), now);
            }
        }
    }

    /// Handles the records that an audit found on the leases of this publisher and that no
    /// container wants (ARCHITECTURE.md, "Orphaned records").
    ///
    /// A late write is withdrawn. A record that was withdrawn recently becomes an orphan, which
    /// a newer listing decides: a daemon with the same identity wrote it again, because it
    /// noticed the end of the container later. That daemon may have ended since. A record that
    /// the previous audit did not find, although it is older, becomes an orphan too: the store
    /// went back in time. All other records are left alone, and reported when two audits in a row
    /// found them.
    ///
    /// Returns `true` if a newer listing is needed.
    pub fn handle_unknown_keys(&mut self, found: &[CompletedRead], now: Instant) -> bool {
        self.orphans.expire_withdrawn(now);
        let (mut unknown, mut withdrawn, mut reappeared) = (Vec::new(), Vec::new(), 0);
        for (key, found) in found {
            let Ok(Some(found)) = found else { continue };
            if self.entries.contains_key(key) || self.withdraw_late_write(key, found, now) {
                continue;
            }
            let origin = self.orphans.origin(key, found);
            reappeared += usize::from(origin == OrphanOrigin::OldStore);
            if origin == OrphanOrigin::Unknown {
                unknown.push(key.clone());
            } else {
                withdrawn.push((key.clone(), found.clone()));
            }
        }
        let news = self.orphans.replace_unknown(unknown);
        if news > 0 {
            self.recorder.update_counts(|counts| counts.unknown += news);
            warn!(self.log, "orphaned records on the lease; check for another highhock with the \
                same host name and address"; "keys" => news);
        }
        if withdrawn.is_empty() || self.lease.is_none() {
            return false;
        }
        if reappeared > 0 {
            warn!(self.log, "deleted records reappeared: etcd went back in time; \
                withdrawing those that no container wants"; "keys" => reappeared);
        }
        self.adopt_orphans(withdrawn, now);
        true
    }

    /// Withdraws a late write. Returns `false` if the record is not a late write.
    fn withdraw_late_write(&mut self, key: &RecordKey, found: &StoredRecord, now: Instant) -> bool {
        let lease = match found.expiry {
            Expiry::Lease(id) if self.is_our_lease(id) => Some(id),
            Expiry::Ttl(_) => None,
            Expiry::Lease(_) | Expiry::Never => return false,
        };
        if !self.write_log.take_late_write(key, &found.value) {
            return false;
        }
        self.recorder.update_counts(|counts| counts.late_writes += 1);
        notice!(self.log, "late write found; withdrawing it"; "key" => %key);
        self.write_log.add(key, &found.value);
        let store_state = StoreState::Owned { value: found.value.clone(), lease };
        self.entries.insert(key.clone(), KeyEntry::new(store_state, now));
        self.schedule(key, now);
        true
    }

    /// Notes the keys that a reading of all leases found. `revision` is `None` if a lease could
    /// not be read.
    pub fn note_lease_reading(
        &mut self,
        revision: Option<u64>,
        keys: impl IntoIterator<Item = RecordKey>,
    ) {
        self.orphans.replace_reading(revision, keys);
    }

    /// Forgets which keys were read before, because the store went back in time. A record with
    /// this host's address is then adopted again, as after a start.
    pub fn forget_seen_keys(&mut self) {
        self.write_log.forget_seen();
    }

    fn is_our_lease(&self, id: LeaseId) -> bool {
        self.lease == Some(id) || self.older_leases.contains(id)
    }

    /// Handles a change that the store reports. A change that matches the known state, or the
    /// request in flight, is expected. The key of any other change is read.
    pub fn apply_change(&mut self, change: &Change, now: Instant) {
        let key = &change.key;
        let Some(entry) = self.entries.get_mut(key) else {
            match &change.now {
                Some(found) => drop(self.withdraw_late_write(key, found, now)),
                None => self.mark_children_for_read(key, now),
            }
            return;
        };
        let expected = if entry.busy {
            is_echo(entry, change.now.as_ref(), self.lease)
        } else {
            matches_state(&entry.store_state, change.now.as_ref())
        };
        if expected {
            return;
        }
        entry.needs_read = true;
        self.recorder.update_counts(|counts| counts.unexpected_changes += 1);
        self.schedule(key, now);
    }

    /// Reads all keys below a directory: etcd v2 reports the deletion of a directory, but not of
    /// the keys in it.
    fn mark_children_for_read(&mut self, directory: &RecordKey, now: Instant) {
        if self.policy.keep_alive_mode == KeepAliveMode::Lease {
            return;
        }
        let inside = |key: &&RecordKey| key.is_below(directory);
        for key in self.entries.keys().filter(inside).cloned().collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.needs_read = true;
            }
            self.recorder.update_counts(|counts| counts.unexpected_changes += 1);
            self.schedule(&key, now);
        }
    }
}

/// Returns `true` if a change is the expected effect of the request in flight.
fn is_echo(entry: &KeyEntry, now: Option<&StoredRecord>, lease: Option<LeaseId>) -> bool {
    match (entry.holder(), now) {
        (Some(claim), Some(found)) => {
            let expires_as_ours = match found.expiry {
                Expiry::Lease(id) => lease == Some(id),
                Expiry::Ttl(_) => true,
                Expiry::Never => false,
            };
            expires_as_ours && found.value == claim.json
        }
        (desired, now) => desired.is_none() && now.is_none(),
    }
}

/// Returns `true` if a change agrees with the known state of the key.
fn matches_state(store_state: &StoreState, now: Option<&StoredRecord>) -> bool {
    match (store_state, now) {
        (StoreState::Absent | StoreState::Unknown, None) | (StoreState::Uncertain, _) => true,
        (StoreState::Owned { value, lease }, Some(found)) => {
            *value == found.value
                && match found.expiry {
                    Expiry::Lease(id) => *lease == Some(id),
                    Expiry::Ttl(_) => lease.is_none(),
                    Expiry::Never => false,
                }
        }
        (StoreState::Foreign { value, expires }, Some(found)) => {
            *value == found.value && *expires == (found.expiry != Expiry::Never)
        }
        _ => false,
    }
}
