//! Stores records through etcd's v3 API, by its JSON gateway.
//!
//! - `txn` turns each write into a transaction with preconditions, so that a write never overwrites
//!   a record of another writer ("Ownership of records" in config/README.md).
//! - `batching` packs many of them into one request.
//! - `lease` manages the lease that all records are attached to.
//! - `watch` follows changes, and `gateway`, `auth`, `error` and `wire` implement the protocol.

pub(crate) mod auth;
mod batching;
mod error;
mod gateway;
mod lease;
mod txn;
mod watch;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    ChangeStream, Expiry, GrantOutcome, KeepAliveMode, KeptAlive, Lease, LeaseId, LeaseNamespace,
    LeasedRecords, RecordKey, RecordStore, StoreError, StoreErrorKind, StoredRecord, Write,
    WriteOutcome,
};
use slog::Logger;

use self::batching::{BatchItem, BatchLimits, Cost};
use self::error::ErrorClass;
use self::gateway::{Call, CallError, Gateway};
use self::txn::{
    TxnStep, TxnVerdict, combined_txn, independent_groups, key_path, nested_txns, range_below,
    split_response,
};
use self::wire::{
    Int64, KeyValue, RangeRequest, RangeResponse, RequestOp, ResponseOp, TxnRequest, TxnResponse,
};
use super::batch;
use super::cluster::{Cluster, ClusterError, try_each_member};
use super::credentials::LoadedCredentials;
use super::http::HttpClient;
use auth::AuthClient;

/// The paths of writes and of reads.
const TXN: &str = "/v3/kv/txn";
const RANGE: &str = "/v3/kv/range";

/// The cluster and the keys of a store.
#[derive(Clone, Debug)]
pub struct EtcdV3Options {
    /// The cluster. A keep-alive may take four times its time-out.
    pub cluster: Cluster,
    /// The directory of the domain, for example `skydns/local/skydns`. All records are in it, and
    /// it is watched.
    pub root: RecordKey,
}

/// A [`RecordStore`] in an etcd cluster, through the v3 API.
///
/// It belongs to the thread that created it, because the connections of awc do.
pub struct EtcdV3 {
    gateway: Rc<Gateway>,
    members: usize,
    limits: BatchLimits,
    root: RecordKey,
}

impl EtcdV3 {
    /// Returns a store in the cluster. No request is sent yet.
    ///
    /// # Errors
    /// Returns an error if the options do not describe a usable cluster.
    pub fn new(options: EtcdV3Options, log: Logger) -> Result<Self, ClusterError> {
        let EtcdV3Options { cluster, root } = options;
        let http = HttpClient::new(&cluster, log.clone())?;
        let credentials = cluster.credentials.as_ref();
        let credentials = credentials
            .map(|credentials| LoadedCredentials::new(credentials, log.clone()))
            .transpose()?;
        let gateway = Rc::new(Gateway::new(AuthClient::new(http, credentials, log)));
        Ok(Self { gateway, members: cluster.urls.len(), limits: BatchLimits::new(), root })
    }

    /// Returns a key below the root, if there is any.
    pub(super) async fn first_key(&self) -> Result<Option<RecordKey>, StoreError> {
        let (key, end) = range_below(&key_path(&self.root));
        let action = format!("listing keys below {}", self.root);
        let first = RangeRequest {
            key: key.as_str().into(),
            range_end: Some(end.as_str().into()),
            limit: Int64(1),
            keys_only: true,
        };
        let found = self.gateway.call::<RangeResponse>(Call::read(&action, RANGE), &first).await?;
        Ok(found.range.kvs.first().map(|kv| RecordKey::from_path(&kv.key.to_text())))
    }

    /// Checks that this client may read and write the records of the domain. Writes nothing.
    ///
    /// # Errors
    /// Returns an error if a permission is missing, or if etcd does not answer.
    pub async fn check_permissions(&self) -> Result<(), StoreError> {
        let action = format!("checking the permissions for records below {}", self.root);
        let txn = txn::permission_check(&self.root);
        self.gateway.call::<TxnResponse>(Call::read(&action, TXN), &txn).await?;
        Ok(())
    }

