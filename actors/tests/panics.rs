//! Actors that crash: each is restarted, and no record is lost meanwhile.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, POLL, Store, TTL, World, container, key, keys, pass};
use highhock_actors::{KeepAliveMode, Shutdown};

on_both_stores! {
    restarts_watcher
    container_ends_while_its_watcher_restarts
    repeated_watcher_crashes_do_not_end_the_process
    restarts_poller
    restarts_registry
    restarts_registry_while_another_engine_answers
    restarts_registry_before_a_mass_removal
    restarts_inserter
    restarts_inserter_while_containers_change
    restarts_inserter_during_a_withdrawal
    restarts_inserter_during_a_withdrawing_stop
    restarts_inserter_and_registry_together
    escalates_after_five_crashes_in_a_minute
}

const SECOND: Duration = Duration::from_secs(1);

/// Checks that all records exist during two TTLs, and that a change is still published.
async fn assert_recovered(world: &World, count: usize) {
    world.assert_present_for(TTL * 2, &keys(0..count)).await;
    world.engine.run(container("after", 900));
    world
        .until("a new container is published", |world| world.store.get(&key("after")).is_some())
        .await;
    world.engine.remove("after");
    world.until("the new container is withdrawn", |world| world.store.len() == count).await;
}

async fn restarts_watcher(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    let before = world.core.mailbox_snapshots()[2].clone();
    world.engine.panic_in_next_inspection_of("web-3");
    world.engine.change("web-3", |container| container.bindings[0].host_port = 9000);
    let inspected = world.engine.inspections().len();
    world.until("the actor crashed", |world| world.engine.inspections().len() > inspected).await;
    assert_recovered(&world, 10).await;
    assert!(world.store.get(&key("web-3")).unwrap().contains("9000"));
    let after = world.core.mailbox_snapshots()[2].clone();
    assert!(after.panics > before.panics && after.restarts > before.restarts);
}

async fn container_ends_while_its_watcher_restarts(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 2).await;
    world.engine.panic_in_next_inspection_of("web-1");
    world.engine.change("web-1", |container| container.bindings[0].host_port = 9000);
    let inspected = world.engine.inspections().len();
    world.until("the actor crashed", |world| world.engine.inspections().len() > inspected).await;
    world.engine.remove("web-1");
    let took = world.until("the record is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= POLL + SECOND, "{took:?}");
}

async fn repeated_watcher_crashes_do_not_end_the_process(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    let inspected = world.engine.inspections().len();
    world.engine.change("web-2", |container| container.bindings[0].host_port = 9000);
    let watching = async {
        for _ in 0..3000 {
            world.engine.panic_in_next_inspection_of("web-2");
            world.assert_present_for(SECOND / 10, &keys(0..3)).await;
        }
    };
    tokio::select! {
        () = watching => {}
        actor = world.core.restarts_exhausted() => panic!("{actor} ended the process"),
    }
    let crashes = world.engine.inspections().len() - inspected;
    assert!((5..=12).contains(&crashes), "{crashes} crashes in five minutes");
}

async fn restarts_poller(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    world.engine.panic_in_next_list();
    let lists = world.engine.lists();
    world.until("the actor crashed", |world| world.engine.lists() > lists).await;
    assert_recovered(&world, 10).await;
}

async fn restarts_registry(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    let watchers = world.core.mailbox_snapshots()[2].clone();
    world.core.inject_registry_panic();
    // A container ends while the registry restarts.
    world.engine.remove("web-9");
    world.until("the record is withdrawn", |world| world.store.len() == 9).await;
    assert_recovered(&world, 9).await;
    assert_eq!(world.core.containers().await.unwrap().len(), 9);
    assert!(watchers.instances >= 10);
}

/// The restarted registry knows no container, so a suspect listing needs a confirmation.
async fn keeps_records_after_wrong_listing(world: &World, count: usize, identity: &str) {
    let ours = world.engine.containers();
    let lists = world.engine.lists();
    world.core.inject_registry_panic();
    world.engine.set_identity(identity);
    for one in &ours {
        world.engine.remove(&one.name);
    }
    world.until("the wrong listing was requested", |world| world.engine.lists() > lists).await;
    world.assert_present_for(SECOND / 10, &keys(0..count)).await;
    world.engine.set_identity("");
    for one in ours {
        world.engine.run(one);
    }
    assert_recovered(world, count).await;
}

async fn restarts_registry_while_another_engine_answers(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    keeps_records_after_wrong_listing(&world, 3, "another").await;
}

async fn restarts_registry_before_a_mass_removal(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 12).await;
    keeps_records_after_wrong_listing(&world, 12, "").await;
}

async fn restarts_inserter(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    world.store.panic_in_next_write();
    pass(TTL / 3).await;
    assert_recovered(&world, 10).await;
}

async fn restarts_inserter_while_containers_change(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    world.store.panic_in_next_write();
    world.engine.remove("web-9");
    world.engine.change("web-8", |container| container.bindings[0].host_port = 9000);
    world.engine.run(container("new", 50));
    world
        .until("all changes are in the store", |world| {
            let moved = world.store.get(&key("web-8")).is_some_and(|value| value.contains("9000"));
            moved && world.store.get(&key("new")).is_some() && world.store.len() == 10
        })
        .await;
    world.assert_present_for(TTL * 2, &keys(0..9)).await;
}

async fn restarts_inserter_during_a_withdrawal(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 2).await;
    world.engine.remove("web-1");
    // The watcher is gone with its container. Only the write log knows the record.
    world.store.panic_in_next_write();
    pass(POLL * 2).await;
    world.until("the record is withdrawn", |world| world.store.len() == 1).await;
    assert_recovered(&world, 1).await;
}

async fn restarts_inserter_during_a_withdrawing_stop(keep_alive_mode: KeepAliveMode) {
    let World { store, core, engine: _engine } = World::with_containers(keep_alive_mode, 3).await;
    store.panic_in_next_write();
    assert_eq!(core.stop(true, SECOND * 5).await, Shutdown::Clean);
    assert_eq!(store.keys(), [""; 0]);
}

async fn restarts_inserter_and_registry_together(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    world.store.panic_in_next_write();
    world.core.inject_registry_panic();
    world.engine.remove("web-9");
    world.until("the ended container is withdrawn", |world| world.store.len() == 9).await;
    assert_recovered(&world, 9).await;
}

async fn escalates_after_five_crashes_in_a_minute(keep_alive_mode: KeepAliveMode) {
    let world = World::start(Engine::default(), Store::new(keep_alive_mode));
    let falling = async {
        loop {
            world.engine.panic_in_next_list();
            pass(SECOND / 10).await;
        }
    };
    let exhausted = tokio::time::timeout(SECOND * 60, world.core.restarts_exhausted());
    tokio::select! {
        _ = falling => unreachable!(),
        actor = exhausted => assert_eq!(actor.unwrap(), "DockerPoller"),
    }
    assert_eq!(world.engine.lists(), 5);
}
