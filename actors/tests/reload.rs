//! Handover from one core to the next with other settings, and liveness probes.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, Outage, POLL, Store, TTL, World, container, key, keys, pass, settings};
use highhock_actors::model::names::DomainName;
use highhock_actors::{Core, CoreSettings, EventKind, KeepAliveMode, RecordState, Shutdown};
use slog::{Discard, Logger, o};

const SECOND: Duration = Duration::from_secs(1);

on_both_stores! {
    handover_writes_no_record
    keeps_record_with_its_own_host
    drained_container_stays_withdrawn
    withdraws_container_that_ended_between_cores
    handover_applies_a_changed_ttl
    hands_over_during_store_outage
    caught_up_core_has_published_all_records
    not_caught_up_while_docker_is_unavailable
    cancelled_stop_can_be_repeated
    ping_waits_for_a_restarting_actor
    hanging_actor_answers_no_ping
}

/// Stops the core, and starts another with these settings from its handover state.
async fn hand_over(world: World, settings: CoreSettings) -> World {
    let World { engine, store, core } = world;
    core.stop(false, SECOND / 2).await;
    let (carried_state, log) = (core.carried_state(), Logger::root(Discard, o!()));
    let core = Core::resume(settings, engine.clone(), store.clone(), carried_state, &log);
    World { engine, store, core }
}

async fn handover_writes_no_record(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 20).await;
    let before: Vec<_> = keys(0..20).iter().map(|key| world.store.version(key)).collect();
    let world = hand_over(world, settings()).await;
    world.assert_present_for(POLL, &keys(0..20)).await;
    let puts: usize = keys(0..20).iter().map(|key| world.store.puts_of(key)).sum();
    assert_eq!(puts, 20);
    if keep_alive_mode == KeepAliveMode::Lease {
        let after: Vec<_> = keys(0..20).iter().map(|key| world.store.version(key)).collect();
        assert_eq!(after, before);
    }
    let status = world.core.handle().status().await;
    assert_eq!(status.records.unwrap().live, 20);
    assert_eq!(status.counts.put, 20, "the new core continues the counters");
    assert!(!world.core.handle().changes().is_empty());
}

/// With v2, the value of such a record does not show its owner.
async fn keeps_record_with_its_own_host(keep_alive_mode: KeepAliveMode) {
    let engine = Engine::default();
    let mut one = container("web-0", 0);
    one.labels.insert("highhock.host".into(), "10.9.9.9".into());
    engine.run(one);
    let world = World::start(engine, Store::new(keep_alive_mode));
    world.until("the record is published", |world| world.store.len() == 1).await;
    let world = hand_over(world, settings()).await;
    world.assert_present_for(TTL * 3, &keys(0..1)).await;
    assert_eq!(world.state_of(&key("web-0")).await.unwrap().0, RecordState::Live);
    world.engine.remove("web-0");
    world.until("the record is withdrawn", |world| world.store.len() == 0).await;
}

async fn drained_container_stays_withdrawn(keep_alive_mode: KeepAliveMode) {
    let following = || CoreSettings { events: true, ..settings() };
    let engine = Engine::default();
    engine.run(container("web-0", 0));
    let world = World::start_with(following(), engine, Store::new(keep_alive_mode));
    world.until("the record is published", |world| world.store.len() == 1).await;
    world.engine.send_event(0, EventKind::Signalled(15), 9_000);
    world.until("the record is withdrawn", |world| world.store.len() == 0).await;
    let puts = world.store.puts_of(&key("web-0"));
    let world = hand_over(world, following()).await;
    pass(POLL * 3).await;
    assert_eq!(world.store.puts_of(&key("web-0")), puts);
}

async fn withdraws_container_that_ended_between_cores(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    world.core.stop(false, SECOND).await;
    world.engine.remove("web-2");
    let world = hand_over(world, settings()).await;
    let took = world.until("the record is withdrawn", |world| world.store.len() == 2).await;
    assert!(took <= SECOND * 2, "{took:?}");
    world.assert_present_for(TTL * 2, &keys(0..2)).await;
}

