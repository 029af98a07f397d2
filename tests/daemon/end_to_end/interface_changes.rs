//! The address of an interface changes while the daemon runs.

use std::process::Command;

use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::daemon::{Daemon, Highhock};
use crate::support::docker::{Container, docker, server_address};
use crate::support::{TempDir, eventually, free_port};
use crate::{TIMEOUT, run_service, unique_name};

const INTERFACE: &str = "hhlan0";
/// Addresses for documentation (RFC 5737).
const FIRST: &str = "192.0.2.7";
const SECOND: &str = "198.51.100.8";

/// A network namespace with an interface of its own, beside loopback. It belongs to a container.
struct Lan {
    container: Container,
    pid: String,
}

impl Lan {
    fn new() -> Self {
        let container = Container::run(&["--network", "none"], &[]);
        let pid = docker(&["inspect", "--format", "{{.State.Pid}}", container.id()]);
        let lan = Self { container, pid };
        lan.run("ip", &["link", "add", INTERFACE, "type", "veth", "peer", "name", "hhlan1"]);
        lan.run("ip", &["link", "set", INTERFACE, "up"]);
        lan.add(FIRST);
        lan
    }

    /// Runs a program of this machine in the namespace. Returns its output.
    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new("nsenter")
            .args(["--target", &self.pid, "--net", program])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn add(&self, address: &str) {
        self.run("ip", &["address", "add", &format!("{address}/24"), "dev", INTERFACE]);
    }

    fn remove(&self, address: &str) {
        self.run("ip", &["address", "del", &format!("{address}/24"), "dev", INTERFACE]);
    }

    /// A daemon that publishes the address of the interface.
    fn highhock(&self, highhock: Highhock) -> Highhock {
        highhock
            .in_network_of(&self.container)
            .without_flag("--discovery-host")
            .flag("--discovery-interface", INTERFACE)
    }

    /// Waits until DNS in the namespace answers with this address only.
    #[track_caller]
    fn wait_for_answer(&self, port: u16, name: &str, address: &str) {
        let (port, name) = (port.to_string(), format!("{name}.skydns.local"));
        let question = ["@127.0.0.1", "-p", &port, &name, "A", "+short", "+time=5", "+tries=1"];
        let answers = || (self.run("dig", &question).trim() == address).then_some(());
        eventually(&format!("{name} at {address}"), TIMEOUT, answers);
    }
}

fn started(daemon: &Daemon) {
    daemon.wait_for_log(&["docker connected"]);
}

#[test]
fn standalone_records_follow_the_interface() {
    let (lan, port, name) = (Lan::new(), free_port(), unique_name("moving"));
    let _service = run_service(&name);
    let daemon = lan.highhock(Highhock::standalone(port)).start();
    started(&daemon);
    lan.wait_for_answer(port, &name, FIRST);

    // An interface without an address keeps the records, because another address follows.
    lan.remove(FIRST);
    daemon.wait_for_log(&["WARNING", "interface lost its address", FIRST]);
    lan.wait_for_answer(port, &name, FIRST);
    lan.add(SECOND);
    daemon.wait_for_log(&["NOTICE", "address changed; publishing the new one", FIRST, SECOND]);
    lan.wait_for_answer(port, &name, SECOND);
    assert!(daemon.lines_with(&["record withdrawn", &name]).is_empty());

    // A further address changes nothing.
    lan.add(FIRST);
    lan.remove(SECOND);
    daemon.wait_for_log(&["NOTICE", "address changed", &format!("from: {SECOND}"), FIRST]);
    lan.wait_for_answer(port, &name, FIRST);
}

/// The engine is away when the address changes, so that it does not confirm the other address.
#[test]
fn address_that_returns_stays_published() {
    let (lan, port, name) = (Lan::new(), free_port(), unique_name("returning"));
    let (dir, _service) = (TempDir::new(), run_service(&name));
    let socket = dir.0.join("docker.sock");
    let mut engine = CuttableProxy::unix(&socket, server_address());
    let highhock = lan.highhock(Highhock::standalone(port)).without_flag("--docker-url");
    let highhock = highhock
        .flag("--docker-url", &format!("unix://{}", socket.display()))
        .flag("--admin-listen", &format!("127.0.0.1:{}", free_port()));
    let daemon = highhock.start();
    let wait_for_status = |is_waiting: bool| {
        eventually(&format!("a reload waits: {is_waiting}"), TIMEOUT, || {
            let status = highhock.output(&["status"]).stdout;
            let text = String::from_utf8(status).unwrap();
            (text.contains("configuration is waiting for docker") == is_waiting).then_some(())
        });
    };
    started(&daemon);
    lan.wait_for_answer(port, &name, FIRST);

    engine.cut();
    lan.add(SECOND);
    lan.remove(FIRST);
    daemon.wait_for_log(&["NOTICE", "address changed; publishing the new one", FIRST, SECOND]);
    wait_for_status(true);
    lan.add(FIRST);
    lan.remove(SECOND);
    daemon.wait_for_log(&["NOTICE", "interface has the published address again", FIRST]);
    wait_for_status(false);
    engine.restore();
    // The records of another core show the address that the daemon took for the current one.
    daemon.reload_and_wait(r#"{"discovery": {"methods": ["registrator"]}}"#);
    let name = unique_name("afterwards");
    let variable = format!("SERVICE_NAME={name}");
    let _service = Container::run(&["-e", &variable, "-p", "0:80"], &[]);
    lan.wait_for_answer(port, &name, FIRST);
}

#[test]
fn etcd_mode_reports_a_changed_address() {
    let (lan, admin) = (Lan::new(), format!("127.0.0.1:{}", free_port()));
    // No etcd runs in the namespace. The daemon compares the addresses while it waits for etcd.
    let highhock = lan.highhock(Highhock::new("http://127.0.0.1:1/"));
    let highhock = highhock.flag("--admin-listen", &admin);
    let daemon = highhock.start();
    daemon.wait_for_log(&["starting", FIRST]);
    let status = || {
        let output = highhock.output(&["status"]);
        String::from_utf8(output.stdout).unwrap()
    };
    lan.add(SECOND);
    lan.remove(FIRST);
    daemon.wait_for_log(&["WARNING", "address changed; restart highhock", FIRST, SECOND]);
    let line = format!(
        "address      published: {FIRST} (interface {INTERFACE}), now: {SECOND} (interface \
         {INTERFACE}); restart highhock to publish it\n"
    );
    eventually("the status shows it", TIMEOUT, || status().contains(&line).then_some(()));

    lan.add(FIRST);
    daemon.wait_for_log(&["NOTICE", "interface has the published address again", FIRST]);
    let is_gone = || {
        let text = status();
        (text.contains("ready") && !text.contains("address  ")).then_some(())
    };
    eventually("the status shows no difference", TIMEOUT, is_gone);
}
