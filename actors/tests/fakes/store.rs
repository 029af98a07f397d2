//! A model of etcd: compare and swap, TTLs (v2) and leases (v3) in simulated time, names
//! that are in each other's way, a stream of changes, and faults on command.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream;
use highhock_actors::{
    Change, ChangeStream, ExpectedValue, Expiry, GrantOutcome, KeepAliveMode, KeptAlive, Lease,
    LeaseId, LeaseNamespace, Precondition, RecordKey, RecordStore, StoreError, StoreErrorKind,
    StoredRecord, Write, WriteOutcome,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Connections are refused.
    Refused,
    /// Requests time out, and were not carried out.
    Silent,
    /// Requests time out, and are carried out when the store comes back.
    Late,
}

#[derive(Clone, Debug)]
struct Node {
    value: String,
    version: u64,
    expiry: NodeExpiry,
}

#[derive(Clone, Copy, Debug)]
enum NodeExpiry {
    Static,
    Until(Instant),
    Lease(LeaseId),
}

struct GrantedLease {
    ttl: Duration,
    ends: Instant,
}

struct State {
    keep_alive_mode: KeepAliveMode,
    nodes: BTreeMap<String, Node>,
    leases: BTreeMap<LeaseId, GrantedLease>,
    version: u64,
    outage: Option<Outage>,
    late: Vec<Write>,
    writes: Vec<Write>,
    reads: usize,
    keep_alives: usize,
    panic_in_write: bool,
    refused: Option<String>,
    fails_writes: bool,
    /// How long an answer takes beyond a millisecond.
    slow_by: Duration,
    watchers: Vec<mpsc::UnboundedSender<Result<Change, StoreError>>>,
}

/// A handle to the store; clones share it.
#[derive(Clone)]
pub struct Store(Rc<RefCell<State>>);

impl Store {
    pub fn new(keep_alive_mode: KeepAliveMode) -> Self {
        Self(Rc::new(RefCell::new(State {
            keep_alive_mode,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            version: 0,
            outage: None,
            late: Vec::new(),
            writes: Vec::new(),
            reads: 0,
            keep_alives: 0,
            panic_in_write: false,
            refused: None,
            fails_writes: false,
            slow_by: Duration::ZERO,
            watchers: Vec::new(),
        })))
    }

    pub fn keep_alive_mode(&self) -> KeepAliveMode {
        self.0.borrow().keep_alive_mode
    }

    pub fn get(&self, key: &str) -> Option<String> {
        let mut state = self.0.borrow_mut();
        state.expire();
        state.nodes.get(key).map(|node| node.value.clone())
    }

    /// The version that the key was last written with.
    pub fn version(&self, key: &str) -> Option<u64> {
        self.0.borrow().nodes.get(key).map(|node| node.version)
    }

    pub fn keys(&self) -> Vec<String> {
        let mut state = self.0.borrow_mut();
        state.expire();
        state.nodes.keys().cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Puts as somebody else would; with a life of its own where a TTL is given.
    pub fn put(&self, key: &str, value: &str, ttl: Option<Duration>) {
        let expiry = ttl.map_or(NodeExpiry::Static, |ttl| NodeExpiry::Until(Instant::now() + ttl));
        self.0.borrow_mut().set(key, value, expiry);
    }

    /// Puts on a lease, as an earlier life of ours or a twin would.
    pub fn put_on_lease(&self, key: &str, value: &str, lease: LeaseId, ttl: Duration) {
        let mut state = self.0.borrow_mut();
        let ends = Instant::now() + ttl;
        state.leases.entry(lease).or_insert(GrantedLease { ttl, ends });
        state.set(key, value, NodeExpiry::Lease(lease));
    }

    pub fn remove(&self, key: &str) {
        self.0.borrow_mut().unset(key);
    }

    /// Removes all below a directory, and tells of the directory's end only (etcd v2).
    pub fn remove_directory(&self, directory: &str) {
        let mut state = self.0.borrow_mut();
        state.nodes.retain(|key, _| !key.starts_with(&format!("{directory}/")));
        state.notify(directory, None);
    }

    pub fn wipe(&self) {
        let mut state = self.0.borrow_mut();
        state.leases.clear();
        for key in state.nodes.keys().cloned().collect::<Vec<_>>() {
            state.unset(&key);
        }
    }

    /// The leases that exist, with their TTLs.
    pub fn lease_ttls(&self) -> Vec<(LeaseId, Duration)> {
        let mut state = self.0.borrow_mut();
        state.expire();
        state.leases.iter().map(|(id, lease)| (*id, lease.ttl)).collect()
    }

    pub fn end_lease(&self, lease: LeaseId) {
        self.0.borrow_mut().end(lease);
    }

    pub fn fail(&self, how: Outage) {
        let mut state = self.0.borrow_mut();
        state.outage = Some(how);
        if how == Outage::Refused {
            state.watchers.clear();
        }
    }

    pub fn recover(&self) {
        self.0.borrow_mut().outage = None;
    }

    /// Carries out what came while the store was [`Outage::Late`].
    pub fn apply_late_writes(&self) {
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

    /// How often a record was put at this key.
    pub fn puts_of(&self, key: &str) -> usize {
        let is_put =
            |write: &&Write| matches!(write, Write::Put { .. }) && write.key().as_str() == key;
        self.writes().iter().filter(is_put).count()
    }

    pub fn reads(&self) -> usize {
        self.0.borrow().reads
    }

    pub fn keep_alives(&self) -> usize {
        self.0.borrow().keep_alives
    }
}

impl State {
    fn expire(&mut self) {
        let now = Instant::now();
        let ended = self.leases.iter().filter(|(_, lease)| lease.ends <= now);
        for id in ended.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end(id);
        }
        let ended = |node: &Node| matches!(node.expiry, NodeExpiry::Until(end) if end <= now);
        let ended = self.nodes.iter().filter(|(_, node)| ended(node));
        for key in ended.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.unset(&key);
        }
    }

