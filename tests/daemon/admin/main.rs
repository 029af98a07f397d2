//! What the built daemon shows over HTTP, and to whom; and the commands that ask it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../support/mod.rs"]
mod support;

mod access;
mod commands;
mod endpoints;
mod port;

use support::admin::Admin;
use support::daemon::{Daemon, Highhock};
use support::unique;

/// A service's name that no other test has.
fn unique_name(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), unique())
}

/// A daemon with these flags besides, and where it shows its state.
fn start_with_admin(highhock: &Highhock) -> (Daemon, Admin) {
    let admin = Admin::on_loopback();
    (highhock.clone().flag("--admin-listen", &admin.listen()).start(), admin)
}

/// A daemon whose Docker and etcd don't answer: enough for what concerns HTTP alone.
fn unreachable_servers() -> Highhock {
    let highhock = Highhock::new("http://127.0.0.1:1");
    highhock.flag("--docker-url", "unix:///nonexistent/docker.sock")
}