async fn handover_applies_a_changed_ttl(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    let world = hand_over(world, CoreSettings { ttl: TTL * 2, ..settings() }).await;
    world.assert_present_for(TTL * 5, &keys(0..10)).await;
    if keep_alive_mode == KeepAliveMode::Lease {
        let ttls: Vec<_> = world.store.lease_ttls().into_iter().map(|(_, ttl)| ttl).collect();
        assert_eq!(ttls, [TTL * 2], "the previous lease is revoked");
    }
}

async fn hands_over_during_store_outage(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    world.store.fail(Outage::Silent);
    pass(SECOND).await;
    world.engine.remove("web-9");
    let world = hand_over(world, settings()).await;
    pass(SECOND).await;
    world.store.recover();
    world.until("all changes are in the store", |world| world.store.keys() == keys(0..9)).await;
    world.assert_present_for(TTL * 2, &keys(0..9)).await;
}

async fn caught_up_core_has_published_all_records(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 10).await;
    let mut elsewhere = settings();
    elsewhere.publish_config.domain = DomainName::parse("other.local").unwrap();
    elsewhere.lease_namespace = highhock_actors::LeaseNamespace::from_hash(8);
    world.engine.inspect_takes(SECOND);
    world.store.slow_by(SECOND);
    let log = Logger::root(Discard, o!());
    let carried_state = world.core.carried_state().for_other_record_root();
    let (engine, store) = (world.engine.clone(), world.store.clone());
    let next = Core::resume(elsewhere, engine, store, carried_state, &log);
    assert!(next.handle().ready().await.is_err(), "the next core is ready without its own records");
    next.wait_until_caught_up().await;
    assert_eq!(next.counts().put, 20, "the next core continues the counters");
    assert_eq!(world.store.len(), 20);
    assert_eq!(world.core.stop(true, SECOND * 15).await, Shutdown::Clean);
    assert!(world.store.keys().iter().all(|key| key.starts_with("skydns/local/other/")));
    assert_eq!(world.store.len(), 10);
}

async fn not_caught_up_while_docker_is_unavailable(keep_alive_mode: KeepAliveMode) {
    let engine = Engine::default();
    engine.run(container("web-0", 0));
    engine.set_unavailable(true);
    let world = World::start(engine, Store::new(keep_alive_mode));
    let waited = tokio::time::timeout(SECOND * 60, world.core.wait_until_caught_up()).await;
    assert!(waited.is_err());
    world.engine.set_unavailable(false);
    world.core.wait_until_caught_up().await;
    assert_eq!(world.store.len(), 1);
}

async fn cancelled_stop_can_be_repeated(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    world.store.fail(Outage::Silent);
    let given_up = tokio::time::timeout(SECOND, world.core.stop(true, SECOND * 5)).await;
    assert!(given_up.is_err());
    world.store.recover();
    assert_eq!(world.core.stop(true, SECOND * 5).await, Shutdown::Clean);
    assert_eq!(world.store.len(), 0);
}

async fn ping_waits_for_a_restarting_actor(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    let asked = tokio::time::Instant::now();
    world.core.ping().await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    world.core.inject_registry_panic();
    world.core.ping().await;
    let took = asked.elapsed();
    assert!(took > Duration::ZERO && took < SECOND * 3, "{took:?}");
}

async fn hanging_actor_answers_no_ping(keep_alive_mode: KeepAliveMode) {
    for actor in ["DockerPoller", "Registry", "EtcdInserter"] {
        let world = World::with_containers(keep_alive_mode, 1).await;
        world.core.ping().await;
        world.core.inject_hang(actor);
        let answer = tokio::time::timeout(SECOND * 3600, world.core.ping()).await;
        assert!(answer.is_err(), "{actor}");
    }
}
