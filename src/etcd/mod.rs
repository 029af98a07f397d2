//! The etcd edge: clients that keep records in etcd, behind the core's
//! [`RecordStore`](highhock_actors::RecordStore).
//!
//! An edge speaks the protocol and says what came of it, once a call; when to
//! try again, in which order and what a failure means for a record is the
//! core's business.

mod batch;
mod cluster;
#[allow(dead_code, reason = "the v3 edge uses the rest of it")]
mod http;
#[allow(dead_code, reason = "the v3 edge uses the rest of it")]
mod login;
#[allow(dead_code, reason = "the v3 edge uses it")]
mod token;
mod v2;

pub use cluster::{Cluster, UnusableCluster};
pub use v2::{EtcdV2, EtcdV2Options};
