//! What an operator is told of the core while it does its work.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Away, Engine, POLL, Store, TTL, World, container, key, pass, settings};
use highhock_actors::runtime::metrics::TimingReading;
use highhock_actors::status::{ChangeKind, ContainerState, RecordsStanding};
use highhock_actors::{CoreSettings, Health, Life, StandbyReason, Upkeep};

on_both_stores! {
    the_way_from_an_event_to_its_record_is_timed
    where_no_event_told_it_is_timed_from_the_listing
    of_changes_that_one_write_carries_out_the_oldest_is_timed
    a_write_whose_answer_was_lost_is_timed_until_it_is_found_carried_out
    what_no_change_led_to_is_not_timed
    what_stands_by_is_not_timed
    a_change_that_changes_no_record_is_not_timed
    the_reason_against_readiness_is_told
    what_stands_by_or_is_refused_is_no_reason_against_readiness
    the_last_changes_are_told
    changes_outlive_an_inserter_that_falls
    each_container_is_counted_in_its_state
    the_store_is_away_until_it_takes_writes
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const OTHER: &str = r#"{"host":"10.77.66.99","port":1,"ttl":60}"#;

/// With so many containers, all published, and the event stream open.
async fn following_world(upkeep: Upkeep, count: usize) -> World {
    let engine = Engine::default();
    for n in 0..count {
        engine.run(container(&format!("web-{n}"), n));
    }
    let settings = CoreSettings { events: true, ..settings() };
    let world = World::start_with(settings, engine, Store::new(upkeep));
    world.until("all are published", |world| world.store.len() == count).await;
    pass(SECOND * 2).await;
    world
}

async fn timed(world: &World) -> TimingReading {
    world.core.observer().standing().await.event_to_record
}

async fn not_ready(world: &World) -> Option<&'static str> {
    world.core.observer().ready().await.err().map(|reason| reason.kind())
}

async fn records(world: &World) -> RecordsStanding {
    world.core.observer().standing().await.records.unwrap()
}

async fn the_way_from_an_event_to_its_record_is_timed(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    assert_eq!(timed(&world).await.count, 0, "what ran before the start is no change");
    world.engine.inspect_takes(MILLISECOND * 300);
    world.engine.start(1, container("web-1", 1));
    world.until("it is published", |world| world.store.len() == 2).await;
    pass(SECOND).await;
    let put = timed(&world).await;
    assert_eq!(put.count, 1);
    assert!(put.max >= MILLISECOND * 300 && put.max < MILLISECOND * 330, "{put:?}");

    world.engine.end(1, 9_000);
    world.until("it is withdrawn", |world| world.store.len() == 1).await;
    pass(POLL * 2).await;
    let withdrawn = timed(&world).await;
    assert_eq!(withdrawn.count, 2, "the listing that agrees adds nothing");
    assert!(withdrawn.sum - put.sum < MILLISECOND * 30, "{withdrawn:?}");
}

async fn where_no_event_told_it_is_timed_from_the_listing(upkeep: Upkeep) {
    let world = World::with_containers(upkeep, 1).await;
    world.engine.run(container("web-1", 1));
    world.until("it is published", |world| world.store.len() == 2).await;
    pass(SECOND).await;
    let put = timed(&world).await;
    assert_eq!(put.count, 1);
    assert!(put.max < MILLISECOND * 30, "{put:?}");
    world.engine.remove("web-0");
    world.until("it is withdrawn", |world| world.store.len() == 1).await;
    pass(SECOND).await;
    assert_eq!(timed(&world).await.count, 2);
}

async fn of_changes_that_one_write_carries_out_the_oldest_is_timed(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.store.go_away(Away::Refused);
    pass(SECOND).await;
    world.engine.change_port(0, 5_000);
    pass(SECOND * 3).await;
    world.engine.change_port(0, 6_000);
    pass(SECOND * 3).await;
    world.store.come_back();
    pass(SECOND * 3).await;
    let timed = timed(&world).await;
    assert_eq!(timed.count, 1);
    assert!(timed.max >= SECOND * 6 && timed.max <= SECOND * 8, "{timed:?}");
}

