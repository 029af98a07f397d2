//! A model of etcd's v2 keys: compare and swap, TTLs in simulated time, directories
//! that are in the way, and faults on command.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    Found, Guard, RecordKey, RecordStore, StoreError, StoreErrorKind, Write, Written,
};
use tokio::time::Instant;

/// How the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// Connections are refused.
    Refused,
    /// Requests time out, and were not carried out.
    Silent,
    /// Requests time out, and are carried out when the store comes back.
    Late,
}

struct Node {
    value: String,
    version: u64,
    expires: Option<Instant>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<String, Node>,
    version: u64,
    away: Option<Away>,
    late: Vec<Write>,
    writes: Vec<Write>,
    reads: usize,
    panic_in_write: bool,
    refused: Option<String>,
    fails_writes: bool,
    /// How long an answer takes beyond a millisecond.
    slow_by: Duration,
}

/// A handle to the store; clones share it.
#[derive(Clone, Default)]
pub struct Store(Rc<RefCell<State>>);

impl Store {
    pub fn get(&self, key: &str) -> Option<String> {
        let mut state = self.0.borrow_mut();
        state.expire();
        state.nodes.get(key).map(|node| node.value.clone())
    }

    pub fn keys(&self) -> Vec<String> {
        let mut state = self.0.borrow_mut();
        state.expire();
        state.nodes.keys().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Puts as somebody else would.
    pub fn put(&self, key: &str, value: &str, ttl: Option<Duration>) {
        self.0.borrow_mut().set(key, value, ttl);
    }

    pub fn remove(&self, key: &str) {
        self.0.borrow_mut().nodes.remove(key);
    }

    pub fn wipe(&self) {
        self.0.borrow_mut().nodes.clear();
    }

    pub fn go_away(&self, how: Away) {
        self.0.borrow_mut().away = Some(how);
    }

    pub fn come_back(&self) {
        self.0.borrow_mut().away = None;
    }

    /// Carries out what came while the store was [`Away::Late`].
    pub fn carry_out_late_writes(&self) {
        let mut state = self.0.borrow_mut();
        for write in std::mem::take(&mut state.late) {
            let _ = state.write(&write);
        }
    }

    pub fn panic_in_next_write(&self) {
        self.0.borrow_mut().panic_in_write = true;
    }

    /// Refuses all writes to one key.
    pub fn refuse(&self, key: Option<&str>) {
        self.0.borrow_mut().refused = key.map(Into::into);
    }

    /// Has every write fail at once, in doubt, while reads are answered.
    pub fn fail_writes(&self, fail: bool) {
        self.0.borrow_mut().fails_writes = fail;
    }

    pub fn slow_by(&self, time: Duration) {
        self.0.borrow_mut().slow_by = time;
    }

    /// All writes that were asked for so far.
    pub fn writes(&self) -> Vec<Write> {
        self.0.borrow().writes.clone()
    }

    pub fn reads(&self) -> usize {
        self.0.borrow().reads
    }
}

impl State {
    fn expire(&mut self) {
        let now = Instant::now();
        self.nodes.retain(|_, node| node.expires.is_none_or(|end| end > now));
    }

    fn set(&mut self, key: &str, value: &str, ttl: Option<Duration>) {
        self.version += 1;
        let expires = ttl.map(|ttl| Instant::now() + ttl);
        let node = Node { value: value.into(), version: self.version, expires };
        self.nodes.insert(key.into(), node);
    }

    fn write(&mut self, write: &Write) -> Result<Written, StoreError> {
        self.expire();
        let key = write.key();
        if self.refused.as_deref() == Some(key.as_str()) {
            return Err(StoreError::new(StoreErrorKind::Refused, "scripted: refused"));
        }
        let in_the_way = |other: &String| RecordKey::from_path(other).hides_or_is_hidden_by(key);
        if self.nodes.keys().any(in_the_way) {
            return Err(StoreError::new(StoreErrorKind::Blocked, "scripted: in the way"));
        }
        let there = self.nodes.get(key.as_str());
        let holds = |value: &str, version: Option<u64>| match there {
            None => Some(Written::Missing),
            Some(node) if node.value != value => Some(Written::Conflict),
            Some(node) if version.is_some_and(|wanted| wanted != node.version) => {
                Some(Written::Conflict)
            }
            Some(_) => None,
        };
        let objection = match write {
            Write::Put { guard: Guard::Absent, .. } => there.map(|_| Written::Conflict),
            Write::Put { guard: Guard::Holds { value, version }, .. } => holds(value, *version),
            Write::Refresh { value, .. } | Write::Delete { value, .. } => holds(value, None),
        };
        if let Some(objection) = objection {
            return Ok(objection);
        }
        match write {
            Write::Put { value, ttl, .. } | Write::Refresh { value, ttl, .. } => {
                self.set(key.as_str(), value, Some(*ttl));
            }
            Write::Delete { .. } => drop(self.nodes.remove(key.as_str())),
        }
        Ok(Written::Done)
    }

    fn failure(&self) -> Option<StoreError> {
        let kind = match self.away? {
            Away::Refused => StoreErrorKind::Unavailable,
            Away::Silent | Away::Late => StoreErrorKind::Unknown,
        };
        Some(StoreError::new(kind, "scripted: away"))
    }
}

impl Store {
    async fn answer(&self) {
        let silent = matches!(self.0.borrow().away, Some(Away::Silent | Away::Late));
        let slow_by = self.0.borrow().slow_by;
        tokio::time::sleep(slow_by + Duration::from_millis(if silent { 1000 } else { 1 })).await;
    }
}

impl RecordStore for Store {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        let failure = {
            let mut state = self.0.borrow_mut();
            assert!(!std::mem::take(&mut state.panic_in_write), "a test asked for it");
            state.writes.extend(writes.iter().cloned());
            if state.away == Some(Away::Late) {
                state.late.extend(writes.iter().cloned());
            }
            let fails = state
                .fails_writes
                .then(|| StoreError::new(StoreErrorKind::Malformed, "scripted: writes fail"));
            state.failure().or(fails)
        };
        self.answer().await;
        let mut state = self.0.borrow_mut();
        writes.iter().map(|write| failure.clone().map_or_else(|| state.write(write), Err)).collect()
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<Found>, StoreError>> {
        self.answer().await;
        let mut state = self.0.borrow_mut();
        state.reads += 1;
        state.expire();
        let failure = state.failure();
        let found = |key: &RecordKey| {
            let in_the_way =
                |other: &String| RecordKey::from_path(other).hides_or_is_hidden_by(key);
            if state.nodes.keys().any(in_the_way) {
                return Err(StoreError::new(StoreErrorKind::Blocked, "scripted: in the way"));
            }
            let Some(node) = state.nodes.get(key.as_str()) else { return Ok(None) };
            let ttl = node.expires.map(|end| end.duration_since(Instant::now()));
            Ok(Some(Found { value: node.value.clone(), version: node.version, ttl }))
        };
        keys.iter().map(|key| failure.clone().map_or_else(|| found(key), Err)).collect()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.answer().await;
        self.0.borrow().failure().map_or(Ok(()), Err)
    }
}
