//! Events of the Docker engine: the core reacts to a change at once, and reaches the right state
//! even if events are lost, late, repeated or false.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::collections::HashMap;
use std::time::Duration;

use fakes::{Engine, LogMessages, POLL, Store, World, container, id, key, keys, pass, settings};
use highhock_actors::{
    Container, ContainerState, CoreSettings, EngineTime, EventKind, KeepAliveMode,
    LOSS_WITHOUT_EVENTS, NetworkMode, RecordState, UnreadableRow,
};
use tokio::time::Instant;

on_both_stores! {
    events_publish_and_withdraw_without_listing
    end_event_withdraws_during_docker_outage
    late_or_repeated_events_change_nothing
    inspection_corrects_a_false_end_event
    detects_end_after_clock_set_back
    stop_signal_withdraws_until_next_start
    republishes_after_drain_timeout
    drain_ignore_label_keeps_record
    stop_signal_survives_watcher_crash
    stop_signal_survives_registry_crash
    receives_stop_signal_sent_in_a_stream_gap
    follows_changes_after_clock_set_back
    event_overrides_older_listing_after_watcher_crash
    event_burst_costs_one_inspection_per_container
    announced_change_needs_no_second_inspection
    limits_publishing_in_a_crash_loop
    reopens_cut_stream_with_one_listing
    reopens_a_silent_stream
    warns_when_engine_starts_to_refuse_events
    keeps_stream_with_late_end_events
    skips_an_unreadable_event_and_reads_on
    unreadable_row_costs_no_other_container
    unnamed_row_keeps_the_records_of_its_container
    unnamed_row_of_a_known_container_leaves_the_listing_complete
    slow_listings_leave_pauses_and_stay_ready
    newer_event_overrides_listing
    follows_shared_network_through_chain
    follows_restart_of_an_unlisted_network_owner
    follows_removal_of_an_unlisted_container_of_a_chain
    confirms_listing_without_most_records
    accepts_another_engine_at_second_listing
    confirms_empty_listing_after_restart
}

const SECOND: Duration = Duration::from_secs(1);
/// The longest time from an event to the change of the store if nothing else is slow.
const EVENT_LATENCY_MAX: Duration = Duration::from_millis(20);

fn settings_with_events() -> CoreSettings {
    CoreSettings { events: true, ..settings() }
}

/// Starts a core with `count` published containers and an open event stream.
async fn world_with_events(keep_alive_mode: KeepAliveMode, count: usize) -> World {
    let engine = Engine::default();
    for n in 0..count {
        engine.run(container(&format!("web-{n}"), n));
    }
    let world = World::start_with(settings_with_events(), engine, Store::new(keep_alive_mode));
    world.until("all records are published", |world| world.store.len() == count).await;
    pass(SECOND).await;
    world
}

fn web_container(n: usize) -> Container {
    container(&format!("web-{n}"), n)
}

fn container_started_at(n: usize, at: i128) -> Container {
    Container { started: EngineTime(at), ..web_container(n) }
}

