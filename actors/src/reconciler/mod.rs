//! [`Reconciler`]: compares the desired records with the store and decides the next requests.
//!
//! The reconciler sends no request itself. The inserter takes batches of requests and returns
//! their outcomes. The current time is an argument of every method.

mod agenda;
mod claim;
mod claims;
mod entry;
mod expiry;
mod first_view;
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
use entry::{Action, ActionPolicy, KeyEntry, StoreState, UncertainWrite};
use first_view::{DecidableKeys, FirstView};
use latency::{ChangeStamp, LatencyTracker};
use old_leases::OldLeases;
use orphans::Orphans;
pub use write_log::WriteLog;

/// A batch of refreshes includes those that are due within this fraction of the refresh interval.
const BATCH_WINDOW_DIVISOR: u32 = 20;
/// The longest refresh interval, whatever the TTL.
const REFRESH_INTERVAL_MAX: Duration = Duration::from_secs(20);
/// The time between two writes of a key that the store rejects.
const REJECTED_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// The rules by which the reconciler keeps its records.
#[derive(Clone, Debug)]
pub struct RecordPolicy {
    /// The store's way to keep records alive.
    pub keep_alive_mode: KeepAliveMode,
    /// The lifetime of a record after its last refresh.
    pub ttl: Duration,
    /// The address that this host publishes. A record with this address at a desired key was
    /// most likely written by an earlier run, and is adopted.
    pub host: Host,
    /// `true` if each key belongs to one container, as in the instance layout.
    pub exclusive_keys: bool,
}

impl RecordPolicy {
    /// Returns the longest time between two refreshes of a record: a third of the TTL, and at
    /// most 20 seconds (ARCHITECTURE.md, "Refresh and audit").
    pub fn refresh_interval(&self) -> Duration {
        if mutated!(RefreshAfterTtl) {
            return self.ttl + self.ttl;
        }
        (self.ttl / 3).min(REFRESH_INTERVAL_MAX)
    }
}

/// The result of reading one key.
pub(crate) type CompletedRead = (RecordKey, Result<Option<StoredRecord>, StoreError>);

/// The requests that are sent to the store together. Each key occurs at most once.
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

/// A write that was taken from the reconciler and has no outcome yet.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    pub write: Write,
    /// `true` if this put added its value to the write log.
    newly_logged: bool,
    /// The change that this write carries out.
    change_stamp: Option<ChangeStamp>,
    /// The time at which the write was sent. The TTL of the record starts no earlier.
    sent_at: Instant,
}

/// The desired records, the known content of the store, and the requests that are due.
///
/// Every key with a desired record, an owned record or an uncertain write has an entry. Each
/// change of an entry is followed by a call of `schedule`, so that the agenda always holds the
/// next request of every key.
pub(crate) struct Reconciler {
    policy: RecordPolicy,
    containers: BTreeMap<ContainerId, Domain>,
    entries: BTreeMap<RecordKey, KeyEntry>,
    agenda: Agenda,
    write_log: WriteLog,
    /// The lease to which records are attached ([`KeepAliveMode::Lease`] only).
    lease: Option<LeaseId>,
    /// The time at which the lease expires unless it is kept alive.
    lease_expires_at: Option<Instant>,
    older_leases: OldLeases,
    live_containers: Option<LiveContainers>,
    first_view: FirstView,
    /// The containers that were missing in the last suspect listing.
    suspect_gone: BTreeSet<ContainerId>,
    orphans: Orphans,
    listing_requested: bool,
    latency: LatencyTracker,
    recorder: StatusRecorder,
    /// Set by [`Self::withdraw_all`]: no record is published any more.
    closed: bool,
    /// A counter of requests and outcomes. An audit ignores the keys that changed after its
    /// start.
    clock: u64,
    log: Logger,
}

