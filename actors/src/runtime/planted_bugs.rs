//! Deliberate bugs, each a mistake that a programmer could make: for the test that shows
//! that the simulation finds them. One at most is planted in a thread at a time.

use std::cell::Cell;

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A listing that failed is read as one of no containers.
    ListErrorReadAsEmpty,
    /// A listing is believed of what was inspected after it was asked for.
    StaleListingBelieved,
    /// A listing that would withdraw most records is believed at once.
    MostGoneBelieved,
    /// Another engine is believed at once.
    StrangerBelieved,
    /// An event that tells of an end is never looked into.
    EndTrusted,
    /// A container that outlives its stop signal never comes back.
    DrainForEver,
    /// A stop signal of an earlier run counts for this one.
    OldSignalCounts,
    /// A container that shares a network by way of a third is not looked at.
    ChainNotFollowed,
    /// A watcher that panicked is not replaced.
    WatcherNotRespawned,
    /// A rebuilt inserter is not told again what is wanted.
    InserterNotToldAgain,
    /// A paused container is published.
    PausedPublished,
    /// An unhealthy container is published.
    HealthForgotten,
    /// What a container wanted that is on no roster any more stays.
    RosterIgnored,
    /// Records of an earlier life are withdrawn before all containers have told.
    OrphansLetGoEarly,
    /// Records of an earlier life that nobody wants are kept.
    OrphansKept,
    /// A write whose outcome is unknown is taken for done, and not read again.
    LateWriteNotReadAgain,
    /// Of the refreshes that are due, some are taken for done and never sent.
    RefreshForgetsABatch,
    /// Refreshes come after the TTL.
    RefreshTooLate,
    /// A record of another host is taken for ours.
    AnothersTakenForOurs,
    /// A record without a TTL or lease is taken for ours.
    StaticTakenForOurs,
    /// Of two containers with one name, the one that started later holds it.
    LaterStartedHolds,
    /// A lease with another TTL is taken for the current one.
    LeaseOfAnotherTtlKept,
    /// The wait after failures grows without its cap.
    BackoffWithoutCap,
    /// An audit compares, and mends nothing.
    AuditMendsNothing,
    /// A blocked key is never tried again.
    TookForeverToSettle,
}

impl Mutation {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::ListErrorReadAsEmpty,
        Self::StaleListingBelieved,
        Self::MostGoneBelieved,
        Self::StrangerBelieved,
        Self::EndTrusted,
        Self::DrainForEver,
        Self::OldSignalCounts,
        Self::ChainNotFollowed,
        Self::WatcherNotRespawned,
        Self::InserterNotToldAgain,
        Self::PausedPublished,
        Self::HealthForgotten,
        Self::RosterIgnored,
        Self::OrphansLetGoEarly,
        Self::OrphansKept,
        Self::LateWriteNotReadAgain,
        Self::RefreshForgetsABatch,
        Self::RefreshTooLate,
        Self::AnothersTakenForOurs,
        Self::StaticTakenForOurs,
        Self::LaterStartedHolds,
        Self::LeaseOfAnotherTtlKept,
        Self::BackoffWithoutCap,
        Self::AuditMendsNothing,
        Self::TookForeverToSettle,
    ];
}

thread_local! {
    static PLANTED: Cell<Option<Mutation>> = const { Cell::new(None) };
}

/// Plants a bug in this thread, in place of the one before.
pub fn plant(bug: Option<Mutation>) {
    PLANTED.set(bug);
}

/// Whether this one is planted.
pub(crate) fn is(bug: Mutation) -> bool {
    PLANTED.get() == Some(bug)
}
