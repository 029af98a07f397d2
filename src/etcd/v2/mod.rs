//! Stores records through the v2 keys API: one request per write, with many in flight.
//!
//! Each record has its own TTL and is refreshed by its own request. The API has no transactions
//! over several keys and no leases. It distinguishes directories from values, so a name and a name
//! below it cannot both have records ("Nested names" in config/README.md).

mod empty_dirs;
mod keys;
mod listing;
mod watch;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    ChangeStream, GrantOutcome, KeepAliveMode, KeptAlive, Lease, LeaseId, LeaseNamespace,
    LeasedRecords, Precondition, RecordKey, RecordStore, StoreError, StoreErrorKind, StoredRecord,
    Write, WriteOutcome,
};
use slog::Logger;

use self::empty_dirs::DirOutcome;
use self::keys::{Comparison, KeyRequest, KeysApi};
use self::listing::{KeyState, Listing};
use self::wire::KeyResponse;
use super::batch;
use super::cluster::{Cluster, ClusterError, try_each_member};
use super::credentials::LoadedCredentials;
use super::http::HttpClient;

/// The maximum number of concurrent requests of a batch. Measured: 32 are nearly six times as fast
/// as single requests, and 128 are hardly faster.
const REQUESTS_IN_FLIGHT_MAX: usize = 32;

/// The maximum number of keys under the root that are read one by one, concurrently. More keys are
/// read by one recursive read, whose cost grows with the content of the root.
const SINGLE_READS_MAX: usize = 8;

/// The cluster and the keys of a store.
#[derive(Clone, Debug)]
pub struct EtcdV2Options {
    /// The cluster. A listing may take five times its time-out.
    pub cluster: Cluster,
    /// The directory of the domain, for example `skydns/local/skydns`. It is listed when many keys
    /// are read.
    pub root: RecordKey,
    /// The first part of every key, for example `skydns`. Empty directories are only removed below
    /// it.
    pub prefix: String,
}

/// A [`RecordStore`] in an etcd cluster, through the v2 keys API.
///
/// It belongs to the thread that created it, because the connections of awc do.
pub struct EtcdV2 {
    keys: Rc<KeysApi>,
    members: usize,
    root: RecordKey,
    prefix: String,
    log: Logger,
}

impl EtcdV2 {
    /// Returns a store in the cluster. No request is sent yet.
    ///
    /// # Errors
    /// Returns an error if the options do not describe a usable cluster.
    pub fn new(options: EtcdV2Options, log: Logger) -> Result<Self, ClusterError> {
        let EtcdV2Options { cluster, root, prefix } = options;
        let http = HttpClient::new(&cluster, log.clone())?;
        let credentials = cluster.credentials.as_ref();
        let credentials = credentials
            .map(|credentials| LoadedCredentials::new(credentials, log.clone()))
            .transpose()?;
        let (keys, members) = (Rc::new(KeysApi::new(http, credentials)), cluster.urls.len());
        Ok(Self { keys, members, root, prefix, log })
    }

    /// Returns `true` if the server has a v2 keys API, even if it rejects the request.
    pub(super) async fn supports_v2(&self) -> Result<bool, StoreError> {
        match self.probe().await {
            Ok(_) => Ok(true),
            Err(error) => match error.kind {
                StoreErrorKind::Unavailable | StoreErrorKind::Unknown => Err(error),
                StoreErrorKind::Malformed => Ok(false),
                // An etcd with the v2 API rejects requests like this.
                _ => Ok(true),
            },
        }
    }

    /// Checks that this client may write the records of the domain. Writes nothing.
    ///
    /// # Errors
    /// Returns an error if a permission is missing, or if etcd does not answer.
    pub async fn check_permissions(&self) -> Result<(), StoreError> {
        // No record has this key, because `*` is not a valid name.
        let key = format!("{}/*", self.root);
        let key_request =
            KeyRequest { action: "checking the permission to write a record at", key: &key };
        let comparison = Comparison { value: "none", version: None };
        self.keys.swap(key_request, comparison, "", 1).await.map(|_| ())
    }

    async fn write_one(&self, write: &Write) -> Result<WriteOutcome, StoreError> {
        let key_request = request_for(write);
        match self.send_write(write).await? {
            KeyResponse::Done(_) => Ok(WriteOutcome::Done),
            KeyResponse::Missing { .. } => Ok(WriteOutcome::Missing),
            KeyResponse::CompareFailed => Ok(WriteOutcome::Conflict),
            // The value to delete does not exist if its key is a directory or below a value.
            KeyResponse::IsDirectory | KeyResponse::BelowValue { .. } if is_delete(write) => {
                Ok(WriteOutcome::Missing)
            }
            KeyResponse::BelowValue { value_key } => {
                Err(self.blocked_error(key_request, &KeyState::BelowValue { value_key }))
            }
            KeyResponse::Exists | KeyResponse::IsDirectory => {
                self.write_over_directory(write).await
            }
            other @ KeyResponse::NotEmpty => {
                Err(self.keys.unexpected_response(key_request, &other))
            }
        }
    }

