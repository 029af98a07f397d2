//! The outcomes of writes, reads and audits, and the owner of each record in the store.

use std::time::{Duration, SystemTime};

use slog::warn;
use tokio::time::Instant;

use super::claim::Claim;
use super::entry::{KeyEntry, StoreState, UNCERTAIN_READ_DELAYS, UncertainWrite, WriteFailure};
use super::old_leases::OldLeases;
use super::{PendingWrite, REJECTED_RETRY_INTERVAL, Reconciler, RecordPolicy, WriteLog};
use crate::model::record::{DesiredRecord, RecordKey, host_of_value};
use crate::ports::record_store::{
    ExpectedValue, Expiry, KeepAliveMode, LeaseId, Precondition, StoreError, StoreErrorKind,
    StoredRecord, Write, WriteOutcome,
};
use crate::status::ChangeKind;

/// The time until etcd deletes an expired key. etcd scans for expired keys every 500 ms
/// (measured, etcd 3.4), so a read exactly at the end of a TTL would be too early.
const EXPIRY_SCAN_DELAY: Duration = Duration::from_millis(700);

impl Reconciler {
    /// Applies the outcome of a write.
    pub fn apply_write(
        &mut self,
        pending: PendingWrite,
        outcome: Result<WriteOutcome, StoreError>,
        now: Instant,
    ) {
        let clock = self.tick();
        let key = pending.write.key().clone();
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.busy = false;
        entry.last_touched = clock;
        match checked_outcome(outcome) {
            Ok(WriteOutcome::Done) => {
                if let Some(stamp) = pending.change_stamp {
                    self.latency.record(stamp, now);
                }
                self.apply_success(pending, now);
            }
            Ok(written) => {
                self.forget_put(&pending);
                if let Some(stamp) = pending.change_stamp {
                    self.latency.start(&key, stamp);
                }
                self.handle_mismatch(&key, state_after_mismatch(written));
            }
            Err(error) => self.apply_write_error(pending, &error, now),
        }
        if self.entries.get(&key).is_some_and(|entry| entry.uncertain_write.is_none()) {
            self.write_log.clear_in_flight(&key);
        }
        self.schedule(&key, now);
    }

    /// Removes a put from the write log if it is known not to have been applied.
    fn forget_put(&self, pending: &PendingWrite) {
        if let (Write::Put { key, value, .. }, true) = (&pending.write, pending.newly_logged) {
            self.write_log.remove(key, value);
        }
    }

    fn apply_success(&mut self, PendingWrite { write, sent_at, .. }: PendingWrite, now: Instant) {
        let refresh_interval = self.policy.refresh_interval();
        let key = write.key().clone();
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.failure = None;
        entry.expires_at = Some(sent_at + self.policy.ttl);
        match write {
            Write::Put { value, precondition, lease, .. } => {
                self.recorder.update_counts(|counts| counts.put += 1);
                self.recorder.record_change(entry.change(ChangeKind::RecordPublished, &key));
                let (container, name) = entry
                    .holder()
                    .map(|claim| (claim.container.to_string(), claim.name.to_string()))
                    .unwrap_or_default();
                notice!(self.log, "record published"; "key" => %key, "value" => &value,
                    "container" => container, "name" => name,
                    "new" => precondition == Precondition::Absent);
                if entry.uncertain_write.is_none() {
                    self.write_log.keep_only(&key, Some(&value));
                }
                entry.store_state = StoreState::Owned { value, lease };
                entry.found_version = None;
                self.write_log.mark_seen(&key);
                entry.refreshed = Some(SystemTime::now());
                // The first interval is shorter by a random part, so that records that were
                // written together are not refreshed together for ever.
                entry.refresh_due = now + refresh_interval.mul_f64(0.5 + fastrand::f64() * 0.45);
            }
            Write::Refresh { .. } => {
                entry.refreshed = Some(SystemTime::now());
                entry.refresh_due = now + refresh_interval.mul_f64(0.9 + fastrand::f64() * 0.05);
            }
            Write::Delete { expected: ExpectedValue { value, .. }, .. } => {
                self.recorder.update_counts(|counts| counts.withdrawn += 1);
                self.recorder.record_change(entry.change(ChangeKind::RecordWithdrawn, &key));
                notice!(self.log, "record withdrawn"; "key" => %key, "value" => &value);
                entry.store_state = StoreState::Absent;
                self.orphans.note_deleted(&key);
                if entry.uncertain_write.is_none() {
                    self.write_log.remove(&key, &value);
                }
                self.unblock(&key, now);
            }
        }
    }

