//! Deliberate mistakes, with which a test checks that the simulation detects them.
//!
//! Each [`Mutation`] is a mistake that a programmer could make. The macro `mutated!` marks its
//! place in the core. At most one mutation is active in a thread at a time. The module exists
//! only with the feature `mutations`.

use std::cell::Cell;

/// A mistake that can be activated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A failed listing counts as a listing without containers.
    FailedListingReadAsEmpty,
    /// A listing withdraws a container that was inspected after the request of the listing.
    StaleListingApplied,
    /// A row without an id is ignored, so that a container without another row counts as gone.
    UnnamedRowIgnored,
    /// A listing that withdraws most records takes effect without a second listing.
    MassWithdrawalUnconfirmed,
    /// A listing of another engine takes effect without a second listing.
    OtherEngineUnconfirmed,
    /// An event that reports the end of a container is never verified by an inspection.
    EndEventNotVerified,
    /// A container that survives its stop signal is never published again.
    DrainWithoutTimeout,
    /// A stop signal of an earlier run withdraws the current run.
    EarlierStopSignalApplied,
    /// A stop signal is forgotten at the next inspection of its container.
    StopSignalForgotten,
    /// The start event of an unknown container is ignored until the next listing.
    UnknownStartIgnored,
    /// A failed inspection counts as an inspection that did not find the container.
    FailedInspectionReadAsGone,
    /// A container that shares a network through a third container is not refreshed with it.
    NetworkChainNotFollowed,
    /// A watcher that crashed is not restarted.
    WatcherNotRestarted,
    /// A restarted inserter does not receive the desired records again.
    DesiredRecordsNotResent,
    /// A paused container is published.
    PausedContainerPublished,
    /// An unhealthy container is published.
    HealthIgnored,
    /// The holder of a key is decided before every container of the first listing is inspected.
    HolderDecidedFromPartialView,
    /// The records of a container that no longer exists are kept.
    LiveContainersIgnored,
    /// Orphaned records are withdrawn before all containers are inspected.
    OrphansWithdrawnEarly,
    /// Orphaned records are never withdrawn.
    OrphansKept,
    /// An uncertain write counts as applied, and its key is not read.
    UncertainWriteNotRead,
    /// Half of the due refreshes are never sent.
    RefreshSkipsHalfOfBatch,
    /// Records are refreshed after their TTL.
    RefreshAfterTtl,
    /// An uncertain write is forgotten when no container wants its key any more.
    UncertainWriteForgotten,
    /// A write whose precondition failed is treated as if the key were absent.
    ConflictReadAsAbsent,
    /// A record of another host is adopted.
    ForeignRecordAdopted,
    /// A record without a TTL or lease is adopted.
    StaticRecordAdopted,
    /// If two containers want one key, the container that started later holds it.
    LaterContainerHoldsKey,
    /// A lease with another TTL is used as the current lease.
    LeaseWithOtherTtlKept,
    /// A record is not moved from an older lease to the current lease.
    RecordKeptOnOlderLease,
    /// The backoff grows without its limit.
    BackoffWithoutCap,
    /// An audit compares the store, and repairs no difference.
    AuditRepairsNothing,
    /// A write that the store rejected is retried far too late.
    RejectedWriteRetriedTooLate,
}

impl Mutation {
    /// All mutations, in the order of their declaration.
    pub const ALL: &[Self] = &[
        Self::FailedListingReadAsEmpty,
        Self::StaleListingApplied,
        Self::UnnamedRowIgnored,
        Self::MassWithdrawalUnconfirmed,
        Self::OtherEngineUnconfirmed,
        Self::EndEventNotVerified,
        Self::DrainWithoutTimeout,
        Self::EarlierStopSignalApplied,
        Self::StopSignalForgotten,
        Self::UnknownStartIgnored,
        Self::FailedInspectionReadAsGone,
        Self::NetworkChainNotFollowed,
        Self::WatcherNotRestarted,
        Self::DesiredRecordsNotResent,
        Self::PausedContainerPublished,
        Self::HealthIgnored,
        Self::HolderDecidedFromPartialView,
        Self::LiveContainersIgnored,
        Self::OrphansWithdrawnEarly,
        Self::OrphansKept,
        Self::UncertainWriteNotRead,
        Self::RefreshSkipsHalfOfBatch,
        Self::RefreshAfterTtl,
        Self::UncertainWriteForgotten,
        Self::ConflictReadAsAbsent,
        Self::ForeignRecordAdopted,
        Self::StaticRecordAdopted,
        Self::LaterContainerHoldsKey,
        Self::LeaseWithOtherTtlKept,
        Self::RecordKeptOnOlderLease,
        Self::BackoffWithoutCap,
        Self::AuditRepairsNothing,
        Self::RejectedWriteRetriedTooLate,
    ];
}

thread_local! {
    static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) };
}

/// Activates a mutation in this thread and deactivates the previous one. `None` deactivates
/// all.
pub fn activate(mutation: Option<Mutation>) {
    ACTIVE.set(mutation);
}

/// Returns `true` if the mutation is active in this thread. Called by `mutated!`.
pub(crate) fn is_active(mutation: Mutation) -> bool {
    ACTIVE.get() == Some(mutation)
}
