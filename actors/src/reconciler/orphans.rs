//! [`Orphans`]: records of this publisher that no container on this host wants.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::messages::LiveContainers;
use crate::model::record::RecordKey;
use crate::ports::record_store::StoredRecord;

/// How long a withdrawn record is remembered: longer than the interval between two audits. By
/// then a daemon with the same identity has certainly listed the containers too.
const WITHDRAWN_RETENTION: Duration = Duration::from_secs(120);

/// The state of orphaned records (ARCHITECTURE.md, "Orphaned records").
///
/// An adopted orphan is kept alive until a listing that was requested after its discovery shows
/// that no container wants it. If such a listing would withdraw most records, it is suspect, and
/// one newer listing has to confirm it. `suspect` is therefore `true` only while `since` is set.
///
/// A key on a lease of this publisher that is neither desired nor withdrawn recently is unknown.
/// An unknown key is counted and reported once, by the second of two consecutive audits that
/// find it.
#[derive(Default)]
pub(super) struct Orphans {
    since: Option<Instant>,
    suspect: bool,
    withdrawn: BTreeMap<RecordKey, WithdrawnRecord>,
    unknown: BTreeMap<RecordKey, Sighting>,
    /// The latest complete reading of all leases.
    reading: Option<KeyReading>,
}

/// The keys that a complete reading of all leases found, and a revision of the store at which the
/// reading was complete.
struct KeyReading {
    revision: u64,
    keys: BTreeSet<RecordKey>,
}

/// The origin of a record that no container wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrphanOrigin {
    /// This process withdrew the record recently.
    Withdrawn,
    /// The store went back in time to a state with this record.
    OldStore,
    /// Another writer.
    Unknown,
}

/// A record that this process withdrew.
struct WithdrawnRecord {
    value: String,
    at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sighting {
    First,
    Reported,
}

impl Orphans {
    /// Notes that orphans were found at `now`. Only a listing that is requested later decides
    /// about them.
    pub fn found(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Returns `true` while orphans are kept alive.
    pub fn are_kept(&self) -> bool {
        self.since.is_some()
    }

    /// Returns `true` if orphans are kept, and `listing` was requested after they were found.
    pub fn are_decided_by(&self, listing: &LiveContainers) -> bool {
        self.since.is_some_and(|since| listing.requested_at >= since)
    }

    /// Marks the last listing as suspect, so that only a listing that is requested after `now`
    /// decides about the orphans. Returns `false` if an earlier listing was suspect already.
    pub fn suspect(&mut self, now: Instant) -> bool {
        if self.suspect {
            return false;
        }
        self.suspect = true;
        self.since = Some(now);
        true
    }

    /// Notes that no orphan is kept any more.
    pub fn release(&mut self) {
        self.since = None;
        self.suspect = false;
    }

    /// Remembers a withdrawn record for [`WITHDRAWN_RETENTION`].
    pub fn remember_withdrawn(&mut self, key: RecordKey, value: String, now: Instant) {
        self.withdrawn.insert(key, WithdrawnRecord { value, at: now });
    }

    /// Forgets the withdrawn record at a key, because a container wants the key again.
    pub fn forget_withdrawn(&mut self, key: &RecordKey) {
        self.withdrawn.remove(key);
    }

    /// Forgets the records that were withdrawn too long ago.
    pub fn expire_withdrawn(&mut self, now: Instant) {
        self.withdrawn.retain(|_, record| now.duration_since(record.at) < WITHDRAWN_RETENTION);
    }

    /// Replaces the reading of all leases. `revision` is `None` if a lease could not be read.
    pub fn replace_reading(
        &mut self,
        revision: Option<u64>,
        keys: impl IntoIterator<Item = RecordKey>,
    ) {
        self.reading =
            revision.map(|revision| KeyReading { revision, keys: keys.into_iter().collect() });
    }

    /// Removes a deleted key from the latest reading.
    pub fn note_deleted(&mut self, key: &RecordKey) {
        if let Some(reading) = &mut self.reading {
            reading.keys.remove(key);
        }
    }

    /// Returns the origin of a record that an audit found and that no container wants.
    pub fn origin(&self, key: &RecordKey, found: &StoredRecord) -> OrphanOrigin {
        // An audit may have read a record that was withdrawn while the audit ran.
        if self.withdrawn.get(key).is_some_and(|record| record.value == found.value) {
            OrphanOrigin::Withdrawn
        } else if self.has_reappeared(key, found.version) {
            OrphanOrigin::OldStore
        } else {
            OrphanOrigin::Unknown
        }
    }

    /// Returns `true` if a record with this version contradicts the latest reading. The reading did
    /// not find the record, or the record was deleted since, although its version is older. The
    /// store went back in time.
    fn has_reappeared(&self, key: &RecordKey, version: u64) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|reading| version <= reading.revision && !reading.keys.contains(key))
    }

