//! Records on one lease (v3): the lease is found again, kept alive, lost, replaced and shared.

mod fakes;

use std::time::Duration;

use fakes::{Engine, Outage, POLL, Store, TTL, World, container, key, keys, pass, settings};
use highhock_actors::{KeepAliveMode, LeaseNamespace, RecordState, Shutdown, Write};

const SECOND: Duration = Duration::from_secs(1);

fn value(port: u16) -> String {
    format!(r#"{{"host":"10.77.66.0","port":{port},"ttl":60}}"#)
}

fn namespace() -> LeaseNamespace {
    settings().lease_namespace
}

fn engine_with(count: usize) -> Engine {
    let engine = Engine::default();
    for n in 0..count {
        engine.run(container(&format!("web-{n}"), n));
    }
    engine
}

/// A store with these records of an earlier process with the same settings.
fn store_with(records: &[(String, String)]) -> Store {
    let store = Store::new(KeepAliveMode::Lease);
    for (key, value) in records {
        store.put_on_lease(key, value, namespace().lease(0), TTL);
    }
    store
}

#[actix::test]
async fn idle_core_sends_one_keep_alive_per_third_of_ttl() {
    tokio::time::pause();
    for count in [1, 200] {
        let world = World::with_containers(KeepAliveMode::Lease, count).await;
        pass(SECOND).await;
        let (writes, before) = (world.store.writes().len(), world.store.keep_alives());
        world.assert_present_for(TTL * 10, &keys(0..count)).await;
        assert_eq!(world.store.writes().len(), writes);
        let keep_alives = world.store.keep_alives() - before;
        assert!((30..=34).contains(&keep_alives), "{keep_alives} for {count} records");
    }
}

#[actix::test]
async fn restart_finds_records_without_rewriting() {
    tokio::time::pause();
    let mut left: Vec<_> = (0..10).map(|n| (key(&format!("web-{n}")), value(8000 + n))).collect();
    left.push((key("stale"), value(1)));
    let store = store_with(&left);
    let versions: Vec<_> = keys(0..10).iter().map(|key| store.version(key)).collect();
    let world = World::start(engine_with(10), store);
    let took = world.until("the stale record is withdrawn", |world| world.store.len() == 10).await;
    assert!(took <= SECOND, "{took:?}");
    world.assert_present_for(TTL * 3, &keys(0..10)).await;
    let now: Vec<_> = keys(0..10).iter().map(|key| world.store.version(key)).collect();
    assert_eq!(now, versions);
    assert_eq!(world.store.lease_ttls(), [(namespace().lease(0), TTL)]);
}

#[actix::test]
async fn keeps_orphans_until_docker_answers() {
    tokio::time::pause();
    let store = store_with(&[(key("web-0"), value(8000)), (key("stale"), value(1))]);
    let engine = engine_with(1);
    engine.set_unavailable(true);
    let world = World::start(engine, store);
    world.assert_present_for(TTL * 5, &[key("web-0"), key("stale")]).await;
    // A container that cannot be inspected may want the stale record.
    world.engine.set_unavailable(false);
    world.engine.inspect_takes(SECOND * 8);
    let inspected = world.engine.inspections().len();
    world
        .until("the container is inspected", |world| world.engine.inspections().len() > inspected)
        .await;
    pass(SECOND * 7).await;
    assert_eq!(world.store.len(), 2);
    world.until("the record is withdrawn", |world| world.store.len() == 1).await;
}

#[actix::test]
async fn keeps_orphan_of_the_container_behind_an_unnamed_row() {
    tokio::time::pause();
    let store = store_with(&[(key("web-0"), value(8000)), (key("stale"), value(1))]);
    let engine = engine_with(2);
    engine.hide_id_of("web-0", true);
    let world = World::start(engine, store);
    world.core.wait_until_caught_up().await;
    world.until("the other record is written", |world| world.store.len() == 3).await;
    world.assert_present_for(TTL * 5, &[key("web-0"), key("stale")]).await;
    assert_eq!(world.core.handle().ready().await, Ok(()));
    world.engine.hide_id_of("web-0", false);
    world.until("the stale record is withdrawn", |world| world.store.len() == 2).await;
    assert!(world.store.get(&key("web-0")).is_some());
}

#[actix::test]
async fn suspect_listing_keeps_the_orphan_behind_an_unnamed_row() {
    const COUNT: usize = 20;
    tokio::time::pause();
    let engine = engine_with(COUNT);
    engine.hide_id_of("web-0", true);
    let world = World::start(engine, store_with(&[(key("web-0"), value(8000))]));
    world.until("all records are present", |world| world.store.len() == COUNT).await;
    // No row of this listing lacks an id.
    world.engine.truncate_next_listing();
    world.assert_present_for(TTL * 2, &keys(0..COUNT)).await;
}

#[actix::test]
async fn keeps_orphan_modified_by_another_writer() {
    tokio::time::pause();
    let store = store_with(&[(key("stale"), value(1))]);
    let engine = Engine::default();
    engine.list_takes(SECOND * 3);
    let world = World::start(engine, store);
    pass(SECOND).await;
    world.store.put_on_lease(&key("stale"), &value(1), namespace().lease(0), TTL);
    let touched = world.store.version(&key("stale"));
    pass(POLL * 2).await;
    assert_eq!(world.store.version(&key("stale")), touched);
    let writes = world.store.writes();
    let deletions = writes.iter().filter(|write| matches!(write, Write::Delete { .. })).count();
    assert!(deletions <= 1, "{deletions} deletions");
}

#[actix::test]
async fn changed_ttl_moves_records_to_a_new_lease() {
    tokio::time::pause();
    let left: Vec<_> = (0..10).map(|n| (key(&format!("web-{n}")), value(8000 + n))).collect();
    let store = store_with(&left);
    store.put_on_lease(&key("stale"), &value(1), namespace().lease(0), TTL);
    let mut settings = settings();
    settings.ttl = TTL * 2;
    let world = World::start_with(settings, engine_with(10), store);
    world.assert_present_for(TTL * 4, &keys(0..10)).await;
    assert_eq!(world.store.len(), 10);
    assert_eq!(world.store.lease_ttls(), [(namespace().lease(1), TTL * 2)]);
}

#[actix::test]
async fn replaces_lost_lease_and_republishes_all() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::Lease, 300).await;
    world.store.end_lease(namespace().lease(0));
    let took = world.until("all records are back", |world| world.store.len() == 300).await;
    assert!(took <= TTL / 3 + SECOND, "{took:?}");
    world.assert_present_for(TTL * 3, &keys(0..300)).await;
    assert!(world.core.counts().leases_lost >= 1);
}

