//! The trait through which the core publishes records.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use crate::record::RecordKey;

/// Where records are kept: etcd, or a test's model of one.
///
/// Every call is one try with a time-out of its own; trying again, ordering and
/// what a failure means for a record are the core's business. All writes compare
/// and swap: none may change what its guard doesn't allow, not even in a race.
pub trait RecordStore: 'static {
    /// Carries out writes, each on a key of its own, in any order, several at a
    /// time. Answers one outcome a write, in the order of the writes.
    fn write(&self, writes: Vec<Write>) -> impl Future<Output = Vec<Result<Written, StoreError>>>;

    /// What the store holds at each of these keys, by reads that are not stale
    /// (etcd: quorum reads), in as few requests as the store can do it in.
    /// Answers in the order of the keys.
    fn read(
        &self,
        keys: Vec<RecordKey>,
    ) -> impl Future<Output = Vec<Result<Option<Found>, StoreError>>>;

    /// Asks whether the store can take writes now, without writing.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>>;
}

/// What must be so at a key for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing is there.
    Absent,
    /// This value is there; and, where a version is given, it is the one that
    /// was read.
    Holds {
        /// The value, to the letter.
        value: String,
        /// The version that the store gave with it.
        version: Option<u64>,
    },
}

/// A write to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Put a value that lives for `ttl`.
    Put {
        /// Where.
        key: RecordKey,
        /// What, as JSON.
        value: String,
        /// Whole seconds.
        ttl: Duration,
        /// On what condition.
        guard: Guard,
    },
    /// Let the value live for another `ttl`, where it is still `value`.
    Refresh {
        /// Where.
        key: RecordKey,
        /// What is there, as far as we know.
        value: String,
        /// Whole seconds.
        ttl: Duration,
    },
    /// Take the value away, where it is still `value`.
    Delete {
        /// Where.
        key: RecordKey,
        /// What is there, as far as we know.
        value: String,
    },
}

impl Write {
    /// The key that this writes to.
    pub fn key(&self) -> &RecordKey {
        match self {
            Self::Put { key, .. } | Self::Refresh { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

/// What came of a write that the store answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was carried out.
    Done,
    /// The guard did not hold: something else is there (for [`Guard::Absent`]:
    /// anything). Nothing was changed.
    Conflict,
    /// Nothing is there, where something was to be. Nothing was changed.
    Missing,
}

/// What a read found at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value, to the letter.
    pub value: String,
    /// The store's version of it (etcd v2: `modifiedIndex`; v3: `mod_revision`).
    pub version: u64,
    /// How long it lives on unless it is refreshed; `None`: for ever, a static
    /// entry.
    pub ttl: Option<Duration>,
}

/// Why the store did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Nothing was done, and it may go better later: connection refused, no
    /// such host, not sent because an earlier failure stopped the batch.
    Unavailable,
    /// Not known whether it was done: time-out, connection lost, an error of the
    /// server's own (5xx), an answer that broke off.
    Unknown,
    /// What answers is no etcd of the expected kind (HTML, no v2 keys API …).
    /// For a write, not known whether it was done.
    Malformed,
    /// The store says no to this request, and will again: no permission, a value
    /// that it won't take. Nothing was done. Says nothing of other keys.
    Refused,
    /// The key can't be: another name stands above or below it (etcd v2: a file
    /// where a directory stands, or the other way round). Nothing was done. Says
    /// nothing of other keys.
    Blocked,
}

impl StoreErrorKind {
    /// The kind's name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Unknown => "unknown",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::Blocked => "blocked",
        }
    }

    /// Whether it tells of the store as a whole, not of the one key: nothing
    /// else is worth sending before a probe was answered.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Unavailable | Self::Unknown | Self::Malformed)
    }

    /// Whether a write that failed so may have been carried out, now or later.
    pub fn leaves_doubt(self) -> bool {
        matches!(self, Self::Unknown | Self::Malformed)
    }
}

/// A request to the store that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What sort of failure.
    pub kind: StoreErrorKind,
    /// One line: what was being done, to what, what came of it, what to try.
    /// Never a password.
    pub message: String,
}

impl StoreError {
    /// Makes an error of this kind.
    pub fn new(kind: StoreErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }
}
