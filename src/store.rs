//! Where this daemon's records are: in etcd, or in this process.

use std::time::Duration;

use highhock_actors::{
    Changes, Found, Granted, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey, RecordStore,
    StoreError, Upkeep, Write, Written,
};

use crate::etcd::EtcdStore;
use crate::standalone::MemoryStore;

/// The [`RecordStore`] that the settings name.
pub enum Store {
    /// In etcd.
    Etcd(EtcdStore),
    /// In this process.
    Standalone(MemoryStore),
}

/// Asks the one that it is.
macro_rules! either {
    ($self:ident, $store:ident => $what:expr) => {
        match $self {
            Store::Etcd($store) => $what,
            Store::Standalone($store) => $what,
        }
    };
}

impl RecordStore for Store {
    fn upkeep(&self) -> Upkeep {
        either!(self, store => store.upkeep())
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
        either!(self, store => store.write(writes).await)
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<Found>, StoreError>> {
        either!(self, store => store.read(keys).await)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        either!(self, store => store.probe().await)
    }

    async fn watch(&self) -> Result<Changes, StoreError> {
        either!(self, store => store.watch().await)
    }

    async fn leases(&self, family: LeaseFamily) -> Result<Vec<Lease>, StoreError> {
        either!(self, store => store.leases(family).await)
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<Granted, StoreError> {
        either!(self, store => store.grant(id, ttl).await)
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        either!(self, store => store.keep_alive(id).await)
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        either!(self, store => store.revoke(id).await)
    }

    async fn leased(&self, id: LeaseId) -> Result<Vec<(RecordKey, Found)>, StoreError> {
        either!(self, store => store.leased(id).await)
    }
}
