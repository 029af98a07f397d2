//! Each endpoint of a daemon with a real Docker and a real etcd.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::daemon::{ADDRESS, Highhock};
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::{TempDir, eventually};
use crate::{start_with_admin, unique_name, unreachable_servers};

const TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the time in a field, which must be recent.
#[track_caller]
fn time(value: &Value) -> OffsetDateTime {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    let time = OffsetDateTime::parse(text, &Rfc3339).unwrap();
    let age = OffsetDateTime::now_utc() - time;
    assert!(text.ends_with('Z') && age.whole_minutes().abs() < 5, "{text}");
    time
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn shows_containers_records_and_changes_with_reasons() {
    let etcd = Etcd::start();
    let (_daemon, admin) = start_with_admin(&Highhock::new(&etcd.url()));
    let (name, unpublished) = (unique_name("web"), unique_name("unpublished"));
    let offer = format!("DISCOVER={name}:80/tcp,{unpublished}:81");
    let container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    let rival = Container::run(&["-e", &format!("DISCOVER={name}:80"), "-p", "0:80"], &[]);
    let id = container.id();

    let row = admin.row("/records", |row| row["container"] == id && row["state"] == "live");
    let port = container.published_port("80/tcp");
    assert_eq!(row["key"], format!("skydns/local/skydns/{name}"));
    assert_eq!(row["value"], json!({ "host": ADDRESS, "port": port, "ttl": 60 }));
    assert_eq!(row["reason"], Value::Null);
    time(&row["refreshed"]);
    // Byte for byte the value in etcd.
    let letter = format!("\"value\":{{\"host\":\"{ADDRESS}\",\"port\":{port},\"ttl\":60}}");
    assert!(admin.get("/records").body.contains(&letter));

    let standby = |row: &Value| row["container"] == rival.id() && row["state"] == "standby";
    let row = admin.row("/records", standby);
    assert!(row["reason"].as_str().unwrap().contains(container.name()), "{row}");
    assert_eq!((&row["standby"], &row["refreshed"]), (&json!("conflict"), &Value::Null));

    let row = admin.row("/containers", |row| row["id"] == id && row["services"] != json!([]));
    assert_eq!((&row["name"], &row["state"]), (&json!(container.name()), &json!("running")));
    let service = json!({ "name": name, "port": 80, "proto": "tcp", "method": "env" });
    assert_eq!(row["services"].as_array().unwrap()[0], service);
    let skipped = &row["skipped"].as_array().unwrap()[0];
    assert!(skipped["entry"].as_str().unwrap().contains(&unpublished), "{row}");
    assert!(!skipped["reason"].as_str().unwrap().is_empty(), "{row}");
    assert_eq!(row["withheld"], Value::Null);

    let key = format!("skydns/local/skydns/{name}");
    let put = admin.row("/changes", |row| row["key"] == key && row["what"] == "record published");
    assert_eq!(put["container"], json!({ "id": id, "name": container.name() }));
    time(&put["at"]);
}

#[test]
fn shows_actors_in_flow_order_with_all_fields() {
    let etcd = Etcd::start();
    let (daemon, admin) = start_with_admin(&Highhock::new(&etcd.url()));
    daemon.wait_for_log(&["docker connected"]);
    admin.row("/actors", |row| row["actor"] == "EtcdInserter" && row["handled"] != 0);
    let rows = admin.json("/actors");
    let names: Vec<_> = rows.as_array().unwrap().iter().map(|row| &row["actor"]).collect();
    assert_eq!(names, ["DockerPoller", "Registry", "ContainerWatcher", "EtcdInserter"]);
    for row in rows.as_array().unwrap() {
        let promised = [
            "actor",
            "instances",
            "depth",
            "capacity",
            "high_water",
            "enqueued",
            "handled",
            "coalesced",
            "refused",
            "restarts",
            "panics",
            "wait_seconds",
            "handle_seconds",
        ];
        for name in promised {
            assert!(!row[name].is_null(), "{name} in {row}");
        }
        for timing in ["wait_seconds", "handle_seconds"] {
            let mut names = keys(&row[timing]);
            names.sort_unstable();
            assert_eq!(names, ["count", "max", "p50", "p99", "sum"]);
        }
    }
}

#[test]
fn health_and_readiness_report_missing_parts() {
    // Without Docker and etcd the daemon is alive, but not ready.
    let (_daemon, admin) = start_with_admin(&unreachable_servers());
    assert_eq!(admin.json("/healthz")["healthy"], true);
    let reason = eventually("a reason by name", TIMEOUT, || {
        let answer = admin.get("/readyz");
        assert_eq!(answer.status, 503);
        let reason = answer.json()["reason"].as_str().unwrap().to_owned();
        (reason.contains("docker") && reason.contains("etcd")).then_some(reason)
    });
    assert_eq!(admin.json("/status")["reason"], reason);
    assert_eq!(admin.get("/containers").status, 503);
    assert_eq!(admin.get("/containers").json()["reason"], reason);

    let mut etcd = Etcd::start();
    let (_daemon, admin) = start_with_admin(&Highhock::new(&etcd.url()).flag("--etcd-ttl", "5"));
    eventually("it is ready", TIMEOUT, || (admin.get("/readyz").status == 200).then_some(()));
    assert_eq!(admin.json("/readyz"), json!({ "ready": true }));
    etcd.stop();
    let answer = eventually("it is not ready", TIMEOUT, || {
        let answer = admin.get("/readyz");
        (answer.status == 503).then_some(answer)
    });
    let body = answer.json();
    assert_eq!((&body["ready"], &body["kind"]), (&json!(false), &json!("etcd_away")));
    assert!(body["reason"].as_str().unwrap().starts_with("etcd does not answer"), "{body}");
    assert_eq!(admin.json("/healthz"), json!({ "healthy": true }));
    etcd.restart(false);
    eventually("it is ready again", TIMEOUT, || (admin.get("/readyz").status == 200).then_some(()));
}

#[test]
fn status_reports_docker_etcd_and_recent_errors() {
    let mut etcd = Etcd::start();
    let (daemon, admin) = start_with_admin(&Highhock::new(&etcd.url()).flag("--etcd-api", "v3"));
    let ready = eventually("a summary of a ready daemon", TIMEOUT, || {
        Some(admin.json("/status")).filter(|summary| summary["ready"] == true)
    });
    for field in ["now", "started"] {
        time(&ready[field]);
    }
    assert_eq!(ready["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&ready["docker"]["answers"], &ready["etcd"]["answers"]),
        (&json!(true), &json!(true))
    );
    time(&ready["docker"]["listed"]);
    time(&ready["etcd"]["written"]);
    assert!(ready["lease_remaining_seconds"].as_f64().unwrap() > 0.0, "{ready}");
    assert!(ready["records"]["live"].is_u64(), "{ready}");
    etcd.stop();
    daemon.wait_for_log(&["WARNING", "etcd unreachable"]);
    let errors = admin.json("/status")["errors"].clone();
    let away = |line: &&Value| line["message"].as_str().unwrap().starts_with("etcd unreachable");
    let line = errors.as_array().unwrap().iter().find(away).expect("the log line of the outage");
    assert_eq!(line["level"], "WARNING");
    assert_eq!(line["fields"]["actor"], "EtcdInserter");
    time(&line["at"]);
}

#[test]
fn shows_settings_with_layers_but_no_secrets() {
    let dir = TempDir::new();
    let token = dir.0.join("token");
    std::fs::write(&token, "unreadable-token\n").unwrap();
    let highhock = unreachable_servers()
        .flag("--etcd-username", "root")
        .env("HIGHHOCK_ETCD__PASSWORD", "hunter2")
        .flag("--admin-token-file", &token.display().to_string());
    let (_daemon, admin) = start_with_admin(&highhock);
    let answer = admin.get_with("/config", &["Authorization: Bearer unreadable-token"]);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body.contains("hunter2") && !answer.body.contains("visible"));
    let rows = answer.json();
    let row = |key: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key}")).clone()
    };
    let password = row("etcd.password");
    assert_eq!(password["value"], "(set, not shown)");
    assert_eq!(password["layer"], "environment");
    assert_eq!(password["place"], "HIGHHOCK_ETCD__PASSWORD");
    let url = row("docker.url");
    assert_eq!(url["value"], "unix:///nonexistent/docker.sock");
    assert_eq!((&url["layer"], &url["place"]), (&json!("flag"), &json!("--docker-url")));
    assert_eq!(
        (&row("etcd.ttl")["layer"], &row("etcd.ttl")["value"]),
        (&json!("default"), &json!(60))
    );
    assert_eq!(row("etcd.ca")["otherwise"], "the system's CAs");
}

#[test]
fn every_response_has_security_headers() {
    let (_daemon, admin) = start_with_admin(&unreachable_servers());
    for path in ["/", "/healthz", "/readyz", "/actors", "/containers", "/config", "/nonsense"] {
        let answer = admin.get(path);
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    }
    assert_eq!(admin.get("/nonsense").status, 404);
    let page = admin.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.body.starts_with("<!doctype html>"));
}
