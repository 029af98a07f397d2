//! [`WriteLog`]: the values that this process wrote to the store, or adopted from an earlier run.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::model::record::RecordKey;

/// The number of uncertain puts that are remembered: about ten outages with a full batch each.
const LATE_WRITES_MAX: usize = 2048;

/// The writes of this process to the store.
///
/// The write log survives a restart of the inserter, so that the restarted inserter knows which
/// records it owns. All clones share one log.
#[derive(Clone, Default)]
pub struct WriteLog(Rc<RefCell<WriteLogState>>);

#[derive(Default)]
struct WriteLogState {
    /// The values that this process may have put into the store, by key.
    values: BTreeMap<RecordKey, Vec<String>>,
    /// The keys with a put or a deletion that is in flight or uncertain.
    in_flight: BTreeSet<RecordKey>,
    /// The uncertain puts, the oldest first. An etcd member that was suspended may apply a put
    /// when it resumes, long after the last read of the key.
    late_writes: VecDeque<(RecordKey, String)>,
    /// Digests of all keys whose content was ever known. They are removed only if the store goes
    /// back in time, and therefore small. A collision of two digests prevents one adoption.
    seen: BTreeSet<u64>,
}

fn digest(key: &RecordKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl WriteLog {
    /// Returns the keys with at least one value.
    pub(super) fn keys(&self) -> Vec<RecordKey> {
        self.0.borrow().values.keys().cloned().collect()
    }

    /// Returns `true` if this process may have put this value.
    pub(super) fn contains(&self, key: &RecordKey, value: &str) -> bool {
        self.0
            .borrow()
            .values
            .get(key)
            .is_some_and(|values| values.iter().any(|known| known == value))
    }

    /// Remembers an uncertain put. The oldest of more than [`LATE_WRITES_MAX`] is forgotten.
    pub(super) fn remember_uncertain_write(&self, key: &RecordKey, value: &str) {
        let late_writes = &mut self.0.borrow_mut().late_writes;
        if !late_writes.iter().any(|(other, old)| other == key && old == value) {
            late_writes.push_back((key.clone(), value.to_owned()));
        }
        if late_writes.len() > LATE_WRITES_MAX {
            late_writes.pop_front();
        }
    }

    /// Returns `true` if this put was uncertain, and forgets it: a put is applied only once.
    pub(super) fn take_late_write(&self, key: &RecordKey, value: &str) -> bool {
        let late_writes = &mut self.0.borrow_mut().late_writes;
        let position = late_writes.iter().position(|(other, old)| other == key && old == value);
        position.and_then(|position| late_writes.remove(position)).is_some()
    }

    /// Returns `true` if the content of the key was ever known. A record with this host's address
    /// is adopted only before that.
    pub(super) fn has_seen(&self, key: &RecordKey) -> bool {
        self.0.borrow().seen.contains(&digest(key))
    }

    /// Forgets all keys whose content was known.
    pub(super) fn forget_seen(&self) {
        self.0.borrow_mut().seen.clear();
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

    /// Adds a value. Returns `true` if the value is new.
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
            values.retain(|known| known != value);
            if values.is_empty() {
                logged.remove(key);
            }
        }
    }

    /// Replaces all values of a key.
    pub(super) fn keep_only(&self, key: &RecordKey, value: Option<&str>) {
        let logged = &mut self.0.borrow_mut().values;
        match value {
            Some(value) => logged.insert(key.clone(), vec![value.to_owned()]),
            None => logged.remove(key),
        };
    }
}