async fn events_publish_and_withdraw_without_listing(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    let lists = world.engine.lists();
    world.engine.start(1, web_container(1));
    let took = world.until("the record is published", |world| world.store.len() == 2).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
    world.engine.end(1, 9_000);
    let took = world.until("the record is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
    world.engine.start(1, container_started_at(1, 9_001));
    let took = world.until("the record is published again", |world| world.store.len() == 2).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
    assert_eq!(world.engine.lists(), lists);
    world.assert_present_for(POLL * 3, &keys(0..2)).await;
}

async fn end_event_withdraws_during_docker_outage(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 2).await;
    world.engine.set_unavailable(true);
    world.engine.end(0, 9_000);
    let took = world.until("the record is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
    world.assert_present_for(POLL * 3, &keys(1..2)).await;
    assert_eq!(world.store.len(), 1);
    world.engine.set_unavailable(false);
    world.assert_present_for(POLL * 2, &keys(1..2)).await;
    assert_eq!(world.store.len(), 1);
}

async fn late_or_repeated_events_change_nothing(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    let started = web_container(0).started.0;
    for (what, at) in [
        (EventKind::Ended, started - 1),
        (EventKind::Signalled(15), started - 1),
        (EventKind::Started, started),
        (EventKind::Ended, started - 2),
        (EventKind::Started, started - 3),
        (EventKind::Changed, started - 3),
        (EventKind::Signalled(1), started + 1),
        (EventKind::Signalled(9), started + 1),
    ] {
        world.engine.send_event(0, what, at);
        world.engine.send_event(0, what, at);
        world.assert_present_for(SECOND * 3, &keys(0..1)).await;
    }
    // Events of containers that do not exist.
    for what in [EventKind::Started, EventKind::Ended, EventKind::Signalled(15)] {
        world.engine.send_event(7, what, started);
    }
    world.assert_present_for(POLL * 2, &keys(0..1)).await;
    assert_eq!(world.store.len(), 1);
    assert_eq!(world.core.containers().await.unwrap().len(), 1);
}

async fn inspection_corrects_a_false_end_event(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.engine.send_event(0, EventKind::Ended, 9_000);
    world.until("the record is withdrawn", |world| world.store.len() == 0).await;
    let took = world.until("the record is back", |world| world.store.len() == 1).await;
    assert!(took <= SECOND + EVENT_LATENCY_MAX, "{took:?}");
    world.assert_present_for(POLL * 3, &keys(0..1)).await;
}

async fn detects_end_after_clock_set_back(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.engine.end(0, web_container(0).started.0 - 500);
    let took = world.until("the record is withdrawn", |world| world.store.len() == 0).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
}

async fn stop_signal_withdraws_until_next_start(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 2).await;
    world.engine.change("web-1", |container| container.stop_signal = 3);
    world.engine.send_event(1, EventKind::Changed, 9_000);
    pass(SECOND).await;
    for (n, signal) in [(0, 15), (1, 3)] {
        world.engine.send_event(n, EventKind::Signalled(signal), 9_000);
        let gone = |world: &World| world.store.get(&key(&format!("web-{n}"))).is_none();
        let took = world.until("the record is withdrawn", gone).await;
        assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
    }
    let reports = world.core.containers().await.unwrap();
    assert!(reports.iter().all(|one| one.withheld.as_ref().unwrap().contains("stop signal")));
    // Later events of the container change nothing.
    world.engine.send_event(0, EventKind::Changed, 9_001);
    world.engine.send_event(0, EventKind::Signalled(1), 9_002);
    for _ in 0..30 {
        pass(SECOND).await;
        assert_eq!(world.store.len(), 0);
    }
    world.engine.end(0, 9_003);
    world.engine.start(0, container_started_at(0, 9_004));
    world.until("the record is published", |world| world.store.keys() == keys(0..1)).await;
}

async fn republishes_after_drain_timeout(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.engine.send_event(0, EventKind::Signalled(15), 9_000);
    world.until("the record is withdrawn", |world| world.store.len() == 0).await;
    let took = world.until("the record is published again", |world| world.store.len() == 1).await;
    assert!(took > SECOND * 299 && took < SECOND * 300 + EVENT_LATENCY_MAX, "{took:?}");
}

async fn drain_ignore_label_keeps_record(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 0).await;
    let mut ignoring = web_container(0);
    ignoring.labels.insert("highhock.drain".into(), "ignore".into());
    world.engine.start(0, ignoring);
    world.until("the record is published", |world| world.store.len() == 1).await;
    world.engine.send_event(0, EventKind::Signalled(15), 9_000);
    world.assert_present_for(POLL * 2, &keys(0..1)).await;
    world.engine.end(0, 9_001);
    world.until("the record is withdrawn", |world| world.store.len() == 0).await;
}

async fn stop_signal_survives_watcher_crash(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.engine.send_event(0, EventKind::Signalled(15), 9_000);
    world.until("the record is withdrawn", |world| world.store.len() == 0).await;
    let inspections = world.engine.inspections().len();
    world.engine.panic_in_next_inspection_of("web-0");
    world.engine.send_event(0, EventKind::Changed, 9_001);
    let successor = |world: &World| world.engine.inspections().len() >= inspections + 2;
    world.until("the next watcher inspects the container", successor).await;
    for _ in 0..30 {
        pass(SECOND).await;
        assert_eq!(world.store.len(), 0);
    }
}

