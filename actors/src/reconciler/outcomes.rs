//! What came of requests: the ledger's side towards the store.

use std::time::{Duration, SystemTime};

use slog::warn;
use tokio::time::Instant;

use super::entry::{Doubt, Entry, Held, RECHECKS, Trouble};
use super::{Deeds, Ledger, PendingWrite, SLOW_RETRY, Terms};
use crate::model::record::{RecordKey, host_in};
use crate::ports::record_store::{
    Expected, Found, Guard, LeaseId, StoreError, StoreErrorKind, Tie, Upkeep, Write, Written,
};
use crate::status::ChangeKind;

/// etcd looks for expired keys every half second (measured, etcd 3.4): a look right
/// at the end of a TTL would come too early.
const EXPIRY_LAG: Duration = Duration::from_millis(700);

impl Ledger {
    /// Takes what came of a write.
    pub fn wrote(
        &mut self,
        pending: PendingWrite,
        outcome: Result<Written, StoreError>,
        now: Instant,
    ) {
        let clock = self.tick();
        let key = pending.write.key().clone();
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.busy = false;
        entry.touched = clock;
        let outcome = match outcome {
            Err(error) if planted!(LateWriteNotReadAgain) && error.kind.leaves_doubt() => {
                Ok(Written::Done)
            }
            outcome => outcome,
        };
        match outcome {
            Ok(Written::Done) => {
                self.owed_is_done(pending.told, now);
                self.done(pending.write, now);
            }
            Ok(written) => {
                self.take_back(&pending);
                self.still_owe(&key, pending.told, false);
                let held = if written == Written::Missing { Held::Nothing } else { Held::Unsure };
                self.contradicted(&key, held);
            }
            Err(error) => self.not_written(pending, &error, now),
        }
        if self.entries.get(&key).is_some_and(|entry| entry.doubt.is_none()) {
            self.deeds.settle(&key);
        }
        self.schedule(&key, now);
    }

    /// A put that was certainly not carried out is none of our deeds.
    fn take_back(&self, pending: &PendingWrite) {
        if let (Write::Put { key, value, .. }, true) = (&pending.write, pending.new_deed) {
            self.deeds.remove(key, value);
        }
    }

    fn done(&mut self, write: Write, now: Instant) {
        let refresh_every = self.terms.refresh_every();
        let key = write.key().clone();
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.trouble = None;
        match write {
            Write::Put { value, guard, lease, .. } => {
                self.chronicle.count(|counts| counts.put += 1);
                self.chronicle.note(entry.change(ChangeKind::RecordPut, &key));
                let (container, name) = entry
                    .holder()
                    .map(|claim| (claim.container.to_string(), claim.name.to_string()))
                    .unwrap_or_default();
                notice!(self.log, "record put"; "key" => %key, "value" => &value,
                    "container" => container, "name" => name,
                    "new" => guard == Guard::Absent);
                if entry.doubt.is_none() {
                    self.deeds.keep_only(&key, Some(&value));
                }
                entry.held = Held::Ours { value, lease };
                entry.found_as = None;
                self.deeds.meet(&key);
                entry.refreshed = Some(SystemTime::now());
                // The first interval is shorter by chance, so that what was put
                // together isn't refreshed together for ever.
                entry.next = now + refresh_every.mul_f64(0.5 + fastrand::f64() * 0.45);
            }
            Write::Refresh { .. } => {
                entry.refreshed = Some(SystemTime::now());
                entry.next = now + refresh_every.mul_f64(0.9 + fastrand::f64() * 0.05);
            }
            Write::Delete { expected: Expected { value, .. }, .. } => {
                self.chronicle.count(|counts| counts.withdrawn += 1);
                self.chronicle.note(entry.change(ChangeKind::RecordWithdrawn, &key));
                notice!(self.log, "record withdrawn"; "key" => %key, "value" => &value);
                entry.held = Held::Nothing;
                if entry.doubt.is_none() {
                    self.deeds.remove(&key, &value);
                }
                self.unblock(&key, now);
            }
        }
    }