    fn end(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let on_it = |node: &Node| matches!(node.expiry, NodeExpiry::Lease(id) if id == lease);
        let keys = self.nodes.iter().filter(|(_, node)| on_it(node));
        for key in keys.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.unset(&key);
        }
    }

    fn set(&mut self, key: &str, value: &str, expiry: NodeExpiry) {
        self.version += 1;
        let node = Node { value: value.into(), version: self.version, expiry };
        self.nodes.insert(key.into(), node.clone());
        self.notify(key, Some(found(&node)));
    }

    fn unset(&mut self, key: &str) {
        if self.nodes.remove(key).is_some() {
            self.notify(key, None);
        }
    }

    fn notify(&mut self, key: &str, now: Option<StoredRecord>) {
        let change = Change { key: RecordKey::from_path(key), now };
        self.watchers.retain(|watcher| watcher.send(Ok(change.clone())).is_ok());
    }

    fn read(&self, key: &RecordKey) -> Result<Option<StoredRecord>, StoreError> {
        let in_the_way = |other: &String| RecordKey::from_path(other).overlaps(key);
        // In v2 one of the two is a directory.
        if self.keep_alive_mode == KeepAliveMode::PerRecord && self.nodes.keys().any(in_the_way) {
            return Err(StoreError::new(StoreErrorKind::Blocked, "scripted: in the way"));
        }
        Ok(self.nodes.get(key.as_str()).map(found))
    }

    fn write(&mut self, write: &Write) -> Result<WriteOutcome, StoreError> {
        self.expire();
        let key = write.key();
        if self.refused.as_deref() == Some(key.as_str()) {
            return Err(StoreError::new(StoreErrorKind::Refused, "scripted: refused"));
        }
        if let Write::Put { lease, .. } = write {
            assert_eq!(lease.is_some(), self.keep_alive_mode == KeepAliveMode::Lease, "{write:?}");
            if lease.is_some_and(|id| !self.leases.contains_key(&id)) {
                return Err(StoreError::new(StoreErrorKind::LeaseLost, "scripted: no such lease"));
            }
        }
        let in_the_way = |other: &String| RecordKey::from_path(other).overlaps(key);
        if self.nodes.keys().any(in_the_way) {
            return Err(StoreError::new(StoreErrorKind::Blocked, "scripted: in the way"));
        }
        if let Some(rejection) = self.rejection(write) {
            return Ok(rejection);
        }
        match write {
            Write::Put { value, lease: Some(lease), .. } => {
                self.set(key.as_str(), value, NodeExpiry::Lease(*lease));
            }
            Write::Put { value, ttl, .. } => {
                self.set(key.as_str(), value, NodeExpiry::Until(Instant::now() + *ttl));
            }
            Write::Refresh { ttl, .. } => {
                // Nobody is told of a refresh.
                let node = self.nodes.get_mut(key.as_str()).unwrap();
                node.expiry = NodeExpiry::Until(Instant::now() + *ttl);
            }
            Write::Delete { .. } => self.unset(key.as_str()),
        }
        Ok(WriteOutcome::Done)
    }

    fn rejection(&self, write: &Write) -> Option<WriteOutcome> {
        let there = self.nodes.get(write.key().as_str());
        let holds = |expected: &ExpectedValue| match there {
            None => Some(WriteOutcome::Missing),
            Some(node) => {
                let lease = match node.expiry {
                    NodeExpiry::Lease(id) => Some(id),
                    NodeExpiry::Static | NodeExpiry::Until(_) => None,
                };
                let fits = node.value == expected.value
                    && expected.lease.is_none_or(|id| lease == Some(id))
                    && expected.version.is_none_or(|version| version == node.version);
                (!fits).then_some(WriteOutcome::Conflict)
            }
        };
        match write {
            Write::Put { precondition: Precondition::Absent, .. } => {
                there.map(|_| WriteOutcome::Conflict)
            }
            Write::Put { precondition: Precondition::Equals(expected), .. }
            | Write::Delete { expected, .. } => holds(expected),
            Write::Refresh { value, .. } => {
                holds(&ExpectedValue { value: value.clone(), lease: None, version: None })
            }
        }
    }

    fn failure(&self) -> Option<StoreError> {
        let kind = match self.outage? {
            Outage::Refused => StoreErrorKind::Unavailable,
            Outage::Silent | Outage::Late => StoreErrorKind::Unknown,
        };
        Some(StoreError::new(kind, "scripted: away"))
    }
}

