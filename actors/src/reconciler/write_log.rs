//! What this process has done to the store, for an inserter that follows on one that fell.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::model::record::RecordKey;

/// How many puts in doubt are remembered: some ten outages with a full batch each.
const MOST_GHOSTS: usize = 2048;

/// What this process has done to the store. It outlives an inserter that panics, so
/// that its successor knows what it may touch.
#[derive(Clone, Default)]
pub struct Deeds(Rc<RefCell<Memory>>);

#[derive(Default)]
struct Memory {
    /// The values that may be in the store by our own doing, by key.
    values: BTreeMap<RecordKey, Vec<String>>,
    /// The keys with a put or a delete under way or in doubt.
    unsettled: BTreeSet<RecordKey>,
    /// Puts that were in doubt, the oldest first. A member that was stopped may carry one
    /// out when it goes on, long after anybody looks.
    ghosts: VecDeque<(RecordKey, String)>,
    /// Digests of the keys that were ever met. They stay for good, also when nobody
    /// wants the key any more, and so are kept small; two that collide cost one
    /// adoption.
    met: BTreeSet<u64>,
}

fn digest(key: &RecordKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl Deeds {
    pub(super) fn keys(&self) -> Vec<RecordKey> {
        self.0.borrow().values.keys().cloned().collect()
    }

    pub(super) fn contain(&self, key: &RecordKey, value: &str) -> bool {
        self.0.borrow().values.get(key).is_some_and(|values| values.iter().any(|one| one == value))
    }

    pub(super) fn haunt(&self, key: &RecordKey, value: &str) {
        let ghosts = &mut self.0.borrow_mut().ghosts;
        if !ghosts.iter().any(|(other, old)| other == key && old == value) {
            ghosts.push_back((key.clone(), value.to_owned()));
        }
        if ghosts.len() > MOST_GHOSTS {
            ghosts.pop_front();
        }
    }

    /// Whether such a put was in doubt; it is none any more, since a put comes late only
    /// once.
    pub(super) fn take_ghost(&self, key: &RecordKey, value: &str) -> bool {
        let ghosts = &mut self.0.borrow_mut().ghosts;
        let place = ghosts.iter().position(|(other, old)| other == key && old == value);
        place.and_then(|place| ghosts.remove(place)).is_some()
    }

    /// Whether it was ever found out what is at a key: a record that names our host
    /// is adopted only the first time.
    pub(super) fn has_met(&self, key: &RecordKey) -> bool {
        self.0.borrow().met.contains(&digest(key))
    }

    pub(super) fn meet(&self, key: &RecordKey) {
        self.0.borrow_mut().met.insert(digest(key));
    }

    pub(super) fn is_unsettled(&self, key: &RecordKey) -> bool {
        self.0.borrow().unsettled.contains(key)
    }

    pub(super) fn unsettle(&self, key: &RecordKey) {
        self.0.borrow_mut().unsettled.insert(key.clone());
    }

    pub(super) fn settle(&self, key: &RecordKey) {
        self.0.borrow_mut().unsettled.remove(key);
    }

    /// Returns whether it is new.
    pub(super) fn add(&self, key: &RecordKey, value: &str) -> bool {
        if self.contain(key, value) {
            return false;
        }
        self.0.borrow_mut().values.entry(key.clone()).or_default().push(value.to_owned());
        true
    }

    pub(super) fn remove(&self, key: &RecordKey, value: &str) {
        let deeds = &mut self.0.borrow_mut().values;
        if let Some(values) = deeds.get_mut(key) {
            values.retain(|one| one != value);
            if values.is_empty() {
                deeds.remove(key);
            }
        }
    }

    pub(super) fn keep_only(&self, key: &RecordKey, value: Option<&str>) {
        let deeds = &mut self.0.borrow_mut().values;
        match value {
            Some(value) => deeds.insert(key.clone(), vec![value.to_owned()]),
            None => deeds.remove(key),
        };
    }
}
