//! The etcd edge: clients that keep records in etcd, behind the core's
//! [`RecordStore`](highhock_actors::RecordStore).
//!
//! An edge speaks the protocol and says what came of it, once a call; when to
//! try again, in which order and what a failure means for a record is the
//! core's business.

mod batch;
mod http;
mod v2;

pub use v2::{EtcdV2, EtcdV2Options, UnusableUrl};
