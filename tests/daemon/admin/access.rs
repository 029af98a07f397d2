//! Access control of the admin interface.

use std::fs;
use std::time::Duration;

use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::etcd::Etcd;
use crate::support::{TempDir, eventually};
use crate::{start_with_admin, unreachable_servers};

const CONFIG_ERROR: Option<i32> = Some(78);
const TIMEOUT: Duration = Duration::from_secs(20);

#[test]
fn rejects_methods_that_change_state() {
    let (_daemon, admin) = start_with_admin(&unreachable_servers());
    admin.get("/healthz");
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"] {
        for path in ["/", "/actors", "/nonsense"] {
            let head = [&*format!("{method} {path} HTTP/1.1"), "Host: localhost"];
            let answer = admin.send(&head).unwrap();
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET, HEAD"));
            assert!(answer.json()["reason"].is_string());
        }
    }
    let answer = admin.send(&["HEAD /actors HTTP/1.1", "Host: localhost"]).unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert!(answer.header("content-length").unwrap().parse::<usize>().unwrap() > 0);
}

#[test]
fn rejects_foreign_host_headers() {
    let (_daemon, admin) = start_with_admin(&unreachable_servers());
    assert_eq!(admin.get("/actors").status, 200);
    for (host, status) in [
        ("localhost", 200),
        ("LOCALHOST:9465", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example.org", 403),
        ("evil.example.org:9465", 403),
        ("localhost.evil.example.org", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ] {
        for path in ["/", "/healthz", "/actors"] {
            let head = [&*format!("GET {path} HTTP/1.1"), &*format!("Host: {host}")];
            assert_eq!(admin.send(&head).unwrap().status, status, "{host} {path}");
        }
    }
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let own = format!("Host: {}", machine.trim());
    assert_eq!(admin.send(&["GET /actors HTTP/1.1", &own]).unwrap().status, 200);
    // No Host header, two of them, and one in the request line.
    for head in [
        &["GET /actors HTTP/1.0"][..],
        &["GET /actors HTTP/1.1", "Host: localhost", "Host: evil.example.org"],
        &["GET http://evil.example.org/actors HTTP/1.1", "Host: localhost"],
    ] {
        let status = admin.send(head).map(|answer| answer.status);
        assert!(matches!(status, None | Some(400 | 403)), "{head:?}: {status:?}");
    }
}

#[test]
fn token_is_required_except_for_the_bare_page() {
    let (_daemon, admin) =
        start_with_admin(&unreachable_servers().env("HIGHHOCK_ADMIN__TOKEN", "hunter2"));
    // The page requests the token itself and contains no data.
    assert_eq!(admin.get("/").status, 200);
    for path in ["/healthz", "/readyz", "/actors", "/containers", "/records", "/config", "/x"] {
        for header in
            [&[][..], &["Authorization: Bearer hunter"], &["Authorization: Basic hunter2"]]
        {
            let answer = admin.get_with(path, header);
            assert_eq!(answer.status, 401, "{path} {header:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"highhock\""));
            assert!(!answer.body.contains("hunter"));
        }
    }
    let bearer = ["Authorization: Bearer hunter2"];
    assert_eq!(admin.get_with("/actors", &bearer).status, 200);
    // A page of another site has no token, so its host name does not matter.
    let head = ["GET /actors HTTP/1.1", "Host: monitoring.example.org", bearer[0]];
    assert_eq!(admin.send(&head).unwrap().status, 200);
}

#[test]
fn rereads_the_token_file_when_it_changes() {
    let dir = TempDir::new();
    let path = dir.0.join("token");
    fs::write(&path, "first\n").unwrap();
    let (_daemon, admin) =
        start_with_admin(&unreachable_servers().flag("--admin-token-file", path.to_str().unwrap()));
    let status = |token: &str| {
        admin.get_with("/actors", &[&*format!("Authorization: Bearer {token}")]).status
    };
    assert_eq!((status("first"), status("second")), (200, 401));
    fs::write(&path, "second\n").unwrap();
    eventually("the second token is taken", TIMEOUT, || (status("second") == 200).then_some(()));
    assert_eq!(status("first"), 401);
}

#[test]
fn remote_listen_needs_a_token_or_allow_remote() {
    let refused = |flags: &[(&str, &str)]| {
        let highhock =
            flags.iter().fold(unreachable_servers(), |all, (name, value)| all.flag(name, value));
        let output = highhock.output(&["run"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), CONFIG_ERROR, "{text}");
        text
    };
    let text = refused(&[("--admin-listen", "0.0.0.0:9465")]);
    let line = "  flag --admin-listen: admin.listen: 0.0.0.0:9465 is reachable from other hosts; \
                use a loopback address such as 127.0.0.1:9465, or set admin.token, admin.tokenFile or \
                admin.allowRemote\n";
    assert!(text.contains(line), "{text}");
    let text = refused(&[("--admin-token-file", "/nonexistent/token")]);
    let line = "highhock: admin.tokenFile: /nonexistent/token: cannot be read: No such file";
    assert!(text.lines().last().unwrap().starts_with(line), "{text}");
    let text = refused(&[("--admin-token-file", "/dev/null")]);
    assert!(text.contains("admin.tokenFile: /dev/null: contains no token"), "{text}");
}

#[test]
fn allow_remote_hides_config() {
    let (_daemon, admin) =
        start_with_admin(&unreachable_servers().flag("--admin-allow-remote", "true"));
    assert_eq!(admin.get("/actors").status, 200);
    let answer = admin.get("/config");
    assert_eq!(answer.status, 403);
    assert!(answer.json()["reason"].as_str().unwrap().contains("admin.allowRemote"));
}

#[test]
fn reload_applies_token_address_and_config_visibility() {
    let etcd = Etcd::start();
    let highhock = Highhock::new(&etcd.url()).without_flag("--docker-poll");
    let highhock = highhock.without_flag("--admin-listen");
    let [first, second] = [Admin::on_loopback(), Admin::on_loopback()];
    let config = |admin: Admin, rest: &str| {
        format!(r#"{{"admin": {{"listen": "{}"{rest}}}, "docker": {{"poll": 2}}}}"#, admin.listen())
    };
    let daemon = highhock.config(&config(first, "")).start();
    let poll = |admin: Admin, headers: &[&str]| {
        let rows = admin.get_with("/config", headers).json();
        let row = rows.as_array().unwrap().iter().find(|row| row["key"] == "docker.poll");
        row.unwrap().clone()
    };
    assert_eq!(
        (&poll(first, &[])["layer"], &poll(first, &[])["value"]),
        (&"file".into(), &2.into())
    );

    let bearer = ["Authorization: Bearer hunter2"];
    daemon.reload_and_wait(&config(first, r#", "token": "hunter2""#));
    eventually("the token is required", TIMEOUT, || {
        (first.get("/config").status == 401).then_some(())
    });
    assert_eq!(first.get_with("/config", &bearer).status, 200);

    daemon.reload_and_wait(&config(second, r#", "token": "hunter2""#).replace("2}}", "3}}"));
    assert_eq!(poll(second, &bearer)["value"], 3);
    eventually("the old address is left", TIMEOUT, || {
        first.send(&["GET / HTTP/1.1", "Host: localhost"]).is_none().then_some(())
    });

    // A rejected configuration changes nothing.
    daemon.reload(r#"{"admin": {"listen": "0.0.0.0:9465"}}"#);
    daemon.wait_for_log(&["configuration error", "is reachable from other hosts"]);
    daemon.reload(r#"{"admin": {"tokenFile": "/nonexistent/token"}}"#);
    daemon.wait_for_log(&["configuration error", "/nonexistent/token"]);
    assert_eq!(poll(second, &bearer)["value"], 3);
    daemon.reload_and_wait(r#"{"admin": {"listen": ""}}"#);
    eventually("it is shown nowhere", TIMEOUT, || {
        second.send(&["GET / HTTP/1.1", "Host: localhost"]).is_none().then_some(())
    });
}