impl Reconciler {
    /// Creates a reconciler without containers.
    ///
    /// The records of `write_log` were written by an inserter that crashed. They are read again
    /// and kept alive as orphans, until every live container has reported its desired records.
    pub fn new(
        policy: RecordPolicy,
        write_log: WriteLog,
        recorder: StatusRecorder,
        now: Instant,
        log: Logger,
    ) -> Self {
        let first_view =
            if policy.exclusive_keys { FirstView::complete() } else { FirstView::new() };
        let mut reconciler = Self {
            policy,
            containers: BTreeMap::new(),
            entries: BTreeMap::new(),
            agenda: Agenda::default(),
            write_log,
            lease: None,
            lease_expires_at: None,
            older_leases: OldLeases::default(),
            live_containers: None,
            first_view,
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

    /// Takes up to `limit` requests of one priority that are due, and marks their keys as busy.
    pub fn take_batch(&mut self, priority: Priority, limit: usize, now: Instant) -> Batch {
        if self.policy.keep_alive_mode == KeepAliveMode::Lease && self.lease.is_none() {
            // A record that is written without a lease would never expire.
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

    /// Adds the refreshes that are due soon. Reads are not added: a read that is early proves
    /// nothing, and would have to be repeated.
    fn add_upcoming_refreshes(&mut self, limit: usize, now: Instant, batch: &mut Batch) {
        let until = now + self.policy.refresh_interval() / BATCH_WINDOW_DIVISOR;
        let soon = self.agenda.refreshes_until(until);
        let action_policy = self.action_policy(now);
        let is_refresh = |key: &RecordKey| {
            let entry = self.entries.get(key);
            let next = entry.and_then(|entry| entry.next_action(action_policy, now));
            next.is_some_and(|next| next.action == Action::Refresh)
        };
        let refreshes = soon.filter(|key| is_refresh(key));
        let room = limit.saturating_sub(batch.len());
        for key in refreshes.take(room).cloned().collect::<Vec<_>>() {
            self.agenda.unschedule(&key);
            self.take_key(key, now, batch);
        }
    }

    fn action_policy(&self, now: Instant) -> ActionPolicy {
        ActionPolicy {
            keep_alive_mode: self.policy.keep_alive_mode,
            lease: self.lease,
            decidable_keys: self.decidable_keys(now),
        }
    }

    fn decidable_keys(&self, now: Instant) -> DecidableKeys {
        if self.closed { DecidableKeys::All } else { self.first_view.decidable_keys(now) }
    }

    fn take_key(&mut self, key: RecordKey, now: Instant, batch: &mut Batch) {
        let clock = self.tick();
        let action_policy = self.action_policy(now);
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let Some(next) = entry.next_action(action_policy, now) else { return };
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
            // A read. The other actions always come with their values.
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
        batch.writes.push(PendingWrite { write, newly_logged, change_stamp, sent_at: now });
    }

    /// Returns the time at which the next request of this priority is due.
    pub fn next_due(&self, priority: Priority) -> Option<Instant> {
        self.agenda.next_due(priority)
    }

    /// Makes the refresh of every record due at `now`.
    pub fn refresh_all(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.refresh_due = now;
        }
        self.schedule_all(now);
    }

    /// Returns the number of changes that are not in the store yet, except those that the store
    /// rejected, and those that wait for the container behind a row without an id.
    pub fn pending_writes(&self, now: Instant) -> usize {
        let waits = self.unnamed_row_waits(now);
        let is_pending = |entry: &&KeyEntry| entry.has_pending_change() && !waits(entry);
        self.entries.values().filter(is_pending).count()
    }

    /// Returns `true` if every change that can be decided is in the store or was rejected by it.
    ///
    /// A key that waits for the first view is not a change yet. Without its watchers a core never
    /// gets that view, so a stop must not wait for it. The record of such a key is kept.
    pub fn is_flushed(&self, now: Instant) -> bool {
        let decidable_keys = self.decidable_keys(now);
        let is_unwritten = |entry: &KeyEntry| {
            entry.has_pending_change() && !entry.waits_for_view(decidable_keys, now)
        };
        !self.entries.values().any(is_unwritten)
    }

    /// Returns the counter that [`Self::apply_audit`] needs, and the keys to compare with the
    /// store.
    pub fn begin_audit(&mut self) -> (u64, Vec<RecordKey>) {
        let idle = self.entries.iter().filter(|(_, entry)| !entry.busy);
        (self.clock, idle.map(|(key, _)| key.clone()).collect())
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Schedules the next request of a key, or removes its entry if the entry is done. Must be
    /// called after every change of the entry.
    fn schedule(&mut self, key: &RecordKey, now: Instant) {
        let action_policy = self.action_policy(now);
        let Some(entry) = self.entries.get(key) else { return };
        let next = entry.next_action(action_policy, now);
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

    fn schedule_all(&mut self, now: Instant) {
        for key in self.entries.keys().cloned().collect::<Vec<_>>() {
            self.schedule(&key, now);
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