    /// Handles a write to a key with a value or a directory. An empty directory counts as absent,
    /// and is removed before the write is repeated.
    async fn write_over_directory(&self, write: &Write) -> Result<WriteOutcome, StoreError> {
        let key_request = request_for(write);
        match empty_dirs::remove_if_empty(&self.keys, key_request.key).await? {
            DirOutcome::Value => Ok(WriteOutcome::Conflict),
            DirOutcome::NotEmpty => Err(self.blocked_by_directory(key_request).await),
            DirOutcome::Absent if !is_creation(write) => Ok(WriteOutcome::Missing),
            DirOutcome::Absent => match self.send_write(write).await? {
                KeyResponse::Done(_) => Ok(WriteOutcome::Done),
                // Another writer was faster. The core reads the key again.
                KeyResponse::Exists => Ok(WriteOutcome::Conflict),
                KeyResponse::BelowValue { value_key } => {
                    Err(self.blocked_error(key_request, &KeyState::BelowValue { value_key }))
                }
                other => Err(self.keys.unexpected_response(key_request, &other)),
            },
        }
    }

    async fn send_write(&self, write: &Write) -> Result<KeyResponse, StoreError> {
        let key_request = request_for(write);
        match write {
            Write::Put { value, ttl, precondition: Precondition::Absent, .. } => {
                self.keys.create(key_request, value, seconds(*ttl)).await
            }
            Write::Put { value, ttl, precondition: Precondition::Equals(expected), .. } => {
                self.keys.swap(key_request, comparison(expected), value, seconds(*ttl)).await
            }
            Write::Refresh { value, ttl, .. } => {
                self.keys.refresh(key_request, value, seconds(*ttl)).await
            }
            Write::Delete { expected, .. } => {
                self.keys.delete(key_request, comparison(expected)).await
            }
        }
    }

    async fn read_one(&self, key: &RecordKey) -> Result<Option<StoredRecord>, StoreError> {
        let key_request = KeyRequest { action: "reading", key: key.as_str() };
        match self.keys.get(key_request).await? {
            KeyResponse::Done(node) => self.record_from_state(key, listing::key_state(&node)),
            KeyResponse::Missing { .. } => Ok(None),
            KeyResponse::BelowValue { value_key } => {
                self.record_from_state(key, KeyState::BelowValue { value_key })
            }
            other => Err(self.keys.unexpected_response(key_request, &other)),
        }
    }

    async fn read_each(&self, keys: &[RecordKey]) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        batch::run(
            keys,
            REQUESTS_IN_FLIGHT_MAX,
            |key| format!("reading {key}"),
            async |key| self.read_one(key).await,
        )
        .await
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        let key_request = KeyRequest { action: "listing", key: self.root.as_str() };
        match self.keys.list(key_request).await? {
            KeyResponse::Done(node) => Ok(Listing::new(node)),
            KeyResponse::Missing { .. } => Ok(Listing::empty()),
            KeyResponse::BelowValue { value_key } => Ok(Listing::below_value(value_key)),
            other => Err(self.keys.unexpected_response(key_request, &other)),
        }
    }

    fn record_from_state(
        &self,
        key: &RecordKey,
        key_state: KeyState,
    ) -> Result<Option<StoredRecord>, StoreError> {
        match key_state {
            KeyState::Value(found) => Ok(Some(found)),
            KeyState::Absent => Ok(None),
            other => {
                let key_request = KeyRequest { action: "reading", key: key.as_str() };
                Err(self.blocked_error(key_request, &other))
            }
        }
    }

    /// Returns the error for a write that is blocked by a directory. It names a key inside if the
    /// directory can be read.
    async fn blocked_by_directory(&self, key_request: KeyRequest<'_>) -> StoreError {
        let key_state = match self.keys.get(key_request).await {
            Ok(KeyResponse::Done(node)) => listing::key_state(&node),
            Ok(_) | Err(_) => KeyState::Absent,
        };
        self.blocked_error(key_request, &key_state)
    }

    fn blocked_error(&self, key_request: KeyRequest<'_>, key_state: &KeyState) -> StoreError {
        let obstacle = match key_state {
            KeyState::BelowValue { value_key } => {
                format!("there is a record at {}, above it", value_key.trim_start_matches('/'))
            }
            KeyState::Directory { child } => format!("there are records below it, such as {child}"),
            KeyState::Absent | KeyState::Value(_) => "there are keys below it".to_owned(),
        };
        let message = format!(
            "{obstacle}, and etcd v2 holds either a name or names below it; rename one of the \
                services"
        );
        self.keys.error(key_request, StoreErrorKind::Blocked, &message)
    }
}

