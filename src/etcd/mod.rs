//! The etcd edge: clients that keep records in etcd, behind the core's
//! [`RecordStore`](highhock_actors::RecordStore).
//!
//! An edge speaks the protocol and says what came of it, once a call; when to
//! try again, in which order and what a failure means for a record is the
//! core's business.

mod api_detection;
mod batch;
mod cluster;
mod credentials;
mod http;
mod v2;
mod v3;

pub use api_detection::{Api, ApiChoice, DetectError, configured_domain, detect};
pub use cluster::{Cluster, ClusterError};
pub use v2::{EtcdV2, EtcdV2Options};
pub use v3::{EtcdV3, EtcdV3Options};
