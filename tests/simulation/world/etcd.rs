//! What a simulated etcd holds: v2's keys with a TTL each or v3's on leases, compares,
//! names that are in each other's way, and a stream of changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    Change, ExpectedValue, Expiry, KeepAliveMode, LeaseId, Precondition, RecordKey, StoreError,
    StoreErrorKind, StoredRecord, Write, WriteOutcome,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::invariants::InvariantChecker;
use super::trace::{count, trace_line};

/// Whose a node is, by who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeOwner {
    /// A core of ours: the process of this number; an earlier life is number 0.
    Own(u32),
    /// Somebody else.
    Foreign,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub value: String,
    pub version: u64,
    pub expiry: NodeExpiry,
    pub owner: NodeOwner,
    pub written: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeExpiry {
    Never,
    At(Instant),
    Lease(LeaseId),
}

#[derive(Clone, Copy, Debug)]
pub struct LeaseState {
    pub ttl: Duration,
    pub ends: Instant,
}

/// What becomes of a request in a bad time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Refused at once; nothing is done.
    Refused,
    /// No answer in time; nothing is done.
    RequestLost,
    /// No answer in time; it is done all the same.
    ResponseLost,
    /// No answer in time; it is done some seconds later.
    Delayed,
    /// One of the four, by chance.
    Any,
    /// Writes fail, reads are answered.
    ReadOnly,
}

/// What goes wrong, and until when.
#[derive(Default)]
pub struct StoreFaults {
    /// Of so many hundredths of the requests.
    pub bad: Option<(Instant, StoreFault, u8)>,
    pub slow: Option<(Instant, Duration)>,
    /// What is told of changes is held back until then.
    pub mute: Option<Instant>,
    pub panic_on_write: bool,
}

struct WatchSender {
    sender: mpsc::UnboundedSender<Result<Change, StoreError>>,
    held_back: Vec<Change>,
}

pub struct StoreState {
    pub keep_alive_mode: KeepAliveMode,
    /// Of our records, where each has its own.
    pub ttl: Duration,
    pub nodes: BTreeMap<String, Node>,
    pub leases: BTreeMap<LeaseId, LeaseState>,
    pub version: u64,
    pub faults: StoreFaults,
    pub random: fastrand::Rng,
    pub checker: Rc<RefCell<InvariantChecker>>,
    pub puts: u64,
    pub deletes: u64,
    pub refreshes: u64,
    pub reads: u64,
    pub in_flight: usize,
    /// Requests whose caller was told that their outcome is not known, and that are
    /// carried out later.
    pub delayed_requests: usize,
    watchers: Vec<WatchSender>,
    /// How long after its end etcd notices that something has ended.
    expiry_lag: Duration,
    domain: RecordKey,
}

fn error(kind: StoreErrorKind, how: &str) -> StoreError {
    StoreError::new(kind, format!("simulated: {how}"))
}

