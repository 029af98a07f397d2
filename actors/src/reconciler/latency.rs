//! [`LatencyTracker`]: the time from a change of a container to its record in the store.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::model::record::RecordKey;
use crate::status::StatusRecorder;

/// The time at which the change behind a pending write was first reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangeStamp {
    at: Instant,
    /// Set if a write of this change was sent and its outcome is uncertain.
    maybe_applied: bool,
}

impl ChangeStamp {
    /// A change that was reported at `at`. No write was sent yet.
    pub fn new(at: Instant) -> Self {
        Self { at, maybe_applied: false }
    }

    /// Returns this stamp with the earlier time of both. One write carries out both changes.
    fn merge(self, other: Self) -> Self {
        Self { at: self.at.min(other.at), maybe_applied: self.maybe_applied || other.maybe_applied }
    }
}

/// Measures the latency of changes, one per key.
///
/// A key has a stamp only while a change of this key waits for its write. [`Self::take`] moves
/// the stamp to the write that is being sent. A write that did not change the store returns it
/// with [`Self::start`] or [`Self::restore_uncertain`]. A latency is recorded at most once per
/// change, and only for a change that is in the store.
pub(super) struct LatencyTracker {
    stamps: BTreeMap<RecordKey, ChangeStamp>,
    recorder: StatusRecorder,
}

impl LatencyTracker {
    pub fn new(recorder: StatusRecorder) -> Self {
        Self { stamps: BTreeMap::new(), recorder }
    }

    /// Starts to measure a change. If an earlier change of the key still waits, the earlier time
    /// counts.
    pub fn start(&mut self, key: &RecordKey, stamp: ChangeStamp) {
        let merged = self.stamps.get(key).map_or(stamp, |earlier| earlier.merge(stamp));
        self.stamps.insert(key.clone(), merged);
    }

    /// Continues to measure a change whose write may have been applied.
    pub fn restore_uncertain(&mut self, key: &RecordKey, stamp: ChangeStamp) {
        self.start(key, ChangeStamp { maybe_applied: true, ..stamp });
    }

    /// Removes and returns the stamp of a key, for the write that carries out its change.
    pub fn take(&mut self, key: &RecordKey) -> Option<ChangeStamp> {
        self.stamps.remove(key)
    }

    /// Records the latency of a change that was written to the store at `now`.
    pub fn record(&self, stamp: ChangeStamp, now: Instant) {
        self.recorder.record_latency(stamp.at, now);
    }

    /// Ends the measurement of a key to which nothing has to be written any more. `applied`
    /// states that the store has the desired record. The latency is recorded if the change was
    /// applied by an uncertain write. A change that is on standby or no longer desired is not
    /// recorded.
    pub fn finish(&mut self, key: &RecordKey, applied: bool, now: Instant) {
        if let Some(stamp) = self.stamps.remove(key)
            && stamp.maybe_applied
            && applied
        {
            self.record(stamp, now);
        }
    }

    /// Drops the measurement of a key without a record of it.
    pub fn forget(&mut self, key: &RecordKey) {
        self.stamps.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn recorded(tracker: &LatencyTracker) -> u64 {
        tracker.recorder.status(None).event_to_record.count
    }

    #[test]
    fn records_applied_change_once_with_earliest_time() {
        let (key, reported_at) = (RecordKey::from_path("a"), Instant::now());
        let second = Duration::from_secs(1);
        let mut tracker = LatencyTracker::new(StatusRecorder::default());
        tracker.start(&key, ChangeStamp::new(reported_at + second));
        tracker.start(&key, ChangeStamp::new(reported_at));
        let stamp = tracker.take(&key).unwrap();
        assert_eq!(stamp.at, reported_at);
        tracker.record(stamp, reported_at + second);
        tracker.finish(&key, true, reported_at + second);
        assert_eq!(recorded(&tracker), 1);
    }

    #[test]
    fn records_finished_change_only_after_uncertain_write() {
        let (key, now) = (RecordKey::from_path("a"), Instant::now());
        let mut tracker = LatencyTracker::new(StatusRecorder::default());
        tracker.start(&key, ChangeStamp::new(now));
        tracker.finish(&key, true, now);
        tracker.restore_uncertain(&key, ChangeStamp::new(now));
        tracker.finish(&key, false, now);
        assert_eq!(recorded(&tracker), 0);
        tracker.restore_uncertain(&key, ChangeStamp::new(now));
        tracker.finish(&key, true, now);
        assert_eq!(recorded(&tracker), 1);
    }
}
