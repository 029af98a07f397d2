//! Guarantees of the core, in normal operation and during outages of Docker or the store.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{
    Engine, LogMessages, Outage, POLL, Store, TTL, World, container, id, key, keys, pass, settings,
};
use highhock_actors::model::publish_config::KeyLayout;
use highhock_actors::{
    ContainerState, Health, KeepAliveMode, NetworkMode, RecordState, Shutdown, Write,
};

on_both_stores! {
    record_exists_while_container_runs
    idle_core_sends_one_docker_request_per_poll
    reinspects_unchanged_container_rarely
    withdraws_paused_unhealthy_and_dead_containers
    docker_outage_keeps_records
    publishes_container_started_during_docker_failures
    repairs_wiped_store_within_a_second_after_outage
    outage_backs_off_without_writes
    late_write_restores_no_withdrawn_record
    late_delete_removes_no_desired_record
    recognises_own_late_put
    takes_over_foreign_record_after_expiry
    never_touches_a_static_entry
    record_changed_by_another_writer_is_foreign
    restores_a_deleted_record
    first_started_container_holds_the_name
    parent_name_is_on_standby_and_recovers
    rejected_key_blocks_nothing_else
    instance_layout_has_a_key_per_container
    follows_shared_network
    follows_shared_network_behind_ended_container
    repeats_inspection_that_contradicts_listing
    momentary_state_is_corrected
    newer_inspection_overrides_listing
    reinspects_guest_of_unlisted_container
    clean_stop_keeps_or_withdraws_records
    stop_ends_at_its_deadline
    starts_while_docker_and_store_are_unavailable
    check_now_repairs_store_at_once
}

const SECOND: Duration = Duration::from_secs(1);

fn value(port: u16) -> String {
    format!(r#"{{"host":"10.77.66.0","port":{port},"ttl":60}}"#)
}

async fn record_exists_while_container_runs(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 1).await;
    assert_eq!(world.store.get(&key("web-0")), Some(value(8000)));
    world.assert_present_for(TTL * 10, &keys(0..1)).await;
    world.engine.remove("web-0");
    let took = world.until("the record is withdrawn", |world| world.store.len() == 0).await;
    assert!(took <= POLL + SECOND, "{took:?}");
    pass(TTL * 2).await;
    assert_eq!(world.store.keys(), [""; 0]);
}

async fn idle_core_sends_one_docker_request_per_poll(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 500).await;
    let (lists, inspections) = (world.engine.lists(), world.engine.inspections().len());
    assert_eq!(inspections, 500);
    pass(POLL * 60).await;
    assert_eq!(world.engine.inspections().len(), inspections);
    let lists = world.engine.lists() - lists;
    assert!((60..=64).contains(&lists), "{lists}");

    world.engine.change("web-7", |container| container.bindings[0].host_port = 9999);
    pass(POLL * 3).await;
    assert_eq!(world.engine.inspections()[inspections..], ["web-7"]);
    assert_eq!(world.store.get(&key("web-7")), Some(value(9999)));
}

#[actix::test]
async fn idle_core_only_refreshes() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::PerRecord, 50).await;
    let before = world.store.writes().len();
    pass(TTL * 4).await;
    let writes = world.store.writes().split_off(before);
    assert!(writes.iter().all(|write| matches!(write, Write::Refresh { .. })));
    // A record is refreshed each third of the TTL, and not much more often.
    let each = writes.len() / 50;
    assert!((12..=16).contains(&each), "{each} refreshes a record in four TTLs");
}

async fn reinspects_unchanged_container_rarely(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    pass(Duration::from_secs(3600)).await;
    let inspections = world.engine.inspections();
    assert!((6..=9).contains(&inspections.len()), "{inspections:?}");
}

