//! What this process has done to the store, for an inserter that follows on one that fell.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::model::record::RecordKey;

/// How many puts in doubt are remembered: some ten outages with a full batch each.
const LATE_WRITES_MAX: usize = 2048;

/// What this process has done to the store. It outlives an inserter that panics, so
/// that its successor knows what it may touch.
#[derive(Clone, Default)]
pub struct WriteLog(Rc<RefCell<WriteLogState>>);

#[derive(Default)]
struct WriteLogState {
    /// The values that may be in the store by our own doing, by key.
    values: BTreeMap<RecordKey, Vec<String>>,
    /// The keys with a put or a delete under way or in doubt.
    in_flight: BTreeSet<RecordKey>,
    /// Puts that were in doubt, the oldest first. A member that was stopped may carry one
    /// out when it goes on, long after anybody looks.
    late_writes: VecDeque<(RecordKey, String)>,
    /// Digests of the keys that were ever met. They stay for good, also when nobody
    /// wants the key any more, and so are kept small; two that collide cost one
    /// adoption.
    seen: BTreeSet<u64>,
}

fn digest(key: &RecordKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl WriteLog {
    pub(super) fn keys(&self) -> Vec<RecordKey> {
        self.0.borrow().values.keys().cloned().collect()
    }

    pub(super) fn contains(&self, key: &RecordKey, value: &str) -> bool {
        self.0.borrow().values.get(key).is_some_and(|values| values.iter().any(|one| one == value))
    }

    pub(super) fn remember_uncertain_write(&self, key: &RecordKey, value: &str) {
        let late_writes = &mut self.0.borrow_mut().late_writes;
        if !late_writes.iter().any(|(other, old)| other == key && old == value) {
            late_writes.push_back((key.clone(), value.to_owned()));
        }
        if late_writes.len() > LATE_WRITES_MAX {
            late_writes.pop_front();
        }
    }

    /// Whether such a put was in doubt; it is none any more, since a put comes late only
    /// once.
    pub(super) fn take_late_write(&self, key: &RecordKey, value: &str) -> bool {
        let late_writes = &mut self.0.borrow_mut().late_writes;
        let position = late_writes.iter().position(|(other, old)| other == key && old == value);
        position.and_then(|position| late_writes.remove(position)).is_some()
    }

    /// Whether it was ever found out what is at a key: a record that names our host
    /// is adopted only the first time.
    pub(super) fn has_seen(&self, key: &RecordKey) -> bool {
        self.0.borrow().seen.contains(&digest(key))
    }

    pub(super) fn mark_seen(&self, key: &RecordKey) {
        self.0.borrow_mut().seen.insert(digest(key));
    }

    pub(super) fn is_in_flight(&self, key: &RecordKey) -> bool {
        self.0.borrow().in_flight.contains(key)
    }

    pub(super) fn mark_in_flight(&self, key: &RecordKey) {
        self.0.borrow_mut().in_flight.insert(key.clone());
    }

    pub(super) fn clear_in_flight(&self, key: &RecordKey) {
        self.0.borrow_mut().in_flight.remove(key);
    }

    /// Returns whether it is new.
    pub(super) fn add(&self, key: &RecordKey, value: &str) -> bool {
        if self.contains(key, value) {
            return false;
        }
        self.0.borrow_mut().values.entry(key.clone()).or_default().push(value.to_owned());
        true
    }

    pub(super) fn remove(&self, key: &RecordKey, value: &str) {
        let logged = &mut self.0.borrow_mut().values;
        if let Some(values) = logged.get_mut(key) {
            values.retain(|one| one != value);
            if values.is_empty() {
                logged.remove(key);
            }
        }
    }

    pub(super) fn keep_only(&self, key: &RecordKey, value: Option<&str>) {
        let logged = &mut self.0.borrow_mut().values;
        match value {
            Some(value) => logged.insert(key.clone(), vec![value.to_owned()]),
            None => logged.remove(key),
        };
    }
}
