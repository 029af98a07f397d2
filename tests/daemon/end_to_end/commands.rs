//! The commands that end by themselves, and their exit statuses.

use std::process::Output;

use serde_json::Value;

use crate::support::admin::Admin;
use crate::support::daemon::{ADDRESS, Highhock};
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::network_namespace::{INTERFACE, InterfaceKind, NetworkNamespace};
use crate::support::scripted_server::{ScriptedResponse, ScriptedServer};
use crate::support::{TempDir, eventually, free_port};
use crate::{TIMEOUT, key, record, run_service, run_service_with, unique_name};

const UNAVAILABLE: Option<i32> = Some(69);
const CONFIG_ERROR: Option<i32> = Some(78);

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The result of `check` for this subject, without the subject.
#[track_caller]
fn verdict<'a>(text: &'a str, subject: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(subject));
    line.unwrap_or_else(|| panic!("no {subject} in:\n{text}")).trim()
}

#[test]
fn check_succeeds_if_everything_is_available() {
    let etcd = Etcd::start();
    let output = Highhock::new(&etcd.url()).output(&["check"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for subject in ["configuration", "docker", "etcd", "address"] {
        assert!(verdict(&text, subject).starts_with("ok "), "{text}");
    }
    assert!(verdict(&text, "address").contains(ADDRESS), "{text}");
    assert!(verdict(&text, "etcd").contains(&etcd.url()), "{text}");
    assert_eq!(etcd.list(""), []);
}

#[test]
fn check_reports_each_problem() {
    let away = format!("http://127.0.0.1:{}", free_port());
    let highhock = Highhock::new(&away).flag("--docker-url", "unix:///nonexistent/docker.sock");
    let highhock = highhock.without_flag("--discovery-host");
    let output = highhock.flag("--discovery-interface", "nonexistent0").output(&["check"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), UNAVAILABLE, "{text}");
    assert!(verdict(&text, "configuration").starts_with("ok "), "{text}");
    for (subject, reason) in [
        ("docker", "/nonexistent/docker.sock"),
        ("etcd", &*away),
        ("address", "found no address to publish"),
    ] {
        let verdict = verdict(&text, subject);
        assert!(verdict.starts_with("FAILED") && verdict.contains(reason), "{text}");
    }
}

#[test]
fn check_warns_of_unreadable_networks() {
    let (dir, socket) = (TempDir::new(), "docker.sock");
    let _engine = ScriptedServer::unix(&dir.0.join(socket), |request| {
        ScriptedResponse::json(match request.target.as_str() {
            "/version" => r#"{"ApiVersion": "1.41", "MinAPIVersion": "1.24"}"#,
            "/v1.41/info" => r#"{"ID": "scripted", "Name": "node"}"#,
            "/v1.41/networks" => r#"[{"Name": 7}, {"Name": "bridge"}]"#,
            _ => "[]",
        })
    });
    let url = format!("unix://{}/{socket}", dir.0.display());
    let highhock = Highhock::new("http://127.0.0.1:1").flag("--docker-url", &url);
    let highhock = highhock.without_flag("--discovery-host");
    let highhock = highhock.flag("--discovery-interface", INTERFACE);
    let namespace = NetworkNamespace::with_interface(InterfaceKind::Machine, ADDRESS);
    let text = stdout(&namespace.enter(|| highhock.output(&["check"])));
    let warning = "warning 1 unreadable networks; the address is not compared with them";
    assert!(text.lines().any(|line| line == format!("{:<14} {warning}", "docker")), "{text}");
}

#[test]
fn records_previews_without_writing() {
    let etcd = Etcd::start();
    let (name, unpublished) = (unique_name("preview"), unique_name("unpublished"));
    let offer = format!("DISCOVER={name}:80,{unpublished}:81");
    let container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    let second = run_service(&name);
    let ours = record(container.published_port("80/tcp"));
    let highhock = Highhock::new(&etcd.url());

    let output = highhock.output(&["records"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line = |parts: [&str; 2]| {
        text.lines().find(|line| parts.iter().all(|part| line.contains(part))).unwrap_or_default()
    };
    assert!(line([&key(&name), container.name()]).contains(&ours), "{text}");
    assert!(line([&key(&name), second.name()]).contains("on standby"), "{text}");
    assert!(line(["skipped", &unpublished]).contains(container.name()), "{text}");

    let output = highhock.output(&["records", "--json"]);
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let row_of = |container: &Container| {
        rows.iter().find(|row| row["container"] == container.id()).unwrap().clone()
    };
    let (first, second) = (row_of(&container), row_of(&second));
    assert_eq!(first["key"], key(&name));
    assert_eq!(first["value"], serde_json::from_str::<Value>(&ours).unwrap());
    assert_eq!((&first["state"], &first["reason"]), (&"pending".into(), &Value::Null));
    assert_eq!(second["state"], "standby");
    assert!(second["reason"].as_str().unwrap().contains(container.name()), "{second}");
    assert_eq!(etcd.list(""), []);
}

/// The owner of a container must not control the terminal of an operator who lists its records.
#[test]
fn container_text_is_escaped_for_the_terminal() {
    let name = unique_name("loud");
    let said = "highhock.text=a\u{9b}31m\u{7f}\u{202e}b";
    let _container =
        run_service_with(&name, &["--label", "highhock.host=a.example", "--label", said]);
    let highhock = Highhock::new(&format!("http://127.0.0.1:{}", free_port()));
    for arguments in [
        &["records"][..],
        &["records", "--json"],
        &["records", "--explain"],
        &["records", "--explain", "--json"],
    ] {
        let text = self::stdout(&highhock.output(arguments));
        assert!(text.contains(r"a\u009b31m\u007f\u202eb"), "{arguments:?}: {text:?}");
        let raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(raw), "{arguments:?}: {text:?}");
    }
}

#[test]
fn records_reports_an_unreachable_engine() {
    let highhock = Highhock::new("http://127.0.0.1:1");
    let output =
        highhock.flag("--docker-url", "unix:///nonexistent/docker.sock").output(&["records"]);
    assert_eq!(output.status.code(), UNAVAILABLE);
    assert!(stderr(&output).contains("/nonexistent/docker.sock"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[test]
fn missing_address_prevents_start_and_lists_failed_steps() {
    let highhock = Highhock::new("http://127.0.0.1:1").without_flag("--discovery-host");
    let highhock = highhock.flag("--discovery-interface", "nonexistent0");
    for command in ["run", "records"] {
        let output = highhock.output(&[command]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), UNAVAILABLE, "{text}");
        for step in [
            "discovery.host: not set",
            "EXTERNAL_IP: not set",
            "discovery.interface nonexistent0: no such interface",
            "discovery.metadata: not set",
        ] {
            assert!(text.contains(step), "no {step} in:\n{text}");
        }
    }
}

#[test]
fn address_comes_from_environment_or_interface() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).without_flag("--discovery-host");
    let output = highhock.clone().env("EXTERNAL_IP", "10.77.66.55").output(&["check"]);
    assert!(verdict(&stdout(&output), "address").contains("10.77.66.55 (EXTERNAL_IP)"));
    // The address is not reachable from other hosts.
    let output = highhock.flag("--discovery-interface", "lo").output(&["check"]);
    assert!(stdout(&output).contains("none of its addresses is reachable from other hosts"));
    assert_eq!(output.status.code(), UNAVAILABLE);
}

#[test]
fn address_comes_from_metadata_service_if_configured() {
    let droplet = ScriptedServer::tcp(|request| match request.target.as_str() {
        "/metadata/v1/interfaces/private/0/ipv4/address" => ScriptedResponse::json("10.77.66.77"),
        _ => ScriptedResponse::status(404, ""),
    });
    let etcd = Etcd::start();
    let service = format!("http://{}", droplet.authority());
    let highhock = Highhock::new(&etcd.url()).env("HIGHHOCK_TEST_METADATA_URL", &service);
    let highhock = highhock.without_flag("--discovery-host");
    let highhock = highhock.flag("--discovery-interface", "nonexistent0");
    assert_eq!(highhock.output(&["check"]).status.code(), UNAVAILABLE);
    assert_eq!(droplet.connections(), 0);

    let output = highhock.clone().flag("--discovery-metadata", "auto").output(&["check"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    let address = verdict(&text, "address");
    assert_eq!(address, "ok      10.77.66.77 (metadata service, digitalocean)");
    assert_eq!(stderr(&output), "");

    let output = highhock.flag("--discovery-metadata", "aws").output(&["run"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), UNAVAILABLE, "{text}");
    let step =
        format!("discovery.metadata aws: {service}: PUT /latest/api/token: returned no token");
    assert!(text.contains(&step), "{text}");
}

/// A container engine runs `status` as a health check, with the file of the daemon.
#[test]
fn status_is_not_affected_by_a_mistake_in_another_key() {
    let (etcd, admin) = (Etcd::start(), Admin::on_loopback());
    let highhock = Highhock::new(&etcd.url()).flag("--admin-listen", &admin.listen());
    let daemon = highhock.start();
    daemon.wait_for_log(&["docker connected"]);
    for config in [r#"{"etcd": {"ttl": 1}, "skydnss": {}}"#, "{ oops", ""] {
        let broken = highhock.clone().config(config);
        eventually("the daemon is ready", TIMEOUT, || {
            (broken.output(&["status"]).status.code() == Some(0)).then_some(())
        });
        assert_eq!(broken.output(&["actors"]).status.code(), Some(0), "{config}");
        assert_eq!(broken.output(&["check"]).status.code(), CONFIG_ERROR, "{config}");
    }
    let output = highhock.config(r#"{"admin": {"listenn": ""}}"#).output(&["status"]);
    assert_eq!(output.status.code(), CONFIG_ERROR, "{output:?}");
}

#[test]
fn invalid_configuration_prevents_start() {
    let highhock = Highhock::new("http://127.0.0.1:1").flag("--etcd-ttl", "0");
    let output = highhock.output(&["run"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), CONFIG_ERROR, "{text}");
    assert!(text.contains("flag --etcd-ttl: etcd.ttl: found \"0\""), "{text}");
}
