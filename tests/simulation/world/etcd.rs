//! What a simulated etcd holds: v2's keys with a TTL each or v3's on leases, compares,
//! names that are in each other's way, and a stream of changes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    Change, Expected, Found, Guard, LeaseId, RecordKey, StoreError, StoreErrorKind, Tie, Upkeep,
    Write, Written,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::invariants::Judge;
use super::trace::{count, say};

/// Whose a node is, by who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A core of ours: the process of this number; an earlier life is number 0.
    Us(u32),
    /// Somebody else.
    Other,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub value: String,
    pub version: u64,
    pub life: Life,
    pub owner: Owner,
    pub written: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Static,
    Until(Instant),
    Lease(LeaseId),
}

#[derive(Clone, Copy, Debug)]
pub struct LeaseState {
    pub ttl: Duration,
    pub ends: Instant,
}

/// What becomes of a request in a bad time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Refused at once; nothing is done.
    Refused,
    /// No answer in time; nothing is done.
    Lost,
    /// No answer in time; it is done all the same.
    Unanswered,
    /// No answer in time; it is done some seconds later.
    Late,
    /// One of the four, by chance.
    Any,
    /// Writes fail, reads are answered.
    ReadOnly,
}

/// What goes wrong, and until when.
#[derive(Default)]
pub struct Ails {
    /// Of so many hundredths of the requests.
    pub bad: Option<(Instant, Bad, u8)>,
    pub slow: Option<(Instant, Duration)>,
    /// What is told of changes is held back until then.
    pub mute: Option<Instant>,
    pub strike: bool,
}

struct Watcher {
    sender: mpsc::UnboundedSender<Result<Change, StoreError>>,
    held_back: Vec<Change>,
}

pub struct State {
    pub upkeep: Upkeep,
    /// Of our records, where each has its own.
    pub ttl: Duration,
    pub nodes: BTreeMap<String, Node>,
    pub leases: BTreeMap<LeaseId, LeaseState>,
    pub version: u64,
    pub ails: Ails,
    pub random: fastrand::Rng,
    pub judge: Rc<RefCell<Judge>>,
    pub puts: u64,
    pub deletes: u64,
    pub refreshes: u64,
    pub reads: u64,
    pub asked: usize,
    /// Requests whose caller was told that their outcome is not known, and that are
    /// carried out later.
    pub on_their_way: usize,
    watchers: Vec<Watcher>,
    /// How long after its end etcd notices that something has ended.
    lag: Duration,
    domain: RecordKey,
}

fn error(kind: StoreErrorKind, how: &str) -> StoreError {
    StoreError::new(kind, format!("simulated: {how}"))
}