async fn event_overrides_older_listing_after_watcher_crash(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 2).await;
    world.engine.list_takes(SECOND);
    let lists = world.engine.lists();
    world.engine.remove_number(1);
    world
        .until("a listing without the container is requested", |world| world.engine.lists() > lists)
        .await;
    world.engine.panic_in_next_inspection_of("web-1");
    world.engine.start(1, container_started_at(1, 9_000));
    world.assert_present_for(POLL * 2, &keys(0..2)).await;
}

async fn stop_signal_survives_registry_crash(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 2).await;
    world.engine.send_event(0, EventKind::Signalled(15), 9_000);
    world.until("the record is withdrawn", |world| world.store.len() == 1).await;
    world.core.inject_registry_panic();
    for _ in 0..30 {
        pass(SECOND).await;
        assert_eq!(world.store.keys(), keys(1..2));
    }
}

async fn receives_stop_signal_sent_in_a_stream_gap(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 2).await;
    world.engine.send_event(1, EventKind::Changed, 8_000);
    pass(SECOND).await;
    world.engine.cut_streams();
    world.engine.send_event(0, EventKind::Signalled(15), 9_000);
    let took = world.until("the record is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= SECOND, "{took:?}");
    for _ in 0..30 {
        pass(SECOND).await;
        assert_eq!(world.store.keys(), keys(1..2));
    }
}

async fn follows_changes_after_clock_set_back(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.engine.end(0, 9_000);
    world.until("the record is withdrawn", |world| world.store.len() == 0).await;
    world.engine.start(0, container_started_at(0, 5_000));
    world.until("the record is published", |world| world.store.len() == 1).await;
    world.engine.change("web-0", |container| container.state = ContainerState::Paused);
    world.engine.send_event(0, EventKind::Changed, 5_001);
    let took = world.until("its pause is seen", |world| world.store.len() == 0).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
}

async fn event_burst_costs_one_inspection_per_container(keep_alive_mode: KeepAliveMode) {
    const COUNT: usize = 200;
    let world = world_with_events(keep_alive_mode, 0).await;
    world.engine.inspect_takes(Duration::from_millis(20));
    let (lists, before) = (world.engine.lists(), world.engine.inspections().len());
    for n in 0..COUNT {
        world.engine.run(web_container(n));
    }
    for round in 0..5 {
        for n in 0..COUNT {
            world.engine.send_event(n, EventKind::Started, web_container(n).started.0);
        }
        // All events arrive before the first inspection returns.
        pass(Duration::from_millis(if round == 0 { 0 } else { 1 })).await;
    }
    world.until("all records are published", |world| world.store.len() == COUNT).await;
    pass(SECOND).await;
    let mut count = HashMap::new();
    for name in &world.engine.inspections()[before..] {
        *count.entry(name.clone()).or_insert(0) += 1;
    }
    // A container with events during its inspection is inspected once more.
    let twice = count.values().filter(|count| **count > 1).count();
    assert!(count.values().all(|count| *count <= 2) && twice <= 8, "{count:?}");
    assert_eq!(world.engine.inspections_in_flight_max(), 8);
    assert!(world.engine.lists() <= lists + 1);
}

async fn announced_change_needs_no_second_inspection(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.engine.start(1, web_container(1));
    world.until("the record is published", |world| world.store.len() == 2).await;
    world.engine.change("web-0", |container| container.bindings[0].host_port = 9_999);
    world.engine.send_event(0, EventKind::Started, 9_000);
    pass(SECOND).await;
    let inspections = world.engine.inspections().len();
    assert_eq!(inspections, 3);
    world.assert_present_for(POLL * 6, &keys(0..2)).await;
    assert_eq!(world.engine.inspections().len(), inspections);
    // A change without an event needs an inspection.
    world.engine.change("web-0", |container| container.bindings[0].host_port = 9_998);
    pass(POLL * 2).await;
    assert_eq!(world.engine.inspections().len(), inspections + 1);
}