#[actix::test]
async fn put_detects_a_lost_lease() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::Lease, 1).await;
    pass(SECOND).await;
    world.store.end_lease(namespace().lease(0));
    world.engine.run(container("new", 7));
    world.core.poll_now();
    let took = world.until("both records are published", |world| world.store.len() == 2).await;
    assert!(took <= SECOND, "{took:?}");
}

#[actix::test]
async fn restores_manually_deleted_record_at_once() {
    tokio::time::pause();
    for keep_alive_mode in [KeepAliveMode::PerRecord, KeepAliveMode::Lease] {
        let world = World::with_containers(keep_alive_mode, 3).await;
        pass(SECOND).await;
        world.store.remove(&key("web-1"));
        let took = world.until("the record is back", |world| world.store.len() == 3).await;
        assert!(took <= SECOND / 10, "{took:?}");
        assert_eq!(world.core.counts().unexpected_changes, 1);
    }
}

#[actix::test]
async fn takes_over_foreign_record_when_it_is_deleted() {
    tokio::time::pause();
    for keep_alive_mode in [KeepAliveMode::PerRecord, KeepAliveMode::Lease] {
        let store = Store::new(keep_alive_mode);
        store.put(&key("web-0"), r#"{"host":"10.9.9.9","port":1}"#, Some(SECOND * 1000));
        let world = World::start(engine_with(1), store);
        pass(SECOND * 30).await;
        assert_eq!(world.state_of(&key("web-0")).await.unwrap().0, RecordState::Standby);
        world.store.remove(&key("web-0"));
        let took = world.until("the own record is published", |world| {
            world.store.get(&key("web-0")) == Some(value(8000))
        });
        assert!(took.await <= SECOND / 10);
    }
}

#[actix::test]
async fn own_writes_are_expected_changes() {
    tokio::time::pause();
    for keep_alive_mode in [KeepAliveMode::PerRecord, KeepAliveMode::Lease] {
        let world = World::with_containers(keep_alive_mode, 20).await;
        world.engine.change("web-3", |container| container.bindings[0].host_port = 9000);
        world.engine.remove("web-4");
        pass(POLL * 3).await;
        assert_eq!(world.core.counts().unexpected_changes, 0);
    }
}

#[actix::test]
async fn withdrawing_stop_keeps_the_lease() {
    tokio::time::pause();
    let World { core, store, .. } = World::with_containers(KeepAliveMode::Lease, 5).await;
    assert_eq!(core.stop(true, SECOND * 5).await, Shutdown::Clean);
    assert_eq!(store.len(), 0);
    assert_eq!(store.lease_ttls().len(), 1);
}

/// Two daemons with the same identity run on one engine, as in an overlapping upgrade.
#[actix::test]
async fn duplicate_publisher_does_no_harm() {
    tokio::time::pause();
    for withdraw in [false, true] {
        let one = World::with_containers(KeepAliveMode::Lease, 10).await;
        let two = World::start(one.engine.clone(), one.store.clone());
        two.assert_present_for(TTL * 3, &keys(0..10)).await;
        let before = two.store.writes().len();
        pass(TTL).await;
        assert_eq!(two.store.writes().len(), before, "the second daemon wrote unchanged records");
        two.engine.run(container("new", 50));
        two.until("the new record is published", |two| two.store.len() == 11).await;
        assert_eq!(one.core.stop(withdraw, SECOND * 5).await, Shutdown::Clean);
        if !withdraw {
            two.assert_present_for(TTL * 3, &keys(0..10)).await;
        }
        two.until("all records are published", |two| two.store.len() == 11).await;
        two.engine.remove("new");
        two.until("the record is withdrawn", |two| two.store.len() == 10).await;
        two.assert_present_for(TTL * 5, &keys(0..10)).await;
        assert_eq!(two.store.keys(), keys(0..10));
    }
}

#[actix::test]
async fn reports_and_keeps_unknown_key_on_own_lease() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::Lease, 2).await;
    pass(SECOND).await;
    world.store.put_on_lease(&key("unknown"), &value(5), namespace().lease(0), TTL);
    world.assert_present_for(TTL * 6, &[key("unknown")]).await;
    assert_eq!(world.core.counts().unknown, 1, "the unknown key is reported once");
}

