//! The trait through which the core publishes records.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;

use crate::model::record::RecordKey;
use crate::model::stable_hash::fnv1a;

/// A stream of what others, and we, change in the store.
pub type ChangeStream = Pin<Box<dyn Stream<Item = Result<Change, StoreError>>>>;

/// Where records are kept: etcd, or a test's model of one.
///
/// Every call is one try with a time-out of its own; trying again, ordering, the life
/// of the lease and what a failure means for a record are the core's business. All
/// writes compare and swap: none may change what its guard doesn't allow, not even in
/// a race.
pub trait RecordStore: 'static {
    /// How records are kept alive here. Always the same for one store.
    fn keep_alive_mode(&self) -> KeepAliveMode;

    /// Carries out writes, each on a key of its own, in any order, several at a
    /// time. Answers one outcome a write, in the order of the writes.
    fn write(
        &self,
        writes: Vec<Write>,
    ) -> impl Future<Output = Vec<Result<WriteOutcome, StoreError>>>;

    /// What the store holds at each of these keys, by reads that are not stale
    /// (etcd: quorum reads), in as few requests as the store can do it in.
    /// Answers in the order of the keys.
    fn read(
        &self,
        keys: Vec<RecordKey>,
    ) -> impl Future<Output = Vec<Result<Option<StoredRecord>, StoreError>>>;

    /// Asks whether the store can take writes now, without writing.
    fn probe(&self) -> impl Future<Output = Result<(), StoreError>>;

    /// Follows all changes in the domain from now on. The stream ends, or fails, as
    /// soon as the store is known to be away; it may lack changes only after that.
    fn watch(&self) -> impl Future<Output = Result<ChangeStream, StoreError>>;

    /// The leases of this family that exist ([`KeepAliveMode::Lease`] only).
    fn leases(
        &self,
        namespace: LeaseNamespace,
    ) -> impl Future<Output = Result<Vec<Lease>, StoreError>>;

    /// Asks for a lease of this id; whole seconds ([`KeepAliveMode::Lease`] only).
    fn grant(
        &self,
        id: LeaseId,
        ttl: Duration,
    ) -> impl Future<Output = Result<GrantOutcome, StoreError>>;

    /// Lets a lease, and with it all that hangs on it, live for another TTL
    /// ([`KeepAliveMode::Lease`] only).
    fn keep_alive(&self, id: LeaseId) -> impl Future<Output = Result<KeptAlive, StoreError>>;

    /// Ends a lease, and with it all that hangs on it ([`KeepAliveMode::Lease`] only).
    fn revoke(&self, id: LeaseId) -> impl Future<Output = Result<(), StoreError>>;

    /// All keys below the domain's directory that hang on a lease, with what they hold
    /// ([`KeepAliveMode::Lease`] only).
    fn leased(
        &self,
        id: LeaseId,
    ) -> impl Future<Output = Result<Vec<(RecordKey, StoredRecord)>, StoreError>>;
}

/// How a store's records are kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAliveMode {
    /// Each has a TTL of its own, and is refreshed by itself (etcd v2).
    PerRecord,
    /// All hang on one lease (etcd v3).
    Lease,
}

/// What the leases of one publisher have in common: the upper 55 bits of their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseNamespace(u64);

impl LeaseNamespace {
    /// Of what identifies a publisher (SPEC 5). The same parts in the same order give the
    /// same family for ever: a restart finds its records by it.
    pub fn from_parts(parts: &[&str]) -> Self {
        let mut identity = String::new();
        for part in parts {
            // With its length, so that no two lists of parts read the same.
            identity += &format!("{}:{part},", part.len());
        }
        let hash = fnv1a(identity.as_bytes());
        // The upper bits take part too.
        Self::from_hash(hash ^ hash >> 55)
    }

    /// Of a hash, of which 55 bits count.
    pub fn from_hash(hash: u64) -> Self {
        // Never 0: the family's lease number 0 would be 0, which is no lease.
        Self((hash & ((1 << 55) - 1)).max(1))
    }

    /// The family's lease of this number.
    pub fn lease(self, number: u8) -> LeaseId {
        // 63 bits at most.
        LeaseId((self.0 << 8 | u64::from(number)).cast_signed())
    }

    /// Whether a lease is of this family.
    pub fn contains(self, id: LeaseId) -> bool {
        id.0 > 0 && id.0.cast_unsigned() >> 8 == self.0
    }
}

