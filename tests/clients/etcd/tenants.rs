//! The client of etcd's v3 API in a cluster with authentication that it shares with other tenants.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

use std::time::Duration;

use highhock::credentials::secret::{Credentials, Secret, SecretSource};
use highhock::etcd::{Cluster, EtcdV3, EtcdV3Options};
use highhock_actors::{
    Lease, LeaseNamespace, Precondition, RecordKey, RecordStore, StoreErrorKind, Write,
    WriteOutcome,
};
use tokio::time::Instant;

use support::etcd::{Etcd, Release};

const ROOT: &str = "skydns/local/skydns";
const DIRECTORY: &str = "/skydns/local/skydns";
const TTL: Duration = Duration::from_secs(60);
const VALUE: &str = r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#;
const PASSWORD: &str = "open sesame";

fn store(etcd: &Etcd, user: Option<&str>) -> EtcdV3 {
    let credentials = user.map(|user| Credentials {
        username: user.to_owned(),
        password: SecretSource::Inline(Secret::new(PASSWORD)),
    });
    let timeout = Duration::from_secs(10);
    let cluster = Cluster::new(vec![etcd.url().parse().unwrap()]);
    let cluster = Cluster { credentials, timeout, ..cluster };
    let options = EtcdV3Options { cluster, root: RecordKey::from_path(ROOT) };
    EtcdV3::new(options, slog::Logger::root(slog::Discard, slog::o!())).unwrap()
}

/// An etcd with the tenants `dns`, `reader` and `other`. Returns `None` if this machine has no
/// etcd of this release.
fn shared_etcd(release: Release) -> Option<Etcd> {
    let etcd = Etcd::start_release(release)?;
    etcd.add_v3_tenant("dns", PASSWORD, "READWRITE", DIRECTORY);
    etcd.add_v3_tenant("reader", PASSWORD, "READ", DIRECTORY);
    etcd.add_v3_tenant("other", PASSWORD, "READWRITE", "/other");
    etcd.enable_v3_auth(PASSWORD);
    Some(etcd)
}

fn key(name: &str) -> RecordKey {
    RecordKey::from_path(&format!("{ROOT}/{name}"))
}

fn put(name: &str, lease: highhock_actors::LeaseId) -> Write {
    Write::Put {
        key: key(name),
        value: VALUE.into(),
        ttl: TTL,
        lease: Some(lease),
        precondition: Precondition::Absent,
    }
}

#[actix_rt::test]
async fn finds_own_leases_beside_unreadable_lease_on_etcd_3_4() {
    assert_finds_own_leases(Release::V3_4).await;
}

#[actix_rt::test]
async fn finds_own_leases_beside_unreadable_lease_on_etcd_3_6() {
    assert_finds_own_leases(Release::V3_6).await;
}

async fn assert_finds_own_leases(release: Release) {
    let Some(etcd) = shared_etcd(release) else { return };
    let other = etcd.v3().with_login("other", PASSWORD);
    other.put("/other/key", "secret", Some(other.grant(60, None)));
    let (store, namespace) = (store(&etcd, Some("dns")), LeaseNamespace::from_hash(7));
    assert_eq!(store.find_leases(namespace).await.unwrap(), []);
    let [one, two] = [3, 255].map(|number| namespace.lease(number));
    for (id, ttl) in [(one, TTL), (two, TTL * 2)] {
        store.grant(id, ttl).await.unwrap();
    }
    assert_eq!(store.write(vec![put("a", one)]).await.remove(0).unwrap(), WriteOutcome::Done);
    let found = [Lease { id: one, ttl: TTL }, Lease { id: two, ttl: TTL * 2 }];
    assert_eq!(store.find_leases(namespace).await.unwrap(), found);
    assert_eq!(store.leased(one).await.unwrap().records.len(), 1);

    // The keys of the lease are not listed any more, because one of them is unreadable.
    etcd.v3().with_login("root", PASSWORD).put("/elsewhere", "", Some(one.0));
    assert_eq!(store.find_leases(namespace).await.unwrap(), found);
    let leased = store.leased(one).await.unwrap().records;
    assert_eq!(leased.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&key("a")]);
    assert_eq!(store.leased(two).await.unwrap().records, []);

    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        store.find_leases(namespace).await.unwrap();
        times.push(started.elapsed());
    }
    println!("256 leases were requested from {release:?} in {times:?}");
}

#[actix_rt::test]
async fn reports_missing_permissions_without_writing() {
    for release in [Release::V3_4, Release::V3_6] {
        let Some(etcd) = shared_etcd(release) else { continue };
        let root = etcd.v3().with_login("root", PASSWORD);
        let revision = root.revision();
        store(&etcd, Some("dns")).check_permissions().await.unwrap();
        for user in ["reader", "other"] {
            let error = store(&etcd, Some(user)).check_permissions().await.unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Refused, "{user}: {error}");
            assert!(error.message.contains("grant this client's user access"), "{error}");
        }
        assert_eq!(root.revision(), revision);
    }
}
