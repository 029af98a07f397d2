//! The ledger: what should be in the store, what is, and what to send next.
//!
//! Pure but for the clock that is handed in: no request is made here. The inserter
//! takes batches from it and brings back what came of them.

mod claims;
mod entry;
mod latency;
mod leases;
mod outcomes;
mod report;
mod write_log;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slog::Logger;
use tokio::time::Instant;

use crate::messages::{Domain, Roster};
use crate::model::container::ContainerId;
use crate::model::record::{Host, RecordKey};
use crate::ports::record_store::{Expected, Found, Guard, LeaseId, StoreError, Upkeep, Write};
use crate::status::Chronicle;

pub(crate) use crate::model::mass_withdrawal::are_most;
pub(crate) use entry::Lane;
use entry::{Doubt, Entry, Held, Keeping, Task, Told};
pub use write_log::Deeds;

/// Refreshes that are due within this part of their interval go along with one that
/// is due now.
const GATHER: u32 = 20;
/// A refresh comes at the latest after this, whatever the TTL.
const REFRESH_AT_LEAST: Duration = Duration::from_secs(20);
/// A key that the store refused is tried again after so long.
const SLOW_RETRY: Duration = Duration::from_secs(30);

/// How the ledger is to keep its records.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How the store keeps records alive.
    pub upkeep: Upkeep,
    /// How long a key outlives its last refresh.
    pub ttl: Duration,
    /// The address that this host publishes: a record that names it, found where we
    /// want to write, is most likely an earlier life's.
    pub host: Host,
}

impl Terms {
    /// The longest time between two refreshes of a record (SPEC 5: a third of the TTL,
    /// at most 20 s).
    pub fn refresh_every(&self) -> Duration {
        let part = if planted!(RefreshTooLate) { self.ttl + self.ttl } else { self.ttl / 3 };
        if planted!(RefreshTooLate) { part } else { part.min(REFRESH_AT_LEAST) }
    }
}

/// The result of reading one key.
pub(crate) type ReadOutcome = (RecordKey, Result<Option<Found>, StoreError>);

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
    new_deed: bool,
    /// When what it carries out was first told of.
    told: Option<Told>,
}

/// What should be in the store, and what is.
pub(crate) struct Ledger {
    terms: Terms,
    containers: BTreeMap<ContainerId, Domain>,
    entries: BTreeMap<RecordKey, Entry>,
    changes: BTreeSet<(Instant, RecordKey)>,
    routine: BTreeSet<(Instant, RecordKey)>,
    deeds: Deeds,
    /// The lease that records should hang on, and those of ours that some may still
    /// hang on.
    lease: Option<LeaseId>,
    older_leases: Vec<LeaseId>,
    roster: Option<Roster>,
    /// Whom a roster lacked that was not believed.
    missed: BTreeSet<ContainerId>,
    /// When orphans were last found: only a listing that was asked for later tells
    /// whether a container wants them.
    orphans_since: Option<Instant>,
    /// Whether a listing that left most of them over is to be confirmed by another.
    orphans_doubted: bool,
    wants_listing: bool,
    /// What was wanted until lately, and when that ended, where records hang on leases.
    given_up: BTreeMap<RecordKey, (String, Instant)>,
    chronicle: Chronicle,
    /// Keys on our leases that nobody here wants, at the last audit; and whether that was
    /// reported.
    unknown: BTreeMap<RecordKey, bool>,
    /// Nothing is to be published any more.
    closed: bool,
    /// Counts what was sent and learnt, to tell what an audit may have overlapped.
    clock: u64,
    log: Logger,
}

impl Ledger {
    /// A ledger that knows of no container. What `deeds` holds was written by a
    /// predecessor; it is read again, kept alive, and withdrawn only once every
    /// container on the roster has told what it wants.
    pub fn new(
        terms: Terms,
        deeds: Deeds,
        chronicle: Chronicle,
        now: Instant,
        log: Logger,
    ) -> Self {
        let mut ledger = Self {
            terms,
            containers: BTreeMap::new(),
            entries: BTreeMap::new(),
            changes: BTreeSet::new(),
            routine: BTreeSet::new(),
            deeds,
            lease: None,
            older_leases: Vec::new(),
            roster: None,
            missed: BTreeSet::new(),
            orphans_since: None,
            orphans_doubted: false,
            wants_listing: false,
            given_up: BTreeMap::new(),
            chronicle,
            unknown: BTreeMap::new(),
            closed: false,
            clock: 0,
            log,
        };
        for key in ledger.deeds.keys() {
            let doubt = ledger.deeds.is_unsettled(&key).then(|| Doubt::new(now));
            let entry = Entry { orphan: true, doubt, ..Entry::new(Held::Unsure, now) };
            ledger.entries.insert(key.clone(), entry);
            ledger.orphans_since = Some(now);
            ledger.schedule(&key, now);
        }
        ledger
    }

    /// Takes up to `most` of what is due in a lane, and marks it as under way.
    pub fn take(&mut self, lane: Lane, most: usize, now: Instant) -> Batch {
        if self.terms.upkeep == Upkeep::Lease && self.lease.is_none() {
            // What was put now would hang on nothing, and stay for ever.
            return Batch::default();
        }
        let mut batch = Batch::default();
        while batch.len() < most && self.next_due(lane).is_some_and(|at| at <= now) {
            let Some((_, key)) = self.agenda(lane).pop_first() else { break };
            self.take_key(key, now, &mut batch);
        }
        if lane == Lane::Routine && !batch.writes.is_empty() {
            self.gather(most, now, &mut batch);
        }
        batch
    }

