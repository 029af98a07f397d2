//! A daemon that sees only the containers of one test, and serves its admin interface.

use crate::support::admin::Admin;
use crate::support::daemon::{Daemon, Highhock};
use crate::support::docker::{self, Container};
use crate::support::proxy::Proxy;
use crate::support::unique;

/// A service name that no other test uses.
pub fn unique_name(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), unique())
}

/// The key of a record in etcd's v3 API, in the default domain.
pub fn key(name: &str) -> String {
    let labels: Vec<_> = name.split('.').rev().collect();
    format!("/skydns/local/skydns/{}", labels.join("/"))
}

/// The engine as the daemon of one test sees it: only with the containers of this test.
pub struct Fixture {
    label: String,
    pub engine: Proxy,
}

impl Fixture {
    pub fn new() -> Self {
        let label = unique_name("fault");
        let engine = Proxy::with_label_filter(docker::server_address(), &label);
        Self { label, engine }
    }

    /// The address of the engine for the daemon.
    pub fn docker_url(&self) -> String {
        format!("tcp://{}", self.engine.authority())
    }

    /// A daemon on this fixture, with the changes that `change` makes.
    pub fn daemon(
        &self,
        etcd_url: &str,
        change: impl FnOnce(Highhock) -> Highhock,
    ) -> (Daemon, Admin) {
        let admin = Admin::on_loopback();
        let highhock = Highhock::new(etcd_url)
            .flag("--docker-url", &self.docker_url())
            .flag("--etcd-api", "v3")
            .flag("--admin-listen", &admin.listen());
        (change(highhock).start(), admin)
    }

    /// A container that declares its port 80 by this name, with these options and this command
    /// (none: wait).
    #[track_caller]
    pub fn run_service(&self, name: &str, options: &[&str], command: &[&str]) -> Container {
        let offer = format!("DISCOVER={name}:80");
        let own = ["--label", &self.label, "-e", &offer, "-p", "0:80"];
        Container::run(&[&own, options].concat(), command)
    }
}
