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
pub mod check;
pub mod cli;
pub mod docker;
pub mod etcd;
pub mod exit;
pub mod explain;
pub mod host;
pub mod hostname;
mod lines;
pub mod logging;
pub mod mailboxes;
pub mod metadata;
pub mod metrics;
mod moment;
pub mod observed;
pub mod plain;
pub mod records;
pub mod run;
pub mod secret;
pub mod settings;
pub mod settle;
pub mod signals;
pub mod stamp;
pub mod standalone;
pub mod status;
pub mod store;
pub mod suspend;
pub mod systemd;
pub mod tls;
pub mod version;
