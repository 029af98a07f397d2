//! The etcd of a simulated world: the model of etcd, the faults of a plan, and an observer that
//! reports every change to the trace and to the invariant checker.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{KeepAliveMode, StoreError, StoreErrorKind, Write, WriteOutcome};
use tokio::time::Instant;

use super::etcd_model::{EtcdModel, EtcdObserver};
pub use super::etcd_model::{Node, NodeExpiry, NodeOwner};
use super::invariants::InvariantChecker;
use super::trace::{count, trace_line};

/// The fate of a request while etcd is faulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// The connection is refused. The request is not applied.
    Refused,
    /// The request times out and is not applied.
    RequestLost,
    /// The request is applied, and its response is lost.
    ResponseLost,
    /// The request times out and is applied some seconds later.
    Delayed,
    /// One of the four faults above, chosen at random.
    Any,
    /// Writes fail, and reads succeed.
    ReadOnly,
}

/// A fault that hits a share of the requests until it ends.
#[derive(Clone, Copy, Debug)]
pub struct ActiveFault {
    pub until: Instant,
    pub fault: StoreFault,
    /// The share of the requests that the fault hits.
    pub percent: u8,
}

/// The faults of etcd, each with its end. Muted watches are a part of the model.
#[derive(Default)]
pub struct StoreFaults {
    pub requests: Option<ActiveFault>,
    /// The end of the slowness, and the longest duration of a request.
    pub slow: Option<(Instant, Duration)>,
    pub panic_on_write: bool,
}

/// Reports changes of etcd to the trace and to the invariant checker, and counts writes.
pub struct StoreObserver {
    checker: Rc<RefCell<InvariantChecker>>,
    /// The TTL that HighHock gives to each record (v2).
    pub ttl: Duration,
    pub puts: u64,
    pub deletes: u64,
    pub refreshes: u64,
}

impl EtcdObserver for StoreObserver {
    fn write_accepted(&mut self, process: u32, write: &Write, previous: Option<&Node>) {
        if let Some(node) = previous {
            self.checker.borrow_mut().check_change(process, write, node);
        }
        match write {
            Write::Put { .. } => self.puts += 1,
            Write::Refresh { .. } => self.refreshes += 1,
            Write::Delete { .. } => self.deletes += 1,
        }
    }

    fn key_set(&mut self, key: &str, node: &Node) {
        trace_line!("  {key} = {} by {:?}", node.value, node.owner);
        if node.owner == NodeOwner::Foreign {
            self.checker.borrow_mut().mark_foreign_change(key);
        }
    }

    fn key_removed(&mut self, key: &str, node: &Node, reason: &str) {
        trace_line!("  {key} is gone: {reason}");
        let mut checker = self.checker.borrow_mut();
        checker.mark_conflict_gone(key);
        if node.owner == NodeOwner::Foreign {
            checker.mark_foreign_change(key);
        }
    }

    fn key_expires(&mut self, key: &str, node: &Node, lease_ttl: Option<Duration>) {
        if lease_ttl.is_none() {
            count("keys expired");
        }
        self.checker.borrow_mut().check_expiry(key, node, lease_ttl.unwrap_or(self.ttl));
    }

    fn lease_expires(&mut self) {
        count("leases expired");
    }

    fn set_watched(&mut self, is_watched: bool) {
        self.checker.borrow_mut().set_store_watched(is_watched);
    }
}

/// The etcd of a world and everything about the requests that it receives.
pub struct StoreState {
    pub model: EtcdModel<StoreObserver>,
    pub faults: StoreFaults,
    pub random: fastrand::Rng,
    pub checker: Rc<RefCell<InvariantChecker>>,
    /// The number of reads, counted by key.
    pub reads: u64,
    pub in_flight: usize,
    /// The number of requests that have failed for their sender and are applied later.
    pub delayed_requests: usize,
}

impl StoreState {
    pub fn new(
        seed: u64,
        keep_alive_mode: KeepAliveMode,
        ttl: Duration,
        checker: Rc<RefCell<InvariantChecker>>,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xe7cd);
        let observer =
            StoreObserver { checker: Rc::clone(&checker), ttl, puts: 0, deletes: 0, refreshes: 0 };
        let mut model = EtcdModel::new(keep_alive_mode, observer);
        model.expiry_lag = Duration::from_millis(random.u64(..500));
        Self {
            model,
            faults: StoreFaults::default(),
            random,
            checker,
            reads: 0,
            in_flight: 0,
            delayed_requests: 0,
        }
    }

    /// Applies a write of a HighHock process, and reports a rejection.
    pub fn write(&mut self, write: &Write, process: u32) -> Result<WriteOutcome, StoreError> {
        let outcome = self.model.write(write, process);
        if matches!(outcome, Ok(WriteOutcome::Conflict | WriteOutcome::Missing)) {
            self.checker.borrow_mut().mark_rejection(write.key().as_str());
        }
        outcome
    }

    /// Ends all watches, with or without an error for their readers.
    pub fn break_watches(&mut self, with_error: bool) {
        let error = StoreError::new(StoreErrorKind::Unknown, "simulated: the watch broke");
        self.model.cut_watches(with_error.then_some(&error));
    }
}
