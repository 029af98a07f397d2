//! Leases: asked for, kept alive, listed, ended.

use std::time::Duration;

use highhock_actors::{
    GrantOutcome, KeptAlive, Lease, LeaseId, LeaseNamespace, RecordKey, StoreError,
};

use super::error::ErrorClass;
use super::gateway::{Call, CallError, Gateway};
use super::wire::{
    Int64, LeaseGrantRequest, LeaseGrantResponse, LeaseIdRequest, LeaseKeepAliveResponse,
    LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use crate::etcd::batch;

/// How much longer than others a keep-alive may take: through a follower, while the
/// cluster looks for a new leader, it is answered after two to three seconds, and
/// it is of more use than a try at another member.
const KEEP_ALIVE_TIMEOUT_FACTOR: u32 = 4;

/// How many leases are looked at, at a time.
const REQUESTS_IN_FLIGHT_MAX: usize = 4;

pub(super) async fn grant(
    gateway: &Gateway,
    id: LeaseId,
    ttl: Duration,
) -> Result<GrantOutcome, StoreError> {
    let action = format!("asking for the lease {id}");
    let call = Call::write(&action, "/v3/lease/grant");
    let seconds = ttl.as_secs().max(1).try_into().unwrap_or(i64::MAX);
    let request = LeaseGrantRequest { id: Int64(id.0), ttl: Int64(seconds) };
    match gateway.call::<LeaseGrantResponse>(call, &request).await {
        Ok(response) if response.id == request.id && response.ttl.0 > 0 => Ok(GrantOutcome::Fresh),
        Ok(_) => Err(gateway.unexpected_response(&action, "another lease than was asked for")),
        Err(CallError { class: ErrorClass::LeaseExists, .. }) => Ok(GrantOutcome::Existed),
        Err(failure) => Err(failure.into()),
    }
}

pub(super) async fn keep_alive(gateway: &Gateway, id: LeaseId) -> Result<KeptAlive, StoreError> {
    let action = format!("keeping the lease {id} alive");
    let call = Call::write(&action, "/v3/lease/keepalive");
    let call = Call { timeout_factor: KEEP_ALIVE_TIMEOUT_FACTOR, ..call };
    let request = LeaseIdRequest { id: Int64(id.0) };
    match gateway.call_streamed::<LeaseKeepAliveResponse>(call, &request).await {
        Ok(response) if response.id != request.id => {
            Err(gateway.unexpected_response(&action, "another lease than was asked for"))
        }
        // etcd's way to say that it has no such lease.
        Ok(response) if response.ttl.0 <= 0 => Ok(KeptAlive::Lost),
        Ok(response) => Ok(KeptAlive::For(Duration::from_secs(response.ttl.unsigned()))),
        Err(CallError { class: ErrorClass::LeaseNotFound, .. }) => Ok(KeptAlive::Lost),
        Err(failure) => Err(failure.into()),
    }
}

pub(super) async fn revoke(gateway: &Gateway, id: LeaseId) -> Result<(), StoreError> {
    let action = format!("revoking the lease {id}");
    let call = Call::write(&action, "/v3/lease/revoke");
    match gateway.call::<LeaseRevokeResponse>(call, &LeaseIdRequest { id: Int64(id.0) }).await {
        Ok(_) | Err(CallError { class: ErrorClass::LeaseNotFound, .. }) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// The family's leases. A member answers from what it knows: have it catch up
/// before, by a read with a quorum.
pub(super) async fn leases(
    gateway: &Gateway,
    namespace: LeaseNamespace,
) -> Result<Vec<Lease>, StoreError> {
    let call = Call::read("listing the leases", "/v3/lease/leases");
    let response = gateway.call::<LeaseLeasesResponse>(call, &serde_json::json!({})).await?;
    let ids = response.leases.into_iter().map(|lease| LeaseId(lease.id.0));
    let ids = ids.filter(|id| namespace.contains(*id)).collect::<Vec<_>>();
    let describe = |id: &LeaseId| format!("looking at the lease {id}");
    let leases = batch::run(&ids, REQUESTS_IN_FLIGHT_MAX, describe, async |id| {
        let status = time_to_live(gateway, *id, false).await?;
        Ok(status.map(|status| Lease { id: *id, ttl: status.granted }))
    });
    leases.await.into_iter().filter_map(Result::transpose).collect()
}

/// A lease as etcd knows it.
pub(super) struct LeaseState {
    /// What it was granted for.
    pub granted: Duration,
    /// The keys that hang on it, where they were asked for.
    pub keys: Vec<RecordKey>,
}

/// How a lease stands; `None`: there is none such.
pub(super) async fn time_to_live(
    gateway: &Gateway,
    id: LeaseId,
    keys: bool,
) -> Result<Option<LeaseState>, StoreError> {
    let action = format!("looking at the lease {id}");
    let call = Call::read(&action, "/v3/lease/timetolive");
    let request = LeaseTimeToLiveRequest { id: Int64(id.0), keys };
    match gateway.call::<LeaseTimeToLiveResponse>(call, &request).await {
        Ok(response) if response.ttl.0 < 0 || response.granted.0 <= 0 => Ok(None),
        Ok(response) => Ok(Some(LeaseState {
            granted: Duration::from_secs(response.granted.unsigned()),
            keys: response.keys.iter().map(|key| RecordKey::from_path(&key.to_text())).collect(),
        })),
        Err(CallError { class: ErrorClass::LeaseNotFound, .. }) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}