    /// Retries the keys that the deleted record blocked.
    fn unblock(&mut self, freed: &RecordKey, now: Instant) {
        let blocked = |(key, entry): (&RecordKey, &KeyEntry)| {
            let waits = entry.failure.as_ref().is_some_and(|failure| failure.blocked);
            (waits && key.overlaps(freed)).then(|| key.clone())
        };
        let waiting: Vec<RecordKey> = self.entries.iter().filter_map(blocked).collect();
        for key in waiting {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.failure = None;
            }
            self.schedule(&key, now);
        }
    }

    fn handle_mismatch(&mut self, key: &RecordKey, store_state: StoreState) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if store_state == StoreState::Absent
            && matches!(entry.store_state, StoreState::Owned { .. })
        {
            notice!(self.log, "own record missing in the store"; "key" => %key);
        }
        entry.store_state = store_state;
        entry.failure = None;
    }

    fn apply_write_error(&mut self, pending: PendingWrite, error: &StoreError, now: Instant) {
        let key = pending.write.key().clone();
        if !error.kind.is_uncertain() {
            self.forget_put(&pending);
        }
        if let Some(stamp) = pending.change_stamp {
            match error.kind {
                StoreErrorKind::Refused | StoreErrorKind::Blocked => {}
                kind if kind.is_uncertain() => self.latency.restore_uncertain(&key, stamp),
                _ => self.latency.start(&key, stamp),
            }
        }
        let refresh_interval = self.policy.refresh_interval();
        let Some(entry) = self.entries.get_mut(&key) else { return };
        match error.kind {
            // The write is repeated when the inserter has the store, or the lease, back.
            StoreErrorKind::Unavailable | StoreErrorKind::LeaseLost => {}
            StoreErrorKind::Unknown | StoreErrorKind::Malformed => {
                // A late refresh is harmless, because it compares the value. A put or a
                // deletion may change the record at any later time.
                if let Write::Put { value, .. } = &pending.write {
                    self.write_log.remember_uncertain_write(&key, value);
                }
                if !matches!(pending.write, Write::Refresh { .. }) {
                    entry.store_state = StoreState::Uncertain;
                    entry.uncertain_write = Some(UncertainWrite::new(now));
                }
            }
            StoreErrorKind::Refused | StoreErrorKind::Blocked => {
                entry.refresh_due = now + refresh_interval;
                self.record_failure(&key, error, now);
            }
        }
    }

    fn record_failure(&mut self, key: &RecordKey, error: &StoreError, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let is_known = entry.failure.as_ref().is_some_and(|old| old.reason == error.message);
        if !is_known {
            warn!(self.log, "cannot write record; will retry";
                "key" => %key, "reason" => %error, "kind" => error.kind.as_str());
            let kind = match error.kind {
                StoreErrorKind::Blocked => ChangeKind::RecordOnStandby,
                _ => ChangeKind::RecordFailed,
            };
            self.recorder.record_change(entry.change(kind, key).with_reason(&*error.message));
        }
        entry.failure = Some(WriteFailure {
            reason: error.message.clone(),
            blocked: error.kind == StoreErrorKind::Blocked,
            retry_at: now + rejected_retry_interval().mul_f64(0.75 + fastrand::f64() / 4.0),
        });
    }

    /// Applies the outcome of a read.
    pub fn apply_read(
        &mut self,
        key: &RecordKey,
        outcome: Result<Option<StoredRecord>, StoreError>,
        now: Instant,
    ) {
        let clock = self.tick();
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.busy = false;
        entry.last_touched = clock;
        match outcome {
            Ok(found) => self.update_store_state(key, found, now),
            Err(error) if error.kind.is_outage() => {}
            Err(error) => {
                // The content is unreadable, and therefore not a record of HighHock.
                entry.store_state = StoreState::Absent;
                self.advance_uncertain_write(key, now);
                self.record_failure(key, &error, now);
            }
        }
        self.schedule(key, now);
    }

    /// Applies the results of an audit, except for keys with a request or an outcome since
    /// `began`. Returns the number of keys whose known state was wrong.
    pub fn apply_audit(
        &mut self,
        began: u64,
        found: Vec<(RecordKey, Result<Option<StoredRecord>, StoreError>)>,
        now: Instant,
    ) -> u64 {
        if mutated!(AuditRepairsNothing) {
            return 0;
        }
        let mut drifted = 0;
        for (key, found) in found {
            let Some(entry) = self.entries.get(&key) else { continue };
            let (false, Ok(found)) = (entry.busy || entry.last_touched > began, found) else {
                continue;
            };
            let before = entry.store_state.clone();
            self.update_store_state(&key, found, now);
            let after = self.entries.get(&key).map(|entry| &entry.store_state);
            let was_known = !matches!(before, StoreState::Unknown | StoreState::Uncertain);
            drifted += u64::from(was_known && after.is_some_and(|after| *after != before));
            self.schedule(&key, now);
        }
        self.recorder.update_counts(|counts| counts.drifted += drifted);
        drifted
    }

    pub(super) fn update_store_state(
        &mut self,
        key: &RecordKey,
        found: Option<StoredRecord>,
        now: Instant,
    ) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let before = std::mem::replace(&mut entry.store_state, StoreState::Absent);
        entry.store_state = match self.policy.keep_alive_mode {
            KeepAliveMode::PerRecord => {
                classify_record(key, found.as_ref(), entry, &self.write_log, &self.policy)
            }
            KeepAliveMode::Lease => {
                classify_by_lease(found.as_ref(), self.lease, &self.older_leases)
            }
        };
        let is_rewritten = is_rewritten_orphan(entry, found.as_ref());
        self.write_log.mark_seen(key);
        entry.needs_read = false;
        if found.is_some() && entry.store_state != before {
            entry.failure = None;
        }
        match (&before, &entry.store_state) {
            (StoreState::Owned { value: old, .. }, StoreState::Owned { value: new, .. })
                if old == new => {}
            (_, StoreState::Owned { value, .. }) => {
                if let Some(Expiry::Ttl(ttl)) = found.as_ref().map(|found| found.expiry) {
                    entry.expires_at = Some(now + ttl);
                }
                if self.write_log.add(key, value) {
                    if self.policy.keep_alive_mode == KeepAliveMode::PerRecord {
                        notice!(self.log, "record of an earlier run adopted";
                            "key" => %key, "value" => value);
                    }
                    self.recorder.record_change(entry.change(ChangeKind::RecordAdopted, key));
                }
                entry.refresh_due = now;
            }
            (_, StoreState::Foreign { value, .. }) => {
                entry.refresh_due = now + recheck_interval(found.as_ref(), &self.policy);
                if !matches!(before, StoreState::Foreign { .. }) && !entry.claims.is_empty() {
                    warn!(self.log, "record on standby"; "key" => %key,
                        "reason" => foreign_reason(entry), "value" => value,
                        "was_own" => matches!(before, StoreState::Owned { .. }));
                    let change = entry.change(ChangeKind::RecordOnStandby, key);
                    self.recorder.record_change(change.with_reason(foreign_reason(entry)));
                }
            }
            (StoreState::Owned { .. }, _) => {
                notice!(self.log, "own record missing in the store"; "key" => %key);
            }
            _ => {}
        }
        if is_rewritten {
            // The deletion of the version that was found would fail for ever.
            entry.store_state = StoreState::Unknown;
        }
        self.advance_uncertain_write(key, now);
    }

    /// Continues the reads of an uncertain write after the key was read.
    fn advance_uncertain_write(&mut self, key: &RecordKey, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let as_desired = matches_desired(entry);
        let Some(uncertain_write) = &mut entry.uncertain_write else { return };
        let late = u64::from(!as_desired && uncertain_write.step > 0);
        self.recorder.update_counts(|counts| counts.late_writes += late);
        if advance_rechecks(uncertain_write, as_desired, now) {
            entry.uncertain_write = None;
            let value = match &entry.store_state {
                StoreState::Owned { value, .. } => Some(value.as_str()),
                _ => None,
            };
            self.write_log.keep_only(key, value);
            self.write_log.clear_in_flight(key);
        }
    }
}