async fn limits_publishing_in_a_crash_loop(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    let puts = || world.store.puts_of(&key("web-0"));
    let mut damped = 0;
    for round in 0..100 {
        let before = puts();
        let at = 9_000 + round * 2;
        world.engine.end(0, at);
        world.until("the record is withdrawn", |world| world.store.len() == 0).await;
        world.engine.start(0, container_started_at(0, at + 1));
        pass(Duration::from_millis(500)).await;
        if puts() == before {
            damped += 1;
            let report = world.core.containers().await.unwrap().remove(0);
            assert!(report.withheld.unwrap().contains("restarts repeatedly"));
        }
    }
    // Two restarts are free. In the 49 seconds after them, one put in five seconds is allowed.
    assert!((86..=89).contains(&damped), "{damped}");
    let took = world.until("the last start is published", |world| world.store.len() == 1).await;
    assert!(took <= SECOND * 5, "{took:?}");
    world.assert_present_for(POLL, &keys(0..1)).await;
}

async fn reopens_cut_stream_with_one_listing(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    for n in 1..20 {
        let (lists, opened) = (world.engine.lists(), world.engine.streams_opened());
        world.engine.cut_streams();
        // This event reaches no stream.
        world.engine.run(web_container(n));
        let took = world.until("the record is published", |world| world.store.len() == n + 1).await;
        assert!(took <= SECOND * 3, "{took:?}");
        assert_eq!(world.engine.streams_opened(), opened + 1);
        assert!(world.engine.lists() <= lists + 2);
        world.assert_present_for(Duration::from_millis(300), &keys(0..n + 1)).await;
    }
    let listings = world.engine.listings();
    let closest = listings.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(closest >= Duration::from_millis(250), "{closest:?}");
}

async fn reopens_a_silent_stream(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    pass(POLL * 2).await;
    assert_eq!(world.engine.streams_opened(), 1);
    world.engine.silence_streams();
    world.engine.start(1, web_container(1));
    world.until("a listing shows the change", |world| world.store.len() == 2).await;
    let opened = |world: &World| world.engine.streams_opened() == 2;
    let took = world.until("the stream is opened again", opened).await;
    assert!(took <= SECOND * 2 + EVENT_LATENCY_MAX, "{took:?}");
    pass(SECOND).await;
    world.engine.start(2, web_container(2));
    let took =
        world.until("the new stream delivers an event", |world| world.store.len() == 3).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
    // A stream that delivers all events is kept.
    for n in 3..20 {
        world.engine.start(n, web_container(n));
        pass(SECOND * 3).await;
        world.engine.end(n - 1, 9_000);
    }
    assert_eq!(world.engine.streams_opened(), 2);
}

/// Podman stops listing a container when the stop begins, and sends the event when the stop ends.
async fn keeps_stream_with_late_end_events(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 10).await;
    pass(POLL * 2).await;
    for n in 1..10 {
        world.engine.change_number(n, |container| container.state = ContainerState::Exited);
        pass(SECOND * 11).await;
        world.engine.end(n, 9_000);
        pass(SECOND * 20).await;
    }
    assert_eq!(world.engine.streams_opened(), 1);
    // A stream that never delivers an event is reopened.
    world.engine.silence_streams();
    world.engine.end(0, 9_000);
    world.until("a listing shows the change", |world| world.store.len() == 0).await;
    let opened = |world: &World| world.engine.streams_opened() == 2;
    let took = world.until("the stream is opened again", opened).await;
    assert!(took <= SECOND * 15 + EVENT_LATENCY_MAX, "{took:?}");
}

