//! The admin interface of the built daemon, its access control, and the commands that query it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

mod access;
mod commands;
mod endpoints;
mod port;

use support::admin::Admin;
use support::daemon::{Daemon, Highhock};
use support::unique;

/// A service name that no other test uses.
fn unique_name(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), unique())
}

/// Starts a daemon with an admin interface.
fn start_with_admin(highhock: &Highhock) -> (Daemon, Admin) {
    let admin = Admin::on_loopback();
    (highhock.clone().flag("--admin-listen", &admin.listen()).start(), admin)
}

/// A daemon whose Docker and etcd are unreachable: enough for tests of HTTP alone.
fn unreachable_servers() -> Highhock {
    let highhock = Highhock::new("http://127.0.0.1:1");
    highhock.flag("--docker-url", "unix:///nonexistent/docker.sock")
}