/// The id of a lease (etcd v3: positive 64-bit integers; 0 is none).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// The number within its family.
    pub fn number(self) -> u8 {
        self.0.to_be_bytes()[7]
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As etcdctl shows it.
        write!(f, "{:016x}", self.0)
    }
}

/// A lease that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which.
    pub id: LeaseId,
    /// What it was granted for.
    pub ttl: Duration,
}

/// What came of asking for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantOutcome {
    /// It is there now.
    Fresh,
    /// It was there already.
    Existed,
}

/// What came of a keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptAlive {
    /// The lease lives on, for so long.
    For(Duration),
    /// There is no such lease (any more).
    Lost,
}

/// A change that the store tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub key: RecordKey,
    /// What is there now; `None`: nothing.
    pub now: Option<StoredRecord>,
}

/// What must be so at a key for a write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing is there; and where the store could hold both, no key above or below
    /// it (SPEC 4: one would hide the other).
    Absent,
    /// This is there.
    Equals(ExpectedValue),
}

/// What is expected at a key, to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedValue {
    /// The value.
    pub value: String,
    /// The lease that it hangs on ([`KeepAliveMode::Lease`] only).
    pub lease: Option<LeaseId>,
    /// The version that the store gave with it, where it must be that very one.
    pub version: Option<u64>,
}

/// A write to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Put a value that lives for `ttl`, or as long as `lease`.
    Put {
        /// Where.
        key: RecordKey,
        /// What, as JSON.
        value: String,
        /// Whole seconds ([`KeepAliveMode::PerRecord`]).
        ttl: Duration,
        /// What it hangs on ([`KeepAliveMode::Lease`]).
        lease: Option<LeaseId>,
        /// On what condition.
        precondition: Precondition,
    },
    /// Let the value live for another `ttl`, where it is still `value`
    /// ([`KeepAliveMode::PerRecord`] only).
    Refresh {
        /// Where.
        key: RecordKey,
        /// What is there, as far as we know.
        value: String,
        /// Whole seconds.
        ttl: Duration,
    },
    /// Take the value away, where it is still as expected.
    Delete {
        /// Where.
        key: RecordKey,
        /// What is there, as far as we know.
        expected: ExpectedValue,
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
pub enum WriteOutcome {
    /// It was carried out.
    Done,
    /// The guard did not hold: something else is there (for [`Precondition::Absent`]:
    /// anything). Nothing was changed.
    Conflict,
    /// Nothing is there, where something was to be. Nothing was changed.
    Missing,
}

/// What a read found at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The value, to the letter.
    pub value: String,
    /// The store's version of it (etcd v2: `modifiedIndex`; v3: `mod_revision`).
    pub version: u64,
    /// What ends it.
    pub expiry: Expiry,
}

/// What a value's life hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing: a static entry.
    Never,
    /// Its own TTL, of which so much is left (etcd v2).
    Ttl(Duration),
    /// A lease (etcd v3).
    Lease(LeaseId),
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
    /// The lease that the write hangs on does not exist (any more). Nothing was done.
    LeaseLost,
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
            Self::LeaseLost => "lost lease",
        }
    }

    /// Whether it tells of the store as a whole, not of the one key: nothing
    /// else is worth sending before a probe was answered.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Unavailable | Self::Unknown | Self::Malformed)
    }

    /// Whether a write that failed so may have been carried out, now or later.
    pub fn is_uncertain(self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_ids_are_positive_and_in_their_namespace() {
        for hash in [0, 1, 0xff, u64::MAX] {
            let namespace = LeaseNamespace::from_hash(hash);
            for number in [0, 1, u8::MAX] {
                let id = namespace.lease(number);
                assert!(id.0 > 0, "{id}");
                assert!(namespace.contains(id));
                assert_eq!(id.number(), number);
                assert!(!LeaseNamespace::from_hash(42).contains(id));
            }
        }
        assert!(!LeaseNamespace::from_hash(1).contains(LeaseId(-1)));
        assert!(!LeaseNamespace::from_hash(1).contains(LeaseId(0)));
    }

    /// Another result would orphan every record in the field at the next upgrade.
    #[test]
    fn namespace_of_a_publisher_is_stable() {
        let parts =
            ["node1", "skydns.local", "skydns", "10.77.66.0", "ABCD:EFGH", "/var/lib/docker"];
        assert_eq!(LeaseNamespace::from_parts(&parts).lease(0).to_string(), "3dc4ad425e21c700");
        assert_ne!(
            LeaseNamespace::from_parts(&["ab", "c"]),
            LeaseNamespace::from_parts(&["a", "bc"])
        );
    }
}
