//! [`LeaseManager`]: the leases of this publisher, and the methods of the inserter that acquire the
//! lease of the records, keep it alive, and replace it.

use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use slog::warn;
use tokio::time::Instant;

use super::EtcdInserter;
use crate::model::record::RecordKey;
use crate::ports::record_store::{
    KeepAliveMode, KeptAlive, Lease, LeaseId, LeaseNamespace, LeasedRecords, RecordStore,
    StoreError, StoreErrorKind, StoredRecord,
};
use crate::runtime::metered_context::MeteredContext;

/// The leases of this publisher ([`KeepAliveMode::Lease`] only; ARCHITECTURE.md, "Leases").
pub(super) struct LeaseManager {
    namespace: LeaseNamespace,
    current: Option<LeaseId>,
    /// Leases with another TTL, from before a change of the settings. They are kept alive until
    /// no record is attached to them.
    older: Vec<LeaseId>,
    next_keep_alive: Instant,
    /// The time at which the current lease expires unless it is kept alive.
    expires_at: Option<Instant>,
    busy: bool,
}

impl LeaseManager {
    pub fn new(namespace: LeaseNamespace, now: Instant) -> Self {
        Self {
            namespace,
            current: None,
            older: Vec::new(),
            next_keep_alive: now,
            expires_at: None,
            busy: false,
        }
    }

    /// Returns `true` if there is a current lease. Records are never written with an older one.
    pub fn has_current(&self) -> bool {
        self.current.is_some()
    }

    /// Returns all leases, the current one first.
    pub fn leases(&self) -> Vec<LeaseId> {
        self.current.into_iter().chain(self.older.iter().copied()).collect()
    }
}

/// The result of [`LeaseRequest::ensure_lease`].
pub(super) enum LeaseOutcome {
    /// The store uses no leases: every record has a TTL of its own.
    NotUsed,
    /// The current lease was kept alive, and thereby its records.
    Kept {
        /// The time at which the keep-alive was sent.
        sent_at: Instant,
    },
    /// A lease was found or granted.
    Acquired(AcquiredLease),
}

/// A lease that was found or granted, and kept alive.
pub(super) struct AcquiredLease {
    /// The previous lease, if it was lost.
    lost: Option<LeaseId>,
    current: LeaseId,
    older: Vec<LeaseId>,
    /// The time at which the keep-alive was sent.
    sent_at: Instant,
    /// The records on all leases.
    reading: LeaseReading,
}

/// The records on several leases.
pub(super) struct LeaseReading {
    pub records: Vec<(RecordKey, StoredRecord)>,
    /// A revision of the store at which the records were complete. `None` if a lease could not be
    /// read.
    pub revision: Option<u64>,
    /// The error if a lease may not be read. Only desired records are then found, each by a read
    /// of its own.
    refusal: Option<StoreError>,
}

/// Reads all records on these leases. A refusal is no failure.
pub(super) async fn read_leases<R: RecordStore>(
    store: &R,
    leases: &[LeaseId],
) -> Result<LeaseReading, StoreError> {
    let mut reading = LeaseReading { records: Vec::new(), revision: None, refusal: None };
    for id in leases {
        match store.leased(*id).await {
            Ok(LeasedRecords { revision, records }) => {
                reading.revision = Some(reading.revision.map_or(revision, |it| it.min(revision)));
                reading.records.extend(records);
            }
            Err(error) if error.kind == StoreErrorKind::Refused => reading.refusal = Some(error),
            Err(error) => return Err(error),
        }
    }
    reading.revision = reading.revision.filter(|_| reading.refusal.is_none());
    Ok(reading)
}

fn has_ttl(lease: &Lease, ttl: Duration) -> bool {
    if mutated!(LeaseWithOtherTtlKept) {
        return true;
    }
    lease.ttl == ttl
}

/// The lease that the inserter needs.
#[derive(Clone, Copy)]
pub(super) struct LeaseRequest {
    keep_alive_mode: KeepAliveMode,
    namespace: LeaseNamespace,
    ttl: Duration,
    current: Option<LeaseId>,
}

impl LeaseRequest {
    /// Keeps the current lease alive. If it is unknown or lost, or if `search` is set, finds or
    /// requests a lease.
    pub async fn ensure_lease<R: RecordStore>(
        self,
        store: &R,
        search: bool,
    ) -> Result<LeaseOutcome, StoreError> {
        if self.keep_alive_mode == KeepAliveMode::PerRecord {
            return Ok(LeaseOutcome::NotUsed);
        }
        let sent_at = Instant::now();
        let is_kept = match self.current {
            Some(current) => store.keep_alive(current).await? != KeptAlive::Lost,
            None => false,
        };
        if is_kept && !search {
            return Ok(LeaseOutcome::Kept { sent_at });
        }
        let lost = self.current.filter(|_| !is_kept);
        Ok(LeaseOutcome::Acquired(self.acquire(store, lost).await?))
    }

