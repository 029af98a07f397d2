//! One key: who wants what there, what is there, and what to do about it.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::model::container::{ContainerId, EngineTime};
use crate::model::record::{RecordKey, WantedRecord};
use crate::ports::record_store::{LeaseId, Upkeep};
use crate::status::{ChangeKind, RecentChange};

/// When a key whose last write may still arrive is read again: after each of these
/// waits in turn, until it showed what it should after every one of them.
pub(super) const RECHECKS: [Duration; 7] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// What the store holds at a key, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Never looked at. A create tells as much as a read would.
    Unmet,
    /// Must be read before it is written again.
    Unsure,
    /// Nothing.
    Nothing,
    /// A record of ours.
    Ours {
        /// Its value.
        value: String,
        /// The lease that it hangs on, where records hang on leases.
        lease: Option<LeaseId>,
    },
    /// A record of somebody else's.
    Foreign {
        /// Its value.
        value: String,
        /// Whether it ends some day unless it is refreshed.
        expires: bool,
    },
}

/// A container that wants a record at a key. The least of a key's claims holds it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub started: EngineTime,
    pub container: ContainerId,
    /// The container's name, for people.
    pub name: std::sync::Arc<str>,
    /// Its place in the container's own list.
    pub place: usize,
    pub record: WantedRecord,
    pub json: String,
}

impl Claim {
    /// What decides who holds a key: who started first; of one container's claims the
    /// first listed.
    pub fn rank(&self) -> (EngineTime, &ContainerId, usize) {
        let started = match planted!(LaterStartedHolds) {
            true => EngineTime(-self.started.0),
            false => self.started,
        };
        (started, &self.container, self.place)
    }
}

/// A write in doubt: it may be carried out at any time yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    /// Which of [`RECHECKS`] comes next.
    pub step: usize,
    /// When.
    pub at: Instant,
}

impl Doubt {
    pub fn new(now: Instant) -> Self {
        Self { step: 0, at: now + RECHECKS[0] }
    }
}

/// Why a key that should be written can't be.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub reason: String,
    /// Whether another name above or below it is in the way.
    pub blocked: bool,
    /// When to try again.
    pub retry_at: Instant,
}

/// Changes go first and don't wait for routine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Something is to be put, withdrawn or found out.
    Change,
    /// Something is to be kept alive or looked at again.
    Routine,
}

/// What to do at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Read,
    Create,
    Swap,
    Refresh,
    Delete,
}

/// What to do next at a key, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub lane: Lane,
    pub at: Instant,
    pub task: Task,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// In the order of their rank.
    pub claims: Vec<Claim>,
    pub held: Held,
    /// A request for this key is under way.
    pub busy: bool,
    /// Written in an earlier life, and not known yet whether a container wants it: kept
    /// alive until that is known.
    pub orphan: bool,
    /// The version that an orphan was found with: it is withdrawn only if nobody has
    /// touched it since.
    pub found_as: Option<u64>,
    /// The store told of a change here that doesn't fit what is believed: to be read.
    pub suspect: bool,
    /// When the next refresh, or the next look at another's record, is due.
    pub next: Instant,
    pub doubt: Option<Doubt>,
    pub trouble: Option<Trouble>,
    /// The ledger's clock when something was last learnt or sent.
    pub touched: u64,
    pub refreshed: Option<SystemTime>,
    /// When the change was first told of that the next write carries out.
    pub told: Option<Told>,
    /// Who held it last, and is gone: for people.
    pub parted: Option<(ContainerId, std::sync::Arc<str>)>,
    /// Where the ledger's agenda has it.
    pub scheduled: Option<(Lane, Instant)>,
}

impl Entry {
    pub fn new(held: Held, now: Instant) -> Self {
        Self {
            claims: Vec::new(),
            held,
            busy: false,
            orphan: false,
            found_as: None,
            suspect: false,
            next: now,
            doubt: None,
            trouble: None,
            touched: 0,
            refreshed: None,
            told: None,
            parted: None,
            scheduled: None,
        }
    }

    /// Who holds the key, of those that want it.
    pub fn holder(&self) -> Option<&Claim> {
        self.claims.first()
    }

    /// Something that happened at this key, to the record of who holds it or held it last.
    pub fn change(&self, what: ChangeKind, key: &RecordKey) -> RecentChange {
        let change = RecentChange::now(what).at_key(key);
        match (self.holder(), &self.parted) {
            (Some(claim), _) => change.of(&claim.container, &claim.name),
            (None, Some((container, name))) => change.of(container, name),
            (None, None) => change,
        }
    }

    /// Whether there is nothing left to do or to remember here.
    pub fn is_done(&self) -> bool {
        let nothing_of_ours = !matches!(self.held, Held::Ours { .. } | Held::Unsure);
        self.claims.is_empty() && !self.busy && self.doubt.is_none() && nothing_of_ours
    }

    /// What is to be done next; nothing while a request is under way.
    pub fn step(&self, keeping: Keeping, now: Instant) -> Option<Step> {
        if self.busy {
            return None;
        }
        let retry_at = self.trouble.as_ref().map_or(now, |trouble| trouble.retry_at);
        let change = |task| Some(Step { lane: Lane::Change, at: retry_at.max(now), task });
        let routine = |task| Some(Step { lane: Lane::Routine, at: self.next, task });
        let recheck =
            self.doubt.map(|doubt| Step { lane: Lane::Routine, at: doubt.at, task: Task::Read });
        if self.suspect {
            return Some(Step { lane: Lane::Change, at: now, task: Task::Read });
        }
        match (&self.held, self.holder()) {
            (Held::Unsure, _) => change(Task::Read),
            (Held::Unmet | Held::Nothing, Some(_)) => change(Task::Create),
            (Held::Unmet | Held::Nothing | Held::Foreign { .. }, None) => recheck,
            (Held::Foreign { .. }, Some(_)) => sooner(routine(Task::Read), recheck),
            (Held::Ours { value, lease }, Some(wanted))
                if *value != wanted.json || *lease != keeping.lease =>
            {
                change(Task::Swap)
            }
            (Held::Ours { .. }, None) if !self.orphan => change(Task::Delete),
            (Held::Ours { .. }, _) => match keeping.upkeep {
                Upkeep::Each => sooner(routine(Task::Refresh), recheck),
                Upkeep::Lease => recheck,
            },
        }
    }
}

/// How the ledger's records are kept alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    pub upkeep: Upkeep,
    /// What records should hang on.
    pub lease: Option<LeaseId>,
}

fn sooner(one: Option<Step>, other: Option<Step>) -> Option<Step> {
    [one, other].into_iter().flatten().min_by_key(|step| step.at)
}

/// When a change was first told of that a write to a key is to carry out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub at: Instant,
    /// A write was sent for it that may have been carried out, though it was not answered.
    pub sent: bool,
}

impl Told {
    /// Told of at this moment; nothing was sent yet.
    pub fn at(at: Instant) -> Self {
        Self { at, sent: false }
    }

    /// Of two changes that one write carries out, the one that was told of first.
    pub fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let sent = [one, other].into_iter().flatten().any(|told| told.sent);
        let first = [one, other].into_iter().flatten().min_by_key(|told| told.at)?;
        Some(Self { sent, ..first })
    }
}