async fn a_write_whose_answer_was_lost_is_timed_until_it_is_found_carried_out(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.store.go_away(Away::Late);
    world.engine.start(1, container("web-1", 1));
    pass(SECOND * 4).await;
    world.store.carry_out_late_writes();
    world.store.come_back();
    world.until("it is published", |world| world.store.len() == 2).await;
    pass(SECOND * 5).await;
    let timed = timed(&world).await;
    assert_eq!(timed.count, 1);
    assert!(timed.max >= SECOND * 4, "{timed:?}");
}

async fn what_no_change_led_to_is_not_timed(upkeep: Upkeep) {
    let world = following_world(upkeep, 2).await;
    let put = world.core.counts().put;
    world.store.remove(&key("web-0"));
    world.until("it is mended", |world| world.store.len() == 2).await;
    world.store.panic_in_next_write();
    world.store.remove(&key("web-1"));
    world.until("it is told again", |world| world.store.len() == 2).await;
    pass(POLL * 2).await;
    assert!(world.core.counts().put >= put + 2, "it was put again");
    assert_eq!(timed(&world).await.count, 0);
}

async fn what_stands_by_is_not_timed(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.store.put(&key("web-1"), OTHER, Some(SECOND * 40));
    world.engine.start(1, container("web-1", 1));
    pass(SECOND).await;
    assert_eq!(records(&world).await.standby[0], (StandbyReason::Foreign, 1));
    let ours = |world: &World| world.store.get(&key("web-1")).is_some_and(|it| it != OTHER);
    world.until("it is taken over", ours).await;
    pass(SECOND).await;
    assert_eq!(timed(&world).await.count, 0);
}

async fn a_change_that_changes_no_record_is_not_timed(upkeep: Upkeep) {
    use highhock_actors::Happening::Changed;
    let world = following_world(upkeep, 1).await;
    world.engine.tell(0, Changed, 5_000);
    pass(SECOND * 7).await;
    // What comes much later is timed from its own event.
    world.engine.change_port(0, 6_000);
    pass(SECOND).await;
    let timed = timed(&world).await;
    assert_eq!(timed.count, 1);
    assert!(timed.max < MILLISECOND * 30, "{timed:?}");
}

async fn the_reason_against_readiness_is_told(upkeep: Upkeep) {
    let (engine, store) = (Engine::default(), Store::new(upkeep));
    engine.run(container("web-0", 0));
    engine.away(true);
    let world = World::start(engine, store);
    pass(SECOND).await;
    assert_eq!(not_ready(&world).await, Some("docker_not_listed"));
    let reason = world.core.observer().ready().await.unwrap_err().to_string();
    assert!(reason.contains("scripted: away"), "{reason}");

    world.engine.inspect_takes(SECOND * 30);
    world.engine.away(false);
    pass(POLL).await;
    assert_eq!(not_ready(&world).await, Some("containers_untold"));
    world.engine.inspect_takes(Duration::ZERO);
    pass(SECOND * 40).await;
    assert_eq!(not_ready(&world).await, None);

    world.store.go_away(Away::Refused);
    pass(SECOND).await;
    assert_eq!(not_ready(&world).await, Some("etcd_away"));
    world.store.come_back();
    pass(SECOND).await;
    assert_eq!(not_ready(&world).await, None);

    world.engine.away(true);
    pass(POLL * 2).await;
    assert_eq!(not_ready(&world).await, None, "two polls may be missed");
    pass(POLL * 2).await;
    assert_eq!(not_ready(&world).await, Some("docker_silent"));
    world.engine.away(false);
    pass(POLL).await;
    assert_eq!(not_ready(&world).await, None);

    world.store.slow_by(SECOND * 2);
    world.engine.change("web-0", |one| one.bindings[0].host_port = 9000);
    world.core.poll_now();
    pass(SECOND / 2).await;
    assert_eq!(not_ready(&world).await, Some("records_pending"));
    world.store.slow_by(Duration::ZERO);
    world.core.slow_inserter(SECOND * 4);
    pass(MILLISECOND).await;
    assert_eq!(not_ready(&world).await, Some("no_answer"));
    pass(SECOND * 6).await;
    assert_eq!(not_ready(&world).await, None);
}

