//! [`Store`]: an etcd of the suites, with faults that a test switches on and off.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream;
use highhock_actors::{
    ChangeStream, GrantOutcome, KeepAliveMode, KeptAlive, Lease, LeaseId, LeaseNamespace,
    LeasedRecords, RecordKey, RecordStore, StoreError, StoreErrorKind, StoredRecord, Write,
    WriteOutcome,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::etcd_model::{EtcdModel, GrantedLease, NoObserver, NodeExpiry, NodeOwner, Snapshot};

/// The number of the HighHock process that a suite runs. All processes of a test share it.
const PROCESS: u32 = 1;
/// The duration of a request.
const RESPONSE_DELAY: Duration = Duration::from_millis(1);
/// The duration of a request without a reply.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1000);

/// A failure of the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Connections are refused.
    Refused,
    /// Requests time out and are never applied.
    Silent,
    /// Requests time out. Their writes are applied by [`Store::apply_late_writes`].
    Late,
}

struct State {
    etcd: EtcdModel<NoObserver>,
    outage: Option<Outage>,
    late_writes: Vec<Write>,
    writes: Vec<Write>,
    reads: usize,
    keep_alives: usize,
    panic_in_write: bool,
    refused_key: Option<String>,
    fails_writes: bool,
    refuses_leased: bool,
    /// Time added to each request.
    slow_by: Duration,
}

/// A handle to the store. Clones share one store.
#[derive(Clone)]
pub struct Store(Rc<RefCell<State>>);

impl Store {
    pub fn new(keep_alive_mode: KeepAliveMode) -> Self {
        Self(Rc::new(RefCell::new(State {
            etcd: EtcdModel::new(keep_alive_mode, NoObserver),
            outage: None,
            late_writes: Vec::new(),
            writes: Vec::new(),
            reads: 0,
            keep_alives: 0,
            panic_in_write: false,
            refused_key: None,
            fails_writes: false,
            refuses_leased: false,
            slow_by: Duration::ZERO,
        })))
    }

    /// Runs `act` with the present content of etcd.
    fn etcd<T>(&self, act: impl FnOnce(&mut EtcdModel<NoObserver>) -> T) -> T {
        let etcd = &mut self.0.borrow_mut().etcd;
        etcd.advance_to_now();
        act(etcd)
    }

    // --- content -----------------------------------------------------------

    pub fn keep_alive_mode(&self) -> KeepAliveMode {
        self.0.borrow().etcd.keep_alive_mode
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.etcd(|etcd| etcd.nodes.get(key).map(|node| node.value.clone()))
    }

    /// Returns the version of a key.
    pub fn version(&self, key: &str) -> Option<u64> {
        self.0.borrow().etcd.nodes.get(key).map(|node| node.version)
    }

    pub fn keys(&self) -> Vec<String> {
        self.etcd(|etcd| etcd.nodes.keys().cloned().collect())
    }

    pub fn len(&self) -> usize {
        self.keys().len()
    }

    /// Returns all leases with their TTLs.
    pub fn lease_ttls(&self) -> Vec<(LeaseId, Duration)> {
        self.etcd(|etcd| etcd.leases.iter().map(|(id, lease)| (*id, lease.ttl)).collect())
    }

    // --- changes by other clients ------------------------------------------

    /// Puts a foreign record, with a TTL of its own if one is given.
    pub fn put(&self, key: &str, value: &str, ttl: Option<Duration>) {
        let expiry = ttl.map_or(NodeExpiry::Never, |ttl| NodeExpiry::At(Instant::now() + ttl));
        self.0.borrow_mut().etcd.set(key, value, expiry, NodeOwner::Foreign);
    }

    /// Puts a record on a lease, as a HighHock process with the same identity would. Grants the
    /// lease if it does not exist.
    pub fn put_on_lease(&self, key: &str, value: &str, lease: LeaseId, ttl: Duration) {
        let etcd = &mut self.0.borrow_mut().etcd;
        let ends = Instant::now() + ttl;
        etcd.leases.entry(lease).or_insert(GrantedLease { ttl, ends });
        etcd.set(key, value, NodeExpiry::Lease(lease), NodeOwner::Own(0));
    }

    pub fn remove(&self, key: &str) {
        self.0.borrow_mut().etcd.remove(key, "removed by the test");
    }

    /// Removes all keys below a directory. Watches receive the removal of the directory only
    /// (etcd v2).
    pub fn remove_directory(&self, directory: &str) {
        self.0.borrow_mut().etcd.remove_directory(directory);
    }

    /// Removes all keys and leases.
    pub fn wipe(&self) {
        self.0.borrow_mut().etcd.wipe();
    }

    /// Removes a lease and its keys.
    pub fn end_lease(&self, lease: LeaseId) {
        self.0.borrow_mut().etcd.end_lease(lease);
    }

    // --- faults ------------------------------------------------------------

    /// Starts an outage.
    pub fn fail(&self, outage: Outage) {
        let mut state = self.0.borrow_mut();
        state.outage = Some(outage);
        if outage == Outage::Refused {
            state.etcd.cut_watches(None);
        }
    }

    /// Ends the outage.
    pub fn recover(&self) {
        self.0.borrow_mut().outage = None;
    }

    /// Applies the writes that arrived during [`Outage::Late`].
    pub fn apply_late_writes(&self) {
        let mut state = self.0.borrow_mut();
        for write in std::mem::take(&mut state.late_writes) {
            let _ = state.write(&write);
        }
    }

