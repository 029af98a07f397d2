//! `/metrics` of the built daemon with a real Docker and a real etcd.

use std::time::Duration;

use crate::assert_promtool_accepts;
use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::docker::Container;
use crate::support::etcd::Etcd;
use crate::support::{eventually, unique};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The value of the line with this prefix.
fn value(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|other| other.strip_prefix(line)?.trim().parse().ok())
}

#[test]
fn daemon_exports_all_metrics() {
    let (etcd, admin) = (Etcd::start(), Admin::on_loopback());
    let highhock = Highhock::new(&etcd.url()).flag("--admin-listen", &admin.listen());
    let daemon = highhock.start();
    daemon.wait_for_log(&["docker connected"]);
    let name = format!("metrics-{}-{}", std::process::id(), unique());
    let offer = format!("DISCOVER={name}:80");
    let _container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    let text = eventually("a record whose way was timed", TIMEOUT, || {
        let text = admin.get("/metrics").body;
        (value(&text, "highhock_event_to_record_seconds_count")? >= 1.0).then_some(text)
    });
    assert_promtool_accepts(&text);
    for line in [
        r#"highhock_records{state="live"}"#,
        r#"highhock_containers{state="running"}"#,
        r#"highhock_docker_requests_total{request="list",result="ok"}"#,
        r#"highhock_docker_request_seconds_count{request="inspect"}"#,
        r#"highhock_etcd_requests_total{request="write",result="ok"}"#,
        r#"highhock_messages_handled_total{actor="EtcdInserter"}"#,
        r#"highhock_message_wait_seconds_count{actor="EtcdInserter",message="Domain"}"#,
        "highhock_etcd_last_write_timestamp_seconds",
        "highhock_etcd_last_audit_timestamp_seconds",
        "process_resident_memory_bytes",
    ] {
        assert!(value(&text, line).is_some_and(|value| value > 0.0), "{line}\n{text}");
    }
    // No container name is exposed.
    assert!(!text.contains(&name), "{text}");

    let openmetrics =
        admin.get_with("/metrics", &["Accept: application/openmetrics-text;version=1.0.0"]);
    let content_type = openmetrics.header("content-type").unwrap();
    assert!(content_type.starts_with("application/openmetrics-text"), "{content_type}");
    assert!(openmetrics.body.ends_with("# EOF\n"));
}

#[test]
fn exports_metrics_without_docker_and_etcd() {
    let admin = Admin::on_loopback();
    let highhock = Highhock::new("http://127.0.0.1:1").flag("--admin-listen", &admin.listen());
    let _daemon = highhock.flag("--docker-url", "unix:///nonexistent/docker.sock").start();
    let answer = admin.get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_promtool_accepts(&answer.body);
    assert_eq!(value(&answer.body, "highhock_ready"), Some(0.0));
}