    /// Finds the records on a lease by reading all records of the domain. The cost grows with the
    /// domain, so this is the way only if etcd does not list the keys of the lease.
    async fn search_leased(&self, id: LeaseId) -> Result<LeasedRecords, StoreError> {
        let (key, end) = range_below(&key_path(&self.root));
        let action = format!("reading all records below {}", self.root);
        let range_end = Some(end.as_str().into());
        let range = RangeRequest { key: key.as_str().into(), range_end, ..RangeRequest::default() };
        let found = self.gateway.call::<RangeResponse>(Call::read(&action, RANGE), &range).await?;
        let on_lease = found.range.kvs.iter().filter(|kv| kv.lease == Int64(id.0));
        let record =
            |kv: &KeyValue| (RecordKey::from_path(&kv.key.to_text()), watch::stored_record(kv));
        let records = on_lease.map(record).collect();
        Ok(LeasedRecords { revision: found.header.revision.unsigned(), records })
    }

    /// Applies writes whose keys do not overlap.
    ///
    /// The first attempt is one plain transaction for all writes, which costs etcd half as much as
    /// nested ones. If a precondition fails, nothing was written, and the second attempt has a
    /// nested transaction for each write.
    async fn write_batch(&self, steps: &[TxnStep]) -> Vec<Result<WriteOutcome, StoreError>> {
        let send = async |steps: &[&TxnStep], action: &str| {
            let call = Call::write(action, TXN);
            if steps.len() > 1 {
                let response = self.gateway.call::<TxnResponse>(call, &combined_txn(steps)).await?;
                if response.outcome.succeeded {
                    return Ok(steps.iter().map(|_| Ok(WriteOutcome::Done)).collect());
                }
            }
            let response = self.gateway.call::<TxnResponse>(call, &nested_txns(steps)).await?;
            let Some(results) = split_response(response.outcome, steps.len()) else {
                return Err(self.unexpected_response(
                    action,
                    "its number of results is not the number of writes",
                ));
            };
            let outcomes = steps.iter().zip(results);
            Ok(outcomes
                .map(|(step, outcome)| self.write_outcome(step, step.verdict(&outcome)))
                .collect())
        };
        self.limits.send_all(steps, send).await
    }

    fn write_outcome(
        &self,
        step: &TxnStep,
        verdict: TxnVerdict,
    ) -> Result<WriteOutcome, StoreError> {
        let obstacle = match verdict {
            TxnVerdict::WriteOutcome(written) => return Ok(written),
            TxnVerdict::Unexpected(message) => {
                return Err(self.gateway.unexpected_response(&step.describe(), message));
            }
            TxnVerdict::BelowRecord { ancestor } => {
                format!("there is a record at {}, above it", ancestor.trim_start_matches('/'))
            }
            TxnVerdict::AboveRecords { child } => {
                format!("there are records below it, such as {}", child.trim_start_matches('/'))
            }
        };
        let message = format!(
            "{} in etcd at {}: {obstacle}, and DNS servers show either a name or names below it; \
             rename one of the services",
            step.describe(),
            self.gateway.http().urls()
        );
        Err(StoreError::new(StoreErrorKind::Blocked, message))
    }

    fn unexpected_response(&self, action: &str, message: &str) -> CallError {
        let error = self.gateway.unexpected_response(action, message);
        CallError { class: ErrorClass::Other, error }
    }
}

/// A key to read, as an item of a batch.
struct RecordQuery(RecordKey);

impl BatchItem for RecordQuery {
    fn cost(&self) -> Cost {
        Cost { operations: 1, inner: 0, bytes: self.0.as_str().len() + 16 }
    }

    fn describe(&self) -> String {
        format!("reading {}", self.0)
    }
}

