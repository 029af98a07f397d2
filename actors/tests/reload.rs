//! A core that follows on another, with other settings; and signs of life.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Away, Engine, POLL, Store, TTL, World, container, key, keys, pass, settings};
use highhock_actors::model::names::DomainName;
use highhock_actors::{Core, CoreSettings, Happening, RecordState, Stopped, Upkeep};
use slog::{Discard, Logger, o};

const SECOND: Duration = Duration::from_secs(1);

on_both_stores! {
    no_record_is_touched
    a_record_of_a_host_of_its_own_stays_ours
    a_drained_container_stays_withdrawn
    what_ends_in_between_is_withdrawn
    a_changed_ttl_is_taken_over
    it_can_follow_while_the_store_is_away
    caught_up_means_that_the_records_are_there
    nobody_has_caught_up_while_docker_is_away
    a_stop_that_was_given_up_can_be_done_again
    a_pulse_waits_for_an_actor_that_is_being_rebuilt
    an_actor_that_hangs_answers_no_pulse
}

/// Stops the core and starts another, with these settings, where it leaves off.
async fn follow_on(world: World, settings: CoreSettings) -> World {
    let World { engine, store, core } = world;
    core.stop(false, SECOND / 2).await;
    let (memory, log) = (core.memory(), Logger::root(Discard, o!()));
    let core = Core::resume(settings, engine.clone(), store.clone(), memory, &log);
    World { engine, store, core }
}

async fn no_record_is_touched(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 20).await;
    let before: Vec<_> = keys(0..20).iter().map(|key| world.store.version(key)).collect();
    let world = follow_on(world, settings()).await;
    world.all_the_while(POLL, &keys(0..20)).await;
    let puts: usize = keys(0..20).iter().map(|key| world.store.puts_of(key)).sum();
    assert_eq!(puts, 20);
    if upkeep == Upkeep::Lease {
        let after: Vec<_> = keys(0..20).iter().map(|key| world.store.version(key)).collect();
        assert_eq!(after, before);
    }
    let standing = world.core.observer().standing().await;
    assert_eq!(standing.records.unwrap().live, 20);
    assert_eq!(standing.counts.put, 20, "the new core goes on counting");
    assert!(!world.core.observer().changes().is_empty());
}

/// With TTLs of its own such a record isn't known again by its value.
async fn a_record_of_a_host_of_its_own_stays_ours(upkeep: Upkeep) {
    let engine = Engine::default();
    let mut one = container("web-0", 0);
    one.labels.insert("highhock.host".into(), "10.9.9.9".into());
    engine.run(one);
    let world = World::start(engine, Store::new(upkeep));
    world.until("it is published", |world| world.store.len() == 1).await;
    let world = follow_on(world, settings()).await;
    world.all_the_while(TTL * 3, &keys(0..1)).await;
    assert_eq!(world.state_of(&key("web-0")).await.unwrap().0, RecordState::Live);
    world.engine.remove("web-0");
    world.until("it is withdrawn", |world| world.store.len() == 0).await;
}

async fn a_drained_container_stays_withdrawn(upkeep: Upkeep) {
    let following = || CoreSettings { events: true, ..settings() };
    let engine = Engine::default();
    engine.run(container("web-0", 0));
    let world = World::start_with(following(), engine, Store::new(upkeep));
    world.until("it is published", |world| world.store.len() == 1).await;
    world.engine.tell(0, Happening::Signalled(15), 9_000);
    world.until("it is withdrawn", |world| world.store.len() == 0).await;
    let puts = world.store.puts_of(&key("web-0"));
    let world = follow_on(world, following()).await;
    pass(POLL * 3).await;
    assert_eq!(world.store.puts_of(&key("web-0")), puts);
}

async fn what_ends_in_between_is_withdrawn(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 3).await;
    world.core.stop(false, SECOND).await;
    world.engine.remove("web-2");
    let world = follow_on(world, settings()).await;
    let took = world.until("it is withdrawn", |world| world.store.len() == 2).await;
    assert!(took <= SECOND * 2, "{took:?}");
    world.all_the_while(TTL * 2, &keys(0..2)).await;
}