async fn what_stands_by_or_is_refused_is_no_reason_against_readiness(upkeep: Upkeep) {
    let (engine, store) = (Engine::default(), Store::new(upkeep));
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
    let standing = records(&world).await;
    assert_eq!((standing.live, standing.pending, standing.failed), (1, 0, 1), "{standing:?}");
    assert_eq!(standing.standby, StandbyReason::ALL.map(|reason| (reason, 1)));
    assert_eq!(not_ready(&world).await, None);
    let reports = world.core.observer().records().await.unwrap();
    let states = |state: &str| reports.iter().filter(|one| one.state.as_str() == state).count();
    assert_eq!(["live", "standby", "failed"].map(states), [1, 4, 1]);
    assert!(reports.iter().all(|one| one.reason.is_some() == (one.state.as_str() != "live")));
}

async fn the_last_changes_are_told(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    let begun = world.core.observer().changes().len();
    world.engine.start(1, container("web-1", 1));
    pass(SECOND).await;
    world.engine.tell(1, highhock_actors::Happening::Signalled(15), 5_000);
    pass(SECOND).await;
    world.engine.end(1, 6_000);
    pass(POLL * 2).await;
    world.engine.change("web-0", |one| one.life = Life::Paused);
    pass(POLL * 2).await;
    let changes = world.core.observer().changes().split_off(begun);
    let told: Vec<_> = changes
        .iter()
        .map(|one| {
            let name = one.container.as_ref().map(|container| container.name.as_str());
            (one.what, name.unwrap_or_default(), one.key.is_some())
        })
        .collect();
    assert_eq!(
        told,
        [
            (ChangeKind::ContainerSeen, "web-1", false),
            (ChangeKind::RecordPut, "web-1", true),
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

async fn changes_outlive_an_inserter_that_falls(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    let (changes, counts) = (world.core.observer().changes().len(), world.core.counts());
    assert!(changes > 0);
    world.store.panic_in_next_write();
    world.engine.change_port(0, 5_000);
    world
        .until("it is put", |world| world.store.get(&key("web-0")).unwrap().contains("8007"))
        .await;
    pass(SECOND).await;
    assert!(world.core.observer().changes().len() > changes);
    assert_eq!(world.core.counts().put, counts.put + 1);
}

async fn each_container_is_counted_in_its_state(upkeep: Upkeep) {
    let world = following_world(upkeep, 3).await;
    let count = async |state| {
        let containers = world.core.observer().standing().await.containers;
        containers.into_iter().find(|(other, _)| *other == state).unwrap().1
    };
    assert_eq!(count(ContainerState::Running).await, 3);
    world.engine.change("web-0", |one| one.life = Life::Paused);
    world.engine.change("web-1", |one| one.health = Health::Unhealthy);
    pass(POLL * 2).await;
    assert_eq!(count(ContainerState::Paused).await, 1);
    assert_eq!(count(ContainerState::Unhealthy).await, 1);
    assert_eq!(count(ContainerState::Running).await, 1);
    world.engine.remove("web-1");
    pass(POLL * 2).await;
    assert_eq!(count(ContainerState::Unhealthy).await, 0);
    let reports = world.core.observer().containers().await.unwrap();
    let told: Vec<_> = reports.iter().map(|one| (one.name.as_str(), one.state)).collect();
    assert_eq!(told, [("web-0", ContainerState::Paused), ("web-2", ContainerState::Running)]);
    assert!(reports[0].withheld.as_ref().unwrap().contains("paused"));
}

async fn the_store_is_away_until_it_takes_writes(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    let store = async || world.core.observer().standing().await.store;
    let before = store().await;
    assert!(before.answers && before.written.is_some() && before.audited.is_some());
    assert_eq!(before.retries, 0);
    world.store.fail_writes(true);
    world.engine.change_port(0, 5_000);
    world.store.slow_by(MILLISECOND * 20);
    pass(SECOND).await;
    for _ in 0..300 {
        pass(MILLISECOND * 10).await;
        assert!(!store().await.answers, "that it can be read says nothing");
    }
    let away = store().await;
    assert!(away.trouble.is_some() && away.retries > 1, "{away:?}");
    world.store.fail_writes(false);
    world.store.slow_by(Duration::ZERO);
    pass(SECOND * 2).await;
    let back = store().await;
    assert!(back.answers && back.trouble.is_none() && back.written > before.written, "{back:?}");
}
