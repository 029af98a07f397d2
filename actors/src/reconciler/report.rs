//! The reports and counts of records for the admin interface.

use tokio::time::Instant;

use super::Reconciler;
use super::claim::Claim;
use super::claims::conflict_reason;
use super::entry::{KeyEntry, StoreState};
use super::outcomes::foreign_reason;
use crate::status::{RecordReport, RecordState, RecordsStatus, StandbyReason};

/// The reason why a record waits for the first view.
const UNINSPECTED_REASON: &str =
    "another container is not inspected yet and may hold the name; see `highhock status`";

/// The reason why a record waits for a listing that names every container.
const UNNAMED_ROW_REASON: &str =
    "a row of the listing names no container, and its container may hold the name; see the log";

impl Reconciler {
    /// Returns a function that returns `true` if the own record at a key is kept only for the
    /// container behind a row without an id.
    ///
    /// Such a row may stay for ever, so a record that waits for it is on standby. It is not pending.
    pub(super) fn unnamed_row_waits(&self, now: Instant) -> impl Fn(&KeyEntry) -> bool {
        let decidable_keys = self.decidable_keys(now);
        let has_unnamed_row = self.live_containers.as_ref().is_some_and(|live| {
            !live.is_complete && live.containers.iter().all(|id| self.containers.contains_key(id))
        });
        move |entry| {
            has_unnamed_row
                && matches!(entry.store_state, StoreState::Owned { .. })
                && entry.waits_for_view(decidable_keys, now)
        }
    }

    /// Returns a function that returns the state of the record of the claim at a position.
    fn record_states(
        &self,
        now: Instant,
    ) -> impl Fn(&KeyEntry, usize) -> (RecordState, Option<StandbyReason>) {
        let waits = self.unnamed_row_waits(now);
        move |entry, position| {
            let state = record_state(entry, position, self.is_expired(entry, now));
            if state.0 == RecordState::Pending && waits(entry) {
                return (RecordState::Standby, Some(StandbyReason::Conflict));
            }
            state
        }
    }

    /// Returns every desired record with its state, in the order of the keys.
    pub fn report(&self, now: Instant) -> Vec<RecordReport> {
        let mut reports = Vec::new();
        let decidable_keys = self.decidable_keys(now);
        let waits = |entry: &KeyEntry| entry.waits_for_view(decidable_keys, now);
        let state_of = self.record_states(now);
        for (key, entry) in &self.entries {
            for (position, claim) in entry.claims.iter().enumerate() {
                let (state, standby) = state_of(entry, position);
                reports.push(RecordReport {
                    key: key.clone(),
                    value: claim.json.clone(),
                    container: claim.container.clone(),
                    container_name: claim.name.clone(),
                    state,
                    standby,
                    reason: match state {
                        RecordState::Expired => Some(EXPIRED_REASON.into()),
                        _ => not_published_reason(entry, position, claim)
                            .or_else(|| waits(entry).then(|| waiting_reason(state).to_owned())),
                    },
                    refreshed: entry.refreshed.filter(|_| position == 0),
                });
            }
        }
        reports
    }

    /// Returns the number of desired records in each state.
    pub fn status(&self, now: Instant) -> RecordsStatus {
        let mut status = RecordsStatus::default();
        let mut standby = StandbyReason::ALL.map(|reason| (reason, 0));
        let state_of = self.record_states(now);
        for entry in self.entries.values() {
            for position in 0..entry.claims.len() {
                match state_of(entry, position) {
                    (_, Some(reason)) => standby[reason as usize].1 += 1,
                    (RecordState::Live, None) => status.live += 1,
                    (RecordState::Expired, None) => status.expired += 1,
                    (RecordState::Failed, None) => status.failed += 1,
                    (RecordState::Pending | RecordState::Standby, None) => status.pending += 1,
                }
            }
        }
        status.standby = standby.into();
        let listed = self
            .live_containers
            .iter()
            .flat_map(|live_containers| live_containers.containers.iter());
        status.uninspected = listed.filter(|id| !self.containers.contains_key(*id)).count();
        status
    }
}

/// Returns the reason why a record in this state waits for the first view.
fn waiting_reason(state: RecordState) -> &'static str {
    if state == RecordState::Standby { UNNAMED_ROW_REASON } else { UNINSPECTED_REASON }
}

/// The reason for which a record is expired, in `/records`.
const EXPIRED_REASON: &str =
    "etcd is unreachable for longer than etcd.ttl; the record is written again when etcd returns";

/// Returns `true` if the store has the desired record, as far as is known.
pub(super) fn is_published(entry: &KeyEntry) -> bool {
    record_state(entry, 0, false).0 == RecordState::Live
}

/// Returns the state of the record of the claim at `position`. `expired`: the record ran out,
/// if it was published.
fn record_state(
    entry: &KeyEntry,
    position: usize,
    expired: bool,
) -> (RecordState, Option<StandbyReason>) {
    if position > 0 {
        return (RecordState::Standby, Some(StandbyReason::Conflict));
    }
    match (&entry.store_state, &entry.failure, entry.holder()) {
        (StoreState::Foreign { expires: false, .. }, _, _) => {
            (RecordState::Standby, Some(StandbyReason::Static))
        }
        (StoreState::Foreign { .. }, _, _) => (RecordState::Standby, Some(StandbyReason::Foreign)),
        (_, Some(failure), _) if failure.blocked => {
            (RecordState::Standby, Some(StandbyReason::Shadowed))
        }
        (_, Some(_), _) => (RecordState::Failed, None),
        (StoreState::Owned { value, .. }, None, Some(claim)) if *value == claim.json => {
            (if expired { RecordState::Expired } else { RecordState::Live }, None)
        }
        _ => (RecordState::Pending, None),
    }
}

/// Returns the reason if the record of the claim at `position` is not published.
fn not_published_reason(entry: &KeyEntry, position: usize, claim: &Claim) -> Option<String> {
    match (&entry.store_state, &entry.failure) {
        _ if position > 0 => Some(conflict_reason(&entry.claims[0], claim)),
        (StoreState::Foreign { .. }, _) => Some(foreign_reason(entry)),
        (_, failure) => failure.as_ref().map(|failure| failure.reason.clone()),
    }
}
