//! Grants, keeps alive, lists and revokes leases (`/v3/lease/…`).

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

/// The time limit of a keep-alive, as a multiple of the limit of others. While the cluster elects a
/// leader, a follower responds after two to three seconds. Waiting is more useful than another
/// member.
const KEEP_ALIVE_TIMEOUT_FACTOR: u32 = 4;

/// The maximum number of leases that are read concurrently.
const REQUESTS_IN_FLIGHT_MAX: usize = 4;

/// Requests a lease with a fixed id. An existing lease is not an error.
pub(super) async fn grant(
    gateway: &Gateway,
    id: LeaseId,
    ttl: Duration,
) -> Result<GrantOutcome, StoreError> {
    let action = format!("granting the lease {id}");
    let call = Call::write(&action, "/v3/lease/grant");
    let seconds = ttl.as_secs().max(1).try_into().unwrap_or(i64::MAX);
    let request = LeaseGrantRequest { id: Int64(id.0), ttl: Int64(seconds) };
    match gateway.call::<LeaseGrantResponse>(call, &request).await {
        Ok(response) if response.id == request.id && response.ttl.0 > 0 => Ok(GrantOutcome::Fresh),
        Ok(_) => Err(gateway.unexpected_response(&action, "it names another lease")),
        Err(CallError { class: ErrorClass::LeaseExists, .. }) => Ok(GrantOutcome::Existed),
        Err(failure) => Err(failure.into()),
    }
}

/// Renews a lease, and returns its remaining time.
pub(super) async fn keep_alive(gateway: &Gateway, id: LeaseId) -> Result<KeptAlive, StoreError> {
    let action = format!("keeping the lease {id} alive");
    let call = Call::write(&action, "/v3/lease/keepalive");
    let call = Call { timeout_factor: KEEP_ALIVE_TIMEOUT_FACTOR, ..call };
    let request = LeaseIdRequest { id: Int64(id.0) };
    match gateway.call_streamed::<LeaseKeepAliveResponse>(call, &request).await {
        Ok(response) if response.id != request.id => {
            Err(gateway.unexpected_response(&action, "it names another lease"))
        }
        // etcd reports a missing lease by a TTL of 0.
        Ok(response) if response.ttl.0 <= 0 => Ok(KeptAlive::Lost),
        Ok(response) => Ok(KeptAlive::For(Duration::from_secs(response.ttl.unsigned()))),
        Err(CallError { class: ErrorClass::LeaseNotFound, .. }) => Ok(KeptAlive::Lost),
        Err(failure) => Err(failure.into()),
    }
}

/// Revokes a lease, which deletes all attached keys. A missing lease is not an error.
pub(super) async fn revoke(gateway: &Gateway, id: LeaseId) -> Result<(), StoreError> {
    let action = format!("revoking the lease {id}");
    let call = Call::write(&action, "/v3/lease/revoke");
    match gateway.call::<LeaseRevokeResponse>(call, &LeaseIdRequest { id: Int64(id.0) }).await {
        Ok(_) | Err(CallError { class: ErrorClass::LeaseNotFound, .. }) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// Returns the leases of a namespace. A member responds from its own state, which may be old. The
/// caller makes it catch up before, by a read with a quorum.
pub(super) async fn leases(
    gateway: &Gateway,
    namespace: LeaseNamespace,
) -> Result<Vec<Lease>, StoreError> {
    let call = Call::read("listing the leases", "/v3/lease/leases");
    let response = gateway.call::<LeaseLeasesResponse>(call, &serde_json::json!({})).await?;
    let ids = response.leases.into_iter().map(|lease| LeaseId(lease.id.0));
    let ids = ids.filter(|id| namespace.contains(*id)).collect::<Vec<_>>();
    let describe = |id: &LeaseId| format!("reading the lease {id}");
    let leases = batch::run(&ids, REQUESTS_IN_FLIGHT_MAX, describe, async |id| {
        let status = time_to_live(gateway, *id, false).await?;
        Ok(status.map(|status| Lease { id: *id, ttl: status.granted }))
    });
    leases.await.into_iter().filter_map(Result::transpose).collect()
}

/// The state of a lease.
pub(super) struct LeaseState {
    /// The TTL that the lease was granted with.
    pub granted: Duration,
    /// The attached keys, if the caller requested them.
    pub keys: Vec<RecordKey>,
}

/// Returns the state of a lease, or `None` if it does not exist. `keys` requests the attached keys.
pub(super) async fn time_to_live(
    gateway: &Gateway,
    id: LeaseId,
    keys: bool,
) -> Result<Option<LeaseState>, StoreError> {
    let action = format!("reading the lease {id}");
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
