//! Bad input from a container, an engine or an etcd: it is reported in one clear line, and
//! nothing else is affected.

use crate::support::daemon::{Daemon, Highhock};
use crate::support::docker::{self, Container};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::support::proxy::{Proxy, ProxyMode};
use crate::{
    TIMEOUT, key, record, run_service, unique_name, wait_for_key, wait_for_removal, wait_for_value,
};

#[test]
fn malformed_entry_is_reported_once_and_others_kept() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).start();
    let (first, last, unpublished) =
        (unique_name("first"), unique_name("last"), unique_name("unpublished"));
    let container = Container::run(
        &[
            "-e",
            &format!("DISCOVER={first}:80,my web:80,far:70000,{unpublished}:81,{last}:80"),
            "-p",
            "0:80",
        ],
        &[],
    );
    let ours = record(container.published_port("80/tcp"));
    wait_for_value(&etcd, &key(&last), &ours);
    wait_for_value(&etcd, &key(&first), &ours);
    // The container is inspected again more than once.
    for _ in 0..2 {
        container.docker_command("pause");
        wait_for_removal(&etcd, &key(&first));
        container.docker_command("unpause");
        wait_for_value(&etcd, &key(&first), &ours);
    }
    for (entry, reason) in [
        ("my web:80", "use letters (a to z)"),
        ("far:70000", "is not a port (a number from 1 to 65535)"),
        (&format!("{unpublished}:81"), "not published"),
    ] {
        let logged = daemon.lines_with(&["skipped", container.name(), entry]);
        assert_eq!(logged.len(), 1, "{entry}: {logged:#?}");
        assert!(logged[0].contains(reason), "{}", logged[0]);
    }
}

#[test]
fn empty_variable_is_reported_once_and_label_used() {
    let etcd = Etcd::start();
    let daemon = Highhock::new(&etcd.url()).start();
    let name = unique_name("labelled");
    let label = format!("highhock.discover={name}:80");
    let container = Container::run(&["-e", "DISCOVER=", "--label", &label, "-p", "0:80"], &[]);
    wait_for_value(&etcd, &key(&name), &record(container.published_port("80/tcp")));
    let logged = daemon.wait_for_log(&["skipped", container.name(), "DISCOVER="]);
    assert!(logged.contains("it names no service"), "{logged}");
    assert_eq!(daemon.lines_with(&["skipped", container.name()]).len(), 1);
}

/// The only log line about a problem with this server.
#[track_caller]
fn assert_logged_once(daemon: &Daemon, trouble: &str) -> String {
    daemon.wait_for_log(&["WARNING", trouble]);
    let mut lines = daemon.lines_with(&["WARNING", trouble]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

#[test]
fn malformed_engine_responses_are_reported_and_survived() {
    let etcd = Etcd::start();
    let engine = Proxy::new(docker::server_address());
    engine.set_mode(ProxyMode::HtmlResponses);
    let url = format!("tcp://{}", engine.authority());
    let mut daemon = Highhock::new(&etcd.url()).flag("--docker-url", &url).start();
    let line = assert_logged_once(&daemon, "docker unreachable; waiting for it");
    assert!(line.contains(&url) && line.contains("<html>"), "{line}");

    engine.set_mode(ProxyMode::PassThrough);
    let name = unique_name("outlives");
    let container = run_service(&name);
    wait_for_key(&etcd, &key(&name));
    for (mode, logged) in
        [(ProxyMode::TruncatedResponses, "response"), (ProxyMode::HtmlResponses, "<html>")]
    {
        let past = daemon.lines_with(&["WARNING", "docker unreachable; keeping"]).len();
        engine.set_mode(mode);
        let line = eventually(&format!("a line about {mode:?}"), TIMEOUT, || {
            daemon.lines_with(&["WARNING", "docker unreachable; keeping"]).get(past).cloned()
        });
        assert!(line.contains(logged), "{line}");
        engine.set_mode(ProxyMode::PassThrough);
        let back = ["NOTICE", "docker connected again"];
        eventually("docker is back", TIMEOUT, || {
            (daemon.lines_with(&back).len() > past).then_some(())
        });
        assert!(etcd.get(&key(&name)).is_some());
    }
    container.stop();
    wait_for_removal(&etcd, &key(&name));
    assert!(daemon.is_alive());
}

#[test]
fn malformed_etcd_responses_are_reported_and_survived() {
    let etcd = Etcd::start();
    let proxy = Proxy::new(etcd.server_address());
    proxy.set_mode(ProxyMode::HtmlResponses);
    let mut daemon = Highhock::new(&format!("http://{}", proxy.authority())).start();
    let (name, later) = (unique_name("outlives"), unique_name("later"));
    let container = run_service(&name);
    let line = assert_logged_once(&daemon, "etcd unreachable");
    assert!(line.contains(&proxy.authority()) && line.contains("Welcome to nginx"), "{line}");

    proxy.set_mode(ProxyMode::PassThrough);
    wait_for_key(&etcd, &key(&name));
    proxy.set_mode(ProxyMode::HtmlResponses);
    let second = run_service(&later);
    eventually("a second warning", TIMEOUT, || {
        (daemon.lines_with(&["WARNING", "etcd unreachable"]).len() == 2).then_some(())
    });
    container.stop();
    proxy.set_mode(ProxyMode::TruncatedResponses);
    daemon.wait_for_log(&["etcd unreachable"]);
    proxy.set_mode(ProxyMode::PassThrough);
    wait_for_value(&etcd, &key(&later), &record(second.published_port("80/tcp")));
    wait_for_removal(&etcd, &key(&name));
    assert!(daemon.is_alive());
}