impl StoreState {
    pub fn new(
        seed: u64,
        keep_alive_mode: KeepAliveMode,
        ttl: Duration,
        checker: Rc<RefCell<InvariantChecker>>,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xe7cd);
        let expiry_lag = Duration::from_millis(random.u64(..500));
        Self {
            keep_alive_mode,
            ttl,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            version: 0,
            faults: StoreFaults::default(),
            random,
            checker,
            puts: 0,
            deletes: 0,
            refreshes: 0,
            reads: 0,
            in_flight: 0,
            delayed_requests: 0,
            watchers: Vec::new(),
            expiry_lag,
            domain: RecordKey::from_path("skydns/local/skydns"),
        }
    }

    /// Lets end what has ended, and tells what was held back.
    pub fn tick(&mut self) {
        self.watchers.retain(|watcher| !watcher.sender.is_closed());
        self.checker.borrow_mut().set_store_watched(!self.watchers.is_empty());
        let now = Instant::now();
        let expired = self.leases.iter().filter(|(_, lease)| lease.ends + self.expiry_lag <= now);
        for id in expired.map(|(id, _)| *id).collect::<Vec<_>>() {
            count("leases expired");
            let ttl = self.leases[&id].ttl;
            for (key, node) in
                self.nodes.iter().filter(|(_, node)| node.expiry == NodeExpiry::Lease(id))
            {
                self.checker.borrow_mut().check_expiry(key, node, ttl);
            }
            self.expire_lease(id);
        }
        let has_ended = |node: &Node| matches!(node.expiry, NodeExpiry::At(end) if end + self.expiry_lag <= now);
        let expired = self.nodes.iter().filter(|(_, node)| has_ended(node));
        for key in expired.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            count("keys expired");
            self.checker.borrow_mut().check_expiry(&key, &self.nodes[&key], self.ttl);
            self.unset(&key, "expired");
        }
        if self.faults.mute.is_some_and(|until| until <= now) {
            self.faults.mute = None;
            for watcher in &mut self.watchers {
                for change in watcher.held_back.drain(..) {
                    let _ = watcher.sender.send(Ok(change));
                }
            }
        }
    }

    pub fn expire_lease(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let has_lease = |node: &Node| node.expiry == NodeExpiry::Lease(lease);
        let keys = self.nodes.iter().filter(|(_, node)| has_lease(node));
        for key in keys.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.unset(&key, "its lease ended");
        }
    }

    /// A new leader gives every lease its whole time again.
    pub fn reset_leases(&mut self) {
        let now = Instant::now();
        for lease in self.leases.values_mut() {
            lease.ends = now + lease.ttl;
        }
    }

    pub fn wipe(&mut self) {
        self.leases.clear();
        for key in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.unset(&key, "wiped");
        }
    }

    pub fn set(&mut self, key: &str, value: &str, expiry: NodeExpiry, owner: NodeOwner) {
        self.version += 1;
        trace_line!("  {key} = {value} by {owner:?}");
        let written = Instant::now();
        let node = Node { value: value.into(), version: self.version, expiry, owner, written };
        self.nodes.insert(key.into(), node.clone());
        if owner == NodeOwner::Foreign {
            self.checker.borrow_mut().mark_foreign_change(key);
        }
        self.notify_watchers(key, Some(stored_record(&node)));
    }

    pub fn unset(&mut self, key: &str, why: &str) {
        let Some(node) = self.nodes.remove(key) else { return };
        trace_line!("  {key} is gone: {why}");
        self.checker.borrow_mut().mark_conflict_gone(key);
        if node.owner == NodeOwner::Foreign {
            self.checker.borrow_mut().mark_foreign_change(key);
        }
        self.notify_watchers(key, None);
    }

    fn notify_watchers(&mut self, key: &str, now: Option<StoredRecord>) {
        let change = Change { key: RecordKey::from_path(key), now };
        if !change.key.is_below(&self.domain) {
            return;
        }
        let is_mute = self.faults.mute.is_some();
        self.watchers.retain_mut(|watcher| {
            if is_mute {
                watcher.held_back.push(change.clone());
                return !watcher.sender.is_closed();
            }
            watcher.sender.send(Ok(change.clone())).is_ok()
        });
    }

    pub fn watch(&mut self) -> mpsc::UnboundedReceiver<Result<Change, StoreError>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watchers.push(WatchSender { sender, held_back: Vec::new() });
        receiver
    }

    pub fn cut_watches(&mut self, with_error: bool) {
        self.checker.borrow_mut().set_store_watched(false);
        for watcher in self.watchers.drain(..) {
            if with_error {
                let _ = watcher.sender.send(Err(error(StoreErrorKind::Unknown, "the watch broke")));
            }
        }
    }

    fn has_conflict(&self, key: &RecordKey) -> bool {
        self.nodes.keys().any(|other| RecordKey::from_path(other).overlaps(key))
    }

    pub fn read(&mut self, key: &RecordKey) -> Result<Option<StoredRecord>, StoreError> {
        self.tick();
        self.reads += 1;
        // In v2 one of the two is a directory.
        if self.keep_alive_mode == KeepAliveMode::PerRecord && self.has_conflict(key) {
            return Err(error(StoreErrorKind::Blocked, "a name is in the way"));
        }
        Ok(self.nodes.get(key.as_str()).map(stored_record))
    }

    /// Carries out a write of a core's.
    pub fn write(&mut self, write: &Write, process: u32) -> Result<WriteOutcome, StoreError> {
        self.tick();
        let key = write.key();
        if let Write::Put { lease: Some(lease), .. } = write
            && !self.leases.contains_key(lease)
        {
            return Err(error(StoreErrorKind::LeaseLost, "no such lease"));
        }
        if self.has_conflict(key) {
            return Err(error(StoreErrorKind::Blocked, "a name is in the way"));
        }
        if let Some(failure) = self.check_precondition(write) {
            return Ok(failure);
        }
        if let Some(node) = self.nodes.get(key.as_str()) {
            self.checker.borrow_mut().check_change(process, write, node);
        }
        let owner = NodeOwner::Own(process);
        match write {
            Write::Put { .. } => self.puts += 1,
            Write::Refresh { .. } => self.refreshes += 1,
            Write::Delete { .. } => self.deletes += 1,
        }
        match write {
            Write::Put { value, lease: Some(lease), .. } => {
                self.set(key.as_str(), value, NodeExpiry::Lease(*lease), owner);
            }
            Write::Put { value, ttl, .. } => {
                self.set(key.as_str(), value, NodeExpiry::At(Instant::now() + *ttl), owner);
            }
            Write::Refresh { ttl, .. } => {
                // Nobody is told of a refresh.
                if let Some(node) = self.nodes.get_mut(key.as_str()) {
                    (node.expiry, node.owner) = (NodeExpiry::At(Instant::now() + *ttl), owner);
                }
            }
            Write::Delete { .. } => self.unset(key.as_str(), "withdrawn"),
        }
        Ok(WriteOutcome::Done)
    }

    fn check_precondition(&self, write: &Write) -> Option<WriteOutcome> {
        let there = self.nodes.get(write.key().as_str());
        let holds = |expected: &ExpectedValue| match there {
            None => Some(WriteOutcome::Missing),
            Some(node) => {
                let lease = match node.expiry {
                    NodeExpiry::Lease(id) => Some(id),
                    NodeExpiry::Never | NodeExpiry::At(_) => None,
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
}

pub fn stored_record(node: &Node) -> StoredRecord {
    let expiry = match node.expiry {
        NodeExpiry::Never => Expiry::Never,
        NodeExpiry::At(end) => Expiry::Ttl(end.saturating_duration_since(Instant::now())),
        NodeExpiry::Lease(id) => Expiry::Lease(id),
    };
    StoredRecord { value: node.value.clone(), version: node.version, expiry }
}