async fn a_changed_ttl_is_taken_over(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 10).await;
    let world = follow_on(world, CoreSettings { ttl: TTL * 2, ..settings() }).await;
    world.all_the_while(TTL * 5, &keys(0..10)).await;
    if upkeep == Upkeep::Lease {
        let ttls: Vec<_> = world.store.lease_ttls().into_iter().map(|(_, ttl)| ttl).collect();
        assert_eq!(ttls, [TTL * 2], "the older lease is ended");
    }
}

async fn it_can_follow_while_the_store_is_away(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 10).await;
    world.store.go_away(Away::Silent);
    pass(SECOND).await;
    world.engine.remove("web-9");
    let world = follow_on(world, settings()).await;
    pass(SECOND).await;
    world.store.come_back();
    world.until("all is right", |world| world.store.keys() == keys(0..9)).await;
    world.all_the_while(TTL * 2, &keys(0..9)).await;
}

async fn caught_up_means_that_the_records_are_there(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 10).await;
    let mut elsewhere = settings();
    elsewhere.rules.domain = DomainName::parse("other.local").unwrap();
    elsewhere.family = highhock_actors::LeaseFamily::new(8);
    world.engine.inspect_takes(SECOND);
    world.store.slow_by(SECOND);
    let log = Logger::root(Discard, o!());
    let memory = world.core.memory().for_another_place();
    let (engine, store) = (world.engine.clone(), world.store.clone());
    let next = Core::resume(elsewhere, engine, store, memory, &log);
    assert!(next.observer().ready().await.is_err(), "it stands by itself");
    next.caught_up().await;
    assert_eq!(next.counts().put, 20, "what happened before counts too");
    assert_eq!(world.store.len(), 20);
    assert_eq!(world.core.stop(true, SECOND * 15).await, Stopped::Clean);
    assert!(world.store.keys().iter().all(|key| key.starts_with("skydns/local/other/")));
    assert_eq!(world.store.len(), 10);
}

async fn nobody_has_caught_up_while_docker_is_away(upkeep: Upkeep) {
    let engine = Engine::default();
    engine.run(container("web-0", 0));
    engine.away(true);
    let world = World::start(engine, Store::new(upkeep));
    let waited = tokio::time::timeout(SECOND * 60, world.core.caught_up()).await;
    assert!(waited.is_err());
    world.engine.away(false);
    world.core.caught_up().await;
    assert_eq!(world.store.len(), 1);
}

async fn a_stop_that_was_given_up_can_be_done_again(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 3).await;
    world.store.go_away(Away::Silent);
    let given_up = tokio::time::timeout(SECOND, world.core.stop(true, SECOND * 5)).await;
    assert!(given_up.is_err());
    world.store.come_back();
    assert_eq!(world.core.stop(true, SECOND * 5).await, Stopped::Clean);
    assert_eq!(world.store.len(), 0);
}

async fn a_pulse_waits_for_an_actor_that_is_being_rebuilt(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 3).await;
    let asked = tokio::time::Instant::now();
    world.core.pulse().await;
    assert_eq!(asked.elapsed(), Duration::ZERO);
    world.core.fell_registry();
    world.core.pulse().await;
    let took = asked.elapsed();
    assert!(took > Duration::ZERO && took < SECOND * 3, "{took:?}");
}

async fn an_actor_that_hangs_answers_no_pulse(upkeep: Upkeep) {
    for actor in ["DockerPoller", "Registry", "EtcdInserter"] {
        let world = World::with_containers(upkeep, 1).await;
        world.core.pulse().await;
        world.core.hang(actor);
        let answer = tokio::time::timeout(SECOND * 3600, world.core.pulse()).await;
        assert!(answer.is_err(), "{actor}");
    }
}
