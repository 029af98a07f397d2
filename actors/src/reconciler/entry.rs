//! [`KeyEntry`]: one key with its claims, its state in the store and its next action.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::agenda::Priority;
use super::claim::Claim;
use super::first_view::DecidableKeys;
use crate::model::container::ContainerId;
use crate::model::record::RecordKey;
use crate::ports::record_store::{KeepAliveMode, LeaseId};
use crate::status::{ChangeKind, RecentChange};

/// The waits before the reads of a key with an uncertain write. The write is settled when the
/// reads after all of these waits, in a row, returned the desired record.
pub(super) const UNCERTAIN_READ_DELAYS: [Duration; 7] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// The content of the store at a key, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoreState {
    /// Never read. The precondition of a create makes a read unnecessary.
    Unknown,
    /// The key must be read before it is written again.
    Uncertain,
    /// No record.
    Absent,
    /// A record that HighHock owns.
    Owned {
        /// The value, as JSON.
        value: String,
        /// The lease that the record is attached to ([`KeepAliveMode::Lease`] only).
        lease: Option<LeaseId>,
    },
    /// A foreign record.
    Foreign {
        /// The value, not necessarily JSON.
        value: String,
        /// `true` if the record has a TTL or a lease, `false` if it is static.
        expires: bool,
    },
}

/// An uncertain write: it has no reply, and may be applied at any later time.
#[derive(Clone, Copy, Debug)]
pub(super) struct UncertainWrite {
    /// The index in [`UNCERTAIN_READ_DELAYS`] of the next read.
    pub step: usize,
    /// The time of the next read.
    pub at: Instant,
}

impl UncertainWrite {
    pub fn new(now: Instant) -> Self {
        Self { step: 0, at: now + UNCERTAIN_READ_DELAYS[0] }
    }
}

/// The failure of the last write of a key.
#[derive(Clone, Debug)]
pub(super) struct WriteFailure {
    pub reason: String,
    /// `true` if a name above or below the key blocks the write.
    pub blocked: bool,
    /// The time of the next attempt.
    pub retry_at: Instant,
}

/// A request for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Create,
    Swap,
    Refresh,
    Delete,
}

/// The next request for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextAction {
    pub priority: Priority,
    pub at: Instant,
    pub action: Action,
}

