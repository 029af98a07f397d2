//! The lease that all records of a publisher hang on (v3 only).

use std::time::Duration;

use highhock_actors::{
    Expected, Granted, Guard, KeptAlive, Lease, LeaseFamily, RecordKey, RecordStore,
    StoreErrorKind, Tie, Write, Written,
};

use crate::fixture::{Field, OTHER, TTL, VALUE, expect};

pub async fn guards_by_lease(field: &Field<'_>) {
    let (ours, other) = (field.lease(1).await.unwrap(), field.lease(2).await.unwrap());
    field.write(field.put("httpd", Some(ours))).await.unwrap();
    let on = |lease| Expected { lease: Some(lease), ..expect(VALUE) };
    let swap = |lease| field.put_value("httpd", OTHER, Some(other), Guard::Holds(on(lease)));
    let delete = |lease| Write::Delete {
        key: field.key("httpd"),
        expected: Expected { lease: Some(lease), ..expect(OTHER) },
    };
    assert_eq!(field.write(swap(other)).await.unwrap(), Written::Conflict);
    assert_eq!(field.found("httpd").await.value, VALUE);
    assert_eq!(field.write(swap(ours)).await.unwrap(), Written::Done);
    assert_eq!(field.found("httpd").await.tie, Tie::Lease(other));
    assert_eq!(field.write(delete(ours)).await.unwrap(), Written::Conflict);
    assert_eq!(field.write(delete(other)).await.unwrap(), Written::Done);
}

pub async fn a_lost_lease_is_said_and_nothing_is_written(field: &Field<'_>) {
    let lease = field.lease(1).await.unwrap();
    field.write(field.put("old", Some(lease))).await.unwrap();
    field.foreign_put("gone", VALUE, None);
    field.store.revoke(lease).await.unwrap();
    assert_eq!(field.names(), ["gone"]);

    // Others in the batch are not concerned.
    let living = field.lease(2).await;
    let mut writes = (0..300).map(|n| field.put(&format!("s{n}"), Some(lease))).collect::<Vec<_>>();
    writes.extend([field.delete("gone", VALUE, None), field.put("fine", living)]);
    let mut outcomes = field.store.write(writes).await;
    assert_eq!(outcomes.pop().unwrap().unwrap(), Written::Done);
    assert_eq!(outcomes.pop().unwrap().unwrap(), Written::Done);
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().kind, StoreErrorKind::LeaseLost);
    }
    assert_eq!(field.names(), ["fine"]);

    assert_eq!(field.store.keep_alive(lease).await.unwrap(), KeptAlive::Lost);
    assert_eq!(field.store.leased(lease).await.unwrap(), []);
    // To revoke it again is no fault.
    field.store.revoke(lease).await.unwrap();
}

pub async fn a_lease_is_granted_once_and_found_again(field: &Field<'_>) {
    let store = &field.store;
    assert_eq!(store.leases(field.family).await.unwrap(), []);
    let [one, two] = [1, 255].map(|number| field.family.lease(number));
    assert_eq!(store.grant(one, TTL).await.unwrap(), Granted::Fresh);
    assert_eq!(store.grant(one, TTL).await.unwrap(), Granted::Existed);
    assert_eq!(store.grant(two, TTL * 2).await.unwrap(), Granted::Fresh);
    let neighbour = LeaseFamily::new(field.family.lease(0).0.cast_unsigned() >> 8 ^ 1);
    assert_eq!(store.grant(neighbour.lease(1), TTL).await.unwrap(), Granted::Fresh);

    let mut leases = store.leases(field.family).await.unwrap();
    leases.sort_by_key(|lease| lease.id);
    assert_eq!(leases, [Lease { id: one, ttl: TTL }, Lease { id: two, ttl: TTL * 2 }]);
    assert_eq!(store.keep_alive(two).await.unwrap(), KeptAlive::For(TTL * 2));
    store.revoke(one).await.unwrap();
    assert_eq!(store.leases(field.family).await.unwrap(), [Lease { id: two, ttl: TTL * 2 }]);
    assert_eq!(store.grant(one, TTL).await.unwrap(), Granted::Fresh);
}

pub async fn finds_what_hangs_on_a_lease(field: &Field<'_>) {
    let lease = field.lease(1).await.unwrap();
    assert_eq!(field.store.leased(lease).await.unwrap(), []);
    let names = (0..300).map(|number| format!("n{number:03}")).collect::<Vec<_>>();
    let puts = names.iter().map(|name| field.put(name, Some(lease))).collect();
    assert!(field.store.write(puts).await.iter().all(Result::is_ok));
    // Neither what is elsewhere on it nor what is here on another.
    let elsewhere = Write::Put {
        key: RecordKey::from_path("skydns/elsewhere/a"),
        value: VALUE.into(),
        ttl: TTL,
        lease: Some(lease),
        guard: Guard::Absent,
    };
    field.write(elsewhere).await.unwrap();
    field.foreign_put("others", VALUE, Some(60));
    field.foreign_put("n007", OTHER, None);

    let mut leased = field.store.leased(lease).await.unwrap();
    leased.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(leased.len(), 299);
    for (key, found) in leased {
        assert!(key.as_str().starts_with(&field.path("n")), "{key}");
        assert_eq!((found.value.as_str(), found.tie), (VALUE, Tie::Lease(lease)), "{key}");
    }
    field.store.revoke(lease).await.unwrap();
    assert_eq!(field.names(), ["n007", "others"]);
}

pub async fn keeps_all_records_alive_at_once(field: &Field<'_>) {
    let lease = field.family.lease(9);
    field.store.grant(lease, Duration::from_secs(3)).await.unwrap();
    let puts = (0..200).map(|number| field.put(&format!("s{number}"), Some(lease))).collect();
    assert!(field.store.write(puts).await.iter().all(Result::is_ok));
    let before = field.found("s0").await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let kept = field.store.keep_alive(lease).await.unwrap();
        assert_eq!(kept, KeptAlive::For(Duration::from_secs(3)));
    }
    assert_eq!(field.names().len(), 200);
    assert_eq!(field.found("s0").await.version, before.version);
}
