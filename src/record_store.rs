//! Where this daemon's records are: in etcd, or in this process.

use std::time::Duration;

use highhock_actors::{
    Changes, Found, Granted, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey, RecordStore,
    StoreError, Upkeep, Write, Written,
};

use crate::etcd::EtcdStore;
use crate::memory_store::MemoryStore;

/// The [`RecordStore`] that the settings name.
pub enum Store {
    /// In etcd.
    Etcd(EtcdStore),
    /// In this process.
    Standalone(MemoryStore),
}

/// Has a choice of stores be one: whatever is asked is asked of the one that it is.
macro_rules! ask_the_one_that_it_is {
    ($store:ident: $($one:ident),+) => {
        impl RecordStore for $store {
            fn upkeep(&self) -> Upkeep {
                match self { $(Self::$one(store) => store.upkeep(),)+ }
            }

            async fn write(&self, writes: Vec<Write>) -> Vec<Result<Written, StoreError>> {
                match self { $(Self::$one(store) => store.write(writes).await,)+ }
            }

            async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<Found>, StoreError>> {
                match self { $(Self::$one(store) => store.read(keys).await,)+ }
            }

            async fn probe(&self) -> Result<(), StoreError> {
                match self { $(Self::$one(store) => store.probe().await,)+ }
            }

            async fn watch(&self) -> Result<Changes, StoreError> {
                match self { $(Self::$one(store) => store.watch().await,)+ }
            }

            async fn leases(&self, family: LeaseFamily) -> Result<Vec<Lease>, StoreError> {
                match self { $(Self::$one(store) => store.leases(family).await,)+ }
            }

            async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<Granted, StoreError> {
                match self { $(Self::$one(store) => store.grant(id, ttl).await,)+ }
            }

            async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
                match self { $(Self::$one(store) => store.keep_alive(id).await,)+ }
            }

            async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
                match self { $(Self::$one(store) => store.revoke(id).await,)+ }
            }

            async fn leased(&self, id: LeaseId) -> Result<Vec<(RecordKey, Found)>, StoreError> {
                match self { $(Self::$one(store) => store.leased(id).await,)+ }
            }
        }
    };
}
pub(crate) use ask_the_one_that_it_is;

ask_the_one_that_it_is!(Store: Etcd, Standalone);
