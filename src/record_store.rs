//! The store that the settings select: etcd with one of its APIs, or this process's memory.

use std::time::Duration;

use highhock_actors::{
    ChangeStream, GrantOutcome, KeepAliveMode, KeptAlive, Lease, LeaseId, LeaseNamespace,
    LeasedRecords, RecordKey, RecordStore, StoreError, StoredRecord, Write, WriteOutcome,
};

use crate::etcd::{EtcdV2, EtcdV3};
use crate::memory_store::MemoryStore;

/// The [`RecordStore`] that the settings select. An enum, because the trait is not dyn compatible.
pub enum Store {
    /// etcd with its v2 keys API.
    EtcdV2(EtcdV2),
    /// etcd with its v3 API.
    EtcdV3(EtcdV3),
    /// The memory of this process, in standalone mode.
    Memory(MemoryStore),
}

/// Calls a method on the selected store.
macro_rules! delegate {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Store::EtcdV2($store) => $call,
            Store::EtcdV3($store) => $call,
            Store::Memory($store) => $call,
        }
    };
}

impl Store {
    /// Checks that this client may read and write the records of the domain. Writes nothing.
    ///
    /// # Errors
    /// Returns an error if a permission is missing, or if etcd does not answer.
    pub async fn check_permissions(&self) -> Result<(), StoreError> {
        match self {
            Self::EtcdV2(store) => store.check_permissions().await,
            Self::EtcdV3(store) => store.check_permissions().await,
            Self::Memory(_) => Ok(()),
        }
    }
}

impl RecordStore for Store {
    fn keep_alive_mode(&self) -> KeepAliveMode {
        delegate!(self, store => store.keep_alive_mode())
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<WriteOutcome, StoreError>> {
        delegate!(self, store => store.write(writes).await)
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        delegate!(self, store => store.read(keys).await)
    }

    async fn probe(&self) -> Result<Option<u64>, StoreError> {
        delegate!(self, store => store.probe().await)
    }

    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        delegate!(self, store => store.watch().await)
    }

    async fn find_leases(&self, namespace: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
        delegate!(self, store => store.find_leases(namespace).await)
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<GrantOutcome, StoreError> {
        delegate!(self, store => store.grant(id, ttl).await)
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        delegate!(self, store => store.keep_alive(id).await)
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        delegate!(self, store => store.revoke(id).await)
    }

    async fn leased(&self, id: LeaseId) -> Result<LeasedRecords, StoreError> {
        delegate!(self, store => store.leased(id).await)
    }
}
