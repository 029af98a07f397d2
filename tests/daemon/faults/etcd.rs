//! Faults of etcd and of the connection to it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{Fixture, unique_name};
use crate::keys::has_state;
use crate::support::TempDir;
use crate::support::certs::{CertificateAuthority, CertificateOptions};
use crate::support::etcd::Etcd;
use crate::table::{FaultCase, field_contains};

const READY: &str = "\"ready\":true";

pub fn away(case: &FaultCase) {
    let (mut etcd, fixture) = (Etcd::start(), Fixture::new());
    let (_daemon, admin) = fixture.daemon(&etcd.url(), |it| it);
    case.wait_until_shown(admin, &[READY]);
    etcd.stop();
    let parts = ["etcd does not answer", &etcd.url(), "check that etcd runs there"];
    case.wait_until_shown(admin, &parts);
    etcd.restart(false);
    case.wait_until_shown(admin, &[READY]);
}

/// Sends a request that must succeed. Returns the response.
#[track_caller]
fn call(etcd: &Etcd, path: &str, body: &Value, token: Option<&str>) -> Value {
    let (status, response_body) =
        etcd.send_json("POST", &format!("/v3/{path}"), &body.to_string(), token);
    assert_eq!(status, 200, "{path}: {response_body}");
    serde_json::from_str(&response_body).unwrap()
}

pub fn takes_no_writes(case: &FaultCase) {
    full(case);
    read_only(case);
}

fn full(case: &FaultCase) {
    let quota = (1 << 19).to_string();
    let etcd = Etcd::start_with(&["--enable-v2=true", "--quota-backend-bytes", &quota]);
    let (fixture, v3) = (Fixture::new(), etcd.v3());
    let (_daemon, admin) = fixture.daemon(&etcd.url(), |it| it);
    let first = fixture.run_service(&unique_name("before"), &[], &[]);
    case.row(admin, "the first is there", has_state(&first, "live"));

    let filling = json!({ "key": "anVuaw==", "value": "anVu".repeat(10_000) }).to_string();
    let fill = || etcd.send_json("POST", "/v3/kv/put", &filling, None).0;
    assert!((0..100).any(|_| fill() != 200), "etcd is not full");
    let second = fixture.run_service(&unique_name("after"), &[], &[]);
    let row = case.row(admin, "a record that can't be put", has_state(&second, "failed"));
    let cause = ["its database is full", "etcdctl alarm disarm", "--quota-backend-bytes"];
    assert!(field_contains(&row, "reason", &cause), "{row}");
    // The existing record stays.
    case.row(admin, "the first is there still", has_state(&first, "live"));

    // As an operator would delete it.
    v3.delete("junk");
    let revision = v3.revision().to_string();
    call(&etcd, "kv/compaction", &json!({ "revision": revision, "physical": true }), None);
    call(&etcd, "maintenance/defragment", &json!({}), None);
    let member = v3.try_status().unwrap().member.to_string();
    let disarm = json!({ "action": "DEACTIVATE", "memberID": member, "alarm": "NOSPACE" });
    call(&etcd, "maintenance/alarm", &disarm, None);
    case.row(admin, "it is put now", has_state(&second, "live"));
}

fn read_only(case: &FaultCase) {
    let (etcd, fixture) = (Etcd::start(), Fixture::new());
    // All keys that begin with a slash.
    let right = |kind: &str| {
        let all = json!({ "permType": kind, "key": "Lw==", "range_end": "MA==" });
        json!({ "name": "guest", "perm": all })
    };
    call(&etcd, "auth/user/add", &json!({ "name": "me", "password": "mine" }), None);
    call(&etcd, "auth/role/add", &json!({ "name": "guest" }), None);
    call(&etcd, "auth/role/grant", &right("READ"), None);
    call(&etcd, "auth/user/grant", &json!({ "user": "me", "role": "guest" }), None);
    etcd.enable_v3_auth("root's");
    let (_daemon, admin) = fixture.daemon(&etcd.url(), |it| {
        it.flag("--etcd-username", "me").env("HIGHHOCK_ETCD__PASSWORD", "mine")
    });
    let container = fixture.run_service(&unique_name("refused"), &[], &[]);
    let row = case.row(admin, "a record that can't be put", has_state(&container, "failed"));
    let cause = [
        "etcd rejects the request",
        "permission denied",
        "grant this client's user access to the key",
    ];
    assert!(field_contains(&row, "reason", &cause), "{row}");
    let token = token_of_root(&etcd, "root's");
    call(&etcd, "auth/role/grant", &right("READWRITE"), Some(&token));
    case.row(admin, "it is put now", has_state(&container, "live"));
}

fn token_of_root(etcd: &Etcd, password: &str) -> String {
    let root = json!({ "name": "root", "password": password });
    call(etcd, "auth/authenticate", &root, None)["token"].as_str().unwrap().to_owned()
}

pub fn wrong_password(case: &FaultCase) {
    let (etcd, fixture, dir) = (Etcd::start(), Fixture::new(), TempDir::new());
    etcd.enable_v3_auth("right");
    let file = dir.0.join("password");
    let give = |password: &str| fs::write(&file, password).unwrap();
    give("wrong");
    let (_daemon, admin) = fixture.daemon(&etcd.url(), |it| {
        let highhock = it.flag("--etcd-username", "root").flag("--etcd-ttl", "5");
        highhock.flag("--etcd-password-file", &text(&file))
    });
    let cause = ["refuses the user", "root", "with this password", "etcd.passwordFile"];
    case.wait_until_shown(admin, &cause);
    give("right");
    case.wait_until_shown(admin, &[READY]);

    // The same for a healthy daemon whose password is changed.
    let new = json!({ "name": "root", "password": "newer" });
    call(&etcd, "auth/user/changepw", &new, Some(&token_of_root(&etcd, "right")));
    case.wait_until_shown(admin, &[&["etcd does not answer"], &cause[..]].concat());
    give("newer");
    case.wait_until_shown(admin, &[READY]);
}

pub fn expired_certificate(case: &FaultCase) {
    let (folder, ca, fixture) =
        (TempDir::new(), CertificateAuthority::new("private"), Fixture::new());
    let issue = |like| ca.issue(&folder.0, "server", like);
    let mut etcd = Etcd::start_with_tls(&issue(CertificateOptions::default()), None);
    let trusted = ca.write(&folder.0.join("ca.pem"));
    let (_daemon, admin) =
        fixture.daemon(&etcd.tls_url(), |it| it.flag("--etcd-ca", &text(&trusted)));
    case.wait_until_shown(admin, &[READY]);
    let mut starts_with = |like| {
        etcd.stop();
        issue(like);
        etcd.restart(false);
    };
    starts_with(CertificateOptions { expired: true, ..CertificateOptions::default() });
    case.wait_until_shown(
        admin,
        &["etcd does not answer", "certificate has expired on 2021-02-03", "renew"],
    );
    starts_with(CertificateOptions::default());
    case.wait_until_shown(admin, &[READY]);
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
