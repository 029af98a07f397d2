//! The daemon's state over HTTP, for its operator: read, never changed.
//!
//! The server runs on a thread of its own. What it asks of the actors goes through a
//! [`AdminBridge`] on theirs, each question with a deadline, so that an actor that hangs is told
//! of and holds nobody up.

mod active_config;
mod auth;
mod bridge;
mod client;
mod daemon_api;
mod endpoints;
mod host_check;
mod page;
mod response;
mod rows;
mod server;
mod status;
mod token;

pub use active_config::{ActiveConfig, DnsReport};
pub use bridge::{AdminBridge, BridgeHandle, QueryError};
pub use client::{AdminClient, ClientError};
pub use daemon_api::{CoreApi, DaemonApi};
pub use host_check::{AllowedHosts, UnknownHosts};
pub use rows::{ActorRow, TimingRow};
pub use server::serve;
pub use status::{DockerReport, EtcdReport, LogRow, RecordCounts, StatusResponse};
pub use token::{TokenError, check_token};
