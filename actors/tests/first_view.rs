//! The holder of a key is decided when every container of the first listing is inspected.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, POLL, Store, TTL, World, container, key, pass, settings};
use highhock_actors::{Core, CoreSettings, KeepAliveMode, RecordState, Shutdown};
use slog::{Discard, Logger, o};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
/// The time that the inspection of a slow container takes.
const SLOW: Duration = Duration::from_millis(800);

on_both_stores! {
    cold_start_with_rivals_writes_the_key_once
    cold_start_waits_only_for_inspections
    handover_keeps_the_holder_of_a_contested_key
    handover_with_other_ttl_never_shows_a_rival
    restarted_inserter_keeps_the_holder
    decides_new_keys_after_two_seconds
    keeps_record_while_its_container_is_unknown
    keeps_record_of_the_container_behind_an_unnamed_row
    later_container_does_not_wait_for_a_failed_inspection
    withdraws_holder_that_ends_in_a_partial_view
    follows_known_holder_in_a_partial_view
    stop_in_a_partial_view_keeps_every_record
    withdrawing_stop_in_a_partial_view_leaves_no_record
}

/// Runs a container that offers the service `web`. A lower `n` started earlier.
fn run_rival(engine: &Engine, n: usize) {
    let mut one = container(&format!("c{n}"), n);
    one.env.insert("DISCOVER".into(), "web:80".into());
    engine.run(one);
}

fn rivals() -> Engine {
    let engine = Engine::default();
    for n in 1..=3 {
        run_rival(&engine, n);
    }
    engine
}

/// Returns `true` if the record of `web` leads to container number `n`.
fn is_held_by(world: &World, n: usize) -> bool {
    let port = format!("\"port\":{},", 8000 + n);
    world.store.get(&key("web")).is_some_and(|value| value.contains(&port))
}

/// Lets time pass, and panics if the record of `web` leads to another container at any moment.
async fn assert_held_by(world: &World, n: usize, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(is_held_by(world, n), "{:?}", world.store.get(&key("web")));
        pass(Duration::from_millis(5)).await;
    }
}

/// Returns a world in which container 1 holds `web`, and containers 2 and 3 are on standby.
async fn world_of_rivals(keep_alive_mode: KeepAliveMode, settings: CoreSettings) -> World {
    let world = World::start_with(settings, rivals(), Store::new(keep_alive_mode));
    world.until("the first container holds the key", |world| is_held_by(world, 1)).await;
    world
}

/// Stops the core, and starts another from its handover state, while container 1 is slow to
/// inspect.
async fn hand_over(world: World, settings: CoreSettings) -> World {
    world.engine.inspection_of_takes("c1", SLOW);
    resume(world, settings).await
}

async fn resume(world: World, settings: CoreSettings) -> World {
    let World { engine, store, core } = world;
    core.stop(false, SECOND / 2).await;
    let (carried_state, log) = (core.carried_state(), Logger::root(Discard, o!()));
    let core = Core::resume(settings, engine.clone(), store.clone(), carried_state, &log);
    World { engine, store, core }
}

async fn cold_start_with_rivals_writes_the_key_once(keep_alive_mode: KeepAliveMode) {
    let engine = rivals();
    engine.inspection_of_takes("c1", SLOW);
    engine.inspection_of_takes("c2", SLOW / 2);
    let world = World::start(engine, Store::new(keep_alive_mode));
    world.core.wait_until_caught_up().await;
    assert!(is_held_by(&world, 1));
    assert_eq!(world.store.puts_of(&key("web")), 1);
}

async fn cold_start_waits_only_for_inspections(keep_alive_mode: KeepAliveMode) {
    let engine = rivals();
    engine.inspect_takes(SECOND / 10);
    let world = World::start(engine, Store::new(keep_alive_mode));
    let took = world.until("the key is written", |world| is_held_by(world, 1)).await;
    assert!(took <= SECOND / 10 * 2, "{took:?}");
}

