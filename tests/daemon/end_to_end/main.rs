//! The built daemon on a real Docker engine and a real etcd.
//!
//! The engine is shared: every daemon sees the containers of all running tests. Each test
//! therefore uses unique service names and ignores all others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

mod addresses;
mod api_selection;
mod bad_input;
mod changes;
mod churn;
mod clusters;
mod commands;
mod container_lifecycle;
mod cut_streams;
mod duplicate_daemons;
mod engine_restarts;
mod fixture;
mod idle;
mod interface_changes;
mod leases;
mod many_containers;
mod mass_withdrawal;
mod member_reader;
mod methods;
mod old_store;
mod outages;
mod ownership;
mod poller;
mod publishing;
mod reload;
mod restarts;
mod routed_addresses;
mod socket_proxy;
mod standalone;
mod tenants;
mod url_suggestion;

use std::time::Duration;

use support::daemon::{ADDRESS, Daemon};
use support::docker::Container;
use support::etcd::Etcd;
use support::{eventually, unique};

/// The limit of operations without a deadline of their own, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The directory of the default domain.
const ROOT: &str = "skydns/local/skydns";

/// A service name that no other test uses.
fn unique_name(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), unique())
}

/// The key of a service in the default domain.
fn key(name: &str) -> String {
    format!("{ROOT}/{name}")
}

/// The record of a service of this host, with the default TTL.
fn record(port: u16) -> String {
    record_with_ttl(port, 60)
}

fn record_with_ttl(port: u16, ttl: u64) -> String {
    format!(r#"{{"host":"{ADDRESS}","port":{port},"ttl":{ttl}}}"#)
}

/// A container that declares its port 80 by this name, at a random host port.
#[track_caller]
fn run_service(name: &str) -> Container {
    run_service_with(name, &[])
}

/// Such a container with additional options.
#[track_caller]
fn run_service_with(name: &str, options: &[&str]) -> Container {
    let offer = format!("DISCOVER={name}:80");
    Container::run(&[&["-e", &offer, "-p", "0:80"], options].concat(), &[])
}

/// The warnings in the log, except those about containers of other tests. The log of every
/// daemon has such warnings, because the engine is shared. A listing is suspect if another test
/// removes containers with many names at that time.
fn warnings(daemon: &Daemon, names: &[&str]) -> Vec<String> {
    let mut lines = daemon.lines_with(&["WARNING"]);
    let is_own = |line: &str| names.iter().any(|name| line.contains(name));
    let concerns_others =
        |line: &str| ["container: ", "suspect listing"].iter().any(|it| line.contains(it));
    lines.retain(|line| !concerns_others(line) || is_own(line));
    lines
}

/// Waits until a key has a value. Returns the value.
#[track_caller]
fn wait_for_key(etcd: &Etcd, key: &str) -> String {
    eventually(&format!("a record at {key}"), TIMEOUT, || Some(etcd.get(key)?.value))
}

/// Waits until a key has exactly this value.
#[track_caller]
fn wait_for_value(etcd: &Etcd, key: &str, value: &str) {
    let what = format!("{value} at {key}");
    eventually(&what, TIMEOUT, || (etcd.get(key)?.value == value).then_some(()));
}

/// Waits until a key is gone.
#[track_caller]
fn wait_for_removal(etcd: &Etcd, key: &str) {
    eventually(&format!("{key} is gone"), TIMEOUT, || etcd.get(key).is_none().then_some(()));
}
