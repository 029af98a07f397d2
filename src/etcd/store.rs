//! Records in etcd through whichever of its APIs was decided on.

use std::time::Duration;

use highhock_actors::{
    Changes, Found, Granted, KeptAlive, Lease, LeaseFamily, LeaseId, RecordKey, RecordStore,
    StoreError, Upkeep, Write, Written,
};

use super::{Api, EtcdV2, EtcdV3};
use crate::record_store::ask_the_one_that_it_is;

/// A [`RecordStore`] in etcd.
pub enum EtcdStore {
    /// Through the v2 keys API.
    V2(EtcdV2),
    /// Through the v3 API.
    V3(EtcdV3),
}

impl EtcdStore {
    /// Which API it speaks.
    pub fn api(&self) -> Api {
        match self {
            Self::V2(_) => Api::V2,
            Self::V3(_) => Api::V3,
        }
    }
}

ask_the_one_that_it_is!(EtcdStore: V2, V3);
