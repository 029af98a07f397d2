//! The life of the lease that records hang on: found again, kept alive, lost, replaced.

use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use slog::warn;
use tokio::time::Instant;

use super::EtcdInserter;
use crate::model::record::RecordKey;
use crate::ports::record_store::{
    Found, KeptAlive, Lease, LeaseFamily, LeaseId, RecordStore, StoreError, StoreErrorKind, Upkeep,
};
use crate::runtime::metered_context::MeteredContext;

/// Our leases, where records hang on leases.
pub(super) struct Tenancy {
    family: LeaseFamily,
    current: Option<LeaseId>,
    /// Of another TTL, from before a change of the settings: kept until nothing hangs on
    /// them.
    older: Vec<LeaseId>,
    next_keep_alive: Instant,
    /// Until when the current one lives unless it is kept alive.
    lives_until: Option<Instant>,
    busy: bool,
}

impl Tenancy {
    pub fn new(family: LeaseFamily, now: Instant) -> Self {
        Self {
            family,
            current: None,
            older: Vec::new(),
            next_keep_alive: now,
            lives_until: None,
            busy: false,
        }
    }

    /// Whether there is one that records are put on; older ones are none.
    pub fn has_current(&self) -> bool {
        self.current.is_some()
    }

    /// All of them, the current one first.
    pub fn leases(&self) -> Vec<LeaseId> {
        self.current.into_iter().chain(self.older.iter().copied()).collect()
    }
}

/// What came of making sure of our lease.
pub(super) enum Occupied {
    /// There is nothing to be made sure of: records have TTLs of their own.
    NoLease,
    /// It lives, and so does what hangs on it.
    AsBefore,
    /// It was found or granted, with what hangs on it and on older ones.
    Anew {
        /// What was thought to be the lease, and is gone.
        lost: Option<LeaseId>,
        current: LeaseId,
        older: Vec<LeaseId>,
        found: Vec<(RecordKey, Found)>,
    },
}

/// Finds the family's leases, and asks for one of this TTL where there is none. All that
/// hangs on them is read.
async fn move_in<R: RecordStore>(
    store: &R,
    family: LeaseFamily,
    ttl: Duration,
    lost: Option<LeaseId>,
) -> Result<Occupied, StoreError> {
    let leases = store.leases(family).await?;
    let fits = |lease: &&Lease| lease.ttl == ttl || planted!(LeaseOfAnotherTtlKept);
    let current = match leases.iter().find(fits) {
        Some(lease) => lease.id,
        None => {
            let taken = |number: &u8| leases.iter().any(|lease| lease.id.number() == *number);
            let free = (0..=u8::MAX).find(|number| !taken(number)).unwrap_or(u8::MAX);
            let id = family.lease(free);
            // One that existed after all is a twin's, of the same settings as ours.
            store.grant(id, ttl).await?;
            id
        }
    };
    if store.keep_alive(current).await? == KeptAlive::Lost {
        let ended =
            format!("the lease {current} ended just when it was found; to be asked for anew");
        return Err(StoreError::new(StoreErrorKind::Unavailable, ended));
    }
    let older: Vec<_> = leases.iter().map(|lease| lease.id).filter(|id| *id != current).collect();
    let mut found = Vec::new();
    for id in std::iter::once(&current).chain(&older) {
        found.extend(store.leased(*id).await?);
    }
    Ok(Occupied::Anew { lost, current, older, found })
}

impl<R: RecordStore> EtcdInserter<R> {
    /// Makes sure of our lease: keeps it alive where it is known, else finds it, else
    /// asks for it.
    pub(super) fn occupy(&self) -> impl Future<Output = Result<Occupied, StoreError>> + use<R> {
        let (store, upkeep, ttl) = (Rc::clone(&self.store), self.terms.upkeep, self.terms.ttl);
        let (family, current) = (self.tenancy.family, self.tenancy.current);
        async move {
            if upkeep == Upkeep::Each {
                return Ok(Occupied::NoLease);
            }
            if let Some(current) = current
                && store.keep_alive(current).await? != KeptAlive::Lost
            {
                return Ok(Occupied::AsBefore);
            }
            move_in(&*store, family, ttl, current).await
        }
    }

    pub(super) fn occupied(&mut self, occupied: Occupied) {
        let now = Instant::now();
        if !matches!(occupied, Occupied::NoLease) {
            self.lives_on(now);
        }
        self.tenancy.next_keep_alive = now + self.keep_alive_wait();
        let Occupied::Anew { lost, current, older, found } = occupied else { return };
        if let Some(lost) = lost {
            warn!(self.log, "our lease was lost; all records are put again"; "lease" => %lost);
            self.ledger.lose_lease(lost, now);
        }
        notice!(self.log, "records hang on a lease"; "lease" => %current,
            "ttl_seconds" => self.terms.ttl.as_secs(), "found_on_it" => found.len(),
            "older_leases" => older.len());
        let found_any = !found.is_empty();
        self.ledger.take_leases(current, older.clone(), found, now);
        (self.tenancy.current, self.tenancy.older) = (Some(current), older);
        if found_any {
            (self.list_again)();
        }
    }