fn found(node: &Node) -> StoredRecord {
    let expiry = match node.expiry {
        NodeExpiry::Static => Expiry::Never,
        NodeExpiry::Until(end) => Expiry::Ttl(end.saturating_duration_since(Instant::now())),
        NodeExpiry::Lease(id) => Expiry::Lease(id),
    };
    StoredRecord { value: node.value.clone(), version: node.version, expiry }
}

impl Store {
    /// One answer's time; then what the store does, or how it failed when it was asked.
    async fn answer<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let (failure, slow_by) = {
            let state = self.0.borrow();
            (state.failure(), state.slow_by)
        };
        let silent = failure.as_ref().is_some_and(|error| error.kind.is_uncertain());
        let wait = Duration::from_millis(if silent { 1000 } else { 1 });
        tokio::time::sleep(slow_by + wait).await;
        let mut state = self.0.borrow_mut();
        state.expire();
        match failure {
            Some(error) => Err(error),
            None => Ok(act(&mut state)),
        }
    }
}

impl RecordStore for Store {
    fn keep_alive_mode(&self) -> KeepAliveMode {
        self.0.borrow().keep_alive_mode
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<WriteOutcome, StoreError>> {
        {
            let mut state = self.0.borrow_mut();
            assert!(!std::mem::take(&mut state.panic_in_write), "a test asked for it");
            state.writes.extend(writes.iter().cloned());
            if state.outage == Some(Outage::Late) {
                state.late.extend(writes.iter().cloned());
            }
        }
        let act = |state: &mut State| {
            if state.fails_writes {
                let error = StoreError::new(StoreErrorKind::Malformed, "scripted: writes fail");
                return vec![Err(error); writes.len()];
            }
            writes.iter().map(|write| state.write(write)).collect()
        };
        match self.answer(act).await {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); writes.len()],
        }
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        let act = |state: &mut State| {
            state.reads += 1;
            keys.iter().map(|key| state.read(key)).collect()
        };
        match self.answer(act).await {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); keys.len()],
        }
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.answer(|_| ()).await
    }

    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        let changes = self.answer(|state| {
            let (sender, receiver) = mpsc::unbounded_channel();
            state.watchers.push(sender);
            receiver
        });
        let next = async |mut receiver: mpsc::UnboundedReceiver<_>| {
            receiver.recv().await.map(|change| (change, receiver))
        };
        Ok(Box::pin(stream::unfold(changes.await?, next)))
    }

    async fn leases(&self, namespace: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
        self.answer(|state| {
            let ours = state.leases.iter().filter(|(id, _)| namespace.contains(**id));
            ours.map(|(id, lease)| Lease { id: *id, ttl: lease.ttl }).collect()
        })
        .await
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<GrantOutcome, StoreError> {
        self.answer(|state| {
            if state.leases.contains_key(&id) {
                return GrantOutcome::Existed;
            }
            state.leases.insert(id, GrantedLease { ttl, ends: Instant::now() + ttl });
            GrantOutcome::Fresh
        })
        .await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        self.answer(|state| {
            state.keep_alives += 1;
            let Some(lease) = state.leases.get_mut(&id) else { return KeptAlive::Lost };
            lease.ends = Instant::now() + lease.ttl;
            KeptAlive::For(lease.ttl)
        })
        .await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.answer(|state| state.end(id)).await
    }

    async fn leased(&self, id: LeaseId) -> Result<Vec<(RecordKey, StoredRecord)>, StoreError> {
        self.answer(|state| {
            let on_it =
                |node: &Node| matches!(node.expiry, NodeExpiry::Lease(lease) if lease == id);
            let nodes = state.nodes.iter().filter(|(_, node)| on_it(node));
            nodes.map(|(key, node)| (RecordKey::from_path(key), found(node))).collect()
        })
        .await
    }
}
