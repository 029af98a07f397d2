//! One key: who wants what there, what is there, and what to do about it.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::agenda::Priority;
use crate::model::container::{ContainerId, EngineTime};
use crate::model::record::{DesiredRecord, RecordKey};
use crate::ports::record_store::{KeepAliveMode, LeaseId};
use crate::status::{ChangeKind, RecentChange};

/// When a key whose last write may still arrive is read again: after each of these
/// waits in turn, until it showed what it should after every one of them.
pub(super) const UNCERTAIN_READ_DELAYS: [Duration; 7] = [
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
pub(super) enum StoreState {
    /// Never looked at. A create tells as much as a read would.
    Unknown,
    /// Must be read before it is written again.
    Uncertain,
    /// Nothing.
    Absent,
    /// A record of ours.
    Owned {
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
    pub position: usize,
    pub record: DesiredRecord,
    pub json: String,
}

/// The order of claims to one key: the lowest rank holds the key. The fields are compared in
/// this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClaimRank<'a> {
    started: EngineTime,
    container: &'a ContainerId,
    position: usize,
}

impl Claim {
    /// What decides who holds a key: who started first; of one container's claims the
    /// first listed.
    pub fn rank(&self) -> ClaimRank<'_> {
        let rank = ClaimRank {
            started: self.started,
            container: &self.container,
            position: self.position,
        };
        if planted!(LaterStartedHolds) {
            return ClaimRank { started: EngineTime(-rank.started.0), ..rank };
        }
        rank
    }
}

/// A write in doubt: it may be carried out at any time yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct UncertainWrite {
    /// Which of [`UNCERTAIN_READ_DELAYS`] comes next.
    pub step: usize,
    /// When.
    pub at: Instant,
}

impl UncertainWrite {
    pub fn new(now: Instant) -> Self {
        Self { step: 0, at: now + UNCERTAIN_READ_DELAYS[0] }
    }
}

/// Why a key that should be written can't be.
#[derive(Clone, Debug)]
pub(super) struct WriteFailure {
    pub reason: String,
    /// Whether another name above or below it is in the way.
    pub blocked: bool,
    /// When to try again.
    pub retry_at: Instant,
}

/// What to do at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Create,
    Swap,
    Refresh,
    Delete,
}

/// What to do next at a key, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextAction {
    pub priority: Priority,
    pub at: Instant,
    pub action: Action,
}

#[derive(Debug)]
pub(super) struct KeyEntry {
    /// In the order of their rank.
    pub claims: Vec<Claim>,
    pub store_state: StoreState,
    /// A request for this key is under way.
    pub busy: bool,
    /// Written in an earlier life, and not known yet whether a container wants it: kept
    /// alive until that is known.
    pub orphan: bool,
    /// The version that an orphan was found with: it is withdrawn only if nobody has
    /// touched it since.
    pub found_version: Option<u64>,
    /// The store told of a change here that doesn't fit what is believed: to be read.
    pub needs_read: bool,
    /// When the next refresh, or the next look at another's record, is due.
    pub refresh_due: Instant,
    pub uncertain_write: Option<UncertainWrite>,
    pub failure: Option<WriteFailure>,
    /// The ledger's clock when something was last learnt or sent.
    pub last_touched: u64,
    pub refreshed: Option<SystemTime>,
    /// Who held it last, and is gone: for people.
    pub previous_holder: Option<(ContainerId, std::sync::Arc<str>)>,
}

impl KeyEntry {
    pub fn new(store_state: StoreState, now: Instant) -> Self {
        Self {
            claims: Vec::new(),
            store_state,
            busy: false,
            orphan: false,
            found_version: None,
            needs_read: false,
            refresh_due: now,
            uncertain_write: None,
            failure: None,
            last_touched: 0,
            refreshed: None,
            previous_holder: None,
        }
    }

    /// Who holds the key, of those that want it.
    pub fn holder(&self) -> Option<&Claim> {
        self.claims.first()
    }

    /// Something that happened at this key, to the record of who holds it or held it last.
    pub fn change(&self, kind: ChangeKind, key: &RecordKey) -> RecentChange {
        let change = RecentChange::new(kind).with_key(key);
        match (self.holder(), &self.previous_holder) {
            (Some(claim), _) => change.with_container(&claim.container, &claim.name),
            (None, Some((container, name))) => change.with_container(container, name),
            (None, None) => change,
        }
    }

    /// Whether the store holds what should be there.
    pub fn is_applied(&self) -> bool {
        match (&self.store_state, self.holder()) {
            (StoreState::Owned { value, .. }, Some(claim)) => *value == claim.json,
            (StoreState::Absent, None) => true,
            _ => false,
        }
    }

    /// Whether there is nothing left to do or to remember here.
    pub fn is_done(&self) -> bool {
        let nothing_of_ours =
            !matches!(self.store_state, StoreState::Owned { .. } | StoreState::Uncertain);
        self.claims.is_empty() && !self.busy && self.uncertain_write.is_none() && nothing_of_ours
    }

    /// What is to be done next; nothing while a request is under way.
    pub fn next_action(&self, lease_policy: LeasePolicy, now: Instant) -> Option<NextAction> {
        if self.busy {
            return None;
        }
        let retry_at = self.failure.as_ref().map_or(now, |failure| failure.retry_at);
        let change =
            |action| Some(NextAction { priority: Priority::Change, at: retry_at.max(now), action });
        let refresh =
            |action| Some(NextAction { priority: Priority::Refresh, at: self.refresh_due, action });
        let recheck = self.uncertain_write.map(|uncertain_write| NextAction {
            priority: Priority::Refresh,
            at: uncertain_write.at,
            action: Action::Read,
        });
        if self.needs_read {
            return Some(NextAction { priority: Priority::Change, at: now, action: Action::Read });
        }
        match (&self.store_state, self.holder()) {
            (StoreState::Uncertain, _) => change(Action::Read),
            (StoreState::Unknown | StoreState::Absent, Some(_)) => change(Action::Create),
            (StoreState::Unknown | StoreState::Absent | StoreState::Foreign { .. }, None) => {
                recheck
            }
            (StoreState::Foreign { .. }, Some(_)) => earlier_action(refresh(Action::Read), recheck),
            (StoreState::Owned { value, lease }, Some(desired))
                if *value != desired.json || *lease != lease_policy.lease =>
            {
                change(Action::Swap)
            }
            (StoreState::Owned { .. }, None) if !self.orphan => change(Action::Delete),
            (StoreState::Owned { .. }, _) => match lease_policy.keep_alive_mode {
                KeepAliveMode::PerRecord => earlier_action(refresh(Action::Refresh), recheck),
                KeepAliveMode::Lease => recheck,
            },
        }
    }
}

/// How the ledger's records are kept alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeasePolicy {
    pub keep_alive_mode: KeepAliveMode,
    /// What records should hang on.
    pub lease: Option<LeaseId>,
}

fn earlier_action(one: Option<NextAction>, other: Option<NextAction>) -> Option<NextAction> {
    [one, other].into_iter().flatten().min_by_key(|next| next.at)
}