async fn handover_keeps_the_holder_of_a_contested_key(keep_alive_mode: KeepAliveMode) {
    let world = world_of_rivals(keep_alive_mode, settings()).await;
    let world = hand_over(world, settings()).await;
    assert_held_by(&world, 1, POLL).await;
    assert_eq!(world.store.puts_of(&key("web")), 1);
    world.engine.remove("c1");
    world.until("the second container holds the key", |world| is_held_by(world, 2)).await;
}

async fn handover_with_other_ttl_never_shows_a_rival(keep_alive_mode: KeepAliveMode) {
    let world = world_of_rivals(keep_alive_mode, settings()).await;
    let mut changed = CoreSettings { ttl: TTL * 2, ..settings() };
    changed.publish_config.ttl = 30.try_into().unwrap();
    let world = hand_over(world, changed).await;
    assert_held_by(&world, 1, TTL * 3).await;
    assert_eq!(world.store.puts_of(&key("web")), 2);
    assert!(world.store.get(&key("web")).unwrap().contains("\"ttl\":30"));
}

async fn restarted_inserter_keeps_the_holder(keep_alive_mode: KeepAliveMode) {
    let world = world_of_rivals(keep_alive_mode, settings()).await;
    // The watcher of the holder has crashed too, so its desired records are not sent again.
    world.engine.panic_in_next_inspection_of("c1");
    world
        .engine
        .change("c1", |container| container.exposed.push((99, highhock_actors::Protocol::Tcp)));
    world.core.inject_watcher_panic("c1");
    world.store.panic_in_next_write();
    run_rival(&world.engine, 9);
    world.engine.change("c9", |container| {
        container.env.insert("DISCOVER".into(), "other:80".into());
    });
    world.core.poll_now();
    assert_held_by(&world, 1, TTL * 3).await;
    assert_eq!(world.store.puts_of(&key("web")), 1);
    assert!(world.store.get(&key("other")).is_some());
}

async fn decides_new_keys_after_two_seconds(keep_alive_mode: KeepAliveMode) {
    let engine = rivals();
    engine.fail_inspections_of("c1", true);
    let world = World::start(engine, Store::new(keep_alive_mode));
    let took = world.until("the key is decided", |world| is_held_by(world, 2)).await;
    assert!(took >= SECOND * 2 && took < SECOND * 2 + SECOND / 2, "{took:?}");
    assert!(world.core.handle().ready().await.is_err(), "a container is not inspected");
    world.engine.fail_inspections_of("c1", false);
    let took = world.until("the first container holds the key", |world| is_held_by(world, 1)).await;
    assert!(took <= POLL + SECOND, "{took:?}");
    assert_eq!(world.store.puts_of(&key("web")), 2);
}

async fn keeps_record_while_its_container_is_unknown(keep_alive_mode: KeepAliveMode) {
    let world = world_of_rivals(keep_alive_mode, settings()).await;
    world.engine.fail_inspections_of("c1", true);
    let world = resume(world, settings()).await;
    assert_held_by(&world, 1, TTL * 4).await;
    let (state, reason) = world.state_of(&key("web")).await.unwrap();
    assert_eq!(state, RecordState::Pending);
    assert!(reason.unwrap().contains("not inspected"), "the reason is reported");
    world.engine.remove("c1");
    let took = world.until("the next holds the key", |world| is_held_by(world, 2)).await;
    assert!(took <= POLL + SECOND, "{took:?}");
}