    pub fn panic_in_next_write(&self) {
        self.0.borrow_mut().panic_in_write = true;
    }

    /// Refuses all writes of one key, or of none.
    pub fn refuse(&self, key: Option<&str>) {
        self.0.borrow_mut().refused_key = key.map(Into::into);
    }

    /// Has every write fail with an uncertain result, while reads succeed.
    pub fn fail_writes(&self, fail: bool) {
        self.0.borrow_mut().fails_writes = fail;
    }

    /// Refuses to list the records of a lease.
    pub fn refuse_leased(&self, refuse: bool) {
        self.0.borrow_mut().refuses_leased = refuse;
    }

    /// Returns the present content.
    pub fn snapshot(&self) -> Snapshot {
        self.etcd(|etcd| etcd.snapshot())
    }

    /// Replaces the content by that of a snapshot, as an operator does while etcd is stopped.
    pub fn restore(&self, snapshot: &Snapshot) {
        self.0.borrow_mut().etcd.restore(snapshot);
    }

    /// Adds this time to the duration of each request.
    pub fn slow_by(&self, time: Duration) {
        self.0.borrow_mut().slow_by = time;
    }

    // --- requests received -------------------------------------------------

    /// Returns all writes that were requested so far, applied or not.
    pub fn writes(&self) -> Vec<Write> {
        self.0.borrow().writes.clone()
    }

    /// Returns the number of puts that were requested for a key.
    pub fn puts_of(&self, key: &str) -> usize {
        let is_put =
            |write: &&Write| matches!(write, Write::Put { .. }) && write.key().as_str() == key;
        self.writes().iter().filter(is_put).count()
    }

    /// Returns the number of read requests.
    pub fn reads(&self) -> usize {
        self.0.borrow().reads
    }

    /// Returns the number of keep-alives.
    pub fn keep_alives(&self) -> usize {
        self.0.borrow().keep_alives
    }

    /// Performs a request: waits for its duration, then applies `act`. An outage that is active
    /// at the start of the request makes it fail.
    async fn request<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let (failure, slow_by) = {
            let state = self.0.borrow();
            (state.outage_error(), state.slow_by)
        };
        let is_timeout = failure.as_ref().is_some_and(|error| error.kind.is_uncertain());
        let delay = if is_timeout { REQUEST_TIMEOUT } else { RESPONSE_DELAY };
        tokio::time::sleep(slow_by + delay).await;
        let mut state = self.0.borrow_mut();
        state.etcd.advance_to_now();
        match failure {
            Some(error) => Err(error),
            None => Ok(act(&mut state)),
        }
    }
}

impl State {
    fn write(&mut self, write: &Write) -> Result<WriteOutcome, StoreError> {
        if self.refused_key.as_deref() == Some(write.key().as_str()) {
            return Err(StoreError::new(StoreErrorKind::Refused, "scripted: refused"));
        }
        self.etcd.write(write, PROCESS)
    }

    fn outage_error(&self) -> Option<StoreError> {
        let kind = match self.outage? {
            Outage::Refused => StoreErrorKind::Unavailable,
            Outage::Silent | Outage::Late => StoreErrorKind::Unknown,
        };
        Some(StoreError::new(kind, "scripted: away"))
    }
}

impl RecordStore for Store {
    fn keep_alive_mode(&self) -> KeepAliveMode {
        Self::keep_alive_mode(self)
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<WriteOutcome, StoreError>> {
        {
            let mut state = self.0.borrow_mut();
            assert!(!std::mem::take(&mut state.panic_in_write), "panic requested by the test");
            state.writes.extend(writes.iter().cloned());
            if state.outage == Some(Outage::Late) {
                state.late_writes.extend(writes.iter().cloned());
            }
        }
        let act = |state: &mut State| {
            if state.fails_writes {
                let error = StoreError::new(StoreErrorKind::Malformed, "scripted: writes fail");
                return vec![Err(error); writes.len()];
            }
            writes.iter().map(|write| state.write(write)).collect()
        };
        self.request(act).await.unwrap_or_else(|error| vec![Err(error); writes.len()])
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        let act = |state: &mut State| {
            state.reads += 1;
            keys.iter().map(|key| state.etcd.read(key)).collect()
        };
        self.request(act).await.unwrap_or_else(|error| vec![Err(error); keys.len()])
    }

    async fn probe(&self) -> Result<Option<u64>, StoreError> {
        self.request(|state| Some(state.etcd.revision())).await
    }

    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        let receiver = self.request(|state| state.etcd.watch()).await?;
        let next = async |mut receiver: mpsc::UnboundedReceiver<_>| {
            receiver.recv().await.map(|change| (change, receiver))
        };
        Ok(Box::pin(stream::unfold(receiver, next)))
    }

    async fn find_leases(&self, namespace: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
        self.request(|state| state.etcd.leases_of(namespace)).await
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<GrantOutcome, StoreError> {
        self.request(|state| state.etcd.grant(id, ttl)).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        self.request(|state| {
            state.keep_alives += 1;
            state.etcd.keep_alive(id)
        })
        .await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.request(|state| state.etcd.end_lease(id)).await
    }

    async fn leased(&self, id: LeaseId) -> Result<LeasedRecords, StoreError> {
        let refused = self.0.borrow().refuses_leased;
        let refusal = StoreError::new(StoreErrorKind::Refused, "scripted: keys are unreadable");
        let leased = self.request(|state| state.etcd.leased(id)).await?;
        if refused { Err(refusal) } else { Ok(leased) }
    }
}
