//! The etcd edge: clients that store records in etcd, behind the core's
//! [`RecordStore`](highhock_actors::RecordStore).
//!
//! - `v2` speaks the keys API of etcd up to 3.5 (`/v2/keys/…`), which SkyDNS 2 reads. Each record
//!   has its own TTL.
//! - `v3` speaks the JSON gateway of etcd 3.4 and newer (`/v3/…`), which serves the data that
//!   CoreDNS reads. All records are attached to one lease.
//! - `api_detection` chooses between both, before anything is written.
//! - `url_suggestion` finds an etcd that listens at another port than the default URL.
//! - `cluster` and `http` are the members and the connections to them, for both APIs.
//!
//! Both clients send each request once and classify its result. The core decides about retries,
//! about the order of writes, and about the consequences of a failure.

mod api_detection;
mod batch;
mod cluster;
mod credentials;
mod http;
mod url_suggestion;
mod v2;
mod v3;

pub use api_detection::{Api, ApiChoice, DetectError, configured_domain, detect};
pub use cluster::{Cluster, ClusterError};
pub use url_suggestion::suggest_url;
pub use v2::{EtcdV2, EtcdV2Options};
pub use v3::{EtcdV3, EtcdV3Options};
