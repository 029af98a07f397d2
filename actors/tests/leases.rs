//! Records that hang on one lease: found again, kept alive, lost, moved, shared.

mod fakes;

use std::time::Duration;

use fakes::{Away, Engine, POLL, Store, TTL, World, container, key, keys, pass, settings};
use highhock_actors::{LeaseFamily, RecordState, Stopped, Upkeep, Write};

const SECOND: Duration = Duration::from_secs(1);

fn value(port: u16) -> String {
    format!(r#"{{"host":"10.77.66.0","port":{port},"ttl":60}}"#)
}

fn family() -> LeaseFamily {
    settings().family
}

fn engine_with(count: usize) -> Engine {
    let engine = Engine::default();
    for n in 0..count {
        engine.run(container(&format!("web-{n}"), n));
    }
    engine
}

/// A store in which an earlier life, of the same settings, left these records.
fn store_with(records: &[(String, String)]) -> Store {
    let store = Store::new(Upkeep::Lease);
    for (key, value) in records {
        store.put_on_lease(key, value, family().lease(0), TTL);
    }
    store
}

#[actix::test]
async fn a_quiet_world_costs_one_keep_alive_a_third_of_the_ttl() {
    tokio::time::pause();
    for count in [1, 200] {
        let world = World::with_containers(Upkeep::Lease, count).await;
        pass(SECOND).await;
        let (writes, before) = (world.store.writes().len(), world.store.keep_alives());
        world.all_the_while(TTL * 10, &keys(0..count)).await;
        assert_eq!(world.store.writes().len(), writes);
        let keep_alives = world.store.keep_alives() - before;
        assert!((30..=34).contains(&keep_alives), "{keep_alives} for {count} records");
    }
}

#[actix::test]
async fn a_restart_finds_its_records_and_rewrites_none() {
    tokio::time::pause();
    let mut left: Vec<_> = (0..10).map(|n| (key(&format!("web-{n}")), value(8000 + n))).collect();
    left.push((key("stale"), value(1)));
    let store = store_with(&left);
    let versions: Vec<_> = keys(0..10).iter().map(|key| store.version(key)).collect();
    let world = World::start(engine_with(10), store);
    let took = world.until("the stale one is gone", |world| world.store.len() == 10).await;
    assert!(took <= SECOND, "{took:?}");
    world.all_the_while(TTL * 3, &keys(0..10)).await;
    let now: Vec<_> = keys(0..10).iter().map(|key| world.store.version(key)).collect();
    assert_eq!(now, versions);
    assert_eq!(world.store.lease_ttls(), [(family().lease(0), TTL)]);
}

#[actix::test]
async fn what_nobody_wants_stays_while_docker_does_not_say_so() {
    tokio::time::pause();
    let store = store_with(&[(key("web-0"), value(8000)), (key("stale"), value(1))]);
    let engine = engine_with(1);
    engine.away(true);
    let world = World::start(engine, store);
    world.all_the_while(TTL * 5, &[key("web-0"), key("stale")]).await;
    // One container can't be inspected: perhaps it wants the stale one.
    world.engine.away(false);
    world.engine.inspect_takes(SECOND * 8);
    let inspected = world.engine.inspections().len();
    world.until("it is looked at", |world| world.engine.inspections().len() > inspected).await;
    pass(SECOND * 7).await;
    assert_eq!(world.store.len(), 2);
    world.until("it is withdrawn", |world| world.store.len() == 1).await;
}

#[actix::test]
async fn a_stale_record_that_somebody_touched_since_is_left() {
    tokio::time::pause();
    let store = store_with(&[(key("stale"), value(1))]);
    let engine = Engine::default();
    engine.list_takes(SECOND * 3);
    let world = World::start(engine, store);
    pass(SECOND).await;
    world.store.put_on_lease(&key("stale"), &value(1), family().lease(0), TTL);
    let touched = world.store.version(&key("stale"));
    pass(POLL * 2).await;
    assert_eq!(world.store.version(&key("stale")), touched);
}

#[actix::test]
async fn a_changed_ttl_moves_to_a_new_lease_without_a_gap() {
    tokio::time::pause();
    let left: Vec<_> = (0..10).map(|n| (key(&format!("web-{n}")), value(8000 + n))).collect();
    let store = store_with(&left);
    store.put_on_lease(&key("stale"), &value(1), family().lease(0), TTL);
    let mut settings = settings();
    settings.ttl = TTL * 2;
    let world = World::start_with(settings, engine_with(10), store);
    world.all_the_while(TTL * 4, &keys(0..10)).await;
    assert_eq!(world.store.len(), 10);
    assert_eq!(world.store.lease_ttls(), [(family().lease(1), TTL * 2)]);
}

#[actix::test]
async fn a_lost_lease_is_replaced_and_all_is_put_again() {
    tokio::time::pause();
    let world = World::with_containers(Upkeep::Lease, 300).await;
    world.store.end_lease(family().lease(0));
    let took = world.until("all are back", |world| world.store.len() == 300).await;
    assert!(took <= TTL / 3 + SECOND, "{took:?}");
    world.all_the_while(TTL * 3, &keys(0..300)).await;
    assert!(world.core.counts().leases_lost >= 1);
}

#[actix::test]
async fn a_put_meets_a_lost_lease() {
    tokio::time::pause();
    let world = World::with_containers(Upkeep::Lease, 1).await;
    pass(SECOND).await;
    world.store.end_lease(family().lease(0));
    world.engine.run(container("new", 7));
    world.core.poll_now();
    let took = world.until("both are there", |world| world.store.len() == 2).await;
    assert!(took <= SECOND, "{took:?}");
}

#[actix::test]
async fn a_record_deleted_by_hand_is_back_at_once() {
    tokio::time::pause();
    for upkeep in [Upkeep::Each, Upkeep::Lease] {
        let world = World::with_containers(upkeep, 3).await;
        pass(SECOND).await;
        world.store.remove(&key("web-1"));
        let took = world.until("it is back", |world| world.store.len() == 3).await;
        assert!(took <= SECOND / 10, "{took:?}");
        assert_eq!(world.core.counts().surprises, 1);
    }
}

#[actix::test]
async fn anothers_record_is_taken_over_as_soon_as_it_is_gone() {
    tokio::time::pause();
    for upkeep in [Upkeep::Each, Upkeep::Lease] {
        let store = Store::new(upkeep);
        store.put(&key("web-0"), r#"{"host":"10.9.9.9","port":1}"#, Some(SECOND * 1000));
        let world = World::start(engine_with(1), store);
        pass(SECOND * 30).await;
        assert_eq!(world.state_of(&key("web-0")).await.unwrap().0, RecordState::Standby);
        world.store.remove(&key("web-0"));
        let took =
            world.until("it is ours", |world| world.store.get(&key("web-0")) == Some(value(8000)));
        assert!(took.await <= SECOND / 10);
    }
}

#[actix::test]
async fn our_own_writes_are_no_surprise() {
    tokio::time::pause();
    for upkeep in [Upkeep::Each, Upkeep::Lease] {
        let world = World::with_containers(upkeep, 20).await;
        world.engine.change("web-3", |one| one.bindings[0].host_port = 9000);
        world.engine.remove("web-4");
        pass(POLL * 3).await;
        assert_eq!(world.core.counts().surprises, 0);
    }
}

#[actix::test]
async fn a_clean_stop_that_removes_leaves_the_lease() {
    tokio::time::pause();
    let World { core, store, .. } = World::with_containers(Upkeep::Lease, 5).await;
    assert_eq!(core.stop(true, SECOND * 5).await, Stopped::Clean);
    assert_eq!(store.len(), 0);
    assert_eq!(store.lease_ttls().len(), 1);
}

/// Two daemons of one identity on one engine, as in an upgrade that overlaps.
#[actix::test]
async fn a_twin_does_no_harm() {
    tokio::time::pause();
    for withdraw in [false, true] {
        let one = World::with_containers(Upkeep::Lease, 10).await;
        let two = World::start(one.engine.clone(), one.store.clone());
        two.all_the_while(TTL * 3, &keys(0..10)).await;
        let before = two.store.writes().len();
        pass(TTL).await;
        assert_eq!(two.store.writes().len(), before, "two twins have nothing to write");
        two.engine.run(container("new", 50));
        two.until("the new one is there", |two| two.store.len() == 11).await;
        assert_eq!(one.core.stop(withdraw, SECOND * 5).await, Stopped::Clean);
        if !withdraw {
            two.all_the_while(TTL * 3, &keys(0..10)).await;
        }
        two.until("all are there", |two| two.store.len() == 11).await;
        two.engine.remove("new");
        two.until("it is withdrawn", |two| two.store.len() == 10).await;
        two.all_the_while(TTL * 5, &keys(0..10)).await;
        assert_eq!(two.store.keys(), keys(0..10));
    }
}

#[actix::test]
async fn a_key_on_our_lease_that_we_do_not_know_is_reported_and_left() {
    tokio::time::pause();
    let world = World::with_containers(Upkeep::Lease, 2).await;
    pass(SECOND).await;
    world.store.put_on_lease(&key("unknown"), &value(5), family().lease(0), TTL);
    world.all_the_while(TTL * 6, &[key("unknown")]).await;
    assert_eq!(world.core.counts().unknown, 1, "reported once");
}

/// A twin that sees a container end later than we do puts back what we withdrew, and
/// may end before it withdraws that itself.
#[actix::test]
async fn what_a_slower_twin_put_back_goes_with_the_next_audit() {
    tokio::time::pause();
    let world = World::with_containers(Upkeep::Lease, 4).await;
    world.engine.remove("web-2");
    world.engine.remove("web-3");
    world.until("they are withdrawn", |world| world.store.len() == 2).await;
    for (name, port) in [("web-2", 8002), ("web-3", 9999)] {
        world.store.put_on_lease(&key(name), &value(port), family().lease(0), TTL);
    }
    // Another value than ours is none that we withdrew.
    let took = world.until("it is withdrawn", |world| world.store.len() == 3).await;
    assert!(took <= TTL + SECOND, "{took:?}");
    world.all_the_while(TTL * 3, &[key("web-0"), key("web-1"), key("web-3")]).await;
    assert_eq!(world.store.get(&key("web-2")), None);

    // A container that wants it again gets it.
    world.engine.run(container("web-2", 2));
    world.until("it is back", |world| world.store.get(&key("web-2")).is_some()).await;
    world.all_the_while(TTL * 10, &[key("web-2")]).await;
}

#[actix::test]
async fn another_hosts_record_is_never_ours_whatever_it_says() {
    tokio::time::pause();
    let store = Store::new(Upkeep::Lease);
    store.put_on_lease(&key("web-0"), &value(8000), LeaseFamily::new(99).lease(0), TTL * 1000);
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

/// A member that was stopped goes on after minutes, and carries out what it had got.
#[actix::test]
async fn a_write_that_comes_minutes_late_is_withdrawn() {
    tokio::time::pause();
    for upkeep in [Upkeep::Each, Upkeep::Lease] {
        let world = World::with_containers(upkeep, 1).await;
        pass(SECOND).await;
        world.store.go_away(Away::Late);
        world.engine.run(container("late", 1));
        world.core.poll_now();
        world
            .until("its put is under way", |world| {
                world.store.writes().iter().any(|write| write.key().as_str() == key("late"))
            })
            .await;
        world.engine.remove("late");
        pass(POLL).await;
        world.store.come_back();
        pass(SECOND * 300).await;
        world.store.carry_out_late_writes();
        assert_eq!(world.store.len(), 2);
        let took = world.until("it is withdrawn", |world| world.store.len() == 1).await;
        assert!(took <= SECOND, "{upkeep:?}: {took:?}");
        assert!(world.core.counts().late >= 1);
    }
}

#[actix::test]
async fn records_in_a_directory_that_somebody_removed_are_back_at_once() {
    tokio::time::pause();
    let world = World::with_containers(Upkeep::Each, 3).await;
    pass(SECOND).await;
    world.store.remove_directory("skydns/local");
    assert_eq!(world.store.len(), 0);
    let took = world.until("all are back", |world| world.store.len() == 3).await;
    assert!(took <= SECOND / 10, "{took:?}");
}
