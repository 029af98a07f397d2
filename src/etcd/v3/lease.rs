//! Grants, keeps alive, finds and revokes leases (`/v3/lease/…`).

use std::time::Duration;

use highhock_actors::{
    GrantOutcome, KeptAlive, Lease, LeaseId, LeaseNamespace, RecordKey, StoreError,
};

use super::error::ErrorClass;
use super::gateway::{Call, CallError, Gateway};
use super::wire::{
    Int64, LeaseGrantRequest, LeaseGrantResponse, LeaseIdRequest, LeaseKeepAliveResponse,
    LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use crate::etcd::batch;

/// The time limit of a keep-alive, as a multiple of the limit of others. While the cluster elects a
/// leader, a follower responds after two to three seconds. Waiting is more useful than another
/// member.
const KEEP_ALIVE_TIMEOUT_FACTOR: u32 = 4;

/// The maximum number of leases that are read concurrently. More requests in flight make each of
/// them slower on a busy etcd, so that one of 256 exceeds the time limit.
const REQUESTS_IN_FLIGHT_MAX: usize = 8;

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

/// Returns the leases of a namespace, by requesting each id that the namespace can have.
///
/// `/v3/lease/leases` is no alternative: since etcd 3.6.9, 3.5.28 and 3.4.42 it is denied if any
/// lease of the cluster has a key that the client's user may not read. The request for a single
/// lease without its keys needs no permission. A member responds from its own state, which may be
/// old. The caller makes it catch up before, by a read with a quorum.
pub(super) async fn find_all(
    gateway: &Gateway,
    namespace: LeaseNamespace,
) -> Result<Vec<Lease>, StoreError> {
    let ids = namespace.ids().collect::<Vec<_>>();
    let describe = |id: &LeaseId| format!("reading the lease {id}");
    let leases = batch::run(&ids, REQUESTS_IN_FLIGHT_MAX, describe, async |id| {
        let found = time_to_live(gateway, *id, false).await?;
        Ok(found.map(|found| Lease { id: *id, ttl: granted_ttl(&found) }))
    });
    leases.await.into_iter().filter_map(Result::transpose).collect()
}

/// Returns the keys that are attached to a lease, none if the lease does not exist.
pub(super) async fn attached_keys(
    gateway: &Gateway,
    id: LeaseId,
) -> Result<Vec<RecordKey>, CallError> {
    let found = time_to_live(gateway, id, true).await?;
    let keys = found.into_iter().flat_map(|found| found.keys);
    Ok(keys.map(|key| RecordKey::from_path(&key.to_text())).collect())
}

fn granted_ttl(found: &LeaseTimeToLiveResponse) -> Duration {
    Duration::from_secs(found.granted.unsigned())
}

/// Returns the state of a lease, or `None` if it does not exist. `keys` requests the attached keys.
async fn time_to_live(
    gateway: &Gateway,
    id: LeaseId,
    keys: bool,
) -> Result<Option<LeaseTimeToLiveResponse>, CallError> {
    let action = format!("reading the lease {id}");
    let call = Call::read(&action, "/v3/lease/timetolive");
    let request = LeaseTimeToLiveRequest { id: Int64(id.0), keys };
    match gateway.call::<LeaseTimeToLiveResponse>(call, &request).await {
        Ok(response) if response.ttl.0 < 0 || response.granted.0 <= 0 => Ok(None),
        Ok(response) => Ok(Some(response)),
        Err(CallError { class: ErrorClass::LeaseNotFound, .. }) => Ok(None),
        Err(failure) => Err(failure),
    }
}
