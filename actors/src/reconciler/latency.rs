//! How long changes take to reach the store, from the moment when they were told of.

use tokio::time::Instant;

use super::Reconciler;
use super::entry::{KeyEntry, Priority, StoreState};
use crate::model::record::RecordKey;
use crate::reconciler::entry::ChangeStamp;

impl Reconciler {
    /// What should be at a key, as JSON.
    pub(super) fn desired_value(&self, key: &RecordKey) -> Option<&str> {
        self.entries.get(key)?.holder().map(|claim| claim.json.as_str())
    }

    /// The next write to this key is to carry out what was told of then.
    pub(super) fn track_change(&mut self, key: &RecordKey, stamp: ChangeStamp) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.change_stamp = ChangeStamp::earlier(entry.change_stamp, Some(stamp));
        }
    }

    /// A write was not carried out, as far as is known; `sent`: it may have been.
    pub(super) fn keep_tracking(
        &mut self,
        key: &RecordKey,
        stamp: Option<ChangeStamp>,
        sent: bool,
    ) {
        if let Some(stamp) = stamp {
            self.track_change(key, ChangeStamp { sent: stamp.sent || sent, ..stamp });
        }
    }

    /// What was told of is in the store.
    pub(super) fn record_latency(&self, stamp: Option<ChangeStamp>, now: Instant) {
        if let Some(stamp) = stamp {
            self.recorder.record_latency(stamp.at, now);
        }
    }

    /// Where nothing is to be written to a key any more, nothing is owed. It is done where a
    /// write whose outcome was unknown turns out to have been carried out; what stands by,
    /// or is wanted no more, is not.
    pub(super) fn finish_tracking(&mut self, key: &RecordKey, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let changes = matches!(entry.scheduled, Some((Priority::Change, _)));
        if entry.busy || changes {
            return;
        }
        let stamp = entry.change_stamp.take();
        let done = stamp.is_some_and(|stamp| stamp.sent) && is_applied(entry);
        self.record_latency(stamp.filter(|_| done), now);
    }
}

fn is_applied(entry: &KeyEntry) -> bool {
    match (&entry.store_state, entry.holder()) {
        (StoreState::Owned { value, .. }, Some(claim)) => *value == claim.json,
        (StoreState::Absent, None) => true,
        _ => false,
    }
}