    /// A key that ours kept from being written may be free now.
    fn unblock(&mut self, freed: &RecordKey, now: Instant) {
        let blocked = |(key, entry): (&RecordKey, &Entry)| {
            let waits = entry.trouble.as_ref().is_some_and(|trouble| trouble.blocked);
            (waits && key.hides_or_is_hidden_by(freed)).then(|| key.clone())
        };
        let waiting: Vec<RecordKey> = self.entries.iter().filter_map(blocked).collect();
        for key in waiting {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.trouble = None;
            }
            self.schedule(&key, now);
        }
    }

    fn contradicted(&mut self, key: &RecordKey, held: Held) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if held == Held::Nothing && matches!(entry.held, Held::Ours { .. }) {
            notice!(self.log, "a record of ours was gone"; "key" => %key);
        }
        entry.held = held;
        entry.trouble = None;
    }

    fn not_written(&mut self, pending: PendingWrite, error: &StoreError, now: Instant) {
        let key = pending.write.key().clone();
        if !error.kind.leaves_doubt() {
            self.take_back(&pending);
        }
        if !matches!(error.kind, StoreErrorKind::Refused | StoreErrorKind::Blocked) {
            self.still_owe(&key, pending.told, error.kind.leaves_doubt());
        }
        let refresh_every = self.terms.refresh_every();
        let Some(entry) = self.entries.get_mut(&key) else { return };
        match error.kind {
            // The inserter sees to the store, or the lease; then it is tried again.
            StoreErrorKind::Unavailable | StoreErrorKind::LeaseLost => {}
            StoreErrorKind::Unknown | StoreErrorKind::Malformed => {
                // A refresh that comes late does no harm: it compares. A put or a
                // delete may change what is believed here, now or later.
                if let Write::Put { value, .. } = &pending.write {
                    self.deeds.haunt(&key, value);
                }
                if !matches!(pending.write, Write::Refresh { .. }) {
                    entry.held = Held::Unsure;
                    entry.doubt = Some(Doubt::new(now));
                }
            }
            StoreErrorKind::Refused | StoreErrorKind::Blocked => {
                entry.next = now + refresh_every;
                self.fail(&key, error, now);
            }
        }
    }

    fn fail(&mut self, key: &RecordKey, error: &StoreError, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let known = entry.trouble.as_ref().is_some_and(|old| old.reason == error.message);
        if !known {
            warn!(self.log, "a record can't be kept; tried again now and then";
                "key" => %key, "reason" => %error, "kind" => error.kind.as_str());
            let what = match error.kind {
                StoreErrorKind::Blocked => ChangeKind::RecordStandsBy,
                _ => ChangeKind::RecordFailed,
            };
            self.chronicle.note(entry.change(what, key).because(&*error.message));
        }
        entry.trouble = Some(Trouble {
            reason: error.message.clone(),
            blocked: error.kind == StoreErrorKind::Blocked,
            retry_at: now
                + if planted!(TookForeverToSettle) { SLOW_RETRY * 100 } else { SLOW_RETRY }
                    .mul_f64(0.75 + fastrand::f64() / 4.0),
        });
    }

    /// Takes what a read found.
    pub fn have_read(
        &mut self,
        key: &RecordKey,
        outcome: Result<Option<Found>, StoreError>,
        now: Instant,
    ) {
        let clock = self.tick();
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.busy = false;
        entry.touched = clock;
        match outcome {
            Ok(found) => self.learn(key, found, now),
            Err(error) if error.kind.is_outage() => {}
            Err(error) => {
                // Whatever stands there, it is no record of ours.
                entry.held = Held::Nothing;
                self.move_doubt_on(key, now);
                self.fail(key, &error, now);
            }
        }
        self.schedule(key, now);
    }

    /// Takes what an audit found, but for keys that something was sent to or learnt of
    /// since it began. Gives how many were not as they were believed to be.
    pub fn audited(
        &mut self,
        began: u64,
        found: Vec<(RecordKey, Result<Option<Found>, StoreError>)>,
        now: Instant,
    ) -> u64 {
        let mut drifted = 0;
        for (key, found) in found {
            let Some(entry) = self.entries.get(&key) else { continue };
            let (false, Ok(found)) = (entry.busy || entry.touched > began, found) else { continue };
            let believed = entry.held.clone();
            if planted!(AuditMendsNothing) {
                continue;
            }
            self.learn(&key, found, now);
            let learnt = self.entries.get(&key).map(|entry| &entry.held);
            let was_sure = !matches!(believed, Held::Unmet | Held::Unsure);
            drifted += u64::from(was_sure && learnt.is_some_and(|held| *held != believed));
            self.schedule(&key, now);
        }
        self.chronicle.count(|counts| counts.drifted += drifted);
        drifted
    }

    pub(super) fn learn(&mut self, key: &RecordKey, found: Option<Found>, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let before = std::mem::replace(&mut entry.held, Held::Nothing);
        entry.held = match self.terms.upkeep {
            Upkeep::Each => whose(key, found.as_ref(), entry, &self.deeds, &self.terms),
            Upkeep::Lease => whose_by_lease(found.as_ref(), self.lease, &self.older_leases),
        };
        self.deeds.meet(key);
        entry.suspect = false;
        if found.is_some() && entry.held != before {
            entry.trouble = None;
        }
        match (&before, &entry.held) {
            (Held::Ours { value: old, .. }, Held::Ours { value: new, .. }) if old == new => {}
            (_, Held::Ours { value, .. }) => {
                if self.deeds.add(key, value) {
                    if self.terms.upkeep == Upkeep::Each {
                        notice!(self.log, "record of an earlier life adopted";
                            "key" => %key, "value" => value);
                    }
                    self.chronicle.note(entry.change(ChangeKind::RecordAdopted, key));
                }
                entry.next = now;
            }
            (_, Held::Foreign { value, .. }) => {
                let ttl = match found.map(|found| found.tie) {
                    Some(Tie::Ttl(ttl)) => Some(ttl),
                    _ => None,
                };
                let look_every = self.terms.refresh_every();
                entry.next = now + ttl.map_or(look_every, |ttl| (ttl + EXPIRY_LAG).min(look_every));
                if !matches!(before, Held::Foreign { .. }) && !entry.claims.is_empty() {
                    warn!(self.log, "stands by"; "key" => %key, "reason" => why_foreign(entry),
                        "value" => value, "was_ours" => matches!(before, Held::Ours { .. }));
                    let change = entry.change(ChangeKind::RecordStandsBy, key);
                    self.chronicle.note(change.because(why_foreign(entry)));
                }
            }
            (Held::Ours { .. }, _) => {
                notice!(self.log, "a record of ours was gone"; "key" => %key);
            }
            _ => {}
        }
        self.move_doubt_on(key, now);
    }

    /// Takes what was just read into account for a write in doubt.
    fn move_doubt_on(&mut self, key: &RecordKey, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let as_wanted = is_as_wanted(entry);
        let Some(doubt) = &mut entry.doubt else { return };
        let late = u64::from(!as_wanted && doubt.step > 0);
        self.chronicle.count(|counts| counts.late += late);
        if doubt_settled(doubt, as_wanted, now) {
            entry.doubt = None;
            let value = match &entry.held {
                Held::Ours { value, .. } => Some(value.as_str()),
                _ => None,
            };
            self.deeds.keep_only(key, value);
            self.deeds.settle(key);
        }
    }
}