async fn withdraws_paused_unhealthy_and_dead_containers(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 2).await;
    let states: [fn(&mut highhock_actors::Container); 2] = [
        |container| container.state = ContainerState::Paused,
        |container| container.health = Health::Unhealthy,
    ];
    for unfit in states {
        world.engine.change("web-1", unfit);
        let took = world.until("the record is withdrawn", |world| world.store.len() == 1).await;
        assert!(took <= POLL + SECOND, "{took:?}");
        world.engine.change("web-1", |one| {
            (one.state, one.health) = (ContainerState::Running, Health::Healthy);
        });
        world.until("the record is back", |world| world.store.len() == 2).await;
    }
}

#[actix::test]
async fn logs_a_reason_once_per_container() {
    tokio::time::pause();
    let (engine, messages) = (Engine::default(), LogMessages::default());
    let mut unpublished = container("web-0", 0);
    unpublished.env.insert("DISCOVERY".into(), "other:81,my web:80".into());
    engine.run(unpublished);
    let store = Store::new(KeepAliveMode::PerRecord);
    let world = World::start_logged(settings(), engine, store, messages.logger());
    world.until("the record is published", |world| world.store.len() == 1).await;
    assert_eq!(messages.count("skipped"), 2);
    world.engine.change("web-0", |container| container.state = ContainerState::Paused);
    world.until("the record is withdrawn", |world| world.store.len() == 0).await;
    world.engine.change("web-0", |container| container.state = ContainerState::Running);
    world.until("the record is back", |world| world.store.len() == 1).await;
    assert_eq!(messages.count("skipped"), 2);
}

async fn docker_outage_keeps_records(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 5).await;
    world.engine.set_unavailable(true);
    world.engine.remove("web-4");
    world.assert_present_for(TTL * 20, &keys(0..5)).await;
    world.engine.set_unavailable(false);
    let took = world
        .until("the record of the ended container is withdrawn", |world| world.store.len() == 4)
        .await;
    assert!(took <= POLL + SECOND, "{took:?}");
    world.assert_present_for(TTL * 2, &keys(0..4)).await;
}

async fn publishes_container_started_during_docker_failures(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 1).await;
    world.engine.run(container("web-1", 1));
    world.engine.inspect_takes(SECOND);
    world.until("the inspection was requested", |world| world.engine.inspections().len() > 1).await;
    world.engine.set_unavailable(true);
    pass(POLL * 3).await;
    world.engine.set_unavailable(false);
    world.until("the record is published", |world| world.store.len() == 2).await;
}

async fn repairs_wiped_store_within_a_second_after_outage(keep_alive_mode: KeepAliveMode) {
    for how in [Outage::Refused, Outage::Silent] {
        let world = World::with_containers(keep_alive_mode, 100).await;
        world.store.fail(how);
        pass(TTL * 3).await;
        world.store.wipe();
        world.engine.run(container("new", 200));
        world.engine.remove("web-99");
        pass(POLL * 2).await;
        world.store.recover();
        let took = world.until("all records are back", |world| world.store.len() == 100).await;
        assert!(took <= SECOND * 2, "{how:?}: {took:?}");
        assert!(how == Outage::Silent || took <= SECOND, "{how:?}: {took:?}");
        assert!(world.store.get(&key("new")).is_some());
        assert_eq!(world.store.get(&key("web-99")), None);
    }
}

async fn outage_backs_off_without_writes(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 20).await;
    world.store.fail(Outage::Refused);
    pass(TTL).await;
    let before = world.store.writes().len();
    pass(TTL * 4).await;
    assert_eq!(world.store.writes().len(), before);
}

async fn late_write_restores_no_withdrawn_record(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 1).await;
    world.store.fail(Outage::Late);
    world.engine.run(container("late", 1));
    world.core.poll_now();
    world
        .until("the put is requested", |world| {
            world.store.writes().iter().any(|write| write.key().as_str() == key("late"))
        })
        .await;
    world.engine.remove("late");
    pass(POLL * 2).await;
    world.store.recover();
    pass(SECOND * 3).await;
    world.store.apply_late_writes();
    let took = world.until("the late record is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= SECOND * 5, "{took:?}");
    pass(SECOND * 60).await;
    assert_eq!(world.store.keys(), keys(0..1));
}