/// Returns the time until the next read of a foreign record. A record with a TTL is read when it
/// has expired.
fn recheck_interval(found: Option<&StoredRecord>, policy: &RecordPolicy) -> Duration {
    let interval = policy.refresh_interval();
    match found.map(|found| found.expiry) {
        Some(Expiry::Ttl(ttl)) => interval.min(ttl + EXPIRY_SCAN_DELAY),
        _ => interval,
    }
}

/// Returns `true` if another writer wrote an orphan again since it was found, for example a daemon
/// with the same identity. Such a record is handled like any other record that an audit finds.
fn is_rewritten_orphan(entry: &KeyEntry, found: Option<&StoredRecord>) -> bool {
    let is_other = |found: &StoredRecord| entry.found_version.is_some_and(|it| it != found.version);
    entry.claims.is_empty()
        && matches!(entry.store_state, StoreState::Owned { .. })
        && found.is_some_and(is_other)
}

/// Returns the state of a key after a write whose precondition failed.
fn state_after_mismatch(written: WriteOutcome) -> StoreState {
    if written == WriteOutcome::Missing || mutated!(ConflictReadAsAbsent) {
        return StoreState::Absent;
    }
    StoreState::Uncertain
}

fn rejected_retry_interval() -> Duration {
    if mutated!(RejectedWriteRetriedTooLate) {
        return REJECTED_RETRY_INTERVAL * 100;
    }
    REJECTED_RETRY_INTERVAL
}