fn is_as_wanted(entry: &Entry) -> bool {
    match (&entry.held, entry.holder()) {
        (Held::Ours { value, .. }, Some(claim)) => *value == claim.json,
        (Held::Ours { .. }, None) => entry.orphan,
        (Held::Nothing, Some(_)) => false,
        _ => true,
    }
}

/// Moves a doubt on to its next read. It is settled once all its reads in a row, at
/// their times, showed what should be there.
fn doubt_settled(doubt: &mut Doubt, as_wanted: bool, now: Instant) -> bool {
    if !as_wanted {
        *doubt = Doubt::new(now);
    } else if now >= doubt.at {
        doubt.step += 1;
        let Some(wait) = RECHECKS.get(doubt.step) else { return true };
        doubt.at = now + *wait;
    }
    false
}

/// Whose a record is that was found at a key (SPEC 4): ours is what we wrote; one that
/// ends some day and names this host's address, the first time that the key is met,
/// an earlier life of ours wrote. A static one never is.
fn whose(
    key: &RecordKey,
    found: Option<&Found>,
    entry: &Entry,
    deeds: &Deeds,
    terms: &Terms,
) -> Held {
    let Some(found) = found else { return Held::Nothing };
    let expires = found.tie != Tie::None || planted!(StaticTakenForOurs);
    let adopted = || {
        let (false, Some(claim)) = (deeds.has_met(key), entry.holder()) else { return false };
        let Some(host) = host_in(&found.value) else { return false };
        let own_address =
            claim.record.own_host.then(|| claim.record.value.host.to_string() == host);
        host == terms.host.to_string()
            || own_address == Some(true)
            || planted!(AnothersTakenForOurs)
    };
    if expires && (deeds.contain(key, &found.value) || adopted()) {
        Held::Ours { value: found.value.clone(), lease: None }
    } else {
        Held::Foreign { value: found.value.clone(), expires }
    }
}

/// Whose a record is where records hang on leases (SPEC 4): ours is what hangs on a
/// lease of ours, nothing else.
fn whose_by_lease(found: Option<&Found>, lease: Option<LeaseId>, older: &[LeaseId]) -> Held {
    let Some(found) = found else { return Held::Nothing };
    let value = found.value.clone();
    match found.tie {
        Tie::Lease(id) if lease == Some(id) || older.contains(&id) => {
            Held::Ours { value, lease: Some(id) }
        }
        Tie::Lease(id) if planted!(AnothersTakenForOurs) => Held::Ours { value, lease: Some(id) },
        Tie::None if planted!(StaticTakenForOurs) => Held::Ours { value, lease },
        Tie::Lease(_) | Tie::Ttl(_) => Held::Foreign { value, expires: true },
        Tie::None => Held::Foreign { value, expires: false },
    }
}

/// Why a record is not ours to write.
pub(super) fn why_foreign(entry: &Entry) -> String {
    match &entry.held {
        Held::Foreign { expires: false, .. } => {
            "a static entry (without a TTL) is there; remove it to have the record kept here".into()
        }
        Held::Foreign { value, .. } => {
            let holder = host_in(value).unwrap_or_else(|| "another writer".into());
            format!("{holder} holds the record; taken over when that one ends")
        }
        _ => String::new(),
    }
}