async fn late_delete_removes_no_desired_record(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 1).await;
    world.store.fail(Outage::Late);
    world.engine.change("web-0", |container| container.state = ContainerState::Paused);
    world.core.poll_now();
    world
        .until("the delete is requested", |world| {
            world.store.writes().iter().any(|write| matches!(write, Write::Delete { .. }))
        })
        .await;
    world.engine.change("web-0", |container| container.state = ContainerState::Running);
    pass(SECOND).await;
    world.store.recover();
    pass(POLL + SECOND).await;
    world.store.apply_late_writes();
    world.until("the record is published", |world| world.store.len() == 1).await;
    world.assert_present_for(TTL * 2, &keys(0..1)).await;
}

async fn recognises_own_late_put(keep_alive_mode: KeepAliveMode) {
    let world = World::start(Engine::default(), Store::new(keep_alive_mode));
    world.store.fail(Outage::Late);
    world.engine.run(container("web-0", 0));
    pass(POLL * 2).await;
    // The port changes while the first put may still be applied.
    world.engine.change("web-0", |container| container.bindings[0].host_port = 9000);
    pass(POLL * 2).await;
    world.store.apply_late_writes();
    world.store.recover();
    let wanted = Some(value(9000));
    world
        .until("the latest value is published", |world| world.store.get(&key("web-0")) == wanted)
        .await;
}

async fn takes_over_foreign_record_after_expiry(keep_alive_mode: KeepAliveMode) {
    let (engine, store) = (Engine::default(), Store::new(keep_alive_mode));
    let other = r#"{"host":"10.77.66.99","port":1,"ttl":60}"#;
    store.put(&key("web-0"), other, Some(SECOND * 40));
    engine.run(container("web-0", 0));
    let world = World::start(engine, store);
    pass(SECOND * 30).await;
    assert_eq!(world.store.get(&key("web-0")).as_deref(), Some(other));
    let (state, reason) = world.state_of(&key("web-0")).await.unwrap();
    assert_eq!(state, RecordState::Standby);
    assert!(reason.unwrap().contains("10.77.66.99"));
    let took = world.until("the key is taken over", |world| {
        world.store.get(&key("web-0")) == Some(value(8000))
    });
    assert!(took.await <= SECOND * 12);
}

async fn never_touches_a_static_entry(keep_alive_mode: KeepAliveMode) {
    let (engine, store) = (Engine::default(), Store::new(keep_alive_mode));
    // The value is equal to the value that HighHock would write.
    store.put(&key("web-0"), &value(8000), None);
    engine.run(container("web-0", 0));
    let world = World::start(engine, store);
    pass(TTL * 10).await;
    assert_eq!(world.state_of(&key("web-0")).await.unwrap().0, RecordState::Standby);
    world.engine.remove("web-0");
    pass(TTL * 2).await;
    assert_eq!(world.store.get(&key("web-0")), Some(value(8000)));
}

#[actix::test]
async fn adopts_and_repairs_record_of_previous_run() {
    tokio::time::pause();
    let (engine, store) = (Engine::default(), Store::new(KeepAliveMode::PerRecord));
    store.put(&key("web-0"), &value(8000), Some(SECOND * 4));
    store.put(&key("web-1"), &value(1234), Some(SECOND * 4));
    store.put(&key("gone"), &value(4321), Some(SECOND * 4));
    engine.run(container("web-0", 0));
    engine.run(container("web-1", 1));
    let world = World::start(engine, store);
    world.assert_present_for(SECOND * 30, &keys(0..2)).await;
    assert_eq!(world.store.get(&key("web-1")), Some(value(8001)));
    assert_eq!(world.store.len(), 2);
}

async fn record_changed_by_another_writer_is_foreign(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 2).await;
    world.store.put(&key("web-0"), &value(7777), Some(SECOND * 100));
    pass(SECOND * 90).await;
    assert_eq!(world.store.get(&key("web-0")), Some(value(7777)));
    assert_eq!(world.state_of(&key("web-0")).await.unwrap().0, RecordState::Standby);
    world
        .until("the own record is published again", |world| {
            world.store.get(&key("web-0")) == Some(value(8000))
        })
        .await;
}

