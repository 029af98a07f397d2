//! [`EtcdModel`]: the semantics of etcd in simulated time, without a network and without faults.
//!
//! The model covers every part of etcd that the core depends on: keys with a version, TTLs of
//! keys (v2), leases (v3), preconditions of writes, names above and below each other, and watches.
//! Two test doubles are built on it. The suites of the core inject faults by script, and the
//! simulation injects faults by seed. Both doubles therefore agree about etcd.
//!
//! The model makes no random choice and never waits.
#![allow(dead_code, reason = "each of the two doubles uses a part of the model")]

use std::collections::BTreeMap;
use std::time::Duration;

use highhock_actors::{
    Change, ExpectedValue, Expiry, GrantOutcome, KeepAliveMode, KeptAlive, Lease, LeaseId,
    LeaseNamespace, LeasedRecords, Precondition, RecordKey, StoreError, StoreErrorKind,
    StoredRecord, Write, WriteOutcome,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The author of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeOwner {
    /// The HighHock process of this number. Number 0 is a process that ended before the test.
    Own(u32),
    /// Any other client of etcd.
    Foreign,
}

/// A key's content.
#[derive(Clone, Debug)]
pub struct Node {
    pub value: String,
    /// The revision of etcd at which the value was written.
    pub version: u64,
    pub expiry: NodeExpiry,
    pub owner: NodeOwner,
    /// The time of the write. A refresh does not count.
    pub written: Instant,
}

impl Node {
    fn lease(&self) -> Option<LeaseId> {
        match self.expiry {
            NodeExpiry::Lease(id) => Some(id),
            NodeExpiry::Never | NodeExpiry::At(_) => None,
        }
    }

    fn to_record(&self) -> StoredRecord {
        let expiry = match self.expiry {
            NodeExpiry::Never => Expiry::Never,
            NodeExpiry::At(end) => Expiry::Ttl(end.saturating_duration_since(Instant::now())),
            NodeExpiry::Lease(id) => Expiry::Lease(id),
        };
        StoredRecord { value: self.value.clone(), version: self.version, expiry }
    }
}

/// The end of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeExpiry {
    Never,
    /// The key has a TTL of its own, which ends at this time.
    At(Instant),
    /// The key ends with this lease.
    Lease(LeaseId),
}

/// A granted lease.
#[derive(Clone, Copy, Debug)]
pub struct GrantedLease {
    pub ttl: Duration,
    pub ends: Instant,
}

/// Follows the changes of an [`EtcdModel`], for example to check invariants.
///
/// Every method is called before watches receive the change.
pub trait EtcdObserver {
    /// The write of `process` meets its precondition and is applied next. `previous` is the
    /// content that the write replaces.
    fn write_accepted(&mut self, _process: u32, _write: &Write, _previous: Option<&Node>) {}
    /// The key has a new content.
    fn key_set(&mut self, _key: &str, _node: &Node) {}
    /// The key was removed. `node` is the former content.
    fn key_removed(&mut self, _key: &str, _node: &Node, _reason: &str) {}
    /// The key is about to be removed because its TTL has ended. The TTL is that of the lease,
    /// or `None` if the key had a TTL of its own.
    fn key_expires(&mut self, _key: &str, _node: &Node, _lease_ttl: Option<Duration>) {}
    /// A lease is about to be removed because its TTL has ended.
    fn lease_expires(&mut self) {}
    /// Reports if any watch is open.
    fn set_watched(&mut self, _is_watched: bool) {}
}

/// An observer that ignores every change.
pub struct NoObserver;

impl EtcdObserver for NoObserver {}

/// The content of an etcd at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    nodes: BTreeMap<String, Node>,
    leases: BTreeMap<LeaseId, GrantedLease>,
    version: u64,
}

struct WatchSender {
    sender: mpsc::UnboundedSender<Result<Change, StoreError>>,
    held_back: Vec<Change>,
}

/// A model of one etcd.
///
/// Requests that read or write first remove all content that has expired by now. Fields are public
/// because tests inspect the content and edit it as another client would.
pub struct EtcdModel<O> {
    pub observer: O,
    /// v2 (a TTL for each record) or v3 (one lease for all records).
    pub keep_alive_mode: KeepAliveMode,
    pub nodes: BTreeMap<String, Node>,
    pub leases: BTreeMap<LeaseId, GrantedLease>,
    /// The time between the end of a TTL and the removal of its keys.
    pub expiry_lag: Duration,
    /// Until this time, changes are held back from all watches.
    pub muted_until: Option<Instant>,
    version: u64,
    watches: Vec<WatchSender>,
}

impl<O: EtcdObserver> EtcdModel<O> {
    pub fn new(keep_alive_mode: KeepAliveMode, observer: O) -> Self {
        Self {
            observer,
            keep_alive_mode,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            expiry_lag: Duration::ZERO,
            muted_until: None,
            version: 0,
            watches: Vec::new(),
        }
    }

    // --- time --------------------------------------------------------------