impl RecordStore for EtcdV2 {
    fn keep_alive_mode(&self) -> KeepAliveMode {
        KeepAliveMode::PerRecord
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<WriteOutcome, StoreError>> {
        let describe = |write: &Write| {
            let KeyRequest { action, key } = request_for(write);
            format!("{action} {key}")
        };
        let outcomes = batch::run(&writes, REQUESTS_IN_FLIGHT_MAX, describe, async |write| {
            self.write_one(write).await
        })
        .await;
        let outage = |outcome: &Result<_, StoreError>| {
            outcome.as_ref().is_err_and(|error| error.kind.is_outage())
        };
        if !outcomes.iter().any(outage) {
            let deleted = writes.iter().zip(&outcomes).filter_map(|(write, outcome)| {
                let deleted = matches!(outcome, Ok(WriteOutcome::Done | WriteOutcome::Missing));
                (is_delete(write) && deleted).then_some(write.key().as_str())
            });
            empty_dirs::prune(&self.keys, &self.prefix, deleted, &self.log).await;
        }
        outcomes
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        let shown = keys.iter().filter(|key| listing::is_listed(&self.root, key)).count();
        if shown <= SINGLE_READS_MAX {
            return self.read_each(&keys).await;
        }
        let listing = match self.list().await {
            Ok(listing) => listing,
            // The listing may be too long or too deeply nested to parse. The keys themselves can
            // still be read.
            Err(error) if error.kind == StoreErrorKind::Malformed => {
                return self.read_each(&keys).await;
            }
            Err(error) => return vec![Err(error); keys.len()],
        };
        let mut outcomes = keys
            .iter()
            .map(|key| self.record_from_state(key, listing.state_of(key)))
            .collect::<Vec<_>>();
        let (hidden, slots): (Vec<_>, Vec<_>) = keys
            .iter()
            .zip(&mut outcomes)
            .filter(|(key, _)| !listing::is_listed(&self.root, key))
            .map(|(key, outcome)| (key.clone(), outcome))
            .unzip();
        for (slot, outcome) in slots.into_iter().zip(self.read_each(&hidden).await) {
            *slot = outcome;
        }
        outcomes
    }

    async fn probe(&self) -> Result<Option<u64>, StoreError> {
        // A read with a quorum takes the same way as a write, through the leader's log.
        let key_request = KeyRequest { action: "reading", key: &self.prefix };
        // The store is reachable if any member responds.
        try_each_member(self.members, async || self.keys.current_index(key_request).await).await
    }

    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        watch::watch(Rc::clone(&self.keys), self.root.clone()).await
    }

    async fn find_leases(&self, _: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
        Err(no_leases())
    }

    async fn grant(&self, _: LeaseId, _: Duration) -> Result<GrantOutcome, StoreError> {
        Err(no_leases())
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<KeptAlive, StoreError> {
        Err(no_leases())
    }

    async fn revoke(&self, _: LeaseId) -> Result<(), StoreError> {
        Err(no_leases())
    }

    async fn leased(&self, _: LeaseId) -> Result<LeasedRecords, StoreError> {
        Err(no_leases())
    }
}

/// Returns the error for requests about leases. The core does not send them, because
/// [`EtcdV2::keep_alive_mode`] is `PerRecord`.
fn no_leases() -> StoreError {
    let message = "the v2 API of etcd has no leases: every key has its own TTL";
    StoreError::new(StoreErrorKind::Refused, message)
}

/// Returns the part of an expected value that etcd v2 can compare.
fn comparison(expected: &highhock_actors::ExpectedValue) -> Comparison<'_> {
    Comparison { value: &expected.value, version: expected.version }
}

fn request_for(write: &Write) -> KeyRequest<'_> {
    let action = match write {
        Write::Put { .. } => "putting",
        Write::Refresh { .. } => "refreshing",
        Write::Delete { .. } => "deleting",
    };
    KeyRequest { action, key: write.key().as_str() }
}

fn is_delete(write: &Write) -> bool {
    matches!(write, Write::Delete { .. })
}

fn is_creation(write: &Write) -> bool {
    matches!(write, Write::Put { precondition: Precondition::Absent, .. })
}

/// Returns a TTL in seconds for etcd, at least 1. A TTL of 0 would mean none.
fn seconds(ttl: Duration) -> u64 {
    ttl.as_secs().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_is_at_least_one_second() {
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1900)), 1);
        assert_eq!(seconds(Duration::from_secs(86_400)), 86_400);
    }
}