async fn restores_a_deleted_record(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 2).await;
    world.store.remove(&key("web-1"));
    let took = world.until("the record is back", |world| world.store.len() == 2).await;
    assert!(took <= TTL / 3 + SECOND, "{took:?}");
}

async fn first_started_container_holds_the_name(keep_alive_mode: KeepAliveMode) {
    let engine = Engine::default();
    for n in [1, 2, 3] {
        let mut one = container(&format!("c{n}"), n);
        one.env.insert("DISCOVER".into(), "web-0:80".into());
        engine.run(one);
    }
    let world = World::start(engine, Store::new(keep_alive_mode));
    let held_by =
        |port: u16| move |world: &World| world.store.get(&key("web-0")) == Some(value(port));
    world.until("the first container holds the key", held_by(8001)).await;
    let reports = world.core.records().await.unwrap();
    let states: Vec<_> = reports.iter().map(|report| report.state).collect();
    assert_eq!(states, [RecordState::Live, RecordState::Standby, RecordState::Standby]);
    assert!(reports[1].reason.as_ref().unwrap().contains("c1"), "{:?}", reports[1].reason);
    world.engine.remove("c1");
    world.until("the second container holds the key", held_by(8002)).await;
    world.engine.run(container("c1", 4));
    world.assert_present_for(TTL * 2, &keys(0..1)).await;
    assert!(held_by(8002)(&world));
}

async fn parent_name_is_on_standby_and_recovers(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    let mut child = container("child", 9);
    child.env.insert("DISCOVER".into(), "api.web-0:80".into());
    world.engine.run(child);
    world.engine.run(container("other", 10));
    world
        .until("the other record is published", |world| world.store.get(&key("other")).is_some())
        .await;
    let (state, reason) = world.state_of(&key("web-0/api")).await.unwrap();
    assert_eq!(state, RecordState::Standby);
    assert!(reason.unwrap().contains("in the way"));
    world.assert_present_for(TTL * 2, &keys(0..3)).await;
    world.engine.remove("web-0");
    let took = world
        .until("the record is published", |world| world.store.get(&key("web-0/api")).is_some());
    assert!(took.await <= POLL + SECOND);
}

async fn rejected_key_blocks_nothing_else(keep_alive_mode: KeepAliveMode) {
    let engine = Engine::default();
    let store = Store::new(keep_alive_mode);
    store.refuse(Some(&key("web-1")));
    for n in 0..3 {
        engine.run(container(&format!("web-{n}"), n));
    }
    let world = World::start(engine, store);
    world.until("the other records are published", |world| world.store.len() == 2).await;
    let tries = |world: &World| {
        world.store.writes().iter().filter(|write| write.key().as_str() == key("web-1")).count()
    };
    pass(SECOND * 120).await;
    assert!((4..=7).contains(&tries(&world)), "{}", tries(&world));
    assert_eq!(world.state_of(&key("web-1")).await.unwrap().0, RecordState::Failed);
    world.store.refuse(None);
    world.until("the record is published", |world| world.store.len() == 3).await;
}

async fn instance_layout_has_a_key_per_container(keep_alive_mode: KeepAliveMode) {
    let mut settings = settings();
    settings.publish_config.layout = KeyLayout::Instance;
    let engine = Engine::default();
    for n in 0..2 {
        let mut one = container(&format!("c{n}"), n);
        one.env.insert("DISCOVER".into(), "web:80".into());
        engine.run(one);
    }
    let world = World::start_with(settings, engine, Store::new(keep_alive_mode));
    world.until("both records are published", |world| world.store.len() == 2).await;
    assert_eq!(world.store.keys()[0], key("web/node1-000000000000-80"));
}