    /// The current lease was kept alive.
    fn lives_on(&mut self, now: Instant) {
        self.tenancy.lives_until = Some(now + self.terms.ttl);
        self.chronicle.store_written();
    }

    /// How long the current lease lives on unless it is kept alive.
    pub(super) fn lease_remaining(&self, now: Instant) -> Option<Duration> {
        let lives_until = self.tenancy.lives_until.filter(|_| self.tenancy.has_current())?;
        Some(lives_until.saturating_duration_since(now))
    }

    fn keep_alive_wait(&self) -> Duration {
        self.terms.refresh_every().mul_f64(0.9 + fastrand::f64() * 0.05)
    }

    pub(super) fn next_keep_alive(&self) -> Option<Instant> {
        (self.terms.upkeep == Upkeep::Lease && !self.tenancy.busy)
            .then_some(self.tenancy.next_keep_alive)
    }

    /// Keeps our leases alive when it is time, and ends an older one that nothing hangs
    /// on any more.
    pub(super) fn keep_lease(&mut self, now: Instant, context: &mut MeteredContext<Self>) {
        if self.terms.upkeep == Upkeep::Each || self.tenancy.busy {
            return;
        }
        if now >= self.tenancy.next_keep_alive {
            self.keep_alive(context);
        } else if let Some(spent) = self.ledger.spent_lease() {
            self.end_lease(spent, context);
        }
    }

    fn keep_alive(&mut self, context: &mut MeteredContext<Self>) {
        self.tenancy.busy = true;
        let (store, leases) = (Rc::clone(&self.store), self.tenancy.leases());
        let keeping = async move {
            let mut kept = Vec::new();
            for id in leases {
                kept.push((id, store.keep_alive(id).await?));
            }
            Ok(kept)
        };
        context.spawn(keeping.into_actor(self).map(
            |kept: Result<Vec<_>, StoreError>, inserter, context| {
                inserter.tenancy.busy = false;
                inserter.tenancy.next_keep_alive = Instant::now() + inserter.keep_alive_wait();
                match kept {
                    Ok(kept) => inserter.kept_alive(kept),
                    Err(error) => inserter.close_gate(&error),
                }
                inserter.pump(context);
            },
        ));
    }

    fn kept_alive(&mut self, kept: Vec<(LeaseId, KeptAlive)>) {
        let now = Instant::now();
        info!(self.log, "leases kept alive"; "leases" => kept.len());
        self.ledger.kept_alive();
        for (id, kept) in kept {
            if kept != KeptAlive::Lost {
                if self.tenancy.current == Some(id) {
                    self.lives_on(now);
                }
                continue;
            }
            if self.tenancy.current == Some(id) {
                self.lose_lease(now);
            } else {
                self.tenancy.older.retain(|older| *older != id);
                self.ledger.lose_lease(id, now);
            }
        }
    }

    /// Our lease is gone: the next probe asks for another, and all is put again.
    pub(super) fn lose_lease(&mut self, now: Instant) {
        let Some(lost) = self.tenancy.current.take() else { return };
        warn!(self.log, "our lease was lost; all records are put again"; "lease" => %lost);
        self.ledger.lose_lease(lost, now);
        self.doubt_store(now);
    }

    /// Ends an older lease; but not before the store itself says that nothing hangs on
    /// it: another daemon of our identity may still use it.
    fn end_lease(&mut self, spent: LeaseId, context: &mut MeteredContext<Self>) {
        self.tenancy.busy = true;
        let store = Rc::clone(&self.store);
        let ending = async move {
            let found = store.leased(spent).await?;
            if found.is_empty() {
                store.revoke(spent).await?;
            }
            Ok(found)
        };
        context.spawn(ending.into_actor(self).map(
            move |found: Result<Vec<_>, StoreError>, inserter, context| {
                inserter.tenancy.busy = false;
                match found {
                    Ok(found) if found.is_empty() => {
                        notice!(inserter.log, "an older lease of ours is ended"; "lease" => %spent);
                        inserter.tenancy.older.retain(|older| *older != spent);
                        inserter.ledger.forget_lease(spent);
                    }
                    Ok(found) => inserter.found_on_older(found),
                    Err(error) if error.kind.is_outage() => inserter.close_gate(&error),
                    Err(error) => {
                        warn!(inserter.log, "an older lease of ours can't be ended; it ends with its TTL";
                            "lease" => %spent, "error" => %error);
                        inserter.tenancy.older.retain(|older| *older != spent);
                        inserter.ledger.forget_lease(spent);
                    }
                }
                inserter.pump(context);
            },
        ));
    }

    fn found_on_older(&mut self, found: Vec<(RecordKey, Found)>) {
        let Some(current) = self.tenancy.current else { return };
        let older = self.tenancy.older.clone();
        self.ledger.take_leases(current, older, found, Instant::now());
        (self.list_again)();
    }
}
