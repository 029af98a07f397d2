//! How the records stand: the ledger's side towards an operator.

use super::Ledger;
use super::claims::why_second;
use super::entry::{Claim, Entry, Held};
use super::outcomes::why_foreign;
use crate::status::{RecordReport, RecordState, RecordsStanding, StandbyReason};

impl Ledger {
    /// Every wanted record, by its key, and how it stands.
    pub fn report(&self) -> Vec<RecordReport> {
        let mut reports = Vec::new();
        for (key, entry) in &self.entries {
            for (place, claim) in entry.claims.iter().enumerate() {
                let (state, standby) = state_of(entry, place);
                reports.push(RecordReport {
                    key: key.clone(),
                    value: claim.json.clone(),
                    container: claim.container.clone(),
                    container_name: claim.name.clone(),
                    state,
                    standby,
                    reason: reason_of(entry, place, claim),
                    refreshed: entry.refreshed.filter(|_| place == 0),
                });
            }
        }
        reports
    }

    /// How many records stand how.
    pub fn standing(&self) -> RecordsStanding {
        let mut standing = RecordsStanding::default();
        let mut standby = StandbyReason::ALL.map(|reason| (reason, 0));
        for entry in self.entries.values() {
            for place in 0..entry.claims.len() {
                match state_of(entry, place) {
                    (_, Some(reason)) => standby[reason as usize].1 += 1,
                    (RecordState::Live, None) => standing.live += 1,
                    (RecordState::Failed, None) => standing.failed += 1,
                    (RecordState::Pending | RecordState::Standby, None) => standing.pending += 1,
                }
            }
        }
        standing.standby = standby.into();
        let listed = self.roster.iter().flat_map(|roster| roster.containers.iter());
        standing.untold = listed.filter(|id| !self.containers.contains_key(*id)).count();
        standing
    }
}

/// How the record stands that is wanted by the claim in this place.
fn state_of(entry: &Entry, place: usize) -> (RecordState, Option<StandbyReason>) {
    if place > 0 {
        return (RecordState::Standby, Some(StandbyReason::Rival));
    }
    match (&entry.held, &entry.trouble, entry.holder()) {
        (Held::Foreign { expires: false, .. }, _, _) => {
            (RecordState::Standby, Some(StandbyReason::Static))
        }
        (Held::Foreign { .. }, _, _) => (RecordState::Standby, Some(StandbyReason::Foreign)),
        (_, Some(trouble), _) if trouble.blocked => {
            (RecordState::Standby, Some(StandbyReason::Shadowed))
        }
        (_, Some(_), _) => (RecordState::Failed, None),
        (Held::Ours { value, .. }, None, Some(claim)) if *value == claim.json => {
            (RecordState::Live, None)
        }
        _ => (RecordState::Pending, None),
    }
}

/// Why the record is not live that is wanted by the claim in this place.
fn reason_of(entry: &Entry, place: usize, claim: &Claim) -> Option<String> {
    match (&entry.held, &entry.trouble) {
        _ if place > 0 => Some(why_second(&entry.claims[0], claim)),
        (Held::Foreign { .. }, _) => Some(why_foreign(entry)),
        (_, trouble) => trouble.as_ref().map(|trouble| trouble.reason.clone()),
    }
}
