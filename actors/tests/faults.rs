//! Faults in the middle of an operation: the core neither sends requests without a pause, nor
//! forgets the owner of a record.

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, Outage, POLL, Store, TTL, World, container, key, pass, settings};
use highhock_actors::KeepAliveMode;

const SECOND: Duration = Duration::from_secs(1);

fn long_ttl() -> highhock_actors::CoreSettings {
    highhock_actors::CoreSettings { ttl: SECOND * 60, ..settings() }
}

/// An uncertain write is checked at its intervals, not as fast as etcd responds.
#[actix::test]
async fn uncertain_write_does_not_spin() {
    tokio::time::pause();
    let engine = Engine::default();
    let world = World::start_with(long_ttl(), engine.clone(), Store::new(KeepAliveMode::PerRecord));
    engine.run(container("a", 1));
    pass(POLL * 2).await;
    assert_eq!(world.store.len(), 1);
    world.store.fail(Outage::Silent);
    engine.change("a", |container| container.bindings[0].host_port = 9000);
    pass(POLL * 2).await;
    world.store.recover();
    let before = world.store.reads();
    pass(SECOND * 40).await;
    let reads = world.store.reads() - before;
    assert!(reads < 30, "{reads} reads");
}

/// A foreign record close to its expiry is not read as fast as etcd responds.
#[actix::test]
async fn foreign_record_expiry_does_not_spin() {
    tokio::time::pause();
    let engine = Engine::default();
    let store = Store::new(KeepAliveMode::PerRecord);
    store.put(&key("a"), r#"{"host":"10.0.0.9","port":1}"#, Some(SECOND * 30));
    engine.run(container("a", 1));
    let world = World::start_with(long_ttl(), engine.clone(), store);
    pass(SECOND * 40).await;
    let reads = world.store.reads();
    assert!(reads < 30, "{reads} reads");
}

/// Writes fail at once while reads succeed.
#[actix::test]
async fn failing_writes_do_not_spin() {
    tokio::time::pause();
    let engine = Engine::default();
    let store = Store::new(KeepAliveMode::PerRecord);
    engine.run(container("a", 1));
    store.fail_writes(true);
    let world = World::start_with(long_ttl(), engine.clone(), store);
    pass(SECOND * 60).await;
    let (reads, writes) = (world.store.reads(), world.store.writes().len());
    assert!(writes < 250, "{reads} reads, {writes} writes in a minute");
}

/// A record that another client changed is foreign, also after the inserter crashed.
#[actix::test]
async fn foreign_record_stays_foreign_after_panic() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::PerRecord, 1).await;
    let theirs = r#"{"host":"10.77.66.0","port":1,"ttl":60}"#;
    let k = key("web-0");
    world.store.put(&k, theirs, Some(SECOND * 600));
    pass(TTL * 2).await;
    assert_eq!(world.store.get(&k).as_deref(), Some(theirs));
    world.store.panic_in_next_write();
    world.engine.run(container("b", 5));
    pass(TTL * 3).await;
    assert_eq!(world.store.get(&k).as_deref(), Some(theirs));
}

#[actix::test]
async fn foreign_record_stays_foreign_after_container_restart() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::PerRecord, 1).await;
    let theirs = r#"{"host":"10.77.66.0","port":1,"ttl":60}"#;
    let k = key("web-0");
    world.store.put(&k, theirs, Some(SECOND * 600));
    pass(TTL * 2).await;
    assert_eq!(world.store.get(&k).as_deref(), Some(theirs));
    world.engine.remove("web-0");
    pass(POLL * 3).await;
    world.engine.run(container("web-0", 7));
    pass(TTL * 3).await;
    assert_eq!(world.store.get(&k).as_deref(), Some(theirs));
}

/// The put is uncertain, its container is gone, and its key is now a directory.
#[actix::test]
async fn uncertain_write_below_a_directory_does_not_spin() {
    tokio::time::pause();
    let engine = Engine::default();
    let world = World::start_with(long_ttl(), engine.clone(), Store::new(KeepAliveMode::PerRecord));
    pass(SECOND).await;
    world.store.fail(Outage::Silent);
    engine.run(container("a", 1));
    pass(POLL * 2).await;
    engine.remove("a");
    pass(POLL * 2).await;
    world.store.recover();
    world.store.put("skydns/local/skydns/a/b", "x", None);
    pass(SECOND).await;
    let before = world.store.reads();
    pass(SECOND * 120).await;
    let reads = world.store.reads() - before;
    assert!(reads < 30, "{reads} reads");
}

/// The inserter crashes before the late put is applied.
#[actix::test]
async fn withdraws_late_put_after_panic() {
    tokio::time::pause();
    let engine = Engine::default();
    let world = World::start_with(long_ttl(), engine.clone(), Store::new(KeepAliveMode::PerRecord));
    pass(SECOND).await;
    world.store.fail(Outage::Late);
    engine.run(container("a", 1));
    world.until("the put is sent", |world| !world.store.writes().is_empty()).await;
    pass(SECOND * 3).await;
    engine.remove("a");
    pass(POLL * 2).await;
    world.store.recover();
    world.store.panic_in_next_write();
    engine.run(container("b", 2));
    pass(POLL * 2).await;
    world.store.apply_late_writes();
    pass(SECOND * 20).await;
    assert_eq!(world.store.get(&key("a")), None);
}

/// A container with thousands of invalid services does not delay other containers.
#[actix::test]
async fn malformed_store_responses_block_nothing_else() {
    tokio::time::pause();
    let engine = Engine::default();
    let mut talker = container("talker", 1);
    let nonsense: Vec<String> = (0..100_000).map(|n| format!("{n:06}")).collect();
    talker.env.insert("DISCOVER".into(), nonsense.join(","));
    engine.run(talker);
    let world = World::start(engine.clone(), Store::new(KeepAliveMode::PerRecord));
    pass(POLL * 2).await;
    engine.change("talker", |container| container.bindings[0].host_port = 9000);
    let began = std::time::SystemTime::now();
    pass(POLL * 2).await;
    let took = began.elapsed().unwrap();
    assert!(took < SECOND * 10, "{took:?}");
    drop(world);
}