async fn follows_shared_network(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 1).await;
    let mut guest = container("guest", 5);
    guest.bindings.clear();
    guest.network = NetworkMode::Container(id(0));
    world.engine.run(guest);
    world
        .until("the record is published", |world| {
            world.store.get(&key("guest")) == Some(value(8000))
        })
        .await;
    world.engine.change("web-0", |container| container.bindings[0].host_port = 9000);
    let took = world.until("the guest has the new port", |world| {
        world.store.get(&key("guest")) == Some(value(9000))
    });
    assert!(took.await <= POLL + SECOND);
    world.engine.remove("web-0");
    world.until("the record of the guest is withdrawn", |world| world.store.len() == 0).await;
}

/// A container between guest and network owner need not run.
async fn follows_shared_network_behind_ended_container(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 1).await;
    let guest_of = |name: &str, n: usize, host: usize| {
        let mut guest = container(name, n);
        guest.bindings.clear();
        guest.network = NetworkMode::Container(id(host));
        guest
    };
    let mut between = guest_of("between", 5, 0);
    between.state = ContainerState::Exited;
    world.engine.run(between);
    world.engine.run(guest_of("guest", 6, 5));
    let is_at = |port| move |world: &World| world.store.get(&key("guest")) == Some(value(port));
    world.until("the record is published", is_at(8000)).await;
    world.engine.change("web-0", |container| container.bindings[0].host_port = 9000);
    let took = world.until("the guest has the new port", is_at(9000)).await;
    assert!(took <= POLL + SECOND, "{took:?}");
}

async fn repeats_inspection_that_contradicts_listing(keep_alive_mode: KeepAliveMode) {
    let world = World::start(Engine::default(), Store::new(keep_alive_mode));
    // The listing shows the time before a restart, the inspection a time within it. At the next
    // listing, the row looks as before.
    world.engine.list_takes(SECOND);
    world.engine.run(container("web-0", 0));
    let lists = world.engine.lists();
    world.until("a listing is in flight", |world| world.engine.lists() > lists).await;
    world.engine.change("web-0", |container| container.state = ContainerState::Restarting);
    world
        .until("the container was inspected", |world| !world.engine.inspections().is_empty())
        .await;
    world.engine.change("web-0", |container| container.state = ContainerState::Running);
    let took = world.until("the record is published", |world| world.store.len() == 1).await;
    assert!(took <= POLL * 2 + SECOND, "{took:?}");
}

async fn momentary_state_is_corrected(keep_alive_mode: KeepAliveMode) {
    let flips: [fn(&mut highhock_actors::Container); 2] = [
        |container| container.state = ContainerState::Paused,
        |container| container.health = Health::Unhealthy,
    ];
    for flip in flips {
        let world = World::with_containers(keep_alive_mode, 1).await;
        // The first listing shows the time before a momentary change, the inspection a time
        // within it, and the next listing a time after it. Both rows look the same.
        world.engine.list_takes(SECOND);
        world.engine.change("web-0", |container| container.bindings[0].host_port = 9000);
        let (lists, looks) = (world.engine.lists(), world.engine.inspections().len());
        world.until("a listing is in flight", |world| world.engine.lists() > lists).await;
        world.engine.change("web-0", flip);
        world
            .until("the container was inspected", |world| world.engine.inspections().len() > looks)
            .await;
        world.engine.change("web-0", |one| {
            (one.state, one.health) = (ContainerState::Running, Health::Unchecked);
        });
        world.until("the record is withdrawn", |world| world.store.len() == 0).await;
        let took = world.until("the record is back", |world| world.store.len() == 1).await;
        assert!(took <= POLL + SECOND, "{took:?}");
    }
}

async fn newer_inspection_overrides_listing(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 2).await;
    let lists = world.engine.lists();
    world.engine.list_takes(SECOND * 5);
    // web-1 is missing in the listing in flight. Meanwhile web-1 starts again, and an inspection
    // finds the container running.
    world.engine.change("web-1", |one| {
        one.state = ContainerState::Exited;
        one.network = NetworkMode::Container(id(0));
    });
    world.until("a listing is in flight", |world| world.engine.lists() > lists).await;
    world.engine.change("web-1", |container| container.state = ContainerState::Running);
    pass(SECOND * 4).await;
    world.assert_present_for(SECOND * 2, &keys(0..1)).await;
    world.until("both records are published", |world| world.store.len() == 2).await;
}

