//! The status of the core: reports, counters, latencies and readiness.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, Outage, POLL, Store, TTL, World, container, key, pass, settings};
use highhock_actors::runtime::metrics::HistogramSnapshot;
use highhock_actors::status::{ChangeKind, DisplayState, RecordsStatus};
use highhock_actors::{ContainerState, CoreSettings, Health, KeepAliveMode, StandbyReason};

on_both_stores! {
    records_event_to_record_latency
    latency_starts_at_listing_without_event
    latency_starts_at_oldest_change_of_a_write
    latency_of_unanswered_write_ends_when_confirmed
    repair_has_no_latency
    standby_record_has_no_latency
    change_without_record_change_has_no_latency
    reports_reason_for_not_ready
    ready_with_standby_and_rejected_records
    reports_recent_changes
    changes_survive_inserter_crash
    counts_containers_by_state
    store_is_unavailable_until_it_accepts_writes
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const OTHER: &str = r#"{"host":"10.77.66.99","port":1,"ttl":60}"#;

/// Starts a core with `count` published containers and an open event stream.
async fn world_with_events(keep_alive_mode: KeepAliveMode, count: usize) -> World {
    let engine = Engine::default();
    for n in 0..count {
        engine.run(container(&format!("web-{n}"), n));
    }
    let settings = CoreSettings { events: true, ..settings() };
    let world = World::start_with(settings, engine, Store::new(keep_alive_mode));
    world.until("all records are published", |world| world.store.len() == count).await;
    pass(SECOND * 2).await;
    world
}

async fn latency(world: &World) -> HistogramSnapshot {
    world.core.handle().status().await.event_to_record
}

async fn not_ready(world: &World) -> Option<&'static str> {
    world.core.handle().ready().await.err().map(|reason| reason.kind())
}

async fn records(world: &World) -> RecordsStatus {
    world.core.handle().status().await.records.unwrap()
}

async fn records_event_to_record_latency(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    assert_eq!(
        latency(&world).await.count,
        0,
        "containers that ran before the start have no latency"
    );
    world.engine.inspect_takes(MILLISECOND * 300);
    world.engine.start(1, container("web-1", 1));
    world.until("the record is published", |world| world.store.len() == 2).await;
    pass(SECOND).await;
    let put = latency(&world).await;
    assert_eq!(put.count, 1);
    assert!(put.max >= MILLISECOND * 300 && put.max < MILLISECOND * 330, "{put:?}");

    world.engine.end(1, 9_000);
    world.until("the record is withdrawn", |world| world.store.len() == 1).await;
    pass(POLL * 2).await;
    let withdrawn = latency(&world).await;
    assert_eq!(withdrawn.count, 2, "a listing without a difference has no latency");
    assert!(withdrawn.sum - put.sum < MILLISECOND * 30, "{withdrawn:?}");
}

async fn latency_starts_at_listing_without_event(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 1).await;
    world.engine.run(container("web-1", 1));
    world.until("the record is published", |world| world.store.len() == 2).await;
    pass(SECOND).await;
    let put = latency(&world).await;
    assert_eq!(put.count, 1);
    assert!(put.max < MILLISECOND * 30, "{put:?}");
    world.engine.remove("web-0");
    world.until("the record is withdrawn", |world| world.store.len() == 1).await;
    pass(SECOND).await;
    assert_eq!(latency(&world).await.count, 2);
}

async fn latency_starts_at_oldest_change_of_a_write(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.store.fail(Outage::Refused);
    pass(SECOND).await;
    world.engine.change_port(0, 5_000);
    pass(SECOND * 3).await;
    world.engine.change_port(0, 6_000);
    pass(SECOND * 3).await;
    world.store.recover();
    pass(SECOND * 3).await;
    let latency = latency(&world).await;
    assert_eq!(latency.count, 1);
    assert!(latency.max >= SECOND * 6 && latency.max <= SECOND * 8, "{latency:?}");
}

async fn latency_of_unanswered_write_ends_when_confirmed(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.store.fail(Outage::Late);
    world.engine.start(1, container("web-1", 1));
    pass(SECOND * 4).await;
    world.store.apply_late_writes();
    world.store.recover();
    world.until("the record is published", |world| world.store.len() == 2).await;
    pass(SECOND * 5).await;
    let latency = latency(&world).await;
    assert_eq!(latency.count, 1);
    assert!(latency.max >= SECOND * 4, "{latency:?}");
}