    /// Finds the leases of the namespace, requests one with this TTL if there is none, and reads
    /// all records on them.
    async fn acquire<R: RecordStore>(
        self,
        store: &R,
        lost: Option<LeaseId>,
    ) -> Result<AcquiredLease, StoreError> {
        let Self { namespace, ttl, .. } = self;
        let leases = store.find_leases(namespace).await?;
        let current = match leases.iter().find(|lease| has_ttl(lease, ttl)) {
            Some(lease) => lease.id,
            None => grant_free(store, namespace, &leases, ttl).await?,
        };
        let sent_at = Instant::now();
        if store.keep_alive(current).await? == KeptAlive::Lost {
            let ended =
                format!("lease {current} expired while it was acquired; requesting another");
            return Err(StoreError::new(StoreErrorKind::Unavailable, ended));
        }
        let ids = leases.iter().map(|lease| lease.id);
        let older: Vec<_> = ids.filter(|id| *id != current).collect();
        let reading = read_leases(store, &[&[current], older.as_slice()].concat()).await?;
        Ok(AcquiredLease { lost, current, older, sent_at, reading })
    }
}

/// Requests a lease with the first number that no existing lease has.
async fn grant_free<R: RecordStore>(
    store: &R,
    namespace: LeaseNamespace,
    leases: &[Lease],
    ttl: Duration,
) -> Result<LeaseId, StoreError> {
    let is_taken = |id: &LeaseId| leases.iter().any(|lease| lease.id == *id);
    let free = namespace.ids().find(|id| !is_taken(id));
    let id = free.unwrap_or_else(|| namespace.lease(u8::MAX));
    // A lease that exists already belongs to a daemon with the same identity and settings.
    store.grant(id, ttl).await?;
    Ok(id)
}

impl<R: RecordStore> EtcdInserter<R> {
    /// Returns the lease that the records need now.
    pub(super) fn lease_request(&self) -> LeaseRequest {
        LeaseRequest {
            keep_alive_mode: self.policy.keep_alive_mode,
            namespace: self.lease_manager.namespace,
            ttl: self.policy.ttl,
            current: self.lease_manager.current,
        }
    }

    pub(super) fn handle_lease_outcome(&mut self, outcome: LeaseOutcome) {
        self.lease_manager.next_keep_alive = Instant::now() + self.keep_alive_interval();
        match outcome {
            LeaseOutcome::NotUsed => {}
            LeaseOutcome::Kept { sent_at } => self.extend_lease(sent_at),
            LeaseOutcome::Acquired(acquired) => {
                self.extend_lease(acquired.sent_at);
                self.adopt_lease(acquired);
            }
        }
    }

    fn adopt_lease(&mut self, acquired: AcquiredLease) {
        let now = Instant::now();
        let AcquiredLease { lost, current, older, reading, .. } = acquired;
        let LeaseReading { records, revision, refusal } = reading;
        if let Some(error) = refusal {
            warn!(self.log, "cannot read the records on a lease; \
                records of ended containers expire only with it"; "error" => %error);
        }
        if let Some(lost) = lost {
            warn!(self.log, "lease lost; republishing all records"; "lease" => %lost);
            self.reconciler.lose_lease(lost, now);
        }
        notice!(self.log, "lease acquired"; "lease" => %current,
            "ttl_seconds" => self.policy.ttl.as_secs(), "found_on_it" => records.len(),
            "older_leases" => older.len());
        let found_any = !records.is_empty();
        self.reconciler.note_lease_reading(revision, records.iter().map(|(key, _)| key.clone()));
        self.reconciler.adopt_leases(current, older.clone(), records, now);
        (self.lease_manager.current, self.lease_manager.older) = (Some(current), older);
        if found_any {
            (self.request_listing)();
        }
    }

    /// Sets the expiry of the current lease after a keep-alive. The store restarted the TTL after
    /// `sent_at`, at an unknown time.
    fn extend_lease(&mut self, sent_at: Instant) {
        let expires_at = sent_at + self.policy.ttl;
        self.lease_manager.expires_at = Some(expires_at);
        self.reconciler.set_lease_expiry(expires_at);
        self.recorder.record_store_write();
    }

    /// Returns the time until the current lease expires if no further keep-alive succeeds.
    pub(super) fn lease_remaining(&self, now: Instant) -> Option<Duration> {
        let expires_at =
            self.lease_manager.expires_at.filter(|_| self.lease_manager.has_current())?;
        Some(expires_at.saturating_duration_since(now))
    }