async fn reinspects_guest_of_unlisted_container(keep_alive_mode: KeepAliveMode) {
    let engine = Engine::default();
    engine.run(container("web-0", 0));
    let guest = || {
        let mut guest = container("web-1", 1);
        guest.network = NetworkMode::Container(id(0));
        guest
    };
    engine.run(guest());
    let world = World::start(engine, Store::new(keep_alive_mode));
    world.until("both records are published", |world| world.store.len() == 2).await;
    world.engine.change("web-0", |container| container.state = ContainerState::Exited);
    world.until("both records are withdrawn", |world| world.store.len() == 0).await;

    // The network owner runs only between the request of one listing and the next.
    let lists = world.engine.lists();
    world.engine.list_takes(SECOND);
    world.engine.run(guest());
    world.until("a listing is in flight", |world| world.engine.lists() > lists).await;
    world.engine.change("web-0", |container| container.state = ContainerState::Running);
    world.until("the guest is published again", |world| world.store.len() == 1).await;
    world.engine.change("web-0", |container| container.state = ContainerState::Exited);
    let took = world.until("the guest is withdrawn", |world| world.store.len() == 0).await;
    assert!(took <= POLL + SECOND * 2, "{took:?}");
}

async fn clean_stop_keeps_or_withdraws_records(keep_alive_mode: KeepAliveMode) {
    for withdraw in [false, true] {
        let world = World::with_containers(keep_alive_mode, 20).await;
        let World { core, store, .. } = world;
        assert_eq!(core.stop(withdraw, SECOND * 5).await, Shutdown::Clean);
        assert_eq!(store.len(), if withdraw { 0 } else { 20 });
        let writes = store.writes().len();
        pass(TTL * 2).await;
        assert_eq!(store.writes().len(), writes, "written after the stop");
    }
}

async fn stop_ends_at_its_deadline(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    world.store.fail(Outage::Silent);
    let World { core, .. } = world;
    let started = tokio::time::Instant::now();
    assert_eq!(core.stop(true, SECOND * 5).await, Shutdown::TimedOut(Some(3)));
    let took = started.elapsed();
    assert!(took >= SECOND * 5 && took < SECOND * 5 + SECOND / 10, "{took:?}");
}

async fn starts_while_docker_and_store_are_unavailable(keep_alive_mode: KeepAliveMode) {
    let (engine, store) = (Engine::default(), Store::new(keep_alive_mode));
    engine.set_unavailable(true);
    store.fail(Outage::Refused);
    engine.run(container("web-0", 0));
    let world = World::start(engine, store);
    pass(SECOND * 60).await;
    world.engine.set_unavailable(false);
    pass(SECOND * 60).await;
    world.store.recover();
    let took = world.until("the record is published", |world| world.store.len() == 1).await;
    assert!(took <= SECOND, "{took:?}");
}

async fn check_now_repairs_store_at_once(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    pass(SECOND).await;
    world.store.wipe();
    world.core.check_now();
    let took = world.until("all records are back", |world| world.store.len() == 10).await;
    assert!(took <= SECOND / 10, "{took:?}");
}

#[actix::test]
async fn preview_writes_nothing_and_shows_standby() {
    tokio::time::pause();
    let engine = Engine::default();
    for n in [2, 1] {
        let mut one = container(&format!("c{n}"), n);
        one.env.insert("DISCOVER".into(), "web-0:80,bad name:80,api:70000".into());
        engine.run(one);
    }
    let preview =
        highhock_actors::preview::preview(&engine, &settings().publish_config).await.unwrap();
    let records: Vec<_> =
        preview.records.iter().map(|one| (one.container.as_str().to_owned(), one.state)).collect();
    assert_eq!(records, [(id(1), RecordState::Pending), (id(2), RecordState::Standby)]);
    assert_eq!(preview.containers[0].skipped.len(), 2);
    engine.set_unavailable(true);
    highhock_actors::preview::preview(&engine, &settings().publish_config).await.unwrap_err();
}
