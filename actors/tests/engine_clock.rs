//! The engine's clock is set back while containers stop and start.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, POLL, Store, World, container, key, keys, pass, settings};
use highhock_actors::{
    Container, ContainerState, CoreSettings, EngineTime, EventKind, KeepAliveMode,
};

const SECOND: Duration = Duration::from_secs(1);
/// The longest time from an event to the change of the store if nothing else is slow.
const EVENT_LATENCY_MAX: Duration = Duration::from_millis(20);
/// A time by the engine's clock before it is set back.
const BEFORE: i128 = 900_000;
/// A time by the engine's clock after it was set back.
const AFTER: i128 = 5_000;
const STOP_SIGNAL: EventKind = EventKind::Signalled(15);

on_both_stores! {
    restarted_container_is_published_at_once
    container_started_later_is_published_at_once
    restart_without_events_ends_the_drain
    absence_in_a_listing_ends_the_drain
    end_of_the_new_run_withdraws_at_once
    stop_signal_of_the_new_run_drains
    stream_gap_loses_no_stop_signal
    restarted_container_is_published_after_handover
}

/// Starts a core with one published container and an open event stream.
async fn world_with_events(keep_alive_mode: KeepAliveMode) -> World {
    let engine = Engine::default();
    engine.run(container("web-0", 0));
    let settings = CoreSettings { events: true, ..settings() };
    let world = World::start_with(settings, engine, Store::new(keep_alive_mode));
    world.until("the record is published", is_published).await;
    pass(SECOND * 2).await;
    world
}

fn is_published(world: &World) -> bool {
    world.store.get(&key("web-0")).is_some()
}

fn container_started_at(at: i128) -> Container {
    Container { started: EngineTime(at), ..container("web-0", 0) }
}

async fn assert_published_within(world: &World, time: Duration) {
    let took = world.until("the record is published", is_published).await;
    assert!(took <= time, "{took:?}");
    world.assert_present_for(POLL * 3, &keys(0..1)).await;
}

async fn assert_withdrawn_within(world: &World, time: Duration) {
    let took = world.until("the record is withdrawn", |world| !is_published(world)).await;
    assert!(took <= time, "{took:?}");
}

/// Stops the container as `docker stop` does.
async fn stop(world: &World, at: i128) {
    world.engine.send_event(0, STOP_SIGNAL, at);
    assert_withdrawn_within(world, EVENT_LATENCY_MAX).await;
    world.engine.end(0, at + 1);
}

async fn restarted_container_is_published_at_once(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode).await;
    stop(&world, BEFORE).await;
    world.engine.start(0, container_started_at(AFTER));
    assert_published_within(&world, EVENT_LATENCY_MAX).await;
}

async fn container_started_later_is_published_at_once(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode).await;
    stop(&world, BEFORE).await;
    pass(POLL * 2).await;
    world.engine.start(0, container_started_at(AFTER));
    assert_published_within(&world, EVENT_LATENCY_MAX).await;
}

async fn restart_without_events_ends_the_drain(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode).await;
    world.engine.send_event(0, STOP_SIGNAL, BEFORE);
    assert_withdrawn_within(&world, EVENT_LATENCY_MAX).await;
    world.engine.silence_streams();
    world.engine.run(container_started_at(AFTER));
    assert_published_within(&world, POLL + SECOND).await;
}

/// The end and the start of the container are found by listings.
async fn absence_in_a_listing_ends_the_drain(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode).await;
    world.engine.send_event(0, STOP_SIGNAL, BEFORE);
    assert_withdrawn_within(&world, EVENT_LATENCY_MAX).await;
    world.engine.silence_streams();
    world.engine.remove("web-0");
    let lists = world.engine.lists();
    world.until("a listing lacks the container", |world| world.engine.lists() > lists).await;
    pass(SECOND / 10).await;
    world.engine.run(container_started_at(AFTER));
    assert_published_within(&world, POLL + SECOND).await;
}

async fn end_of_the_new_run_withdraws_at_once(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode).await;
    stop(&world, BEFORE).await;
    world.engine.start(0, container_started_at(AFTER));
    assert_published_within(&world, EVENT_LATENCY_MAX).await;
    world.engine.end(0, AFTER + 100);
    assert_withdrawn_within(&world, EVENT_LATENCY_MAX).await;
}

async fn stop_signal_of_the_new_run_drains(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode).await;
    stop(&world, BEFORE).await;
    world.engine.start(0, container_started_at(AFTER));
    assert_published_within(&world, EVENT_LATENCY_MAX).await;
    world.engine.send_event(0, STOP_SIGNAL, AFTER + 100);
    assert_withdrawn_within(&world, EVENT_LATENCY_MAX).await;
    pass(POLL * 3).await;
    assert!(!is_published(&world), "the drain continues");
}

async fn stream_gap_loses_no_stop_signal(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode).await;
    stop(&world, BEFORE).await;
    world.engine.start(0, container_started_at(AFTER));
    assert_published_within(&world, EVENT_LATENCY_MAX).await;
    world.engine.cut_streams();
    world.engine.send_event(0, STOP_SIGNAL, AFTER + 100);
    assert_withdrawn_within(&world, SECOND).await;
    pass(POLL * 3).await;
    assert!(!is_published(&world), "the drain continues");
}

async fn restarted_container_is_published_after_handover(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode).await;
    stop(&world, BEFORE).await;
    world.engine.start(0, container_started_at(AFTER));
    assert_published_within(&world, EVENT_LATENCY_MAX).await;
    let World { engine, store, core } = world;
    core.stop(false, SECOND / 2).await;
    let (carried_state, log) =
        (core.carried_state(), slog::Logger::root(slog::Discard, slog::o!()));
    let settings = CoreSettings { events: true, ..settings() };
    let core =
        highhock_actors::Core::resume(settings, engine.clone(), store.clone(), carried_state, &log);
    let world = World { engine, store, core };
    world.assert_present_for(POLL * 3, &keys(0..1)).await;
    world.engine.change("web-0", |one| one.state = ContainerState::Exited);
    assert_withdrawn_within(&world, POLL + SECOND).await;
}