    fn keep_alive_interval(&self) -> Duration {
        self.policy.refresh_interval().mul_f64(0.9 + fastrand::f64() * 0.05)
    }

    /// Returns the time of the next keep-alive, or `None` while a request for a lease is in flight.
    pub(super) fn next_keep_alive(&self) -> Option<Instant> {
        (self.policy.keep_alive_mode == KeepAliveMode::Lease && !self.lease_manager.busy)
            .then_some(self.lease_manager.next_keep_alive)
    }

    /// Sends the keep-alives that are due. Otherwise, revokes an older lease without records.
    pub(super) fn maintain_lease(&mut self, now: Instant, context: &mut MeteredContext<Self>) {
        if self.policy.keep_alive_mode == KeepAliveMode::PerRecord || self.lease_manager.busy {
            return;
        }
        if now >= self.lease_manager.next_keep_alive {
            self.send_keep_alives(context);
        } else if let Some(unused) = self.reconciler.unused_lease() {
            self.revoke_lease(unused, context);
        }
    }

    fn send_keep_alives(&mut self, context: &mut MeteredContext<Self>) {
        self.lease_manager.busy = true;
        let (store, leases) = (Rc::clone(&self.store), self.lease_manager.leases());
        let sent_at = Instant::now();
        let keeping = async move {
            let mut kept = Vec::new();
            for id in leases {
                kept.push((id, store.keep_alive(id).await?));
            }
            Ok(kept)
        };
        context.spawn(keeping.into_actor(self).map(
            move |kept: Result<Vec<_>, StoreError>, inserter, context| {
                inserter.lease_manager.busy = false;
                inserter.lease_manager.next_keep_alive =
                    Instant::now() + inserter.keep_alive_interval();
                match kept {
                    Ok(kept) => inserter.handle_keep_alives(kept, sent_at),
                    Err(error) => inserter.open_circuit(&error),
                }
                inserter.process_due(context);
            },
        ));
    }

    fn handle_keep_alives(&mut self, kept: Vec<(LeaseId, KeptAlive)>, sent_at: Instant) {
        let now = Instant::now();
        info!(self.log, "leases kept alive"; "leases" => kept.len());
        self.reconciler.mark_refreshed();
        for (id, kept) in kept {
            if kept != KeptAlive::Lost {
                if self.lease_manager.current == Some(id) {
                    self.extend_lease(sent_at);
                }
                continue;
            }
            if self.lease_manager.current == Some(id) {
                self.lose_lease(now);
            } else {
                self.lease_manager.older.retain(|older| *older != id);
                self.reconciler.lose_lease(id, now);
            }
        }
    }

    /// Handles the loss of the current lease. The next probe acquires another, and all records are
    /// written again.
    pub(super) fn lose_lease(&mut self, now: Instant) {
        let Some(lost) = self.lease_manager.current.take() else { return };
        warn!(self.log, "lease lost; republishing all records"; "lease" => %lost);
        self.reconciler.lose_lease(lost, now);
        self.circuit_breaker.request_probe(now);
    }

    /// Revokes an older lease if the store has no record on it. A daemon with the same identity
    /// may still use the lease.
    fn revoke_lease(&mut self, unused: LeaseId, context: &mut MeteredContext<Self>) {
        self.lease_manager.busy = true;
        let store = Rc::clone(&self.store);
        let ending = async move {
            let found = store.leased(unused).await?.records;
            if found.is_empty() {
                store.revoke(unused).await?;
            }
            Ok(found)
        };
        context.spawn(ending.into_actor(self).map(
            move |found: Result<Vec<_>, StoreError>, inserter, context| {
                inserter.lease_manager.busy = false;
                match found {
                    Ok(found) if found.is_empty() => {
                        notice!(inserter.log, "old lease revoked"; "lease" => %unused);
                        inserter.lease_manager.older.retain(|older| *older != unused);
                        inserter.reconciler.forget_lease(unused);
                    }
                    Ok(found) => inserter.handle_records_on_older_lease(found),
                    Err(error) if error.kind.is_outage() => inserter.open_circuit(&error),
                    Err(error) => {
                        warn!(inserter.log, "cannot revoke old lease; it expires with its TTL";
                            "lease" => %unused, "error" => %error);
                        inserter.lease_manager.older.retain(|older| *older != unused);
                        inserter.reconciler.forget_lease(unused);
                    }
                }
                inserter.process_due(context);
            },
        ));
    }

    fn handle_records_on_older_lease(&mut self, found: Vec<(RecordKey, StoredRecord)>) {
        let Some(current) = self.lease_manager.current else { return };
        let older = self.lease_manager.older.clone();
        self.reconciler.adopt_leases(current, older, found, Instant::now());
        (self.request_listing)();
    }
}
