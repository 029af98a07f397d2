//! HighHock publishes a DNS record for every service of a host's containers, in etcd or standalone.
//!
//! This crate is the edge of the daemon: the clients of Docker and etcd, the DNS server, the
//! settings, the command line, and their wiring. The core, which decides the records to publish,
//! is the crate `highhock-actors`. `ARCHITECTURE.md` describes both.

#[macro_use]
extern crate highhock_actors;

/// The launchers and fakes of the suites in `tests/`, for unit tests of private items. They refer
/// to this crate by its name.
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
#[cfg(test)]
extern crate self as highhock;

pub mod admin;
pub mod cli;
pub mod commands;
pub mod credentials;
pub mod daemon;
pub mod dns;
pub mod docker;
pub mod etcd;
pub mod host;
pub mod logging;
pub mod memory_store;
pub mod metrics;
pub mod record_store;
pub mod resolve;
pub mod settings;
pub mod text;
pub mod tls;
pub mod version;
pub mod zone;
