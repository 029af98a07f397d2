//! The ledger: what should be in the store, what is, and what to send next.
//!
//! Pure but for the clock that is handed in: no request is made here. The inserter
//! takes batches from it and brings back what came of them.

mod agenda;
mod claims;
mod entry;
mod latency;
mod leases;
mod old_leases;
mod orphans;
mod outcomes;
mod report;
mod write_log;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slog::Logger;
use tokio::time::Instant;

use crate::messages::{Domain, LiveContainers};
use crate::model::container::ContainerId;
use crate::model::record::{Host, RecordKey};
use crate::ports::record_store::{
    ExpectedValue, KeepAliveMode, LeaseId, Precondition, StoreError, StoredRecord, Write,
};
use crate::status::StatusRecorder;

use agenda::Agenda;
pub(crate) use agenda::Priority;
use entry::{Action, KeyEntry, LeasePolicy, StoreState, UncertainWrite};
use latency::{ChangeStamp, LatencyTracker};
use old_leases::OldLeases;
use orphans::Orphans;
pub use write_log::WriteLog;

/// Refreshes that are due within this part of their interval go along with one that
/// is due now.
const BATCH_WINDOW_DIVISOR: u32 = 20;
/// A refresh comes at the latest after this, whatever the TTL.
const REFRESH_INTERVAL_MAX: Duration = Duration::from_secs(20);
/// A key that the store refused is tried again after so long.
const REJECTED_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// How the ledger is to keep its records.
#[derive(Clone, Debug)]
pub struct RecordPolicy {
    /// How the store keeps records alive.
    pub keep_alive_mode: KeepAliveMode,
    /// How long a key outlives its last refresh.
    pub ttl: Duration,
    /// The address that this host publishes: a record that names it, found where we
    /// want to write, is most likely an earlier life's.
    pub host: Host,
}

impl RecordPolicy {
    /// The longest time between two refreshes of a record (SPEC 5: a third of the TTL,
    /// at most 20 s).
    pub fn refresh_interval(&self) -> Duration {
        if planted!(RefreshTooLate) {
            return self.ttl + self.ttl;
        }
        (self.ttl / 3).min(REFRESH_INTERVAL_MAX)
    }
}

/// The result of reading one key.
pub(crate) type CompletedRead = (RecordKey, Result<Option<StoredRecord>, StoreError>);

/// What to send to the store at a time.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub writes: Vec<PendingWrite>,
    pub reads: Vec<RecordKey>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.reads.is_empty()
    }

    fn len(&self) -> usize {
        self.writes.len() + self.reads.len()
    }
}

/// A write as it was taken from the ledger.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    pub write: Write,
    /// Whether the value that it puts had not been among our deeds.
    newly_logged: bool,
    /// When what it carries out was first told of.
    change_stamp: Option<ChangeStamp>,
}

/// What should be in the store, and what is.
pub(crate) struct Reconciler {
    policy: RecordPolicy,
    containers: BTreeMap<ContainerId, Domain>,
    entries: BTreeMap<RecordKey, KeyEntry>,
    agenda: Agenda,
    write_log: WriteLog,
    /// The lease that records should hang on, and those of ours that some may still
    /// hang on.
    lease: Option<LeaseId>,
    older_leases: OldLeases,
    live_containers: Option<LiveContainers>,
    /// Whom a roster lacked that was not believed.
    suspect_gone: BTreeSet<ContainerId>,
    orphans: Orphans,
    listing_requested: bool,
    latency: LatencyTracker,
    recorder: StatusRecorder,
    /// Nothing is to be published any more.
    closed: bool,
    /// Counts what was sent and learnt, to tell what an audit may have overlapped.
    clock: u64,
    log: Logger,
}

impl Reconciler {
    /// A ledger that knows of no container. What `deeds` holds was written by a
    /// predecessor; it is read again, kept alive, and withdrawn only once every
    /// container on the roster has told what it wants.
    pub fn new(
        policy: RecordPolicy,
        write_log: WriteLog,
        recorder: StatusRecorder,
        now: Instant,
        log: Logger,
    ) -> Self {
        let mut reconciler = Self {
            policy,
            containers: BTreeMap::new(),
            entries: BTreeMap::new(),
            agenda: Agenda::default(),
            write_log,
            lease: None,
            older_leases: OldLeases::default(),
            live_containers: None,
            suspect_gone: BTreeSet::new(),
            orphans: Orphans::default(),
            listing_requested: false,
            latency: LatencyTracker::new(recorder.clone()),
            recorder,
            closed: false,
            clock: 0,
            log,
        };
        for key in reconciler.write_log.keys() {
            let uncertain_write =
                reconciler.write_log.is_in_flight(&key).then(|| UncertainWrite::new(now));
            let entry = KeyEntry {
                orphan: true,
                uncertain_write,
                ..KeyEntry::new(StoreState::Uncertain, now)
            };
            reconciler.entries.insert(key.clone(), entry);
            reconciler.orphans.found(now);
            reconciler.schedule(&key, now);
        }
        reconciler
    }

    /// Takes up to `most` of what is due in a lane, and marks it as under way.
    pub fn take_batch(&mut self, priority: Priority, limit: usize, now: Instant) -> Batch {
        if self.policy.keep_alive_mode == KeepAliveMode::Lease && self.lease.is_none() {
            // What was put now would hang on nothing, and stay for ever.
            return Batch::default();
        }
        let mut batch = Batch::default();
        while batch.len() < limit
            && let Some(key) = self.agenda.pop_due(priority, now)
        {
            self.take_key(key, now, &mut batch);
        }
        if priority == Priority::Refresh && !batch.writes.is_empty() {
            self.add_upcoming_refreshes(limit, now, &mut batch);
        }
        batch
    }