async fn keeps_record_of_the_container_behind_an_unnamed_row(keep_alive_mode: KeepAliveMode) {
    let world = world_of_rivals(keep_alive_mode, settings()).await;
    world.engine.hide_id_of("c1", true);
    world.engine.run(container("other", 9));
    let world = resume(world, settings()).await;
    world.core.wait_until_caught_up().await;
    world.until("new keys are decided", |world| world.store.get(&key("other")).is_some()).await;
    assert_held_by(&world, 1, TTL * 4).await;
    assert_eq!(world.core.handle().ready().await, Ok(()));
    let (state, reason) = world.state_of(&key("web")).await.unwrap();
    assert_eq!(state, RecordState::Standby);
    assert!(reason.unwrap().contains("a row of the listing names no container"));
    world.engine.remove("c1");
    let took = world.until("the next holds the key", |world| is_held_by(world, 2)).await;
    assert!(took <= POLL + SECOND, "{took:?}");
}

async fn later_container_does_not_wait_for_a_failed_inspection(keep_alive_mode: KeepAliveMode) {
    let engine = rivals();
    engine.fail_inspections_of("c1", true);
    let following = CoreSettings { events: true, ..settings() };
    let world = World::start_with(following, engine, Store::new(keep_alive_mode));
    pass(POLL / 2).await;
    world.engine.start(20, container("later", 20));
    let present = |world: &World| world.store.get(&key("later")).is_some();
    let took = world.until("the later container is published", present).await;
    assert!(took <= SECOND / 10, "{took:?}");
}

async fn withdraws_holder_that_ends_in_a_partial_view(keep_alive_mode: KeepAliveMode) {
    let engine = Engine::default();
    run_rival(&engine, 1);
    engine.run(container("silent", 7));
    let following = || CoreSettings { events: true, ..settings() };
    let world = World::start_with(following(), engine, Store::new(keep_alive_mode));
    world.until("both records are published", |world| world.store.len() == 2).await;
    world.engine.fail_inspections_of("silent", true);
    // The values of the earlier core have another TTL.
    let mut changed = following();
    changed.publish_config.ttl = 30.try_into().unwrap();
    let world = resume(world, changed).await;
    pass(SECOND).await;
    world.engine.end(1, 9_000);
    let is_gone = |world: &World| world.store.get(&key("web")).is_none();
    let took = world.until("the record is withdrawn", is_gone).await;
    assert!(took <= SECOND / 10, "{took:?}");
    assert!(world.store.get(&key("silent")).is_some(), "its container is unknown");
}

async fn follows_known_holder_in_a_partial_view(keep_alive_mode: KeepAliveMode) {
    let world = world_of_rivals(keep_alive_mode, settings()).await;
    world.engine.run(container("silent", 7));
    world.engine.fail_inspections_of("silent", true);
    let world = resume(world, CoreSettings { events: true, ..settings() }).await;
    pass(SECOND * 3).await;
    world.engine.change_port(1, 9_000);
    let took = world.until("the second holds the key", |world| is_held_by(world, 2)).await;
    assert!(took <= SECOND / 10, "{took:?}");
}

async fn stop_in_a_partial_view_keeps_every_record(keep_alive_mode: KeepAliveMode) {
    let world = world_of_rivals(keep_alive_mode, settings()).await;
    world.engine.fail_inspections_of("c1", true);
    let world = resume(world, settings()).await;
    run_rival(&world.engine, 4);
    pass(SECOND / 2).await;
    let began = Instant::now();
    assert_eq!(world.core.stop(false, SECOND * 5).await, Shutdown::Clean);
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert!(is_held_by(&world, 1));
    world.engine.fail_inspections_of("c1", false);
    let world = resume(world, settings()).await;
    assert_held_by(&world, 1, POLL).await;
    assert_eq!(world.store.puts_of(&key("web")), 1);
}

async fn withdrawing_stop_in_a_partial_view_leaves_no_record(keep_alive_mode: KeepAliveMode) {
    let world = world_of_rivals(keep_alive_mode, settings()).await;
    world.engine.fail_inspections_of("c1", true);
    let world = resume(world, settings()).await;
    pass(SECOND / 2).await;
    assert_eq!(world.core.stop(true, SECOND * 5).await, Shutdown::Clean);
    assert_eq!(world.store.len(), 0);
}