/// Returns the outcome unchanged, except with the mutation `UncertainWriteNotRead`.
fn checked_outcome(outcome: Result<WriteOutcome, StoreError>) -> Result<WriteOutcome, StoreError> {
    let is_uncertain = outcome.as_ref().is_err_and(|error| error.kind.is_uncertain());
    if mutated!(UncertainWriteNotRead) && is_uncertain {
        return Ok(WriteOutcome::Done);
    }
    outcome
}

fn matches_desired(entry: &KeyEntry) -> bool {
    match (&entry.store_state, entry.holder()) {
        (StoreState::Owned { value, .. }, Some(claim)) => *value == claim.json,
        (StoreState::Owned { .. }, None) => entry.orphan,
        (StoreState::Absent, Some(_)) => false,
        _ => true,
    }
}

/// Schedules the next read of an uncertain write. Returns `true` if the write is settled: all
/// reads of [`UNCERTAIN_READ_DELAYS`] in a row returned the desired record.
fn advance_rechecks(uncertain_write: &mut UncertainWrite, as_desired: bool, now: Instant) -> bool {
    if !as_desired {
        *uncertain_write = UncertainWrite::new(now);
    } else if now >= uncertain_write.at {
        uncertain_write.step += 1;
        let Some(wait) = UNCERTAIN_READ_DELAYS.get(uncertain_write.step) else { return true };
        uncertain_write.at = now + *wait;
    }
    false
}

/// Decides the owner of a record with a TTL of its own (config/README.md, "Ownership of
/// records").
///
/// HighHock owns a value that it wrote. When the key is read for the first time, it also owns a
/// record with this host's address, which an earlier run wrote. A static record is always
/// foreign.
fn classify_record(
    key: &RecordKey,
    found: Option<&StoredRecord>,
    entry: &KeyEntry,
    write_log: &WriteLog,
    policy: &RecordPolicy,
) -> StoreState {
    let Some(found) = found else { return StoreState::Absent };
    let expires = expires(found);
    let adopted = || {
        let (false, Some(claim)) = (write_log.has_seen(key), entry.holder()) else { return false };
        host_of_value(&found.value).is_some_and(|host| is_own_host(&host, claim, policy))
    };
    if expires && (write_log.contains(key, &found.value) || adopted()) {
        StoreState::Owned { value: found.value.clone(), lease: None }
    } else {
        StoreState::Foreign { value: found.value.clone(), expires }
    }
}

fn expires(found: &StoredRecord) -> bool {
    if mutated!(StaticRecordAdopted) {
        return true;
    }
    found.expiry != Expiry::Never
}

fn is_own_host(host: &str, claim: &Claim, policy: &RecordPolicy) -> bool {
    if mutated!(ForeignRecordAdopted) {
        return true;
    }
    let DesiredRecord { own_host, value, .. } = &claim.record;
    host == policy.host.to_string() || *own_host && value.host.to_string() == host
}

/// Decides the owner of a record with [`KeepAliveMode::Lease`] (config/README.md, "Ownership of
/// records"). HighHock owns exactly the records on its own leases.
fn classify_by_lease(
    found: Option<&StoredRecord>,
    lease: Option<LeaseId>,
    older: &OldLeases,
) -> StoreState {
    let Some(found) = found else { return StoreState::Absent };
    let value = found.value.clone();
    if mutated!(StaticRecordAdopted) && found.expiry == Expiry::Never {
        return StoreState::Owned { value, lease };
    }
    if mutated!(ForeignRecordAdopted)
        && let Expiry::Lease(id) = found.expiry
    {
        return StoreState::Owned { value, lease: Some(id) };
    }
    match found.expiry {
        Expiry::Lease(id) if lease == Some(id) || older.contains(id) => {
            StoreState::Owned { value, lease: Some(id) }
        }
        Expiry::Lease(_) | Expiry::Ttl(_) => StoreState::Foreign { value, expires: true },
        Expiry::Never => StoreState::Foreign { value, expires: false },
    }
}

/// Returns the reason why a foreign record keeps the key, or an empty text.
pub(super) fn foreign_reason(entry: &KeyEntry) -> String {
    match &entry.store_state {
        StoreState::Foreign { expires: false, .. } => {
            "a static record (without a TTL) is at this key; remove it to publish this record"
                .into()
        }
        StoreState::Foreign { value, .. } => {
            let holder = host_of_value(value).unwrap_or_else(|| "another writer".into());
            format!("{holder} holds the key; publishing when that record expires")
        }
        _ => String::new(),
    }
}
