//! Leases: asked for, kept alive, listed, ended.

use std::time::Duration;

use highhock_actors::{Granted, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey, StoreError};

use super::error::Reason;
use super::gateway::{Call, CallError, Gateway};
use super::wire::{
    Acknowledged, GrantAnswer, GrantRequest, Int, KeepAliveAnswer, LeasesAnswer, OfLease,
    TimeToLiveAnswer, TimeToLiveRequest,
};
use crate::etcd::batch;

/// How much longer than others a keep-alive may take: through a follower, while the
/// cluster looks for a new leader, it is answered after two to three seconds, and
/// it is of more use than a try at another member.
const PATIENCE_FOR_KEEP_ALIVE: u32 = 4;

/// How many leases are looked at, at a time.
const IN_FLIGHT: usize = 4;

pub(super) async fn grant(
    gateway: &Gateway,
    id: LeaseId,
    ttl: Duration,
) -> Result<Granted, StoreError> {
    let doing = format!("asking for the lease {id}");
    let call = Call::write(&doing, "/v3/lease/grant");
    let seconds = ttl.as_secs().max(1).try_into().unwrap_or(i64::MAX);
    let request = GrantRequest { id: Int(id.0), ttl: Int(seconds) };
    match gateway.call::<GrantAnswer>(call, &request).await {
        Ok(answer) if answer.id == request.id && answer.ttl.0 > 0 => Ok(Granted::Fresh),
        Ok(_) => Err(gateway.out_of_place(&doing, "another lease than was asked for")),
        Err(CallError { reason: Reason::LeaseExists, .. }) => Ok(Granted::Existed),
        Err(failure) => Err(failure.into()),
    }
}

pub(super) async fn keep_alive(gateway: &Gateway, id: LeaseId) -> Result<KeptAlive, StoreError> {
    let doing = format!("keeping the lease {id} alive");
    let call = Call::write(&doing, "/v3/lease/keepalive");
    let call = Call { patience: PATIENCE_FOR_KEEP_ALIVE, ..call };
    let request = OfLease { id: Int(id.0) };
    match gateway.call_in_stream::<KeepAliveAnswer>(call, &request).await {
        Ok(answer) if answer.id != request.id => {
            Err(gateway.out_of_place(&doing, "another lease than was asked for"))
        }
        // etcd's way to say that it has no such lease.
        Ok(answer) if answer.ttl.0 <= 0 => Ok(KeptAlive::Lost),
        Ok(answer) => Ok(KeptAlive::For(Duration::from_secs(answer.ttl.unsigned()))),
        Err(CallError { reason: Reason::LeaseNotFound, .. }) => Ok(KeptAlive::Lost),
        Err(failure) => Err(failure.into()),
    }
}

pub(super) async fn revoke(gateway: &Gateway, id: LeaseId) -> Result<(), StoreError> {
    let doing = format!("revoking the lease {id}");
    let call = Call::write(&doing, "/v3/lease/revoke");
    match gateway.call::<Acknowledged>(call, &OfLease { id: Int(id.0) }).await {
        Ok(_) | Err(CallError { reason: Reason::LeaseNotFound, .. }) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

/// The family's leases. A member answers from what it knows: have it catch up
/// before, by a read with a quorum.
pub(super) async fn leases(
    gateway: &Gateway,
    family: LeaseFamily,
) -> Result<Vec<Lease>, StoreError> {
    let call = Call::read("listing the leases", "/v3/lease/leases");
    let answer = gateway.call::<LeasesAnswer>(call, &serde_json::json!({})).await?;
    let ids = answer.leases.into_iter().map(|lease| LeaseId(lease.id.0));
    let ids = ids.filter(|id| family.has(*id)).collect::<Vec<_>>();
    let describe = |id: &LeaseId| format!("looking at the lease {id}");
    let found = batch::run(&ids, IN_FLIGHT, describe, async |id| {
        let status = time_to_live(gateway, *id, false).await?;
        Ok(status.map(|status| Lease { id: *id, ttl: status.granted }))
    });
    found.await.into_iter().filter_map(Result::transpose).collect()
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
    let doing = format!("looking at the lease {id}");
    let call = Call::read(&doing, "/v3/lease/timetolive");
    let request = TimeToLiveRequest { id: Int(id.0), keys };
    match gateway.call::<TimeToLiveAnswer>(call, &request).await {
        Ok(answer) if answer.ttl.0 < 0 || answer.granted.0 <= 0 => Ok(None),
        Ok(answer) => Ok(Some(LeaseState {
            granted: Duration::from_secs(answer.granted.unsigned()),
            keys: answer.keys.iter().map(|key| RecordKey::from_path(&key.to_text())).collect(),
        })),
        Err(CallError { reason: Reason::LeaseNotFound, .. }) => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}