    /// Removes all keys and leases whose TTL has ended, and delivers changes that are no longer
    /// held back.
    pub fn advance_to_now(&mut self) {
        self.watches.retain(|watch| !watch.sender.is_closed());
        self.observer.set_watched(!self.watches.is_empty());
        let now = Instant::now();
        self.expire_leases(now);
        self.expire_keys(now);
        if self.muted_until.is_some_and(|until| until <= now) {
            self.muted_until = None;
            for watch in &mut self.watches {
                for change in watch.held_back.drain(..) {
                    let _ = watch.sender.send(Ok(change));
                }
            }
        }
    }

    fn expire_leases(&mut self, now: Instant) {
        let expired = self.leases.iter().filter(|(_, lease)| lease.ends + self.expiry_lag <= now);
        let expired: Vec<_> = expired.map(|(id, lease)| (*id, lease.ttl)).collect();
        for (id, ttl) in expired {
            self.observer.lease_expires();
            for (key, node) in self.nodes.iter().filter(|(_, node)| node.lease() == Some(id)) {
                self.observer.key_expires(key, node, Some(ttl));
            }
            self.end_lease(id);
        }
    }

    fn expire_keys(&mut self, now: Instant) {
        let has_ended = |node: &Node| match node.expiry {
            NodeExpiry::At(end) => end + self.expiry_lag <= now,
            NodeExpiry::Never | NodeExpiry::Lease(_) => false,
        };
        let expired = self.nodes.iter().filter(|(_, node)| has_ended(node));
        for key in expired.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.observer.key_expires(&key, &self.nodes[&key], None);
            self.remove(&key, "expired");
        }
    }

    // --- changes by other clients and by the operator ----------------------

    /// Writes a key without a precondition.
    pub fn set(&mut self, key: &str, value: &str, expiry: NodeExpiry, owner: NodeOwner) {
        self.version += 1;
        let written = Instant::now();
        let node = Node { value: value.into(), version: self.version, expiry, owner, written };
        self.nodes.insert(key.into(), node.clone());
        self.observer.key_set(key, &node);
        self.notify(key, Some(node.to_record()));
    }

    /// Removes a key. The reason is for the observer.
    pub fn remove(&mut self, key: &str, reason: &str) {
        let Some(node) = self.nodes.remove(key) else { return };
        self.version += 1;
        self.observer.key_removed(key, &node, reason);
        self.notify(key, None);
    }

    /// Removes all keys below a directory. Watches receive one change, which names the directory
    /// (etcd v2).
    pub fn remove_directory(&mut self, directory: &str) {
        self.nodes.retain(|key, _| !key.starts_with(&format!("{directory}/")));
        self.notify(directory, None);
    }

    /// Removes all leases and all keys.
    pub fn wipe(&mut self) {
        self.leases.clear();
        for key in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.remove(&key, "wiped");
        }
    }

    /// Removes a lease and its keys.
    pub fn end_lease(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let keys = self.nodes.iter().filter(|(_, node)| node.lease() == Some(lease));
        for key in keys.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.remove(&key, "its lease ended");
        }
    }

    /// Restarts the TTL of every lease, as a new leader of etcd does.
    pub fn restart_leases(&mut self) {
        let now = Instant::now();
        for lease in self.leases.values_mut() {
            lease.ends = now + lease.ttl;
        }
    }

    /// Returns the content.
    pub fn snapshot(&self) -> Snapshot {
        let Self { nodes, leases, version, .. } = self;
        Snapshot { nodes: nodes.clone(), leases: leases.clone(), version: *version }
    }

    /// Replaces the content by that of a snapshot. All watches end, and the TTL of every lease
    /// starts again. Observers receive nothing.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let Snapshot { nodes, leases, version } = snapshot.clone();
        (self.nodes, self.leases, self.version) = (nodes, leases, version);
        self.restart_leases();
        self.cut_watches(None);
    }

    // --- watches -----------------------------------------------------------

    /// Opens a watch on all keys.
    pub fn watch(&mut self) -> mpsc::UnboundedReceiver<Result<Change, StoreError>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watches.push(WatchSender { sender, held_back: Vec::new() });
        receiver
    }

    /// Ends all watches, each with this error if there is one.
    pub fn cut_watches(&mut self, error: Option<&StoreError>) {
        self.observer.set_watched(false);
        for watch in self.watches.drain(..) {
            if let Some(error) = error {
                let _ = watch.sender.send(Err(error.clone()));
            }
        }
    }

    fn notify(&mut self, key: &str, now: Option<StoredRecord>) {
        let change = Change { key: RecordKey::from_path(key), now };
        let is_muted = self.muted_until.is_some();
        self.watches.retain_mut(|watch| {
            if is_muted {
                watch.held_back.push(change.clone());
                return !watch.sender.is_closed();
            }
            watch.sender.send(Ok(change.clone())).is_ok()
        });
    }

    // --- requests of the core ----------------------------------------------

    /// Returns `true` if a key above or below this one exists.
    pub fn has_conflict(&self, key: &RecordKey) -> bool {
        self.nodes.keys().any(|other| RecordKey::from_path(other).overlaps(key))
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// Returns an error if a key above or below this one exists in v2, because one of both is a
    /// directory there.
    pub fn read(&mut self, key: &RecordKey) -> Result<Option<StoredRecord>, StoreError> {
        self.advance_to_now();
        if self.keep_alive_mode == KeepAliveMode::PerRecord && self.has_conflict(key) {
            return Err(blocked());
        }
        Ok(self.nodes.get(key.as_str()).map(Node::to_record))
    }

    /// Applies a write of a HighHock process if its precondition holds.
    ///
    /// # Errors
    ///
    /// Returns an error if the lease of the write does not exist, or if a key above or below its
    /// key exists.
    pub fn write(&mut self, write: &Write, process: u32) -> Result<WriteOutcome, StoreError> {
        self.advance_to_now();
        let key = write.key();
        if let Write::Put { lease, .. } = write {
            assert_eq!(lease.is_some(), self.keep_alive_mode == KeepAliveMode::Lease, "{write:?}");
            if lease.is_some_and(|id| !self.leases.contains_key(&id)) {
                return Err(StoreError::new(StoreErrorKind::LeaseLost, "simulated: no such lease"));
            }
        }
        if self.has_conflict(key) {
            return Err(blocked());
        }
        if let Some(rejection) = self.check_precondition(write) {
            return Ok(rejection);
        }
        self.observer.write_accepted(process, write, self.nodes.get(key.as_str()));
        let owner = NodeOwner::Own(process);
        match write {
            Write::Put { value, lease: Some(lease), .. } => {
                self.set(key.as_str(), value, NodeExpiry::Lease(*lease), owner);
            }
            Write::Put { value, ttl, .. } => {
                self.set(key.as_str(), value, NodeExpiry::At(Instant::now() + *ttl), owner);
            }
            Write::Refresh { ttl, .. } => {
                // A refresh is no change: watches receive nothing, and the version stays.
                if let Some(node) = self.nodes.get_mut(key.as_str()) {
                    (node.expiry, node.owner) = (NodeExpiry::At(Instant::now() + *ttl), owner);
                }
            }
            Write::Delete { .. } => self.remove(key.as_str(), "withdrawn"),
        }
        Ok(WriteOutcome::Done)
    }

    /// Returns the outcome of a write whose precondition fails.
    fn check_precondition(&self, write: &Write) -> Option<WriteOutcome> {
        let found = self.nodes.get(write.key().as_str());
        let check = |expected: &ExpectedValue| match found {
            None => Some(WriteOutcome::Missing),
            Some(node) => {
                let is_equal = node.value == expected.value
                    && expected.lease.is_none_or(|id| node.lease() == Some(id))
                    && expected.version.is_none_or(|version| version == node.version);
                (!is_equal).then_some(WriteOutcome::Conflict)
            }
        };
        match write {
            Write::Put { precondition: Precondition::Absent, .. } => {
                found.map(|_| WriteOutcome::Conflict)
            }
            Write::Put { precondition: Precondition::Equals(expected), .. }
            | Write::Delete { expected, .. } => check(expected),
            Write::Refresh { value, .. } => {
                check(&ExpectedValue { value: value.clone(), lease: None, version: None })
            }
        }
    }

    /// Returns the leases of a namespace.
    pub fn leases_of(&self, namespace: LeaseNamespace) -> Vec<Lease> {
        let leases = self.leases.iter().filter(|(id, _)| namespace.contains(**id));
        leases.map(|(id, lease)| Lease { id: *id, ttl: lease.ttl }).collect()
    }

    /// Grants a lease, unless a lease with this id exists.
    pub fn grant(&mut self, id: LeaseId, ttl: Duration) -> GrantOutcome {
        if self.leases.contains_key(&id) {
            return GrantOutcome::Existed;
        }
        self.leases.insert(id, GrantedLease { ttl, ends: Instant::now() + ttl });
        GrantOutcome::Fresh
    }

    /// Restarts the TTL of a lease.
    pub fn keep_alive(&mut self, id: LeaseId) -> KeptAlive {
        let Some(lease) = self.leases.get_mut(&id) else { return KeptAlive::Lost };
        lease.ends = Instant::now() + lease.ttl;
        KeptAlive::For(lease.ttl)
    }

    /// Returns all records that are attached to a lease.
    pub fn leased(&self, id: LeaseId) -> LeasedRecords {
        let leased = self.nodes.iter().filter(|(_, node)| node.lease() == Some(id));
        let records = leased.map(|(key, node)| (RecordKey::from_path(key), node.to_record()));
        LeasedRecords { revision: self.version, records: records.collect() }
    }

    /// Returns the number of the latest change.
    pub fn revision(&self) -> u64 {
        self.version
    }
}

fn blocked() -> StoreError {
    StoreError::new(StoreErrorKind::Blocked, "simulated: a name is in the way")
}
