//! Records that expire during an outage of the store, and a store that went back in time.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, LogMessages, Outage, POLL, Store, TTL, World, container, key, pass, settings};
use highhock_actors::{KeepAliveMode, RecordState};

const SECOND: Duration = Duration::from_secs(1);
const EXPIRED: &str = "records expired: etcd is unreachable for longer than etcd.ttl; \
                       check etcd, the records are written again when it returns";

async fn state(world: &World) -> RecordState {
    world.state_of(&key("web-0")).await.unwrap().0
}

async fn expires_in_outage(keep_alive_mode: KeepAliveMode) {
    let (log, engine) = (LogMessages::default(), Engine::default());
    engine.run(container("web-0", 0));
    let store = Store::new(keep_alive_mode);
    let world = World::start_logged(settings(), engine, store, log.logger());
    world.until("the record is published", |world| world.store.len() == 1).await;
    pass(TTL).await;
    world.store.fail(Outage::Silent);
    // The store deletes the record at the end of the TTL, without a sign to the core.
    world.until("the store deleted the record", |world| world.store.len() == 0).await;
    let records = world.core.handle().status().await.records.unwrap();
    assert_eq!((records.live, records.expired), (0, 1), "{records:?}");
    assert_eq!(state(&world).await, RecordState::Expired);
    assert_eq!(log.count(EXPIRED), 1);
    pass(TTL * 2).await;
    assert_eq!(log.count(EXPIRED), 1, "once per outage");
    if keep_alive_mode == KeepAliveMode::Lease {
        assert_eq!(records.lease_remaining, Some(Duration::ZERO));
    }

    world.store.recover();
    world.until("the record is back", |world| world.store.len() == 1).await;
    pass(SECOND).await;
    assert_eq!(state(&world).await, RecordState::Live);
    assert_eq!(world.core.handle().ready().await, Ok(()));
}

async fn stays_live_in_short_outage(keep_alive_mode: KeepAliveMode) {
    let log = LogMessages::default();
    let engine = Engine::default();
    engine.run(container("web-0", 0));
    let world = World::start_logged(settings(), engine, Store::new(keep_alive_mode), log.logger());
    world.until("the record is published", |world| world.store.len() == 1).await;
    pass(TTL).await;
    world.store.fail(Outage::Refused);
    pass(TTL / 2).await;
    assert_eq!(state(&world).await, RecordState::Live);
    world.store.recover();
    pass(TTL * 3).await;
    assert_eq!(state(&world).await, RecordState::Live);
    assert_eq!(log.count(EXPIRED), 0);
}

/// The store may have restarted the TTL as early as the keep-alive was sent.
#[actix::test]
async fn expiry_counts_from_sending_of_keep_alive() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::Lease, 1).await;
    world.store.slow_by(SECOND * 2);
    pass(TTL * 2).await;
    world.store.fail(Outage::Refused);
    while state(&world).await != RecordState::Expired {
        assert_eq!(world.store.len(), 1, "deleted before the record is expired");
        pass(SECOND / 100).await;
    }
    assert_eq!(world.store.len(), 1, "the store received the keep-alive two seconds later");
}

/// A snapshot has the record of a container that ended long ago. After its restoration, other
/// clients may write before this process reads.
async fn withdraw_restored_records(later_writes: usize) {
    let world = World::with_containers(KeepAliveMode::Lease, 4).await;
    pass(SECOND).await;
    let snapshot = world.store.snapshot();
    world.engine.remove("web-3");
    world.until("it is withdrawn", |world| world.store.len() == 3).await;
    pass(TTL * 20).await;
    world.store.fail(Outage::Refused);
    pass(SECOND).await;
    world.store.restore(&snapshot);
    for number in 0..later_writes {
        world.store.put(&format!("elsewhere/{number}"), "", None);
    }
    assert!(world.store.get(&key("web-3")).is_some());
    world.store.recover();
    let took = world
        .until("it is withdrawn again", |world| world.store.get(&key("web-3")).is_none())
        .await;
    assert!(took <= POLL, "{took:?}");
    world.assert_present_for(TTL * 5, &fakes::keys(0..3)).await;
    assert_eq!(world.core.counts().unknown, 0, "no other daemon is suspected");
}

#[actix::test]
async fn withdraws_restored_record_at_lower_revision() {
    tokio::time::pause();
    withdraw_restored_records(0).await;
}

#[actix::test]
async fn withdraws_restored_record_at_higher_revision() {
    tokio::time::pause();
    withdraw_restored_records(50).await;
}

/// A snapshot also has a lease of this publisher that was revoked since.
#[actix::test]
async fn withdraws_records_on_restored_older_lease() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::Lease, 2).await;
    let older = settings().lease_namespace.lease(5);
    world.store.put_on_lease(&key("stale"), "{}", older, TTL * 10);
    let snapshot = world.store.snapshot();
    world.store.end_lease(older);
    pass(TTL * 2).await;
    world.store.fail(Outage::Refused);
    pass(SECOND).await;
    world.store.restore(&snapshot);
    world.store.recover();
    let took = world.until("it is withdrawn", |world| world.store.len() == 2).await;
    assert!(took <= POLL, "{took:?}");
    world.assert_present_for(TTL * 2, &fakes::keys(0..2)).await;
}

#[actix::test]
async fn replaces_restored_value_of_own_record_at_once() {
    tokio::time::pause();
    for keep_alive_mode in [KeepAliveMode::PerRecord, KeepAliveMode::Lease] {
        let world = World::with_containers(keep_alive_mode, 1).await;
        pass(SECOND).await;
        let snapshot = world.store.snapshot();
        world.engine.change("web-0", |container| container.bindings[0].host_port = 9000);
        let is_new = |world: &World| world.store.get(&key("web-0")).unwrap().contains("9000");
        world.until("the new value is published", is_new).await;
        pass(SECOND * 2).await;
        world.store.fail(Outage::Refused);
        pass(SECOND / 5).await;
        world.store.restore(&snapshot);
        assert!(!is_new(&world));
        world.store.recover();
        let took = world.until("the new value is back", is_new).await;
        assert!(took <= SECOND, "{keep_alive_mode:?}: {took:?}");
    }
}

/// Another tenant's key hangs on the lease, so that the store lists none of its keys.
#[actix::test]
async fn keeps_records_if_keys_of_lease_are_unreadable() {
    tokio::time::pause();
    let (engine, store) = (Engine::default(), Store::new(KeepAliveMode::Lease));
    store.refuse_leased(true);
    engine.run(container("web-0", 0));
    let world = World::start(engine, store);
    world.until("the record is published", |world| world.store.len() == 1).await;
    world.assert_present_for(TTL * 3, &[key("web-0")]).await;
    world.store.remove(&key("web-0"));
    world.until("the audit restores it", |world| world.store.len() == 1).await;
    world.engine.remove("web-0");
    world.until("it is withdrawn", |world| world.store.len() == 0).await;
}

on_both_stores! {
    expires_in_outage
    stays_live_in_short_outage
}
