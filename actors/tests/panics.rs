//! Actors that panic: each is mended, and the others don't notice.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, POLL, Store, TTL, World, container, key, keys, pass};
use highhock_actors::{Stopped, Upkeep};

on_both_stores! {
    a_watcher
    a_watcher_whose_container_ends_while_it_lies_fallen
    a_watcher_that_always_falls_does_not_end_the_process
    the_poller
    the_registry
    the_registry_while_another_engine_answers
    the_registry_before_a_listing_that_lacks_most
    the_inserter
    the_inserter_while_containers_come_and_go
    the_inserter_in_the_middle_of_a_withdrawal
    the_inserter_during_a_stop_that_withdraws
    inserter_and_registry_together
    five_times_in_a_minute_is_too_often
}

const SECOND: Duration = Duration::from_secs(1);

/// Lets two TTLs pass, in which no record may be missing; and shows that a change is
/// still noticed.
async fn all_is_well(world: &World, count: usize) {
    world.all_the_while(TTL * 2, &keys(0..count)).await;
    world.engine.run(container("after", 900));
    world.until("a new one is published", |world| world.store.get(&key("after")).is_some()).await;
    world.engine.remove("after");
    world.until("and withdrawn", |world| world.store.len() == count).await;
}

async fn a_watcher(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 10).await;
    let before = world.core.meters()[2].clone();
    world.engine.panic_in_next_inspection_of("web-3");
    world.engine.change("web-3", |one| one.bindings[0].host_port = 9000);
    let inspected = world.engine.inspections().len();
    world.until("it fell", |world| world.engine.inspections().len() > inspected).await;
    all_is_well(&world, 10).await;
    assert!(world.store.get(&key("web-3")).unwrap().contains("9000"));
    let after = world.core.meters()[2].clone();
    assert!(after.panics > before.panics && after.restarts > before.restarts);
}

async fn a_watcher_whose_container_ends_while_it_lies_fallen(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 2).await;
    world.engine.panic_in_next_inspection_of("web-1");
    world.engine.change("web-1", |one| one.bindings[0].host_port = 9000);
    let inspected = world.engine.inspections().len();
    world.until("it fell", |world| world.engine.inspections().len() > inspected).await;
    world.engine.remove("web-1");
    let took = world.until("it is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= POLL + SECOND, "{took:?}");
}

async fn a_watcher_that_always_falls_does_not_end_the_process(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 3).await;
    let inspected = world.engine.inspections().len();
    world.engine.change("web-2", |one| one.bindings[0].host_port = 9000);
    let watching = async {
        for _ in 0..3000 {
            world.engine.panic_in_next_inspection_of("web-2");
            world.all_the_while(SECOND / 10, &keys(0..3)).await;
        }
    };
    tokio::select! {
        () = watching => {}
        actor = world.core.exhausted() => panic!("{actor} ended the process"),
    }
    let falls = world.engine.inspections().len() - inspected;
    assert!((5..=12).contains(&falls), "{falls} falls in five minutes");
}

async fn the_poller(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 10).await;
    world.engine.panic_in_next_list();
    let lists = world.engine.lists();
    world.until("it fell", |world| world.engine.lists() > lists).await;
    all_is_well(&world, 10).await;
}

async fn the_registry(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 10).await;
    let watchers = world.core.meters()[2].clone();
    world.core.fell_registry();
    // One ends while nobody keeps the list.
    world.engine.remove("web-9");
    world.until("it is withdrawn", |world| world.store.len() == 9).await;
    all_is_well(&world, 9).await;
    assert_eq!(world.core.containers().await.unwrap().len(), 9);
    assert!(watchers.instances >= 10);
}

/// The new registry knows of no container: it must not take the next listing for all there is.
async fn survives_a_wrong_listing(world: &World, count: usize, identity: &str) {
    let ours = world.engine.containers();
    let lists = world.engine.lists();
    world.core.fell_registry();
    world.engine.becomes(identity);
    for one in &ours {
        world.engine.remove(&one.name);
    }
    world.until("it is listed", |world| world.engine.lists() > lists).await;
    world.all_the_while(SECOND / 10, &keys(0..count)).await;
    world.engine.becomes("");
    for one in ours {
        world.engine.run(one);
    }
    all_is_well(world, count).await;
}

async fn the_registry_while_another_engine_answers(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 3).await;
    survives_a_wrong_listing(&world, 3, "another").await;
}

async fn the_registry_before_a_listing_that_lacks_most(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 12).await;
    survives_a_wrong_listing(&world, 12, "").await;
}

async fn the_inserter(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 10).await;
    world.store.panic_in_next_write();
    pass(TTL / 3).await;
    all_is_well(&world, 10).await;
}

async fn the_inserter_while_containers_come_and_go(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 10).await;
    world.store.panic_in_next_write();
    world.engine.remove("web-9");
    world.engine.change("web-8", |one| one.bindings[0].host_port = 9000);
    world.engine.run(container("new", 50));
    world
        .until("the end state", |world| {
            let moved = world.store.get(&key("web-8")).is_some_and(|value| value.contains("9000"));
            moved && world.store.get(&key("new")).is_some() && world.store.len() == 10
        })
        .await;
    world.all_the_while(TTL * 2, &keys(0..9)).await;
}

async fn the_inserter_in_the_middle_of_a_withdrawal(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 2).await;
    world.engine.remove("web-1");
    // The watcher is gone with its container; only the list of deeds tells of the record.
    world.store.panic_in_next_write();
    pass(POLL * 2).await;
    world.until("it is withdrawn", |world| world.store.len() == 1).await;
    all_is_well(&world, 1).await;
}

async fn the_inserter_during_a_stop_that_withdraws(upkeep: Upkeep) {
    let World { store, core, engine: _engine } = World::with_containers(upkeep, 3).await;
    store.panic_in_next_write();
    assert_eq!(core.stop(true, SECOND * 5).await, Stopped::Clean);
    assert_eq!(store.keys(), [""; 0]);
}

async fn inserter_and_registry_together(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 10).await;
    world.store.panic_in_next_write();
    world.core.fell_registry();
    world.engine.remove("web-9");
    world.until("the ended one is withdrawn", |world| world.store.len() == 9).await;
    all_is_well(&world, 9).await;
}

async fn five_times_in_a_minute_is_too_often(upkeep: Upkeep) {
    let world = World::start(Engine::default(), Store::new(upkeep));
    let falling = async {
        loop {
            world.engine.panic_in_next_list();
            pass(SECOND / 10).await;
        }
    };
    let exhausted = tokio::time::timeout(SECOND * 60, world.core.exhausted());
    tokio::select! {
        _ = falling => unreachable!(),
        actor = exhausted => assert_eq!(actor.unwrap(), "DockerPoller"),
    }
    assert_eq!(world.engine.lists(), 5);
}
