//! Many records of few containers, on an engine that hides all other containers: the expected
//! contents of etcd are then known exactly.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use crate::support::daemon::Highhock;
use crate::support::docker::{self, Container};
use crate::support::etcd_v3::V3Client;
use crate::support::eventually;
use crate::support::proxy::Proxy;
use crate::{record_with_ttl, unique_name};

/// The keys of the default domain in etcd's v3 API.
pub const KEY_PREFIX: &str = "/skydns/local/skydns/";

/// Values by key.
pub type Records = BTreeMap<String, String>;

/// The engine as the daemons of one test see it: only with the containers of this test.
pub struct Fixture {
    label: String,
    proxy: Proxy,
}

impl Fixture {
    pub fn new() -> Self {
        let label = unique_name("stage");
        let proxy = Proxy::with_label_filter(docker::server_address(), &label);
        Self { label, proxy }
    }

    /// A daemon on this fixture that uses etcd's v3 API.
    pub fn highhock(&self, etcd_urls: &str) -> Highhock {
        let engine = format!("tcp://{}", self.proxy.authority());
        Highhock::new(etcd_urls).flag("--docker-url", &engine).flag("--etcd-api", "v3")
    }

    /// The label of this fixture's containers.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The engine as this fixture shows it.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// A daemon on this fixture that sees changes only by events: its first poll after the start
    /// is an hour away.
    pub fn event_driven(&self, etcd_urls: &str) -> Highhock {
        let highhock = self.highhock(etcd_urls).flag("--docker-poll", "3600");
        highhock.flag("--docker-poll-container", "3600")
    }

    /// A container on this fixture, with these options.
    #[track_caller]
    pub fn container(&self, options: &[&str]) -> Container {
        Container::run(&[&["--label", &self.label], options].concat(), &[])
    }

    /// A container that declares this many services, all at one port.
    #[track_caller]
    pub fn service_container(&self, services: usize) -> ServiceContainer {
        let name = unique_name("pack");
        let names: Vec<_> = (0..services).map(|number| format!("{name}-{number}")).collect();
        let offers: Vec<_> = names.iter().map(|name| format!("{name}:80")).collect();
        let offer = format!("DISCOVER={}", offers.join(","));
        let container = self.container(&["-e", &offer, "-p", "0:80"]);
        ServiceContainer { names, container }
    }
}

/// A container with many services.
pub struct ServiceContainer {
    names: Vec<String>,
    pub container: Container,
}

impl ServiceContainer {
    /// The keys of its services in the default domain.
    pub fn keys(&self) -> HashSet<String> {
        self.names.iter().map(|name| format!("{KEY_PREFIX}{name}")).collect()
    }

    /// Its records while it runs, with the default TTL.
    #[track_caller]
    pub fn records(&self) -> Records {
        self.records_with_ttl(60)
    }

    #[track_caller]
    pub fn records_with_ttl(&self, ttl: u64) -> Records {
        let value = record_with_ttl(self.container.published_port("80/tcp"), ttl);
        self.keys().into_iter().map(|key| (key, value.clone())).collect()
    }
}

/// The records of several service containers.
#[track_caller]
pub fn records_of<'a>(
    containers: impl IntoIterator<Item = &'a ServiceContainer>,
    ttl: u64,
) -> Records {
    containers.into_iter().flat_map(|container| container.records_with_ttl(ttl)).collect()
}

/// The records in the default domain.
pub fn stored_records(etcd: &V3Client) -> Records {
    etcd.list(KEY_PREFIX).into_iter().map(|kv| (kv.key, kv.value)).collect()
}

/// Waits until etcd holds exactly these records.
#[track_caller]
pub fn wait_for_records(etcd: &V3Client, records: &Records, deadline: Duration) {
    let what = format!("exactly {} records", records.len());
    eventually(&what, deadline, || (stored_records(etcd) == *records).then_some(()));
}

/// The only lease of all records in the default domain.
#[track_caller]
pub fn only_lease(etcd: &V3Client) -> i64 {
    let leases: HashSet<_> = etcd.list(KEY_PREFIX).iter().map(|kv| kv.lease).collect();
    assert_eq!(leases.len(), 1, "{leases:?}");
    leases.into_iter().next().unwrap()
}
