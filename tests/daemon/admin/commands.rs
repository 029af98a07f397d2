//! `highhock status` and `highhock actors`.

use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::etcd::Etcd;
use crate::support::scripted_server::{ScriptedResponse, ScriptedServer};
use crate::support::{eventually, free_port};
use crate::{start_with_admin, unreachable_servers};

const UNAVAILABLE: Option<i32> = Some(69);
const NOT_READY: Option<i32> = Some(1);
const TIMEOUT: Duration = Duration::from_secs(20);

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn with_admin(highhock: Highhock, admin: Admin) -> Highhock {
    highhock.flag("--admin-listen", &admin.listen())
}

#[test]
fn status_exits_with_0_only_if_ready() {
    let mut etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).env("HIGHHOCK_ADMIN__TOKEN", "hunter2");
    let (_daemon, admin) = start_with_admin(&highhock);
    let highhock = with_admin(highhock, admin);
    let output = eventually("status 0", TIMEOUT, || {
        Some(highhock.output(&["status"])).filter(|output| output.status.code() == Some(0))
    });
    let text = stdout(&output);
    let line = |subject: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(subject));
        line.unwrap_or_else(|| panic!("no {subject} in:\n{text}")).trim()
    };
    assert_eq!(line("ready"), "yes");
    assert!(line("docker").starts_with("answers, listed "), "{text}");
    assert!(line("etcd").starts_with("answers, "), "{text}");
    assert_eq!(stderr(&output), "");
    let output = highhock.output(&["status", "--json"]);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(json["ready"], true);

    etcd.stop();
    let output = eventually("status 1", TIMEOUT, || {
        Some(highhock.output(&["status"])).filter(|output| output.status.code() == NOT_READY)
    });
    assert!(
        stdout(&output).contains("ready        NO: etcd does not answer"),
        "{}",
        stdout(&output)
    );
    // Without the token the request is rejected.
    let output = with_admin(Highhock::new(&etcd.url()), admin).output(&["status"]);
    assert_eq!(output.status.code(), UNAVAILABLE);
    assert!(stderr(&output).contains("requires its token; set admin.token or admin.tokenFile"));
}

#[test]
fn unreachable_daemon_error_is_one_line_with_a_remedy() {
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    for command in ["status", "actors"] {
        let output = unreachable_servers().flag("--admin-listen", &listen).output(&[command]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), UNAVAILABLE, "{text}");
        assert!(text.starts_with(&format!("highhock: no highhock answers at http://{listen}/: ")));
        assert!(text.contains("is it running") && text.lines().count() == 1, "{text}");
        let output = unreachable_servers().output(&[command]);
        assert_eq!(output.status.code(), UNAVAILABLE);
        assert!(stderr(&output).contains("admin.listen is empty"), "{}", stderr(&output));
    }
    let other = ScriptedServer::tcp(|_| ScriptedResponse::html());
    let output =
        unreachable_servers().flag("--admin-listen", &other.authority()).output(&["status"]);
    assert_eq!(output.status.code(), UNAVAILABLE);
    assert!(stderr(&output).contains("another program"), "{}", stderr(&output));
}

#[test]
fn actors_prints_mailboxes_once_or_every_second() {
    let highhock = unreachable_servers();
    let (_daemon, admin) = start_with_admin(&highhock);
    admin.get("/healthz");
    let highhock = with_admin(highhock, admin);
    let output = highhock.output(&["actors"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let names = text.lines().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>();
    let actors = ["DockerPoller", "Registry", "ContainerWatcher", "EtcdInserter"];
    assert_eq!(names[0], "actor");
    assert_eq!(names[1..], actors);
    for column in ["depth", "capacity", "high_water", "coalesced", "restarts", "panics"] {
        assert!(text.lines().next().unwrap().contains(column), "{text}");
    }
    let output = highhock.output(&["actors", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(rows.len(), 4);

    // `--watch` ends after its third response.
    let (body, asked) = (admin.get("/actors").body, AtomicUsize::new(0));
    let ending = ScriptedServer::tcp(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0..3 => ScriptedResponse::json(body.clone()),
        _ => ScriptedResponse::Hangup,
    });
    let highhock = highhock.flag("--admin-listen", &ending.authority());
    let output = highhock.output(&["actors", "--watch"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), UNAVAILABLE);
    assert_eq!(text.matches("EtcdInserter").count(), 3, "{text}");
    assert_eq!(text.matches("handled/s").count(), 2, "{text}");
    assert!(stderr(&output).contains("no highhock answers at"), "{}", stderr(&output));
}