    /// Adds the refreshes that are due soon. A read waits for its time: one that
    /// comes too early tells nothing, and would be due again at once.
    fn gather(&mut self, most: usize, now: Instant, batch: &mut Batch) {
        let until = now + self.terms.refresh_every() / GATHER;
        let soon = self.routine.iter().take_while(|(at, _)| *at <= until);
        let keeping = self.keeping();
        let is_refresh = |key: &RecordKey| {
            let step = self.entries.get(key).and_then(|entry| entry.step(keeping, now));
            step.is_some_and(|step| step.task == Task::Refresh)
        };
        let refreshes = soon.filter(|(_, key)| is_refresh(key));
        let room = most.saturating_sub(batch.len());
        for (at, key) in refreshes.take(room).cloned().collect::<Vec<_>>() {
            self.routine.remove(&(at, key.clone()));
            self.take_key(key, now, batch);
        }
    }

    fn keeping(&self) -> Keeping {
        Keeping { upkeep: self.terms.upkeep, lease: self.lease }
    }

    fn take_key(&mut self, key: RecordKey, now: Instant, batch: &mut Batch) {
        let clock = self.tick();
        let keeping = self.keeping();
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.scheduled = None;
        let Some(step) = entry.step(keeping, now) else { return };
        let wanted = entry.holder().map(|claim| claim.json.clone());
        let held = match &entry.held {
            Held::Ours { value, lease } => {
                Some(Expected { value: value.clone(), lease: *lease, version: entry.found_as })
            }
            _ => None,
        };
        entry.busy = true;
        entry.suspect = false;
        entry.touched = clock;
        let (ttl, lease) = (self.terms.ttl, self.lease);
        let write = match (step.task, wanted, held) {
            (Task::Create, Some(value), _) => {
                Write::Put { key, value, ttl, lease, guard: Guard::Absent }
            }
            (Task::Swap, Some(value), Some(held)) => {
                Write::Put { key, value, ttl, lease, guard: Guard::Holds(held) }
            }
            (Task::Refresh, _, Some(held)) => Write::Refresh { key, value: held.value, ttl },
            (Task::Delete, _, Some(expected)) => Write::Delete { key, expected },
            // A step to read; the others come with the values that they need.
            _ => {
                batch.reads.push(key);
                return;
            }
        };
        if !matches!(write, Write::Refresh { .. }) {
            self.deeds.unsettle(write.key());
        }
        let new_deed = match &write {
            Write::Put { key, value, .. } => self.deeds.add(key, value),
            _ => false,
        };
        let told = match &write {
            Write::Refresh { .. } => None,
            Write::Put { .. } | Write::Delete { .. } => {
                self.entries.get_mut(write.key()).and_then(|entry| entry.told.take())
            }
        };
        batch.writes.push(PendingWrite { write, new_deed, told });
    }

    /// When something is next due in a lane.
    pub fn next_due(&self, lane: Lane) -> Option<Instant> {
        let agenda = match lane {
            Lane::Change => &self.changes,
            Lane::Routine => &self.routine,
        };
        agenda.first().map(|(at, _)| *at)
    }

    /// Has every record refreshed now.
    pub fn refresh_all(&mut self, now: Instant) {
        for key in self.entries.keys().cloned().collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.next = now;
            }
            self.schedule(&key, now);
        }
    }

    /// How many changes are not in the store yet, but for those that the store has
    /// refused.
    pub fn unsettled(&self) -> usize {
        let changing = |entry: &&Entry| {
            let troubled = entry.trouble.is_some() && !entry.busy;
            let wants = match (&entry.held, entry.holder()) {
                (Held::Ours { value, .. }, Some(claim)) => *value != claim.json,
                (Held::Ours { .. }, None) => !entry.orphan,
                (Held::Foreign { .. }, _) | (Held::Nothing | Held::Unmet, None) => entry.busy,
                (Held::Unsure | Held::Nothing | Held::Unmet, _) => true,
            };
            wants && !troubled
        };
        self.entries.values().filter(changing).count()
    }

    /// The keys to compare with the store, and the moment that [`Self::audited`]
    /// needs to tell what has changed since.
    pub fn audit(&mut self) -> (u64, Vec<RecordKey>) {
        let idle = self.entries.iter().filter(|(_, entry)| !entry.busy);
        (self.clock, idle.map(|(key, _)| key.clone()).collect())
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn agenda(&mut self, lane: Lane) -> &mut BTreeSet<(Instant, RecordKey)> {
        match lane {
            Lane::Change => &mut self.changes,
            Lane::Routine => &mut self.routine,
        }
    }

    /// Puts a key where it belongs in the agenda, or forgets it where nothing is left
    /// to do. To be called after every change to its entry.
    fn schedule(&mut self, key: &RecordKey, now: Instant) {
        let keeping = self.keeping();
        let Some(entry) = self.entries.get_mut(key) else { return };
        let before = entry.scheduled.take();
        let after = entry.step(keeping, now).map(|step| (step.lane, step.at));
        entry.scheduled = after;
        let done = entry.is_done();
        if let Some((lane, at)) = before {
            self.agenda(lane).remove(&(at, key.clone()));
        }
        self.settle_owed(key, now);
        if done {
            self.entries.remove(key);
            self.deeds.keep_only(key, None);
            self.deeds.settle(key);
        } else if let Some((lane, at)) = after {
            self.agenda(lane).insert((at, key.clone()));
        }
    }
}