    /// Adds the refreshes that are due soon. A read waits for its time: one that
    /// comes too early tells nothing, and would be due again at once.
    fn add_upcoming_refreshes(&mut self, limit: usize, now: Instant, batch: &mut Batch) {
        let until = now + self.policy.refresh_interval() / BATCH_WINDOW_DIVISOR;
        let soon = self.agenda.refreshes_until(until);
        let lease_policy = self.lease_policy();
        let is_refresh = |key: &RecordKey| {
            let next = self.entries.get(key).and_then(|entry| entry.next_action(lease_policy, now));
            next.is_some_and(|next| next.action == Action::Refresh)
        };
        let refreshes = soon.filter(|key| is_refresh(key));
        let room = limit.saturating_sub(batch.len());
        for key in refreshes.take(room).cloned().collect::<Vec<_>>() {
            self.agenda.unschedule(&key);
            self.take_key(key, now, batch);
        }
    }

    fn lease_policy(&self) -> LeasePolicy {
        LeasePolicy { keep_alive_mode: self.policy.keep_alive_mode, lease: self.lease }
    }

    fn take_key(&mut self, key: RecordKey, now: Instant, batch: &mut Batch) {
        let clock = self.tick();
        let lease_policy = self.lease_policy();
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let Some(next) = entry.next_action(lease_policy, now) else { return };
        let desired = entry.holder().map(|claim| claim.json.clone());
        let expected = match &entry.store_state {
            StoreState::Owned { value, lease } => Some(ExpectedValue {
                value: value.clone(),
                lease: *lease,
                version: entry.found_version,
            }),
            _ => None,
        };
        entry.busy = true;
        entry.needs_read = false;
        entry.last_touched = clock;
        let (ttl, lease) = (self.policy.ttl, self.lease);
        let write = match (next.action, desired, expected) {
            (Action::Create, Some(value), _) => {
                Write::Put { key, value, ttl, lease, precondition: Precondition::Absent }
            }
            (Action::Swap, Some(value), Some(expected)) => {
                Write::Put { key, value, ttl, lease, precondition: Precondition::Equals(expected) }
            }
            (Action::Refresh, _, Some(expected)) => {
                Write::Refresh { key, value: expected.value, ttl }
            }
            (Action::Delete, _, Some(expected)) => Write::Delete { key, expected },
            // A step to read; the others come with the values that they need.
            _ => {
                batch.reads.push(key);
                return;
            }
        };
        if !matches!(write, Write::Refresh { .. }) {
            self.write_log.mark_in_flight(write.key());
        }
        let newly_logged = match &write {
            Write::Put { key, value, .. } => self.write_log.add(key, value),
            _ => false,
        };
        let change_stamp = match &write {
            Write::Refresh { .. } => None,
            Write::Put { .. } | Write::Delete { .. } => self.latency.take(write.key()),
        };
        batch.writes.push(PendingWrite { write, newly_logged, change_stamp });
    }

    /// When something is next due in a lane.
    pub fn next_due(&self, priority: Priority) -> Option<Instant> {
        self.agenda.next_due(priority)
    }

    /// Has every record refreshed now.
    pub fn refresh_all(&mut self, now: Instant) {
        for key in self.entries.keys().cloned().collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.refresh_due = now;
            }
            self.schedule(&key, now);
        }
    }

    /// How many changes are not in the store yet, but for those that the store has
    /// refused.
    pub fn pending_writes(&self) -> usize {
        let change_in_flight = |entry: &&KeyEntry| {
            let has_failed = entry.failure.is_some() && !entry.busy;
            let wants = match (&entry.store_state, entry.holder()) {
                (StoreState::Owned { value, .. }, Some(claim)) => *value != claim.json,
                (StoreState::Owned { .. }, None) => !entry.orphan,
                (StoreState::Foreign { .. }, _)
                | (StoreState::Absent | StoreState::Unknown, None) => entry.busy,
                (StoreState::Uncertain | StoreState::Absent | StoreState::Unknown, _) => true,
            };
            wants && !has_failed
        };
        self.entries.values().filter(change_in_flight).count()
    }

    /// The keys to compare with the store, and the moment that [`Self::audited`]
    /// needs to tell what has changed since.
    pub fn begin_audit(&mut self) -> (u64, Vec<RecordKey>) {
        let idle = self.entries.iter().filter(|(_, entry)| !entry.busy);
        (self.clock, idle.map(|(key, _)| key.clone()).collect())
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Puts a key where it belongs in the agenda, or forgets it where nothing is left
    /// to do. To be called after every change to its entry.
    fn schedule(&mut self, key: &RecordKey, now: Instant) {
        let lease_policy = self.lease_policy();
        let Some(entry) = self.entries.get(key) else { return };
        let next = entry.next_action(lease_policy, now);
        let change_due = next.is_some_and(|next| next.priority == Priority::Change);
        if !entry.busy && !change_due {
            self.latency.finish(key, entry.is_applied(), now);
        }
        if entry.is_done() {
            self.forget_key(key);
        } else if let Some(next) = next {
            self.agenda.schedule(key, next.priority, next.at);
        } else {
            self.agenda.unschedule(key);
        }
    }

    fn forget_key(&mut self, key: &RecordKey) {
        self.entries.remove(key);
        self.agenda.unschedule(key);
        self.latency.forget(key);
        self.write_log.keep_only(key, None);
        self.write_log.clear_in_flight(key);
    }
}
