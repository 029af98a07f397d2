//! How long changes take to reach the store, from the moment when they were told of.

use tokio::time::Instant;

use super::Ledger;
use super::entry::{Entry, Held, Lane};
use crate::model::record::RecordKey;
use crate::reconciler::entry::Told;

impl Ledger {
    /// What should be at a key, as JSON.
    pub(super) fn wanted_at(&self, key: &RecordKey) -> Option<&str> {
        self.entries.get(key)?.holder().map(|claim| claim.json.as_str())
    }

    /// The next write to this key is to carry out what was told of then.
    pub(super) fn owe(&mut self, key: &RecordKey, told: Told) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.told = Told::earlier(entry.told, Some(told));
        }
    }

    /// A write was not carried out, as far as is known; `sent`: it may have been.
    pub(super) fn still_owe(&mut self, key: &RecordKey, told: Option<Told>, sent: bool) {
        if let Some(told) = told {
            self.owe(key, Told { sent: told.sent || sent, ..told });
        }
    }

    /// What was told of is in the store.
    pub(super) fn owed_is_done(&self, told: Option<Told>, now: Instant) {
        if let Some(told) = told {
            self.chronicle.record_follows(told.at, now);
        }
    }

    /// Where nothing is to be written to a key any more, nothing is owed. It is done where a
    /// write whose outcome was unknown turns out to have been carried out; what stands by,
    /// or is wanted no more, is not.
    pub(super) fn settle_owed(&mut self, key: &RecordKey, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let changes = matches!(entry.scheduled, Some((Lane::Change, _)));
        if entry.busy || changes {
            return;
        }
        let told = entry.told.take();
        let done = told.is_some_and(|told| told.sent) && is_done(entry);
        self.owed_is_done(told.filter(|_| done), now);
    }
}

fn is_done(entry: &Entry) -> bool {
    match (&entry.held, entry.holder()) {
        (Held::Ours { value, .. }, Some(claim)) => *value == claim.json,
        (Held::Nothing, None) => true,
        _ => false,
    }
}
