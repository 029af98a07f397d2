//! A socket proxy that refuses the optional endpoints of the engine.

use crate::support::admin::Admin;
use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::daemon::{ADDRESS, Highhock};
use crate::support::docker;
use crate::support::etcd::Etcd;
use crate::support::network_namespace::{INTERFACE, InterfaceKind, NetworkNamespace};
use crate::support::proxy::{Proxy, ProxyMode};
use crate::support::{TempDir, eventually};
use crate::{TIMEOUT, key, record, run_service, unique_name, wait_for_removal, wait_for_value};

/// A proxy before the engine, behind a socket that every network namespace reaches.
struct SocketProxy {
    _socket: CuttableProxy,
    _proxy: Proxy,
    dir: TempDir,
}

impl SocketProxy {
    fn new() -> Self {
        let (dir, proxy) = (TempDir::new(), Proxy::new(docker::server_address()));
        proxy.set_mode(ProxyMode::LeastRights);
        let socket = CuttableProxy::unix(&dir.0.join("docker.sock"), proxy.server_address());
        Self { _socket: socket, _proxy: proxy, dir }
    }

    /// A daemon behind the proxy.
    fn highhock(&self, etcd_url: &str) -> Highhock {
        let url = format!("unix://{}/docker.sock", self.dir.0.display());
        Highhock::new(etcd_url).flag("--docker-url", &url)
    }

    /// Such a daemon in a container that needs no etcd, because it does not start.
    fn contained_highhock(&self) -> Highhock {
        self.highhock("http://127.0.0.1:1/").in_own_container()
    }
}

/// The daemon publishes the address of the interface in the network namespace.
fn with_detected_address(highhock: Highhock) -> Highhock {
    highhock.without_flag("--discovery-host").flag("--discovery-interface", INTERFACE)
}

/// Asserts that the daemon and both commands end with this exit code and a text with these parts.
#[track_caller]
fn assert_fails(highhock: &Highhock, exit_code: i32, parts: &[&str]) {
    let mut daemon = highhock.start();
    let code = daemon.wait_for_exit();
    let mut results = vec![(code, daemon.log())];
    for command in ["check", "records"] {
        let output = highhock.output(&[command]);
        let text = [output.stdout, output.stderr].concat();
        results.push((output.status.code(), String::from_utf8(text).unwrap()));
    }
    for (code, text) in results {
        assert_eq!(code, Some(exit_code), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "no {parts:?} in:\n{text}");
    }
}

#[test]
fn publishes_and_withdraws_with_the_least_rights() {
    let proxy = SocketProxy::new();
    let namespace = NetworkNamespace::with_interface(InterfaceKind::Machine, ADDRESS);
    let name = unique_name("least");
    let container = run_service(&name);
    let value = record(container.published_port("80/tcp"));
    let (etcd, daemon) = namespace.enter(|| {
        let (etcd, admin) = (Etcd::start(), Admin::on_loopback());
        let highhock = with_detected_address(proxy.highhock(&etcd.url()));
        let daemon = highhock.flag("--admin-listen", &admin.listen()).start();
        wait_for_value(&etcd, &key(&name), &value);
        let is_ready = || (admin.get("/readyz").status == 200).then_some(());
        eventually("the daemon is ready", TIMEOUT, is_ready);
        (etcd, daemon)
    });
    container.remove();
    namespace.enter(|| wait_for_removal(&etcd, &key(&name)));
    for (endpoint, loss) in [
        ("/info", "the engine is identified by this machine's host name and docker.url"),
        ("/networks", "the published address is not compared with the engine's networks"),
        ("/events", "the records of a draining container are withdrawn only when it ends"),
    ] {
        let lines = daemon.lines_with(&["WARNING", endpoint]);
        assert_eq!(lines.len(), 1, "{endpoint}: {lines:?}");
        assert!(lines[0].contains(loss), "{lines:?}");
    }
}

#[test]
fn container_needs_a_configured_hostname() {
    let (proxy, namespace) = (SocketProxy::new(), NetworkNamespace::new());
    let highhock = proxy.contained_highhock();
    let cause = "HighHock runs in a container with a host name of its own";
    let parts = [cause, "set skydns.hostname to the name of this host"];
    namespace.enter(|| assert_fails(&highhock, 78, &parts));
}

#[test]
fn container_with_configured_hostname_and_address_publishes() {
    let (proxy, namespace) = (SocketProxy::new(), NetworkNamespace::new());
    let name = unique_name("contained");
    let container = run_service(&name);
    let value = record(container.published_port("80/tcp"));
    let daemon = namespace.enter(|| {
        let etcd = Etcd::start();
        let highhock = proxy.highhock(&etcd.url()).in_own_container();
        let daemon = highhock.flag("--skydns-hostname", "node-7").start();
        wait_for_value(&etcd, &key(&name), &value);
        daemon
    });
    daemon.wait_for_log(&["docker connected", "hostname: node-7"]);
}

#[test]
fn detected_address_of_a_container_prevents_start() {
    let proxy = SocketProxy::new();
    let namespace = NetworkNamespace::with_interface(InterfaceKind::Container, ADDRESS);
    let highhock = with_detected_address(proxy.contained_highhock());
    let highhock = highhock.flag("--skydns-hostname", "node-7");
    let cause = format!("address {ADDRESS} of interface {INTERFACE} belongs to a container");
    let parts = [cause.as_str(), "--network host", "set discovery.host"];
    namespace.enter(|| assert_fails(&highhock, 69, &parts));
}