/// One key of the reconciler.
#[derive(Debug)]
pub(super) struct KeyEntry {
    /// The desired records at this key, in the order of their rank.
    pub claims: Vec<Claim>,
    pub store_state: StoreState,
    /// `true` while a request for this key is in flight.
    pub busy: bool,
    /// `true` if the record was written by an earlier run or a crashed inserter, and a newer
    /// listing has not decided yet if a container wants it. The record is kept alive until then.
    pub orphan: bool,
    /// The store's version of an orphan when it was found. The orphan is withdrawn only if it
    /// still has this version.
    pub found_version: Option<u64>,
    /// `true` if the store reported a change that contradicts `store_state`.
    pub needs_read: bool,
    /// The time at which the TTL of an owned record ends ([`KeepAliveMode::PerRecord`] only).
    pub expires_at: Option<Instant>,
    /// The time of the next refresh, or of the next read of a foreign record.
    pub refresh_due: Instant,
    pub uncertain_write: Option<UncertainWrite>,
    pub failure: Option<WriteFailure>,
    /// The reconciler's counter at the last request or outcome.
    pub last_touched: u64,
    pub refreshed: Option<SystemTime>,
    /// The last holder, if its claim was removed. For messages.
    pub previous_holder: Option<(ContainerId, std::sync::Arc<str>)>,
    /// The last value in the store that belonged to a container which no longer claims it.
    pub withdrawn_value: Option<String>,
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
            expires_at: None,
            refresh_due: now,
            uncertain_write: None,
            failure: None,
            last_touched: 0,
            refreshed: None,
            previous_holder: None,
            withdrawn_value: None,
        }
    }

    /// Returns the claim that holds the key.
    pub fn holder(&self) -> Option<&Claim> {
        self.claims.first()
    }

    /// Removes the claims of a container.
    pub fn remove_claims_of(&mut self, id: &ContainerId) {
        if let Some(claim) = self.holder().filter(|claim| claim.container == *id) {
            self.previous_holder = Some((id.clone(), claim.name.clone()));
        }
        if let StoreState::Owned { value, .. } = &self.store_state
            && self
                .claims
                .iter()
                .any(|claim| claim.container == *id && claim.has_endpoint_of(value))
        {
            self.withdrawn_value = Some(value.clone());
        }
        self.claims.retain(|claim| claim.container != *id);
    }

    /// Creates an entry of the recent changes for this key, with its holder or its last holder.
    pub fn change(&self, kind: ChangeKind, key: &RecordKey) -> RecentChange {
        let change = RecentChange::new(kind).with_key(key);
        match (self.holder(), &self.previous_holder) {
            (Some(claim), _) => change.with_container(&claim.container, &claim.name),
            (None, Some((container, name))) => change.with_container(container, name),
            (None, None) => change,
        }
    }

    /// Returns `true` if the store has the desired record, or no record if none is desired.
    pub fn is_applied(&self) -> bool {
        match (&self.store_state, self.holder()) {
            (StoreState::Owned { value, .. }, Some(claim)) => *value == claim.json,
            (StoreState::Absent, None) => true,
            _ => false,
        }
    }

    /// Returns `true` if the entry has no claim and no owned record, and no request is pending.
    pub fn is_done(&self) -> bool {
        let nothing_of_ours =
            !matches!(self.store_state, StoreState::Owned { .. } | StoreState::Uncertain);
        self.claims.is_empty() && !self.busy && self.is_certain() && nothing_of_ours
    }

    fn is_certain(&self) -> bool {
        if mutated!(UncertainWriteForgotten) {
            return true;
        }
        self.uncertain_write.is_none()
    }

    /// Returns the next request for this key, or `None` while a request is in flight.
    pub fn next_action(&self, policy: ActionPolicy, now: Instant) -> Option<NextAction> {
        if self.busy {
            return None;
        }
        let retry_at = self.failure.as_ref().map_or(now, |failure| failure.retry_at).max(now);
        let change_at = |action, at: Instant| {
            Some(NextAction { priority: Priority::Change, at: at.max(retry_at), action })
        };
        let change = |action| change_at(action, now);
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
            (StoreState::Unknown, Some(_)) if policy.reads_before_decision(now) => {
                change(Action::Read)
            }
            (StoreState::Unknown | StoreState::Absent, Some(_)) => {
                change_at(Action::Create, policy.decidable_keys.known_from(now))
            }
            (StoreState::Unknown | StoreState::Absent | StoreState::Foreign { .. }, None) => {
                recheck
            }
            (StoreState::Foreign { .. }, Some(_)) => earlier_action(refresh(Action::Read), recheck),
            (StoreState::Owned { value, lease }, Some(desired))
                if *value == desired.json && policy.is_older(*lease) =>
            {
                change(Action::Swap)
            }
            (StoreState::Owned { value, .. }, _) => {
                let kept = match policy.keep_alive_mode {
                    KeepAliveMode::PerRecord => earlier_action(refresh(Action::Refresh), recheck),
                    KeepAliveMode::Lease => recheck,
                };
                match self.replacement(value, policy.decidable_keys, now) {
                    Some((action, at)) if at <= now => change(action),
                    Some((action, at)) => earlier_action(change_at(action, at), kept),
                    None => kept,
                }
            }
        }
    }

    /// Returns the action that replaces or deletes this own record and its earliest time, or
    /// `None` while the record is kept.
    fn replacement(
        &self,
        value: &str,
        decidable_keys: DecidableKeys,
        now: Instant,
    ) -> Option<(Action, Instant)> {
        match self.holder() {
            Some(claim) if claim.json == value => None,
            Some(_) if decidable_keys == DecidableKeys::All => Some((Action::Swap, now)),
            Some(_) if self.has_known_claimant(value) => {
                Some((Action::Swap, decidable_keys.known_from(now)))
            }
            None if self.is_undesired(value, decidable_keys) => Some((Action::Delete, now)),
            _ => None,
        }
    }

    /// Returns `true` if the container of this own record has reported since the start.
    fn has_known_claimant(&self, value: &str) -> bool {
        self.is_withdrawn(value) || self.claims.iter().any(|claim| claim.has_endpoint_of(value))
    }

    fn is_withdrawn(&self, value: &str) -> bool {
        self.withdrawn_value.as_deref() == Some(value)
    }

    /// Returns `true` if no container can claim this own record, at a key without claims.
    fn is_undesired(&self, value: &str, decidable_keys: DecidableKeys) -> bool {
        !self.orphan
            && (decidable_keys == DecidableKeys::All
                || self.is_withdrawn(value)
                || mutated!(OrphansWithdrawnEarly))
    }

    /// Returns `true` if the key has a change that is not in the store and was not rejected.
    pub fn has_pending_change(&self) -> bool {
        let has_failed = self.failure.is_some() && !self.busy;
        let is_wanted = match (&self.store_state, self.holder()) {
            (StoreState::Owned { value, .. }, Some(claim)) => *value != claim.json,
            (StoreState::Owned { .. }, None) => !self.orphan,
            (StoreState::Foreign { .. }, _) | (StoreState::Absent | StoreState::Unknown, None) => {
                self.busy
            }
            (StoreState::Uncertain | StoreState::Absent | StoreState::Unknown, _) => true,
        };
        is_wanted && !has_failed
    }

    /// Returns `true` if the next change of the key waits for the first view.
    pub fn waits_for_view(&self, decidable_keys: DecidableKeys, now: Instant) -> bool {
        if self.busy || decidable_keys == DecidableKeys::All {
            return false;
        }
        match (&self.store_state, self.holder()) {
            (StoreState::Unknown | StoreState::Absent, Some(_)) => {
                decidable_keys.known_from(now) > now
            }
            (StoreState::Owned { value, .. }, _) => {
                self.replacement(value, decidable_keys, now).is_none_or(|(_, at)| at > now)
            }
            _ => false,
        }
    }
}

/// The state of the reconciler that decides the next request for a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct ActionPolicy {
    pub keep_alive_mode: KeepAliveMode,
    /// The lease to which records are attached.
    pub lease: Option<LeaseId>,
    pub decidable_keys: DecidableKeys,
}

impl ActionPolicy {
    /// Returns `true` if a key must be read before its holder is decided. Without a lease, only a
    /// read shows the record of an earlier run, which must be refreshed meanwhile.
    fn reads_before_decision(&self, now: Instant) -> bool {
        self.keep_alive_mode == KeepAliveMode::PerRecord
            && self.decidable_keys.known_from(now) > now
    }

    /// Returns `true` if a record on `lease` must move to the current lease.
    fn is_older(&self, lease: Option<LeaseId>) -> bool {
        if mutated!(RecordKeptOnOlderLease) {
            return false;
        }
        lease != self.lease
    }
}

fn earlier_action(one: Option<NextAction>, other: Option<NextAction>) -> Option<NextAction> {
    [one, other].into_iter().flatten().min_by_key(|next| next.at)
}
