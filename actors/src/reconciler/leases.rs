//! Records on leases: the ledger's side of a lease's life, and of what the store tells
//! by itself.

use std::time::{Duration, SystemTime};

use slog::warn;
use tokio::time::Instant;

use super::Ledger;
use super::ReadOutcome;
use super::entry::{Entry, Held};
use crate::messages::Domain;
use crate::model::record::RecordKey;
use crate::ports::record_store::{Change, Found, LeaseId, Tie, Upkeep};

/// For how long it is remembered what was given up: at least an audit, after a twin
/// surely has listed the containers.
const REMEMBERED: Duration = Duration::from_secs(120);

impl Ledger {
    /// Takes which leases are ours, and what was found on them: what the containers want
    /// stays as it is, or moves to the current one; what is known to be wanted by none is
    /// withdrawn once that is certain.
    pub fn take_leases(
        &mut self,
        current: LeaseId,
        older: Vec<LeaseId>,
        found: Vec<(RecordKey, Found)>,
        now: Instant,
    ) {
        (self.lease, self.older_leases) = (Some(current), older);
        for (key, found) in found {
            let entry =
                self.entries.entry(key.clone()).or_insert_with(|| Entry::new(Held::Unmet, now));
            if entry.busy {
                continue;
            }
            if entry.claims.is_empty() {
                (entry.orphan, entry.found_as) = (true, Some(found.version));
                self.orphans_since = Some(now);
            }
            // Nobody will tell any more what it wants.
            entry.orphan &= !self.closed;
            self.learn(&key, Some(found), now);
        }
        for key in self.entries.keys().cloned().collect::<Vec<_>>() {
            self.schedule(&key, now);
        }
    }

    /// Takes that a lease is gone, and all that hung on it.
    pub fn lose_lease(&mut self, lost: LeaseId, now: Instant) {
        self.chronicle.count(|counts| counts.leases_lost += 1);
        self.older_leases.retain(|id| *id != lost);
        for key in self.entries.keys().cloned().collect::<Vec<_>>() {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if matches!(entry.held, Held::Ours { lease, .. } if lease == Some(lost)) {
                entry.held = Held::Nothing;
            }
            self.schedule(&key, now);
        }
        if self.lease == Some(lost) {
            self.lease = None;
        }
    }

    /// Takes that the leases, and with them all records, were kept alive.
    pub fn kept_alive(&mut self) {
        let now = SystemTime::now();
        for entry in self.entries.values_mut() {
            if matches!(entry.held, Held::Ours { .. }) {
                entry.refreshed = Some(now);
            }
        }
    }

    /// An older lease that nothing hangs on any more, as far as is known.
    pub fn spent_lease(&self) -> Option<LeaseId> {
        if self.orphans_since.is_some() {
            return None;
        }
        let hangs_on = |entry: &Entry, id: LeaseId| {
            entry.busy || matches!(entry.held, Held::Ours { lease, .. } if lease == Some(id))
        };
        let spent = |id: &&LeaseId| !self.entries.values().any(|entry| hangs_on(entry, **id));
        self.older_leases.iter().find(spent).copied()
    }

    /// Takes that an older lease was ended.
    pub fn forget_lease(&mut self, ended: LeaseId) {
        self.older_leases.retain(|id| *id != ended);
    }

    /// Notes what a container wanted before and nobody wants now.
    pub(super) fn note_given_up(&mut self, before: Option<&Domain>, now: Instant) {
        if self.terms.upkeep == Upkeep::Each {
            return;
        }
        for record in before.iter().flat_map(|domain| domain.wanted.iter()) {
            let entry = self.entries.get(&record.key);
            if entry.is_some_and(|entry| entry.claims.is_empty()) {
                self.given_up.insert(record.key.clone(), (record.value.to_json(), now));
            }
        }
    }