impl State {
    pub fn new(seed: u64, upkeep: Upkeep, ttl: Duration, judge: Rc<RefCell<Judge>>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xe7cd);
        let lag = Duration::from_millis(random.u64(..500));
        Self {
            upkeep,
            ttl,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
            version: 0,
            ails: Ails::default(),
            random,
            judge,
            puts: 0,
            deletes: 0,
            refreshes: 0,
            reads: 0,
            asked: 0,
            on_their_way: 0,
            watchers: Vec::new(),
            lag,
            domain: RecordKey::from_path("skydns/local/skydns"),
        }
    }

    /// Lets end what has ended, and tells what was held back.
    pub fn tick(&mut self) {
        self.watchers.retain(|watcher| !watcher.sender.is_closed());
        self.judge.borrow_mut().store_is_watched(!self.watchers.is_empty());
        let now = Instant::now();
        let ended = self.leases.iter().filter(|(_, lease)| lease.ends + self.lag <= now);
        for id in ended.map(|(id, _)| *id).collect::<Vec<_>>() {
            count("leases expired");
            let ttl = self.leases[&id].ttl;
            for (key, node) in self.nodes.iter().filter(|(_, node)| node.life == Life::Lease(id)) {
                self.judge.borrow_mut().expired(key, node, ttl);
            }
            self.end_lease(id);
        }
        let has_ended =
            |node: &Node| matches!(node.life, Life::Until(end) if end + self.lag <= now);
        let ended = self.nodes.iter().filter(|(_, node)| has_ended(node));
        for key in ended.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            count("keys expired");
            self.judge.borrow_mut().expired(&key, &self.nodes[&key], self.ttl);
            self.unset(&key, "expired");
        }
        if self.ails.mute.is_some_and(|until| until <= now) {
            self.ails.mute = None;
            for watcher in &mut self.watchers {
                for change in watcher.held_back.drain(..) {
                    let _ = watcher.sender.send(Ok(change));
                }
            }
        }
    }

    pub fn end_lease(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let on_it = |node: &Node| node.life == Life::Lease(lease);
        let keys = self.nodes.iter().filter(|(_, node)| on_it(node));
        for key in keys.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.unset(&key, "its lease ended");
        }
    }

    /// A new leader gives every lease its whole time again.
    pub fn change_leader(&mut self) {
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

    pub fn set(&mut self, key: &str, value: &str, life: Life, owner: Owner) {
        self.version += 1;
        say!("  {key} = {value} by {owner:?}");
        let written = Instant::now();
        let node = Node { value: value.into(), version: self.version, life, owner, written };
        self.nodes.insert(key.into(), node.clone());
        if owner == Owner::Other {
            self.judge.borrow_mut().touched(key);
        }
        self.tell(key, Some(found(&node)));
    }

    pub fn unset(&mut self, key: &str, why: &str) {
        let Some(node) = self.nodes.remove(key) else { return };
        say!("  {key} is gone: {why}");
        self.judge.borrow_mut().freed(key);
        if node.owner == Owner::Other {
            self.judge.borrow_mut().touched(key);
        }
        self.tell(key, None);
    }

    fn tell(&mut self, key: &str, now: Option<Found>) {
        let change = Change { key: RecordKey::from_path(key), now };
        if !change.key.is_below(&self.domain) {
            return;
        }
        let is_mute = self.ails.mute.is_some();
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
        self.watchers.push(Watcher { sender, held_back: Vec::new() });
        receiver
    }

    pub fn cut_watches(&mut self, with_error: bool) {
        self.judge.borrow_mut().store_is_watched(false);
        for watcher in self.watchers.drain(..) {
            if with_error {
                let _ = watcher.sender.send(Err(error(StoreErrorKind::Unknown, "the watch broke")));
            }
        }
    }

    fn is_in_the_way(&self, key: &RecordKey) -> bool {
        self.nodes.keys().any(|other| RecordKey::from_path(other).hides_or_is_hidden_by(key))
    }

    pub fn read(&mut self, key: &RecordKey) -> Result<Option<Found>, StoreError> {
        self.tick();
        self.reads += 1;
        // In v2 one of the two is a directory.
        if self.upkeep == Upkeep::Each && self.is_in_the_way(key) {
            return Err(error(StoreErrorKind::Blocked, "a name is in the way"));
        }
        Ok(self.nodes.get(key.as_str()).map(found))
    }

    /// Carries out a write of a core's.
    pub fn write(&mut self, write: &Write, process: u32) -> Result<Written, StoreError> {
        self.tick();
        let key = write.key();
        if let Write::Put { lease: Some(lease), .. } = write
            && !self.leases.contains_key(lease)
        {
            return Err(error(StoreErrorKind::LeaseLost, "no such lease"));
        }
        if self.is_in_the_way(key) {
            return Err(error(StoreErrorKind::Blocked, "a name is in the way"));
        }
        if let Some(objection) = self.objection(write) {
            return Ok(objection);
        }
        if let Some(node) = self.nodes.get(key.as_str()) {
            self.judge.borrow_mut().changes(process, write, node);
        }
        let owner = Owner::Us(process);
        match write {
            Write::Put { .. } => self.puts += 1,
            Write::Refresh { .. } => self.refreshes += 1,
            Write::Delete { .. } => self.deletes += 1,
        }
        match write {
            Write::Put { value, lease: Some(lease), .. } => {
                self.set(key.as_str(), value, Life::Lease(*lease), owner);
            }
            Write::Put { value, ttl, .. } => {
                self.set(key.as_str(), value, Life::Until(Instant::now() + *ttl), owner);
            }
            Write::Refresh { ttl, .. } => {
                // Nobody is told of a refresh.
                if let Some(node) = self.nodes.get_mut(key.as_str()) {
                    (node.life, node.owner) = (Life::Until(Instant::now() + *ttl), owner);
                }
            }
            Write::Delete { .. } => self.unset(key.as_str(), "withdrawn"),
        }
        Ok(Written::Done)
    }

    fn objection(&self, write: &Write) -> Option<Written> {
        let there = self.nodes.get(write.key().as_str());
        let holds = |expected: &Expected| match there {
            None => Some(Written::Missing),
            Some(node) => {
                let lease = match node.life {
                    Life::Lease(id) => Some(id),
                    Life::Static | Life::Until(_) => None,
                };
                let fits = node.value == expected.value
                    && expected.lease.is_none_or(|id| lease == Some(id))
                    && expected.version.is_none_or(|version| version == node.version);
                (!fits).then_some(Written::Conflict)
            }
        };
        match write {
            Write::Put { guard: Guard::Absent, .. } => there.map(|_| Written::Conflict),
            Write::Put { guard: Guard::Holds(expected), .. } | Write::Delete { expected, .. } => {
                holds(expected)
            }
            Write::Refresh { value, .. } => {
                holds(&Expected { value: value.clone(), lease: None, version: None })
            }
        }
    }
}

pub fn found(node: &Node) -> Found {
    let tie = match node.life {
        Life::Static => Tie::None,
        Life::Until(end) => Tie::Ttl(end.saturating_duration_since(Instant::now())),
        Life::Lease(id) => Tie::Lease(id),
    };
    Found { value: node.value.clone(), version: node.version, tie }
}