async fn repair_has_no_latency(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 2).await;
    let put = world.core.counts().put;
    world.store.remove(&key("web-0"));
    world.until("the record is repaired", |world| world.store.len() == 2).await;
    world.store.panic_in_next_write();
    world.store.remove(&key("web-1"));
    world.until("the record is published again", |world| world.store.len() == 2).await;
    pass(POLL * 2).await;
    assert!(world.core.counts().put >= put + 2, "the record was not put again");
    assert_eq!(latency(&world).await.count, 0);
}

async fn standby_record_has_no_latency(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.store.put(&key("web-1"), OTHER, Some(SECOND * 40));
    world.engine.start(1, container("web-1", 1));
    pass(SECOND).await;
    assert_eq!(records(&world).await.standby[0], (StandbyReason::Foreign, 1));
    let ours = |world: &World| world.store.get(&key("web-1")).is_some_and(|it| it != OTHER);
    world.until("the key is taken over", ours).await;
    pass(SECOND).await;
    assert_eq!(latency(&world).await.count, 0);
}

async fn change_without_record_change_has_no_latency(keep_alive_mode: KeepAliveMode) {
    use highhock_actors::EventKind::Changed;
    let world = world_with_events(keep_alive_mode, 1).await;
    world.engine.send_event(0, Changed, 5_000);
    pass(SECOND * 7).await;
    // The latency of a much later change starts at its own event.
    world.engine.change_port(0, 6_000);
    pass(SECOND).await;
    let latency = latency(&world).await;
    assert_eq!(latency.count, 1);
    assert!(latency.max < MILLISECOND * 30, "{latency:?}");
}

async fn reports_reason_for_not_ready(keep_alive_mode: KeepAliveMode) {
    let (engine, store) = (Engine::default(), Store::new(keep_alive_mode));
    engine.run(container("web-0", 0));
    engine.set_unavailable(true);
    let world = World::start(engine, store);
    pass(SECOND).await;
    assert_eq!(not_ready(&world).await, Some("docker_not_listed"));
    let reason = world.core.handle().ready().await.unwrap_err().to_string();
    assert!(reason.contains("scripted: away"), "{reason}");

    world.engine.inspect_takes(SECOND * 30);
    world.engine.set_unavailable(false);
    pass(POLL).await;
    assert_eq!(not_ready(&world).await, Some("containers_pending"));
    world.engine.inspect_takes(Duration::ZERO);
    pass(SECOND * 40).await;
    assert_eq!(not_ready(&world).await, None);

    world.store.fail(Outage::Refused);
    pass(SECOND).await;
    assert_eq!(not_ready(&world).await, Some("etcd_away"));
    world.store.recover();
    pass(SECOND).await;
    assert_eq!(not_ready(&world).await, None);

    world.engine.set_unavailable(true);
    pass(POLL * 2).await;
    assert_eq!(not_ready(&world).await, None, "two missed polls are tolerated");
    pass(POLL * 2).await;
    assert_eq!(not_ready(&world).await, Some("docker_silent"));
    world.engine.set_unavailable(false);
    pass(POLL).await;
    assert_eq!(not_ready(&world).await, None);

    world.store.slow_by(SECOND * 2);
    world.engine.change("web-0", |container| container.bindings[0].host_port = 9000);
    world.core.poll_now();
    pass(SECOND / 2).await;
    assert_eq!(not_ready(&world).await, Some("records_pending"));
    world.store.slow_by(Duration::ZERO);
    world.core.inject_inserter_delay(SECOND * 4);
    pass(MILLISECOND).await;
    assert_eq!(not_ready(&world).await, Some("no_answer"));
    pass(SECOND * 6).await;
    assert_eq!(not_ready(&world).await, None);
}

async fn ready_with_standby_and_rejected_records(keep_alive_mode: KeepAliveMode) {
    let (engine, store) = (Engine::default(), Store::new(keep_alive_mode));
    store.refuse(Some(&key("web-0")));
    store.put(&key("web-1"), OTHER, None);
    store.put(&key("web-2"), OTHER, Some(TTL * 99));
    for n in 0..4 {
        engine.run(container(&format!("web-{n}"), n));
    }
    let mut rival = container("rival", 4);
    rival.env.insert("DISCOVER".into(), "web-3:80".into());
    engine.run(rival);
    let mut child = container("child", 5);
    child.env.insert("DISCOVER".into(), "api.web-3:80".into());
    engine.run(child);
    let world = World::start(engine, store);
    pass(POLL).await;
    let status = records(&world).await;
    assert_eq!((status.live, status.pending, status.failed), (1, 0, 1), "{status:?}");
    assert_eq!(status.standby, StandbyReason::ALL.map(|reason| (reason, 1)));
    assert_eq!(not_ready(&world).await, None);
    let reports = world.core.handle().records().await.unwrap();
    let states =
        |state: &str| reports.iter().filter(|record| record.state.as_str() == state).count();
    assert_eq!(["live", "standby", "failed"].map(states), [1, 4, 1]);
    assert!(reports.iter().all(|one| one.reason.is_some() == (one.state.as_str() != "live")));
}