    /// Takes what an audit found on our leases and no container here wants: a write of ours
    /// that came late is withdrawn. So is what we gave up lately, once a newer listing
    /// agrees: a twin that was slower to see a container end put it back, and may itself
    /// have ended since. Anything else another daemon of our very identity has put there:
    /// it is reported and left alone (SPEC 5), once two audits in a row have found it.
    /// Gives whether a newer listing is needed.
    pub fn take_unknown(&mut self, found: &[ReadOutcome], now: Instant) -> bool {
        self.given_up.retain(|_, (_, since)| now.duration_since(*since) < REMEMBERED);
        let before = std::mem::take(&mut self.unknown);
        let (mut news, mut orphans) = (0, Vec::new());
        for (key, found) in found {
            let Ok(Some(found)) = found else { continue };
            if self.entries.contains_key(key) || self.lay_ghost(key, found, now) {
                continue;
            }
            if self.given_up.get(key).is_some_and(|(value, _)| *value == found.value) {
                orphans.push((key.clone(), found.clone()));
                continue;
            }
            let reported = before.get(key).copied();
            news += u64::from(reported == Some(false));
            self.unknown.insert(key.clone(), reported.is_some());
        }
        if news > 0 {
            self.chronicle.count(|counts| counts.unknown += news);
            warn!(self.log, "keys on our lease that no container here wants: does another \
                highhock with the same host name and address run?"; "keys" => news);
        }
        let (false, Some(lease)) = (orphans.is_empty(), self.lease) else { return false };
        self.take_leases(lease, self.older_leases.clone(), orphans, now);
        true
    }

    /// Has a put withdrawn that was in doubt, was given up, and came late.
    fn lay_ghost(&mut self, key: &RecordKey, found: &Found, now: Instant) -> bool {
        let lease = match found.tie {
            Tie::Lease(id) if self.is_our_lease(id) => Some(id),
            Tie::Ttl(_) => None,
            Tie::Lease(_) | Tie::None => return false,
        };
        if !self.deeds.take_ghost(key, &found.value) {
            return false;
        }
        self.chronicle.count(|counts| counts.late += 1);
        notice!(self.log, "a write of ours came late; it is withdrawn"; "key" => %key);
        self.deeds.add(key, &found.value);
        let held = Held::Ours { value: found.value.clone(), lease };
        self.entries.insert(key.clone(), Entry::new(held, now));
        self.schedule(key, now);
        true
    }

    fn is_our_lease(&self, id: LeaseId) -> bool {
        self.lease == Some(id) || self.older_leases.contains(&id)
    }

    /// Takes a change that the store tells of. One that fits what is believed is our own
    /// write's echo, or old news; any other is a reason to read.
    pub fn take_change(&mut self, change: &Change, now: Instant) {
        let key = &change.key;
        let Some(entry) = self.entries.get_mut(key) else {
            match &change.now {
                Some(found) => drop(self.lay_ghost(key, found, now)),
                None => self.suspect_below(key, now),
            }
            return;
        };
        let expected = if entry.busy {
            is_echo(entry, change.now.as_ref(), self.lease)
        } else {
            fits(&entry.held, change.now.as_ref())
        };
        if expected {
            return;
        }
        entry.suspect = true;
        self.chronicle.count(|counts| counts.surprises += 1);
        self.schedule(key, now);
    }

    /// In etcd v2 a directory goes with all that is in it, and only its own end is told.
    fn suspect_below(&mut self, directory: &RecordKey, now: Instant) {
        if self.terms.upkeep == Upkeep::Lease {
            return;
        }
        let inside = |key: &&RecordKey| key.is_below(directory);
        for key in self.entries.keys().filter(inside).cloned().collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.suspect = true;
            }
            self.chronicle.count(|counts| counts.surprises += 1);
            self.schedule(&key, now);
        }
    }
}

/// Whether a change is what a request under way is about to bring about.
fn is_echo(entry: &Entry, now: Option<&Found>, lease: Option<LeaseId>) -> bool {
    match (entry.holder(), now) {
        (Some(claim), Some(found)) => {
            let tied = match found.tie {
                Tie::Lease(id) => lease == Some(id),
                Tie::Ttl(_) => true,
                Tie::None => false,
            };
            tied && found.value == claim.json
        }
        (wanted, now) => wanted.is_none() && now.is_none(),
    }
}

fn fits(held: &Held, now: Option<&Found>) -> bool {
    match (held, now) {
        (Held::Nothing | Held::Unmet, None) | (Held::Unsure, _) => true,
        (Held::Ours { value, lease }, Some(found)) => {
            *value == found.value
                && match found.tie {
                    Tie::Lease(id) => *lease == Some(id),
                    Tie::Ttl(_) => lease.is_none(),
                    Tie::None => false,
                }
        }
        (Held::Foreign { value, expires }, Some(found)) => {
            *value == found.value && *expires == (found.tie != Tie::None)
        }
        _ => false,
    }
}
