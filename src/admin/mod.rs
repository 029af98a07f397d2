//! The admin interface: the state of the daemon over HTTP, read-only.
//!
//! The HTTP server runs on its own thread. Its queries reach the actors through an [`AdminBridge`]
//! on their thread. Each query has a deadline, so that an actor that hangs is reported and blocks
//! no other request.

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