async fn reports_recent_changes(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    let begun = world.core.handle().changes().len();
    world.engine.start(1, container("web-1", 1));
    pass(SECOND).await;
    world.engine.send_event(1, highhock_actors::EventKind::Signalled(15), 5_000);
    pass(SECOND).await;
    world.engine.end(1, 6_000);
    pass(POLL * 2).await;
    world.engine.change("web-0", |container| container.state = ContainerState::Paused);
    pass(POLL * 2).await;
    let changes = world.core.handle().changes().split_off(begun);
    let summaries: Vec<_> = changes
        .iter()
        .map(|one| {
            let name = one.container.as_ref().map(|container| container.name.as_str());
            (one.kind, name.unwrap_or_default(), one.key.is_some())
        })
        .collect();
    assert_eq!(
        summaries,
        [
            (ChangeKind::ContainerSeen, "web-1", false),
            (ChangeKind::RecordPublished, "web-1", true),
            (ChangeKind::ContainerDrained, "web-1", false),
            (ChangeKind::RecordWithdrawn, "web-1", true),
            (ChangeKind::ContainerWithheld, "web-1", false),
            (ChangeKind::ContainerGone, "web-1", false),
            (ChangeKind::ContainerWithheld, "web-0", false),
            (ChangeKind::RecordWithdrawn, "web-0", true),
        ]
    );
    assert!(changes.is_sorted_by_key(|one| one.at));
    assert!(changes[6].reason.as_ref().unwrap().contains("paused"));
}

async fn changes_survive_inserter_crash(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    let (changes, counts) = (world.core.handle().changes().len(), world.core.counts());
    assert!(changes > 0);
    world.store.panic_in_next_write();
    world.engine.change_port(0, 5_000);
    world
        .until("the record is put", |world| {
            world.store.get(&key("web-0")).unwrap().contains("8007")
        })
        .await;
    pass(SECOND).await;
    assert!(world.core.handle().changes().len() > changes);
    assert_eq!(world.core.counts().put, counts.put + 1);
}

async fn counts_containers_by_state(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 3).await;
    let count = async |state| {
        let containers = world.core.handle().status().await.containers;
        containers.into_iter().find(|(other, _)| *other == state).unwrap().1
    };
    assert_eq!(count(DisplayState::Running).await, 3);
    world.engine.change("web-0", |container| container.state = ContainerState::Paused);
    world.engine.change("web-1", |container| container.health = Health::Unhealthy);
    pass(POLL * 2).await;
    assert_eq!(count(DisplayState::Paused).await, 1);
    assert_eq!(count(DisplayState::Unhealthy).await, 1);
    assert_eq!(count(DisplayState::Running).await, 1);
    world.engine.remove("web-1");
    pass(POLL * 2).await;
    assert_eq!(count(DisplayState::Unhealthy).await, 0);
    let reports = world.core.handle().containers().await.unwrap();
    let states: Vec<_> = reports.iter().map(|one| (one.name.as_str(), one.state)).collect();
    assert_eq!(states, [("web-0", DisplayState::Paused), ("web-2", DisplayState::Running)]);
    assert!(reports[0].withheld.as_ref().unwrap().contains("paused"));
}

async fn store_is_unavailable_until_it_accepts_writes(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    let store = async || world.core.handle().status().await.store;
    let before = store().await;
    assert!(before.available && before.last_write.is_some() && before.last_audit.is_some());
    assert_eq!(before.retries, 0);
    world.store.fail_writes(true);
    world.engine.change_port(0, 5_000);
    world.store.slow_by(MILLISECOND * 20);
    pass(SECOND).await;
    for _ in 0..300 {
        pass(MILLISECOND * 10).await;
        assert!(
            !store().await.available,
            "a readable store is not available unless it accepts writes"
        );
    }
    let away = store().await;
    assert!(away.last_error.is_some() && away.retries > 1, "{away:?}");
    world.store.fail_writes(false);
    world.store.slow_by(Duration::ZERO);
    pass(SECOND * 2).await;
    let back = store().await;
    assert!(
        back.available && back.last_error.is_none() && back.last_write > before.last_write,
        "{back:?}"
    );
}
