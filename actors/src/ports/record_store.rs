//! [`RecordStore`]: the trait through which the core publishes records.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;

use crate::model::record::RecordKey;
use crate::model::stable_hash::fnv1a;

/// A stream of all changes in the store, including those by HighHock.
pub type ChangeStream = Pin<Box<dyn Stream<Item = Result<Change, StoreError>>>>;

/// A store of records: etcd, the store of the standalone mode, or the model of one in a test.
///
/// Every method makes one attempt, with a time-out of its own. The core decides about retries,
/// order, leases, and the effect of a failure on a record. Every write is a compare-and-swap: it
/// changes nothing if its precondition does not hold, even in a race.
pub trait RecordStore: 'static {
    /// Returns the store's way to keep records alive. It never changes.
    fn keep_alive_mode(&self) -> KeepAliveMode;

    /// Carries out writes, each to a key of its own, in any order and concurrently. Returns one
    /// outcome per write, in the order of the writes.
    fn write(
        &self,
        writes: Vec<Write>,
    ) -> impl Future<Output = Vec<Result<WriteOutcome, StoreError>>>;

    /// Reads these keys. The reads are linearizable (etcd: quorum reads), and use as few requests
    /// as possible. Returns one result per key, in the order of the keys.
    fn read(
        &self,
        keys: Vec<RecordKey>,
    ) -> impl Future<Output = Vec<Result<Option<StoredRecord>, StoreError>>>;

    /// Checks that the store accepts writes now, without a write. Returns the store's revision,
    /// read with a quorum: the number of its latest change. The revision decreases only if the
    /// store went back in time, for example because it was restored from a snapshot. Returns
    /// `None` if the response does not contain the revision, because a proxy removed it.
    fn probe(&self) -> impl Future<Output = Result<Option<u64>, StoreError>>;

    /// Follows all changes below the domain. The stream ends or fails as soon as the store is
    /// known to be unreachable. Until then it lacks no change.
    fn watch(&self) -> impl Future<Output = Result<ChangeStream, StoreError>>;

    /// Finds the existing leases of this namespace by their ids ([`KeepAliveMode::Lease`] only).
    /// The leases of other publishers are never listed, because a client may not be permitted to
    /// see them.
    fn find_leases(
        &self,
        namespace: LeaseNamespace,
    ) -> impl Future<Output = Result<Vec<Lease>, StoreError>>;

    /// Requests a lease with this id. `ttl` is in whole seconds ([`KeepAliveMode::Lease`] only).
    fn grant(
        &self,
        id: LeaseId,
        ttl: Duration,
    ) -> impl Future<Output = Result<GrantOutcome, StoreError>>;

    /// Extends a lease, and thereby the records on it, by its TTL ([`KeepAliveMode::Lease`]
    /// only).
    fn keep_alive(&self, id: LeaseId) -> impl Future<Output = Result<KeptAlive, StoreError>>;

    /// Revokes a lease and deletes the records on it ([`KeepAliveMode::Lease`] only).
    fn revoke(&self, id: LeaseId) -> impl Future<Output = Result<(), StoreError>>;

    /// Reads all records of the domain that are attached to a lease ([`KeepAliveMode::Lease`]
    /// only). Fails with [`StoreErrorKind::Refused`] if the client may not read all of them.
    fn leased(&self, id: LeaseId) -> impl Future<Output = Result<LeasedRecords, StoreError>>;
}

/// A store's way to keep records alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAliveMode {
    /// Every record has a TTL and is refreshed by a request of its own (etcd v2).
    PerRecord,
    /// All records are attached to one lease (etcd v3).
    Lease,
}

/// The ids of one publisher's leases: they share their upper 55 bits (ARCHITECTURE.md,
/// "Leases").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseNamespace(u64);

impl LeaseNamespace {
    /// Creates the namespace of a publisher with this identity. The same parts in the same order
    /// return the same namespace in every version, because a restarted daemon finds its records
    /// by it.
    pub fn from_parts(parts: &[&str]) -> Self {
        let mut identity = String::new();
        for part in parts {
            // The length of each part keeps different lists of parts distinct.
            identity += &format!("{}:{part},", part.len());
        }
        let hash = fnv1a(identity.as_bytes());
        // The upper 9 bits of the hash contribute too.
        Self::from_hash(hash ^ hash >> 55)
    }

    /// Creates a namespace from the lower 55 bits of a hash.
    pub fn from_hash(hash: u64) -> Self {
        // Never 0: lease number 0 of namespace 0 would have the id 0, which etcd reserves.
        Self((hash & ((1 << 55) - 1)).max(1))
    }

    /// Returns the id of a lease of this namespace.
    pub fn lease(self, number: u8) -> LeaseId {
        // At most 63 bits, so the id is positive.
        LeaseId((self.0 << 8 | u64::from(number)).cast_signed())
    }

    /// Returns the ids of all leases that this namespace can have.
    pub fn ids(self) -> impl Iterator<Item = LeaseId> {
        (0..=u8::MAX).map(move |number| self.lease(number))
    }

    /// Returns `true` if a lease belongs to this namespace.
    pub fn contains(self, id: LeaseId) -> bool {
        id.0 > 0 && id.0.cast_unsigned() >> 8 == self.0
    }
}

/// The id of a lease. In etcd v3 an id is a positive 64-bit integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// Returns the lease's number within its namespace.
    pub fn number(self) -> u8 {
        self.0.to_be_bytes()[7]
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The format of etcdctl.
        write!(f, "{:016x}", self.0)
    }
}

