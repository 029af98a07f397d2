//! The real etcds of other suites. Checks that each release, and a cluster of three, behave
//! under faults as the tests of the daemon assume.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

use std::time::Duration;

use support::cluster::Cluster;
use support::etcd::{Etcd, Release};
use support::etcd_v3::V3Client;
use support::eventually;

const PREFIX: &str = "/skydns/";
const KEY: &str = "/skydns/local/skydns/httpd";
const VALUE: &str = r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#;

/// The time limit for actions that etcd starts by itself.
const TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn etcd_3_4_supports_both_apis() {
    let etcd = Etcd::start_release(Release::V3_4).unwrap();
    assert!(etcd.v3().try_status().unwrap().version.starts_with("3.4."));
    etcd.put("skydns/local/skydns/httpd", VALUE, Some(60));
    assert_eq!(etcd.get("skydns/local/skydns/httpd").unwrap().value, VALUE);
    // The v2 and v3 stores are separate.
    assert_eq!(etcd.v3().list("/"), []);
    keys_and_leases(&etcd.v3());
}

#[test]
fn etcd_3_6_supports_only_v3() {
    let Some(etcd) = Etcd::start_release(Release::V3_6) else { return };
    assert!(etcd.v3().try_status().unwrap().version.starts_with("3.6."));
    assert_eq!(etcd.request("GET", "skydns", None).0, 404);
    keys_and_leases(&etcd.v3());
}

fn keys_and_leases(v3: &V3Client) {
    let before = v3.revision();
    let lease = v3.grant(60, Some(4711));
    assert_eq!((lease, v3.leases()), (4711, vec![4711]));

    let revision = v3.put(KEY, VALUE, Some(lease));
    assert_eq!((revision, v3.revision()), (before + 1, before + 1));
    v3.put("/skydns/local/skydns/static", VALUE, None);
    v3.put("/skydnt", VALUE, None);
    let found = v3.get(KEY).unwrap();
    assert_eq!((found.value.as_str(), found.lease), (VALUE, lease));
    assert_eq!((found.created, found.modified), (revision, revision));
    let known = v3.lease(lease).unwrap();
    assert_eq!((known.granted, known.keys), (60, vec![KEY.to_owned()]));
    assert!((1..=60).contains(&known.left));

    let listed: Vec<_> = v3.list(PREFIX).into_iter().map(|kv| kv.key).collect();
    assert_eq!(listed, [KEY, "/skydns/local/skydns/static"]);
    assert_eq!(v3.try_list_locally(PREFIX), Some(v3.list(PREFIX)));

    v3.revoke(lease);
    assert_eq!((v3.lease(lease), v3.get(KEY), v3.leases()), (None, None, vec![]));
    assert!(!v3.delete(KEY));
    assert_eq!(v3.delete_below(PREFIX), 1);
    assert!(v3.grant(60, None) != 0);
}

#[test]
fn cluster_3_4_survives_the_loss_of_any_member() {
    assert_survives_the_loss_of_any_member(Release::V3_4);
}

#[test]
fn cluster_3_6_survives_the_loss_of_any_member() {
    assert_survives_the_loss_of_any_member(Release::V3_6);
}

fn assert_survives_the_loss_of_any_member(release: Release) {
    let Some(mut cluster) = Cluster::start(release) else { return };
    let first = cluster.wait_for_leader();
    cluster.members[first].v3().put(KEY, VALUE, None);

    cluster.members[first].kill();
    let second = cluster.wait_for_another_leader(first);
    cluster.members[second].v3().put(KEY, "second", None);
    assert_eq!(cluster.members[first].v3().try_status(), None);
    cluster.members[first].restart(false);
    cluster.wait_until_healthy();
    assert_held_everywhere(&cluster, "second");

    let second = cluster.wait_for_leader();
    cluster.members[second].pause();
    let third = cluster.wait_for_another_leader(second);
    cluster.members[third].v3().put(KEY, "third", None);
    let paused = cluster.members[second].v3().with_timeout(Duration::from_millis(300));
    assert_eq!(paused.try_list_locally(PREFIX), None);
    cluster.members[second].resume();
    cluster.wait_until_healthy();
    assert_held_everywhere(&cluster, "third");

    cluster.members.iter_mut().for_each(Etcd::kill);
    assert_eq!(cluster.leader(), None);
    cluster.members.iter_mut().for_each(Etcd::spawn);
    cluster.wait_until_healthy();
    assert_held_everywhere(&cluster, "third");
}

#[test]
fn isolated_member_has_no_leader_but_serves_local_reads() {
    let Some(mut cluster) = Cluster::start(Release::V3_4) else { return };
    cluster.members[0].v3().put(KEY, VALUE, None);
    cluster.wait_until_healthy();
    cluster.members[1].kill();
    cluster.members[2].kill();

    let left = cluster.members[0].v3();
    eventually("the last member has no leader", TIMEOUT, || {
        left.try_status()?.leader.is_none().then_some(())
    });
    assert_eq!(cluster.leader(), None);
    assert_eq!(left.try_list_locally(PREFIX).unwrap()[0].value, VALUE);
}

/// Checks the value on every member. A member applies a committed value a moment after the
/// leader.
fn assert_held_everywhere(cluster: &Cluster, value: &str) {
    for member in &cluster.members {
        eventually("every member has the newest value", TIMEOUT, || {
            let kvs = member.v3().try_list_locally(PREFIX)?;
            (kvs.len() == 1 && kvs[0].value == value).then_some(())
        });
    }
}