    /// Replaces the unknown keys with those of this audit. Returns the number of keys to report:
    /// the keys that the previous audit found too, and that were not reported yet.
    pub fn replace_unknown(&mut self, keys: impl IntoIterator<Item = RecordKey>) -> u64 {
        let before = std::mem::take(&mut self.unknown);
        let mut to_report = 0;
        for key in keys {
            let sighting = match before.get(&key) {
                None => Sighting::First,
                Some(previous) => {
                    to_report += u64::from(*previous == Sighting::First);
                    Sighting::Reported
                }
            };
            self.unknown.insert(key, sighting);
        }
        to_report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::record_store::{Expiry, LeaseNamespace};

    fn key(name: &str) -> RecordKey {
        RecordKey::from_path(name)
    }

    #[test]
    fn reports_unknown_key_once_at_second_audit() {
        let mut orphans = Orphans::default();
        assert_eq!(orphans.replace_unknown([key("a")]), 0);
        assert_eq!(orphans.replace_unknown([key("a"), key("b")]), 1);
        assert_eq!(orphans.replace_unknown([key("a"), key("b")]), 1);
        assert_eq!(orphans.replace_unknown([]), 0);
        assert_eq!(orphans.replace_unknown([key("a")]), 0);
    }

    #[test]
    fn record_reappears_if_older_than_reading_without_it() {
        let mut orphans = Orphans::default();
        assert!(!orphans.has_reappeared(&key("a"), 1));
        orphans.replace_reading(Some(7), [key("a")]);
        assert!(orphans.has_reappeared(&key("b"), 7));
        assert!(!orphans.has_reappeared(&key("b"), 8), "written after the reading");
        assert!(!orphans.has_reappeared(&key("a"), 1), "found by the reading");
        orphans.note_deleted(&key("a"));
        assert!(orphans.has_reappeared(&key("a"), 1));
        orphans.replace_reading(None, []);
        assert!(!orphans.has_reappeared(&key("b"), 1));
    }

    fn record(value: &str, version: u64) -> StoredRecord {
        let expiry = Expiry::Lease(LeaseNamespace::from_hash(7).lease(0));
        StoredRecord { value: value.into(), version, expiry }
    }

    #[test]
    fn withdrawn_record_is_remembered_for_a_while() {
        let now = Instant::now();
        let mut orphans = Orphans::default();
        let origin = |orphans: &Orphans, value| orphans.origin(&key("a"), &record(value, 1));
        orphans.remember_withdrawn(key("a"), "1".into(), now);
        assert_eq!(origin(&orphans, "1"), OrphanOrigin::Withdrawn);
        assert_eq!(origin(&orphans, "2"), OrphanOrigin::Unknown);
        orphans.expire_withdrawn(now + WITHDRAWN_RETENTION - Duration::from_nanos(1));
        assert_eq!(origin(&orphans, "1"), OrphanOrigin::Withdrawn);
        orphans.expire_withdrawn(now + WITHDRAWN_RETENTION);
        assert_eq!(origin(&orphans, "1"), OrphanOrigin::Unknown);
    }

    /// The audit read the record before the deletion, and its result arrives afterwards.
    #[test]
    fn record_withdrawn_during_an_audit_is_not_of_an_old_store() {
        let now = Instant::now();
        let mut orphans = Orphans::default();
        orphans.replace_reading(Some(7), [key("a")]);
        orphans.remember_withdrawn(key("a"), "1".into(), now);
        orphans.note_deleted(&key("a"));
        assert_eq!(orphans.origin(&key("a"), &record("1", 5)), OrphanOrigin::Withdrawn);
        orphans.expire_withdrawn(now + WITHDRAWN_RETENTION);
        assert_eq!(orphans.origin(&key("a"), &record("1", 5)), OrphanOrigin::OldStore);
        assert_eq!(orphans.origin(&key("a"), &record("1", 8)), OrphanOrigin::Unknown);
    }

    #[test]
    fn one_listing_is_suspect_until_release() {
        let now = Instant::now();
        let mut orphans = Orphans::default();
        orphans.found(now);
        assert!(orphans.suspect(now));
        assert!(!orphans.suspect(now));
        assert!(orphans.are_kept());
        orphans.release();
        assert!(!orphans.are_kept());
        assert!(orphans.suspect(now));
    }
}