impl RecordStore for EtcdV3 {
    fn keep_alive_mode(&self) -> KeepAliveMode {
        KeepAliveMode::Lease
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<WriteOutcome, StoreError>> {
        let mut outcomes =
            writes.iter().map(|write| Err(unsupported_write(write))).collect::<Vec<_>>();
        let steps = writes.iter().enumerate();
        let steps = steps.filter_map(|(index, write)| TxnStep::new(index, write, &self.root));
        let mut outage = None::<StoreError>;
        for group in independent_groups(steps.collect()) {
            let results = match &outage {
                None => self.write_batch(&group).await,
                Some(first) => {
                    let not_sent =
                        |step: &TxnStep| Err(batch::not_sent_error(&step.describe(), first));
                    group.iter().map(not_sent).collect()
                }
            };
            for (step, result) in group.iter().zip(results) {
                if let Err(error) = &result
                    && error.kind.is_outage()
                {
                    outage.get_or_insert_with(|| error.clone());
                }
                outcomes[step.index] = result;
            }
        }
        outcomes
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        let queries = keys.into_iter().map(RecordQuery).collect::<Vec<_>>();
        let send = async |queries: &[&RecordQuery], action: &str| {
            let range = |query: &&RecordQuery| {
                let key = key_path(&query.0).as_str().into();
                RequestOp::Range(RangeRequest { key, ..RangeRequest::default() })
            };
            let txn = TxnRequest {
                success: queries.iter().map(range).collect(),
                ..TxnRequest::default()
            };
            let response = self.gateway.call::<TxnResponse>(Call::read(action, TXN), &txn).await?;
            let found = response.outcome.responses.iter().map(|response| match response {
                ResponseOp::Range(range) => Some(range.kvs.first().map(watch::stored_record)),
                _ => None,
            });
            match found.collect::<Option<Vec<_>>>() {
                Some(found) if found.len() == queries.len() => {
                    Ok(found.into_iter().map(Ok).collect())
                }
                _ => Err(self.unexpected_response(
                    action,
                    "its number of results is not the number of keys",
                )),
            }
        };
        self.limits.send_all(&queries, send).await
    }

    async fn probe(&self) -> Result<Option<u64>, StoreError> {
        // The key does not exist. It is in the range that this client certainly may read, and is
        // read with a quorum.
        let (key, _) = range_below(&key_path(&self.root));
        let action = format!("reading {}", self.root);
        let range = RangeRequest { key: key.as_str().into(), ..RangeRequest::default() };
        // The store is reachable if any member responds.
        let probe = async || {
            let read = Call::read(&action, RANGE);
            let response = self.gateway.call::<RangeResponse>(read, &range).await?;
            // The first revision of a store is 1. Without a header the revision is unknown.
            Ok(Some(response.header.revision.unsigned()).filter(|revision| *revision > 0))
        };
        try_each_member(self.members, probe).await
    }

    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        watch::watch(Rc::clone(&self.gateway), &self.root).await
    }

    async fn find_leases(&self, namespace: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
        self.probe().await?;
        lease::find_all(&self.gateway, namespace).await
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<GrantOutcome, StoreError> {
        lease::grant(&self.gateway, id, ttl).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        lease::keep_alive(&self.gateway, id).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        lease::revoke(&self.gateway, id).await
    }

    async fn leased(&self, id: LeaseId) -> Result<LeasedRecords, StoreError> {
        // Revision 0 is before every record, so that the reading excludes none.
        let revision = self.probe().await?.unwrap_or(0);
        let keys = match lease::attached_keys(&self.gateway, id).await {
            Ok(keys) => keys,
            // A key outside the domain is attached to the lease, and this client may not read it.
            Err(CallError { class: ErrorClass::Denied, .. }) => {
                return self.search_leased(id).await;
            }
            Err(failure) => return Err(failure.into()),
        };
        let keys = keys.into_iter().filter(|key| key.is_below(&self.root)).collect::<Vec<_>>();
        let mut leased = Vec::new();
        for (key, found) in keys.iter().zip(self.read(keys.clone()).await) {
            // The key may have been deleted or attached to another lease meanwhile.
            if let Some(found) = found?
                && found.expiry == Expiry::Lease(id)
            {
                leased.push((key.clone(), found));
            }
        }
        Ok(LeasedRecords { revision, records: leased })
    }
}

/// Returns the error for a write that v3 does not support: a refresh of a single record. The core
/// does not send it, because [`EtcdV3::keep_alive_mode`] is `Lease`.
fn unsupported_write(write: &Write) -> StoreError {
    let message = format!("refreshing {}: in etcd v3 a lease keeps records alive", write.key());
    StoreError::new(StoreErrorKind::Refused, message)
}