/// A daemon with the same identity notices the end of a container later, writes the withdrawn
/// record again, and ends before it withdraws the record itself.
#[actix::test]
async fn audit_withdraws_record_restored_by_duplicate() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::Lease, 4).await;
    world.engine.remove("web-2");
    world.engine.remove("web-3");
    world.until("they are withdrawn", |world| world.store.len() == 2).await;
    for (name, port) in [("web-2", 8002), ("web-3", 9999)] {
        world.store.put_on_lease(&key(name), &value(port), namespace().lease(0), TTL);
    }
    // A value that this process never wrote is not a withdrawn record.
    let took = world.until("the record is withdrawn", |world| world.store.len() == 3).await;
    assert!(took <= TTL + SECOND, "{took:?}");
    world.assert_present_for(TTL * 3, &[key("web-0"), key("web-1"), key("web-3")]).await;
    assert_eq!(world.store.get(&key("web-2")), None);

    // A container that wants the key is published.
    world.engine.run(container("web-2", 2));
    world.until("the record is back", |world| world.store.get(&key("web-2")).is_some()).await;
    world.assert_present_for(TTL * 10, &[key("web-2")]).await;
}

#[actix::test]
async fn record_of_another_host_is_never_adopted() {
    tokio::time::pause();
    let store = Store::new(KeepAliveMode::Lease);
    store.put_on_lease(
        &key("web-0"),
        &value(8000),
        LeaseNamespace::from_hash(99).lease(0),
        TTL * 1000,
    );
    let world = World::start(engine_with(1), store);
    pass(TTL * 3).await;
    assert_eq!(world.state_of(&key("web-0")).await.unwrap().0, RecordState::Standby);
    let touching = world.store.writes();
    let touching = touching.iter().filter(|write| !matches!(write, Write::Put { .. }));
    assert_eq!(touching.count(), 0);
    world.engine.remove("web-0");
    pass(POLL * 2).await;
    assert_eq!(world.store.get(&key("web-0")), Some(value(8000)));
}

/// A suspended member of etcd resumes after minutes and applies the requests that it had received.
#[actix::test]
async fn withdraws_write_that_arrives_minutes_late() {
    tokio::time::pause();
    for keep_alive_mode in [KeepAliveMode::PerRecord, KeepAliveMode::Lease] {
        let world = World::with_containers(keep_alive_mode, 1).await;
        pass(SECOND).await;
        world.store.fail(Outage::Late);
        world.engine.run(container("late", 1));
        world.core.poll_now();
        world
            .until("the put is requested", |world| {
                world.store.writes().iter().any(|write| write.key().as_str() == key("late"))
            })
            .await;
        world.engine.remove("late");
        pass(POLL).await;
        world.store.recover();
        pass(SECOND * 300).await;
        world.store.apply_late_writes();
        assert_eq!(world.store.len(), 2);
        let took = world.until("the record is withdrawn", |world| world.store.len() == 1).await;
        assert!(took <= SECOND, "{keep_alive_mode:?}: {took:?}");
        assert!(world.core.counts().late_writes >= 1);
    }
}

#[actix::test]
async fn restores_records_of_removed_directory() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::PerRecord, 3).await;
    pass(SECOND).await;
    world.store.remove_directory("skydns/local");
    assert_eq!(world.store.len(), 0);
    let took = world.until("all records are back", |world| world.store.len() == 3).await;
    assert!(took <= SECOND / 10, "{took:?}");
}
