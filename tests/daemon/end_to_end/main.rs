//! The built daemon, as its users meet it: on a real Docker engine and a real etcd of
//! the test's own.
//!
//! The engine is shared: every daemon sees the containers of all tests that run at the
//! time. So each test's services have names of their own, and it looks at no others.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

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
mod leases;
mod many_containers;
mod mass_withdrawal;
mod member_reader;
mod methods;
mod outages;
mod ownership;
mod poller;
mod publishing;
mod reload;
mod restarts;
mod standalone;

use std::time::Duration;

use support::daemon::ADDRESS;
use support::docker::Container;
use support::etcd::Etcd;
use support::{eventually, unique};

/// For what has no deadline of its own, on a machine that is busy with other things.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The directory of the default domain.
const ROOT: &str = "skydns/local/skydns";

/// A service's name that no other test has.
fn unique_name(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), unique())
}

/// The key of a service in the default domain.
fn key(name: &str) -> String {
    format!("{ROOT}/{name}")
}

/// The record of a service of this host, with the usual TTL.
fn record(port: u16) -> String {
    record_with_ttl(port, 60)
}

fn record_with_ttl(port: u16, ttl: u64) -> String {
    format!(r#"{{"host":"{ADDRESS}","port":{port},"ttl":{ttl}}}"#)
}

/// A container that offers its port 80 by this name, at a random port of the host's.
#[track_caller]
fn run_service(name: &str) -> Container {
    run_service_with(name, &[])
}

/// Such a container, with these options besides.
#[track_caller]
fn run_service_with(name: &str, options: &[&str]) -> Container {
    let offer = format!("DISCOVER={name}:80");
    Container::run(&[&["-e", &offer, "-p", "0:80"], options].concat(), &[])
}

/// Waits until a key has a value, and gives it.
#[track_caller]
fn wait_for_key(etcd: &Etcd, key: &str) -> String {
    eventually(&format!("a record at {key}"), TIMEOUT, || Some(etcd.get(key)?.value))
}

/// Waits until a key has this very value.
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
