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

impl Reconciler {
    /// Returns every desired record with its state, in the order of the keys.
    pub fn report(&self, now: Instant) -> Vec<RecordReport> {
        let mut reports = Vec::new();
        let decidable_keys = self.decidable_keys(now);
        let waits = |entry: &KeyEntry| entry.waits_for_view(decidable_keys, now);
        for (key, entry) in &self.entries {
            let expired = self.is_expired(entry, now);
            for (position, claim) in entry.claims.iter().enumerate() {
                let (state, standby) = record_state(entry, position, expired);
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
                            .or_else(|| waits(entry).then(|| UNINSPECTED_REASON.to_owned())),
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
        for entry in self.entries.values() {
            let expired = self.is_expired(entry, now);
            for position in 0..entry.claims.len() {
                match record_state(entry, position, expired) {
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
