//! An etcd with authentication that other tenants share: the daemon needs no right beyond its own
//! directory, and `check` names a right that is missing.

use crate::TIMEOUT;
use crate::fixture::{Fixture, only_lease, wait_for_records};
use crate::support::daemon::Highhock;
use crate::support::etcd::{Etcd, Release};
use crate::support::eventually;

const PASSWORD: &str = "open sesame";
const UNAVAILABLE: Option<i32> = Some(69);

fn as_user(highhock: &Highhock, user: &str) -> Highhock {
    let secret = highhock.clone().env("HIGHHOCK_ETCD__PASSWORD", PASSWORD);
    secret.flag("--etcd-username", user)
}

fn shared_etcd(release: Release) -> Option<Etcd> {
    let etcd = Etcd::start_release(release)?;
    etcd.add_v3_tenant("dns", PASSWORD, "READWRITE", "/skydns");
    etcd.add_v3_tenant("reader", PASSWORD, "READ", "/skydns");
    etcd.add_v3_tenant("other", PASSWORD, "READWRITE", "/other");
    etcd.enable_v3_auth(PASSWORD);
    Some(etcd)
}

#[test]
fn publishes_beside_a_lease_that_is_unreadable() {
    let Some(etcd) = shared_etcd(Release::V3_6) else { return };
    let other = etcd.v3().with_login("other", PASSWORD);
    other.put("/other/key", "secret", Some(other.grant(600, None)));
    let root = etcd.v3().with_login("root", PASSWORD);

    let fixture = Fixture::new();
    let services = fixture.service_container(10);
    let highhock = as_user(&fixture.highhock(&etcd.url()), "dns");
    let mut daemon = highhock.start();
    wait_for_records(&root, &services.records(), TIMEOUT);
    let (lease, revision) = (only_lease(&root), root.revision());

    daemon.stop_with("TERM");
    let daemon = highhock.start();
    daemon.wait_for_log(&["lease acquired", "found_on_it: 10"]);
    assert_eq!(only_lease(&root), lease, "found by its id");
    assert_eq!(root.revision(), revision, "nothing is written again");

    root.revoke(lease);
    wait_for_records(&root, &services.records(), TIMEOUT);
    daemon.wait_for_log(&["WARNING", "lease lost"]);
    assert_eq!(other.list("/other/").len(), 1);
}

#[test]
fn check_reports_a_missing_permission() {
    for release in [Release::V3_4, Release::V3_6] {
        let Some(etcd) = shared_etcd(release) else { continue };
        let highhock = Highhock::new(&etcd.url()).flag("--etcd-api", "v3");
        for (user, expected) in [("dns", Some(0)), ("reader", UNAVAILABLE)] {
            // A busy etcd may not respond in time.
            let text = eventually(&format!("{expected:?} for {user}"), TIMEOUT, || {
                let output = as_user(&highhock, user).output(&["check"]);
                let text = String::from_utf8(output.stdout).unwrap();
                let is_answer = output.status.code() == expected && !text.contains("no response");
                is_answer.then_some(text)
            });
            assert_eq!(text.contains("permission denied"), user == "reader", "{text}");
        }
    }
    let etcd = Etcd::start();
    etcd.enable_v2_auth(PASSWORD);
    let highhock = Highhock::new(&etcd.url()).flag("--etcd-api", "v2");
    let output = highhock.output(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), UNAVAILABLE, "{text}");
    let output = as_user(&highhock, "root").output(&["check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(etcd.list(""), [], "nothing is written");
}