async fn skips_an_unreadable_event_and_reads_on(keep_alive_mode: KeepAliveMode) {
    const WARNING: &str = "unreadable docker event skipped; the next listing shows the change";
    let messages = LogMessages::default();
    let engine = Engine::default();
    (0..2).for_each(|n| engine.run(web_container(n)));
    let store = Store::new(keep_alive_mode);
    let world = World::start_logged(settings_with_events(), engine, store, messages.logger());
    world.until("the records are published", |world| world.store.len() == 2).await;
    for n in 0..10 {
        world.engine.send_unreadable_event();
        // The change that the event would have announced is found by a listing.
        world.engine.run(container_started_at(1, 9_000 + n));
        pass(POLL).await;
    }
    world.engine.send_event(0, EventKind::Signalled(15), 9_900);
    let took = world.until("the record is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
    assert_eq!(world.engine.streams_opened(), 1);
    let docker = world.core.handle().status().await.docker;
    assert_eq!(docker.unreadable_events, 10);
    let warnings = messages.count(WARNING);
    assert!((1..=2).contains(&warnings), "{warnings} warnings in {:?}", POLL * 10);
}

async fn unreadable_row_costs_no_other_container(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    let reason = || "scripted".to_owned();
    // Containers that a listing without all ids lacks are inspected, and the ended one is gone.
    world.engine.set_unreadable_rows(vec![UnreadableRow { container: None, reason: reason() }]);
    world.engine.remove_number(2);
    world.engine.run(web_container(3));
    let shows_all = |world: &World| {
        world.store.get(&key("web-3")).is_some() && world.store.get(&key("web-2")).is_none()
    };
    world.until("both changes are seen", shows_all).await;
    world.engine.run(web_container(2));
    world.until("the removed container is back", |world| world.store.len() == 4).await;
    world.engine.remove_number(2);
    let known = Some(web_container(0).id);
    world.engine.set_unreadable_rows(vec![UnreadableRow { container: known, reason: reason() }]);
    world.until("the removed container is gone", |world| world.store.len() == 3).await;
    let docker = world.core.handle().status().await.docker;
    assert!(docker.unreadable_rows >= 3, "{docker:?}");
}

async fn unnamed_row_keeps_the_records_of_its_container(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 4).await;
    world.engine.hide_id_of("web-0", true);
    world.engine.hide_id_of("web-1", true);
    world.engine.fail_inspections_of("web-1", true);
    // It is not listed, but its restart policy starts it again.
    world.engine.change("web-2", |container| container.state = ContainerState::Exited);
    world.until("the ended container is gone", |world| world.store.len() == 3).await;
    world.assert_present_for(POLL * 3, &keys(0..2)).await;
    // A restarted registry does not know the containers of these rows.
    world.core.inject_registry_panic();
    world.assert_present_for(POLL * 3, &keys(0..2)).await;
    assert_eq!(world.core.handle().ready().await, Ok(()));
    world.engine.hide_id_of("web-0", false);
    world.engine.hide_id_of("web-1", false);
    world.engine.remove("web-0");
    let is_gone = |world: &World| world.store.get(&key("web-0")).is_none();
    world.until("a complete listing decides", is_gone).await;
    assert_eq!(world.store.len(), 2);
}

async fn unnamed_row_of_a_known_container_leaves_the_listing_complete(
    keep_alive_mode: KeepAliveMode,
) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    world.engine.hide_id_of("web-0", true);
    pass(POLL).await;
    // The restarted inserter finds the record of a container that has ended.
    world.store.panic_in_next_write();
    world.engine.remove_number(2);
    world.engine.run(web_container(3));
    let is_gone = |world: &World| world.store.get(&key("web-2")).is_none();
    let took = world.until("the record is withdrawn", is_gone).await;
    assert!(took <= POLL * 3, "{took:?}");
    world.assert_present_for(POLL * 3, &[key("web-0"), key("web-1"), key("web-3")]).await;
}

async fn slow_listings_leave_pauses_and_stay_ready(keep_alive_mode: KeepAliveMode) {
    let world = World::with_containers(keep_alive_mode, 3).await;
    world.engine.list_takes(POLL * 3);
    pass(POLL * 10).await;
    let lists = world.engine.lists();
    for _ in 0..100 {
        pass(POLL / 2).await;
        assert_eq!(world.core.handle().status().await.ready(), Ok(()));
    }
    let listed = world.engine.lists() - lists;
    assert!((10..=13).contains(&listed), "{listed} listings in {:?}", POLL * 50);
}