/// An existing lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The id.
    pub id: LeaseId,
    /// The TTL with which the lease was granted.
    pub ttl: Duration,
}

/// The records that are attached to a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeasedRecords {
    /// A revision of the store at which the records were complete, or an earlier one.
    pub revision: u64,
    /// The records with their keys.
    pub records: Vec<(RecordKey, StoredRecord)>,
}

/// The outcome of a request for a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantOutcome {
    /// The lease was created.
    Fresh,
    /// A lease with this id existed already.
    Existed,
}

/// The outcome of a keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptAlive {
    /// The lease was extended, and has this remaining lifetime.
    For(Duration),
    /// The lease does not exist.
    Lost,
}

/// A change that the store reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key that changed.
    pub key: RecordKey,
    /// The record at the key after the change, or `None` after a deletion.
    pub now: Option<StoredRecord>,
}

/// The condition at a key under which a write is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The key does not exist, and no key above or below it. A store that could hold both must
    /// check this, because one of them would hide the other in DNS (config/README.md, "Nested
    /// names").
    Absent,
    /// The key has this value.
    Equals(ExpectedValue),
}

/// The exact content that is expected at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedValue {
    /// The value.
    pub value: String,
    /// The lease that the record is attached to ([`KeepAliveMode::Lease`] only).
    pub lease: Option<LeaseId>,
    /// The store's version of the record, if it must match too.
    pub version: Option<u64>,
}

/// A write to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Writes a value that expires with `ttl` or with `lease`.
    Put {
        /// The key.
        key: RecordKey,
        /// The value, as JSON.
        value: String,
        /// The TTL in whole seconds ([`KeepAliveMode::PerRecord`] only).
        ttl: Duration,
        /// The lease to attach the record to ([`KeepAliveMode::Lease`] only).
        lease: Option<LeaseId>,
        /// The precondition of the write.
        precondition: Precondition,
    },
    /// Extends the record by `ttl` if its value is still `value` ([`KeepAliveMode::PerRecord`]
    /// only).
    Refresh {
        /// The key.
        key: RecordKey,
        /// The expected value.
        value: String,
        /// The TTL in whole seconds.
        ttl: Duration,
    },
    /// Deletes the record if it is still as expected.
    Delete {
        /// The key.
        key: RecordKey,
        /// The expected content.
        expected: ExpectedValue,
    },
}

impl Write {
    /// Returns the key of the write.
    pub fn key(&self) -> &RecordKey {
        match self {
            Self::Put { key, .. } | Self::Refresh { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

/// The outcome of a write to which the store replied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The write was applied.
    Done,
    /// The precondition did not hold: the key has another value, or any value for
    /// [`Precondition::Absent`]. Nothing was changed.
    Conflict,
    /// The precondition did not hold: the key does not exist. Nothing was changed.
    Missing,
}

/// A record as it was read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The value, unchanged.
    pub value: String,
    /// The store's version of the record (etcd v2: `modifiedIndex`, v3: `mod_revision`).
    pub version: u64,
    /// The expiry of the record.
    pub expiry: Expiry,
}

/// The expiry of a record in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The record is static and never expires.
    Never,
    /// The remaining part of the record's TTL (etcd v2).
    Ttl(Duration),
    /// The record expires with this lease (etcd v3).
    Lease(LeaseId),
}

/// The kind of a failed request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The request was not applied, and a retry may succeed: connection refused, no such host, or
    /// not sent because an earlier failure stopped the batch.
    Unavailable,
    /// The request may have been applied: time-out, connection lost, an internal error of the
    /// server (5xx), or an incomplete response.
    Unknown,
    /// The response is not that of the expected etcd API, for example HTML. A write may have been
    /// applied.
    Malformed,
    /// The store rejects this request permanently: no permission, or an invalid value. The
    /// request was not applied. Requests for other keys may succeed.
    Refused,
    /// A name above or below the key blocks it (etcd v2: a file in place of a directory, or the
    /// reverse). The request was not applied. Requests for other keys may succeed.
    Blocked,
    /// The lease of the write does not exist. The request was not applied.
    LeaseLost,
}

impl StoreErrorKind {
    /// Returns the kind's name in logs and metrics.
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

    /// Returns `true` if the failure concerns the store as a whole rather than one key. No other
    /// request is sent until a probe succeeds.
    pub fn is_outage(self) -> bool {
        matches!(self, Self::Unavailable | Self::Unknown | Self::Malformed)
    }

    /// Returns `true` if a write that failed this way may be applied, now or later.
    pub fn is_uncertain(self) -> bool {
        matches!(self, Self::Unknown | Self::Malformed)
    }
}

/// A failed request to the store.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// The kind of failure.
    pub kind: StoreErrorKind,
    /// One line: the request, its key, its failure, and a remedy. It never contains a password.
    pub message: String,
}

impl StoreError {
    /// Creates an error.
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
        let namespace = LeaseNamespace::from_hash(7);
        let ids = namespace.ids().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(ids.len(), 256);
        assert!(ids.into_iter().all(|id| namespace.contains(id)));
        assert!(!LeaseNamespace::from_hash(1).contains(LeaseId(-1)));
        assert!(!LeaseNamespace::from_hash(1).contains(LeaseId(0)));
    }

    /// A different result would orphan the records of all running daemons at the next upgrade.
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
