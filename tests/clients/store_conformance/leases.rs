//! The lease of all records of a publisher (v3 only).

use std::time::Duration;

use highhock_actors::{
    ExpectedValue, Expiry, GrantOutcome, KeptAlive, Lease, LeaseNamespace, LeasedRecords,
    Precondition, RecordKey, RecordStore, StoreErrorKind, Write, WriteOutcome,
};

use crate::fixture::{OTHER, TTL, TestDomain, VALUE, expect_value};

pub async fn precondition_checks_the_lease(domain: &TestDomain<'_>) {
    let (ours, other) = (domain.lease(1).await.unwrap(), domain.lease(2).await.unwrap());
    domain.write(domain.put("httpd", Some(ours))).await.unwrap();
    let on = |lease| ExpectedValue { lease: Some(lease), ..expect_value(VALUE) };
    let swap =
        |lease| domain.put_value("httpd", OTHER, Some(other), Precondition::Equals(on(lease)));
    let delete = |lease| Write::Delete {
        key: domain.key("httpd"),
        expected: ExpectedValue { lease: Some(lease), ..expect_value(OTHER) },
    };
    assert_eq!(domain.write(swap(other)).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(domain.found("httpd").await.value, VALUE);
    assert_eq!(domain.write(swap(ours)).await.unwrap(), WriteOutcome::Done);
    assert_eq!(domain.found("httpd").await.expiry, Expiry::Lease(other));
    assert_eq!(domain.write(delete(ours)).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(domain.write(delete(other)).await.unwrap(), WriteOutcome::Done);
}

pub async fn lost_lease_is_reported_without_writing(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await.unwrap();
    domain.write(domain.put("old", Some(lease))).await.unwrap();
    domain.foreign_put("gone", VALUE, None);
    domain.store.revoke(lease).await.unwrap();
    assert_eq!(domain.names(), ["gone"]);

    // Other writes of the batch are not affected.
    let living = domain.lease(2).await;
    let mut writes =
        (0..300).map(|n| domain.put(&format!("s{n}"), Some(lease))).collect::<Vec<_>>();
    writes.extend([domain.delete("gone", VALUE, None), domain.put("fine", living)]);
    let mut outcomes = domain.store.write(writes).await;
    assert_eq!(outcomes.pop().unwrap().unwrap(), WriteOutcome::Done);
    assert_eq!(outcomes.pop().unwrap().unwrap(), WriteOutcome::Done);
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().kind, StoreErrorKind::LeaseLost);
    }
    assert_eq!(domain.names(), ["fine"]);

    assert_eq!(domain.store.keep_alive(lease).await.unwrap(), KeptAlive::Lost);
    assert_eq!(domain.store.leased(lease).await.unwrap().records, []);
    // Revoking a lease again is not an error.
    domain.store.revoke(lease).await.unwrap();
}

pub async fn lease_is_granted_once_and_listed(domain: &TestDomain<'_>) {
    let store = &domain.store;
    assert_eq!(store.find_leases(domain.namespace).await.unwrap(), []);
    let [one, two] = [1, 255].map(|number| domain.namespace.lease(number));
    assert_eq!(store.grant(one, TTL).await.unwrap(), GrantOutcome::Fresh);
    assert_eq!(store.grant(one, TTL).await.unwrap(), GrantOutcome::Existed);
    assert_eq!(store.grant(two, TTL * 2).await.unwrap(), GrantOutcome::Fresh);
    let neighbour = LeaseNamespace::from_hash(domain.namespace.lease(0).0.cast_unsigned() >> 8 ^ 1);
    assert_eq!(store.grant(neighbour.lease(1), TTL).await.unwrap(), GrantOutcome::Fresh);

    let mut leases = store.find_leases(domain.namespace).await.unwrap();
    leases.sort_by_key(|lease| lease.id);
    assert_eq!(leases, [Lease { id: one, ttl: TTL }, Lease { id: two, ttl: TTL * 2 }]);
    assert_eq!(store.keep_alive(two).await.unwrap(), KeptAlive::For(TTL * 2));
    store.revoke(one).await.unwrap();
    assert_eq!(
        store.find_leases(domain.namespace).await.unwrap(),
        [Lease { id: two, ttl: TTL * 2 }]
    );
    assert_eq!(store.grant(one, TTL).await.unwrap(), GrantOutcome::Fresh);
}

pub async fn lists_the_records_of_a_lease(domain: &TestDomain<'_>) {
    let lease = domain.lease(1).await.unwrap();
    assert_eq!(domain.store.leased(lease).await.unwrap().records, []);
    let names = (0..300).map(|number| format!("n{number:03}")).collect::<Vec<_>>();
    let puts = names.iter().map(|name| domain.put(name, Some(lease))).collect();
    assert!(domain.store.write(puts).await.iter().all(Result::is_ok));
    // Neither keys of the lease outside the domain nor records of other leases are listed.
    let elsewhere = Write::Put {
        key: RecordKey::from_path("skydns/elsewhere/a"),
        value: VALUE.into(),
        ttl: TTL,
        lease: Some(lease),
        precondition: Precondition::Absent,
    };
    domain.write(elsewhere).await.unwrap();
    domain.foreign_put("others", VALUE, Some(60));
    domain.foreign_put("n007", OTHER, None);

    let LeasedRecords { revision, records: mut leased } = domain.store.leased(lease).await.unwrap();
    let latest = leased.iter().map(|(_, found)| found.version).max();
    assert!(latest.is_some_and(|latest| latest <= revision), "{latest:?} after {revision}");
    assert_eq!(domain.store.probe().await.unwrap(), Some(revision));
    leased.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(leased.len(), 299);
    for (key, found) in leased {
        assert!(key.as_str().starts_with(&domain.path("n")), "{key}");
        assert_eq!((found.value.as_str(), found.expiry), (VALUE, Expiry::Lease(lease)), "{key}");
    }
    domain.store.revoke(lease).await.unwrap();
    assert_eq!(domain.names(), ["n007", "others"]);
}

pub async fn keep_alive_covers_all_records(domain: &TestDomain<'_>) {
    let lease = domain.namespace.lease(9);
    domain.store.grant(lease, Duration::from_secs(3)).await.unwrap();
    let puts = (0..200).map(|number| domain.put(&format!("s{number}"), Some(lease))).collect();
    assert!(domain.store.write(puts).await.iter().all(Result::is_ok));
    let before = domain.found("s0").await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let kept = domain.store.keep_alive(lease).await.unwrap();
        assert_eq!(kept, KeptAlive::For(Duration::from_secs(3)));
    }
    assert_eq!(domain.names().len(), 200);
    assert_eq!(domain.found("s0").await.version, before.version);
}
