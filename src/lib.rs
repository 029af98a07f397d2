//! HighHock: a DNS record in etcd for every service of a host's containers.
//!
//! The edges of the daemon (Docker, etcd, settings, the command line) and their
//! wiring; the core, which decides what is published, is the crate
//! `highhock-actors`.

#[macro_use]
extern crate highhock_actors;

/// The launchers and fakes of the suites in `tests/`, which know this crate by its
/// name, for unit tests of what no suite can see.
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