async fn warns_when_engine_starts_to_refuse_events(keep_alive_mode: KeepAliveMode) {
    const WARNING: &str = "docker events unavailable; relying on polls";
    let messages = LogMessages::default();
    let world = World::start_logged(
        settings_with_events(),
        Engine::default(),
        Store::new(keep_alive_mode),
        messages.logger(),
    );
    for times in 1..4 {
        let opened = world.engine.streams_opened();
        world.engine.refuse_events(false);
        world.until("the stream is open", |world| world.engine.streams_opened() > opened).await;
        pass(SECOND * 10).await;
        world.engine.refuse_events(true);
        world.engine.cut_streams();
        pass(SECOND * 200).await;
        assert_eq!(messages.values(WARNING, "lost"), vec![LOSS_WITHOUT_EVENTS; times]);
    }
}

async fn newer_event_overrides_listing(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    world.engine.list_takes(SECOND * 3);
    let lists = world.engine.lists();
    world.until("a listing is requested", |world| world.engine.lists() > lists).await;
    world.engine.start(1, web_container(1));
    world.until("the record is published", |world| world.store.len() == 2).await;
    world.assert_present_for(SECOND * 5, &keys(0..2)).await;
}

async fn follows_shared_network_through_chain(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    for n in 1..3 {
        let mut guest = web_container(n);
        guest.network = NetworkMode::Container(id(n - 1));
        guest.bindings = Vec::new();
        guest.env.insert("DISCOVER".into(), format!("web-{n}:80"));
        world.engine.start(n, guest);
    }
    let port = |world: &World, n: usize| {
        let value = world.store.get(&key(&format!("web-{n}")))?;
        Some(value.contains(r#""port":8000"#))
    };
    let at_target = |world: &World| port(world, 1) == Some(true) && port(world, 2) == Some(true);
    world.until("both are published with the port of the first", at_target).await;
    world.engine.change("web-0", |container| container.bindings[0].host_port = 9_999);
    world.engine.send_event(0, EventKind::Started, 9_000);
    let moved = |world: &World| port(world, 1) == Some(false) && port(world, 2) == Some(false);
    let took = world.until("both have the new port", moved).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
}

/// The registry no longer knows the network owner when its start event arrives.
async fn follows_restart_of_an_unlisted_network_owner(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 1).await;
    let mut guest = web_container(1);
    (guest.network, guest.bindings) = (NetworkMode::Container(id(0)), Vec::new());
    world.engine.start(1, guest);
    world.until("both are published", |world| world.store.len() == 2).await;
    world.engine.end(0, 1_000);
    world.until("both are withdrawn", |world| world.store.len() == 0).await;
    pass(POLL * 2).await;
    let lists = world.engine.lists();
    world.until("a listing lacks the owner", |world| world.engine.lists() > lists).await;
    pass(SECOND).await;
    world.engine.start(0, container_started_at(0, 2_000));
    let took = world.until("both are published again", |world| world.store.len() == 2).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
}

async fn follows_removal_of_an_unlisted_container_of_a_chain(keep_alive_mode: KeepAliveMode) {
    let engine = Engine::default();
    engine.run(web_container(0));
    for n in 1..3 {
        let network = NetworkMode::Container(id(n - 1));
        engine.run(Container { network, bindings: Vec::new(), ..web_container(n) });
    }
    engine.change("web-1", |container| container.state = ContainerState::Exited);
    let world = World::start_with(settings_with_events(), engine, Store::new(keep_alive_mode));
    let guest = key("web-2");
    world.until("the guest is published", |world| world.store.get(&guest).is_some()).await;
    pass(SECOND).await;
    world.engine.remove("web-1");
    world.engine.send_event(1, EventKind::Ended, 9_000);
    let took =
        world.until("the guest is withdrawn", |world| world.store.get(&guest).is_none()).await;
    assert!(took <= EVENT_LATENCY_MAX, "{took:?}");
}

async fn confirms_listing_without_most_records(keep_alive_mode: KeepAliveMode) {
    let world = world_with_events(keep_alive_mode, 12).await;
    let hidden = world.engine.containers();
    let lists = world.engine.lists();
    for n in 0..7 {
        world.engine.remove_number(n);
    }
    world
        .until("the listing without them was requested", |world| world.engine.lists() > lists)
        .await;
    for one in hidden {
        world.engine.run(one);
    }
    world.assert_present_for(POLL * 2, &keys(0..12)).await;
    for n in 0..7 {
        world.engine.remove_number(n);
    }
    let took = world.until("the records are withdrawn", |world| world.store.len() == 5).await;
    assert!(took <= POLL + SECOND * 2, "{took:?}");
    // Fewer than half of the records, and fewer than ten, need no second listing.
    world.engine.remove_number(7);
    world.engine.remove_number(8);
    world.engine.remove_number(9);
    let lists = world.engine.lists();
    world.until("the records are withdrawn", |world| world.store.len() == 2).await;
    assert_eq!(world.engine.lists(), lists + 1);
}

async fn accepts_another_engine_at_second_listing(keep_alive_mode: KeepAliveMode) {
    let engine = Engine::default();
    engine.set_identity("one");
    for n in 0..3 {
        engine.run(web_container(n));
    }
    let messages = LogMessages::default();
    let store = Store::new(keep_alive_mode);
    let world = World::start_logged(settings_with_events(), engine, store, messages.logger());
    world.until("all records are published", |world| world.store.len() == 3).await;
    let warned = "docker engine changed; \
                  waiting for a second listing";
    // Another engine answers once.
    let (hidden, lists) = (world.engine.containers(), world.engine.lists());
    world.engine.set_identity("two");
    for n in 0..3 {
        world.engine.remove_number(n);
    }
    world.until("the other engine was listed", |world| world.engine.lists() > lists).await;
    pass(EVENT_LATENCY_MAX).await;
    world.engine.set_identity("one");
    for one in hidden {
        world.engine.run(one);
    }
    world.assert_present_for(POLL * 2, &keys(0..3)).await;
    assert_eq!(messages.count(warned), 1);
    // Another engine answers from now on.
    world.engine.set_identity("two");
    for n in 0..3 {
        world.engine.remove_number(n);
    }
    world.engine.run(web_container(5));
    world
        .until("the records of the other engine are published", |world| {
            world.store.keys() == keys(5..6)
        })
        .await;
    assert_eq!(messages.count(warned), 2);
    pass(POLL * 3).await;
    assert_eq!(messages.count(warned), 2);
}

async fn confirms_empty_listing_after_restart(keep_alive_mode: KeepAliveMode) {
    // Without a lease, a restarted daemon knows none of its records until a container wants them.
    if keep_alive_mode == KeepAliveMode::PerRecord {
        return;
    }
    let world = world_with_events(keep_alive_mode, 12).await;
    let World { engine, store, core } = world;
    core.stop(false, SECOND).await;
    let hidden = engine.containers();
    for n in 0..12 {
        engine.remove_number(n);
    }
    let lists = engine.lists();
    let world = World::start_with(settings_with_events(), engine, store);
    world.until("one listing was requested", |world| world.engine.lists() > lists).await;
    // The second listing contains all containers.
    for one in hidden {
        world.engine.run(one);
    }
    world.assert_present_for(POLL * 2, &keys(0..12)).await;
    let state = world.state_of(&key("web-0")).await.unwrap().0;
    assert_eq!(state, RecordState::Live);
    // The records of removed containers are withdrawn soon.
    let World { engine, store, core } = world;
    core.stop(false, SECOND).await;
    for n in 1..12 {
        engine.remove_number(n);
    }
    let started = Instant::now();
    let world = World::start_with(settings_with_events(), engine, store);
    world.until("the other records are withdrawn", |world| world.store.len() == 1).await;
    assert!(started.elapsed() <= SECOND * 5, "{:?}", started.elapsed());
}
