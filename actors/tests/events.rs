//! What the core makes of an engine's events: it sees changes at once, and is right
//! whatever becomes of the events.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod fakes;

use std::collections::HashMap;
use std::time::Duration;

use fakes::{Engine, Messages, POLL, Store, World, container, id, key, keys, pass, settings};
use highhock_actors::{
    Container, CoreSettings, EngineTime, Happening, Life, NetworkMode, RecordState, Upkeep,
};
use tokio::time::Instant;

on_both_stores! {
    a_start_is_published_and_an_end_withdrawn_without_a_listing
    an_end_is_believed_while_docker_does_not_answer
    events_that_come_late_or_twice_change_nothing
    a_false_end_is_mended_by_an_inspection
    an_end_by_a_clock_that_was_set_back_is_seen_at_once
    a_stop_signal_withdraws_until_the_container_starts_anew
    a_container_that_outlives_its_stop_signal_comes_back
    who_ignores_draining_stays
    a_stop_signal_is_remembered_though_the_watcher_falls
    a_stop_signal_is_remembered_though_the_registry_falls
    a_stop_signal_in_a_gap_of_the_stream_is_heard_of
    what_changes_after_a_start_by_a_clock_that_was_set_back_is_seen_at_once
    what_an_event_named_outlives_an_older_listing_though_its_watcher_lies_fallen
    a_burst_costs_one_inspection_a_container
    what_an_event_told_costs_no_inspection_at_the_next_listing
    a_crash_loop_is_damped
    a_cut_stream_is_opened_anew_and_docker_listed_once
    a_silent_stream_is_opened_anew
    an_engine_that_refuses_its_events_is_warned_of_whenever_it_begins_to
    a_stream_that_tells_ends_late_is_left_alone
    a_listing_says_nothing_of_what_an_event_named_after_it_was_asked_for
    who_shares_a_network_through_others_follows_it
    a_listing_without_most_records_is_confirmed
    another_engine_is_believed_at_its_second_listing
    an_engine_that_lists_nothing_after_a_restart_is_asked_twice
}

const SECOND: Duration = Duration::from_secs(1);
/// What is seen by an event is in the store after this, with nothing slow in the way.
const AT_ONCE: Duration = Duration::from_millis(20);

fn following() -> CoreSettings {
    CoreSettings { events: true, ..settings() }
}

/// With so many containers, all published, and the event stream open.
async fn following_world(upkeep: Upkeep, count: usize) -> World {
    let engine = Engine::default();
    for n in 0..count {
        engine.run(container(&format!("web-{n}"), n));
    }
    let world = World::start_with(following(), engine, Store::new(upkeep));
    world.until("all are published", |world| world.store.len() == count).await;
    pass(SECOND).await;
    world
}

fn web(n: usize) -> Container {
    container(&format!("web-{n}"), n)
}

fn started_at(n: usize, at: i128) -> Container {
    Container { started: EngineTime(at), ..web(n) }
}

async fn a_start_is_published_and_an_end_withdrawn_without_a_listing(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    let lists = world.engine.lists();
    world.engine.start(1, web(1));
    let took = world.until("it is published", |world| world.store.len() == 2).await;
    assert!(took <= AT_ONCE, "{took:?}");
    world.engine.end(1, 9_000);
    let took = world.until("it is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= AT_ONCE, "{took:?}");
    world.engine.start(1, started_at(1, 9_001));
    let took = world.until("it is published anew", |world| world.store.len() == 2).await;
    assert!(took <= AT_ONCE, "{took:?}");
    assert_eq!(world.engine.lists(), lists);
    world.all_the_while(POLL * 3, &keys(0..2)).await;
}

async fn an_end_is_believed_while_docker_does_not_answer(upkeep: Upkeep) {
    let world = following_world(upkeep, 2).await;
    world.engine.away(true);
    world.engine.end(0, 9_000);
    let took = world.until("it is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= AT_ONCE, "{took:?}");
    world.all_the_while(POLL * 3, &keys(1..2)).await;
    assert_eq!(world.store.len(), 1);
    world.engine.away(false);
    world.all_the_while(POLL * 2, &keys(1..2)).await;
    assert_eq!(world.store.len(), 1);
}

async fn events_that_come_late_or_twice_change_nothing(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    let started = web(0).started.0;
    for (what, at) in [
        (Happening::Ended, started - 1),
        (Happening::Signalled(15), started - 1),
        (Happening::Started, started),
        (Happening::Ended, started - 2),
        (Happening::Started, started - 3),
        (Happening::Changed, started - 3),
        (Happening::Signalled(1), started + 1),
        (Happening::Signalled(9), started + 1),
    ] {
        world.engine.tell(0, what, at);
        world.engine.tell(0, what, at);
        world.all_the_while(SECOND * 3, &keys(0..1)).await;
    }
    // Of containers that are not there.
    for what in [Happening::Started, Happening::Ended, Happening::Signalled(15)] {
        world.engine.tell(7, what, started);
    }
    world.all_the_while(POLL * 2, &keys(0..1)).await;
    assert_eq!(world.store.len(), 1);
    assert_eq!(world.core.containers().await.unwrap().len(), 1);
}

async fn a_false_end_is_mended_by_an_inspection(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.engine.tell(0, Happening::Ended, 9_000);
    world.until("it is withdrawn", |world| world.store.len() == 0).await;
    let took = world.until("it is back", |world| world.store.len() == 1).await;
    assert!(took <= SECOND + AT_ONCE, "{took:?}");
    world.all_the_while(POLL * 3, &keys(0..1)).await;
}

async fn an_end_by_a_clock_that_was_set_back_is_seen_at_once(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.engine.end(0, web(0).started.0 - 500);
    let took = world.until("it is withdrawn", |world| world.store.len() == 0).await;
    assert!(took <= AT_ONCE, "{took:?}");
}

async fn a_stop_signal_withdraws_until_the_container_starts_anew(upkeep: Upkeep) {
    let world = following_world(upkeep, 2).await;
    world.engine.change("web-1", |one| one.stop_signal = 3);
    world.engine.tell(1, Happening::Changed, 9_000);
    pass(SECOND).await;
    for (n, signal) in [(0, 15), (1, 3)] {
        world.engine.tell(n, Happening::Signalled(signal), 9_000);
        let gone = |world: &World| world.store.get(&key(&format!("web-{n}"))).is_none();
        let took = world.until("it is withdrawn", gone).await;
        assert!(took <= AT_ONCE, "{took:?}");
    }
    let reports = world.core.containers().await.unwrap();
    assert!(reports.iter().all(|one| one.withheld.as_ref().unwrap().contains("stop signal")));
    // Whatever else is told of it.
    world.engine.tell(0, Happening::Changed, 9_001);
    world.engine.tell(0, Happening::Signalled(1), 9_002);
    for _ in 0..30 {
        pass(SECOND).await;
        assert_eq!(world.store.len(), 0);
    }
    world.engine.end(0, 9_003);
    world.engine.start(0, started_at(0, 9_004));
    world.until("it is published", |world| world.store.keys() == keys(0..1)).await;
}

async fn a_container_that_outlives_its_stop_signal_comes_back(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.engine.tell(0, Happening::Signalled(15), 9_000);
    world.until("it is withdrawn", |world| world.store.len() == 0).await;
    let took = world.until("it is published again", |world| world.store.len() == 1).await;
    assert!(took > SECOND * 299 && took < SECOND * 300 + AT_ONCE, "{took:?}");
}

async fn who_ignores_draining_stays(upkeep: Upkeep) {
    let world = following_world(upkeep, 0).await;
    let mut stubborn = web(0);
    stubborn.labels.insert("highhock.drain".into(), "ignore".into());
    world.engine.start(0, stubborn);
    world.until("it is published", |world| world.store.len() == 1).await;
    world.engine.tell(0, Happening::Signalled(15), 9_000);
    world.all_the_while(POLL * 2, &keys(0..1)).await;
    world.engine.end(0, 9_001);
    world.until("it is withdrawn", |world| world.store.len() == 0).await;
}

async fn a_stop_signal_is_remembered_though_the_watcher_falls(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.engine.tell(0, Happening::Signalled(15), 9_000);
    world.until("it is withdrawn", |world| world.store.len() == 0).await;
    let inspections = world.engine.inspections().len();
    world.engine.panic_in_next_inspection_of("web-0");
    world.engine.tell(0, Happening::Changed, 9_001);
    let successor = |world: &World| world.engine.inspections().len() >= inspections + 2;
    world.until("the next watcher looks", successor).await;
    for _ in 0..30 {
        pass(SECOND).await;
        assert_eq!(world.store.len(), 0);
    }
}

async fn what_an_event_named_outlives_an_older_listing_though_its_watcher_lies_fallen(
    upkeep: Upkeep,
) {
    let world = following_world(upkeep, 2).await;
    world.engine.list_takes(SECOND);
    let lists = world.engine.lists();
    world.engine.remove_number(1);
    world.until("a listing without it is asked for", |world| world.engine.lists() > lists).await;
    world.engine.panic_in_next_inspection_of("web-1");
    world.engine.start(1, started_at(1, 9_000));
    world.all_the_while(POLL * 2, &keys(0..2)).await;
}

async fn a_stop_signal_is_remembered_though_the_registry_falls(upkeep: Upkeep) {
    let world = following_world(upkeep, 2).await;
    world.engine.tell(0, Happening::Signalled(15), 9_000);
    world.until("it is withdrawn", |world| world.store.len() == 1).await;
    world.core.fell_registry();
    for _ in 0..30 {
        pass(SECOND).await;
        assert_eq!(world.store.keys(), keys(1..2));
    }
}

async fn a_stop_signal_in_a_gap_of_the_stream_is_heard_of(upkeep: Upkeep) {
    let world = following_world(upkeep, 2).await;
    world.engine.tell(1, Happening::Changed, 8_000);
    pass(SECOND).await;
    world.engine.cut_streams();
    world.engine.tell(0, Happening::Signalled(15), 9_000);
    let took = world.until("it is withdrawn", |world| world.store.len() == 1).await;
    assert!(took <= SECOND, "{took:?}");
    for _ in 0..30 {
        pass(SECOND).await;
        assert_eq!(world.store.keys(), keys(1..2));
    }
}

async fn what_changes_after_a_start_by_a_clock_that_was_set_back_is_seen_at_once(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.engine.end(0, 9_000);
    world.until("it is withdrawn", |world| world.store.len() == 0).await;
    world.engine.start(0, started_at(0, 5_000));
    world.until("it is published", |world| world.store.len() == 1).await;
    world.engine.change("web-0", |one| one.life = Life::Paused);
    world.engine.tell(0, Happening::Changed, 5_001);
    let took = world.until("its pause is seen", |world| world.store.len() == 0).await;
    assert!(took <= AT_ONCE, "{took:?}");
}

async fn a_burst_costs_one_inspection_a_container(upkeep: Upkeep) {
    const COUNT: usize = 200;
    let world = following_world(upkeep, 0).await;
    world.engine.inspect_takes(Duration::from_millis(20));
    let (lists, before) = (world.engine.lists(), world.engine.inspections().len());
    for n in 0..COUNT {
        world.engine.run(web(n));
    }
    for round in 0..5 {
        for n in 0..COUNT {
            world.engine.tell(n, Happening::Started, web(n).started.0);
        }
        // Told in full before the first inspections are answered.
        pass(Duration::from_millis(if round == 0 { 0 } else { 1 })).await;
    }
    world.until("all are published", |world| world.store.len() == COUNT).await;
    pass(SECOND).await;
    let mut count = HashMap::new();
    for name in &world.engine.inspections()[before..] {
        *count.entry(name.clone()).or_insert(0) += 1;
    }
    // Those that were under way while more was told are inspected once more.
    let twice = count.values().filter(|count| **count > 1).count();
    assert!(count.values().all(|count| *count <= 2) && twice <= 8, "{count:?}");
    assert_eq!(world.engine.most_inspections_at_a_time(), 8);
    assert!(world.engine.lists() <= lists + 1);
}

async fn what_an_event_told_costs_no_inspection_at_the_next_listing(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.engine.start(1, web(1));
    world.until("it is published", |world| world.store.len() == 2).await;
    world.engine.change("web-0", |one| one.bindings[0].host_port = 9_999);
    world.engine.tell(0, Happening::Started, 9_000);
    pass(SECOND).await;
    let inspections = world.engine.inspections().len();
    assert_eq!(inspections, 3);
    world.all_the_while(POLL * 6, &keys(0..2)).await;
    assert_eq!(world.engine.inspections().len(), inspections);
    // But what no event told does.
    world.engine.change("web-0", |one| one.bindings[0].host_port = 9_998);
    pass(POLL * 2).await;
    assert_eq!(world.engine.inspections().len(), inspections + 1);
}

async fn a_crash_loop_is_damped(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    let puts = || world.store.puts_of(&key("web-0"));
    let mut damped = 0;
    for round in 0..100 {
        let before = puts();
        let at = 9_000 + round * 2;
        world.engine.end(0, at);
        world.until("it is withdrawn", |world| world.store.len() == 0).await;
        world.engine.start(0, started_at(0, at + 1));
        pass(Duration::from_millis(500)).await;
        if puts() == before {
            damped += 1;
            let report = world.core.containers().await.unwrap().remove(0);
            assert!(report.withheld.unwrap().contains("restarts again and again"));
        }
    }
    // Two restarts are free; in the 49 seconds after them there is one put in five.
    assert!((86..=89).contains(&damped), "{damped}");
    let took = world.until("the last one is published", |world| world.store.len() == 1).await;
    assert!(took <= SECOND * 5, "{took:?}");
    world.all_the_while(POLL, &keys(0..1)).await;
}

async fn a_cut_stream_is_opened_anew_and_docker_listed_once(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    for n in 1..20 {
        let (lists, opened) = (world.engine.lists(), world.engine.streams_opened());
        world.engine.cut_streams();
        // Nobody is told of this one.
        world.engine.run(web(n));
        let took = world.until("it is published", |world| world.store.len() == n + 1).await;
        assert!(took <= SECOND * 3, "{took:?}");
        assert_eq!(world.engine.streams_opened(), opened + 1);
        assert!(world.engine.lists() <= lists + 2);
        world.all_the_while(Duration::from_millis(300), &keys(0..n + 1)).await;
    }
    let listings = world.engine.listings();
    let closest = listings.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(closest >= Duration::from_millis(250), "{closest:?}");
}

async fn a_silent_stream_is_opened_anew(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    pass(POLL * 2).await;
    assert_eq!(world.engine.streams_opened(), 1);
    world.engine.silence();
    world.engine.start(1, web(1));
    world.until("a listing tells of it", |world| world.store.len() == 2).await;
    let opened = |world: &World| world.engine.streams_opened() == 2;
    let took = world.until("the stream is opened anew", opened).await;
    assert!(took <= SECOND * 2 + AT_ONCE, "{took:?}");
    pass(SECOND).await;
    world.engine.start(2, web(2));
    let took = world.until("the new one tells", |world| world.store.len() == 3).await;
    assert!(took <= AT_ONCE, "{took:?}");
    // One that tells all is left alone.
    for n in 3..20 {
        world.engine.start(n, web(n));
        pass(SECOND * 3).await;
        world.engine.end(n - 1, 9_000);
    }
    assert_eq!(world.engine.streams_opened(), 2);
}

/// As Podman does: one that is told to stop is listed no more, and told of when it has ended.
async fn a_stream_that_tells_ends_late_is_left_alone(upkeep: Upkeep) {
    let world = following_world(upkeep, 10).await;
    pass(POLL * 2).await;
    for n in 1..10 {
        world.engine.change_number(n, |one| one.life = Life::Exited);
        pass(SECOND * 11).await;
        world.engine.end(n, 9_000);
        pass(SECOND * 20).await;
    }
    assert_eq!(world.engine.streams_opened(), 1);
    // One that never tells is not.
    world.engine.silence();
    world.engine.end(0, 9_000);
    world.until("a listing tells of it", |world| world.store.len() == 0).await;
    let opened = |world: &World| world.engine.streams_opened() == 2;
    let took = world.until("the stream is opened anew", opened).await;
    assert!(took <= SECOND * 15 + AT_ONCE, "{took:?}");
}

async fn an_engine_that_refuses_its_events_is_warned_of_whenever_it_begins_to(upkeep: Upkeep) {
    const WARNING: &str = "docker's events can't be followed; changes are seen at the next poll";
    let messages = Messages::default();
    let world =
        World::start_logged(following(), Engine::default(), Store::new(upkeep), messages.logger());
    for times in 1..4 {
        let opened = world.engine.streams_opened();
        world.engine.refuse_events(false);
        world.until("it is open", |world| world.engine.streams_opened() > opened).await;
        pass(SECOND * 10).await;
        world.engine.refuse_events(true);
        world.engine.cut_streams();
        pass(SECOND * 200).await;
        assert_eq!(messages.count(WARNING), times);
    }
}

async fn a_listing_says_nothing_of_what_an_event_named_after_it_was_asked_for(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    world.engine.list_takes(SECOND * 3);
    let lists = world.engine.lists();
    world.until("a listing is asked for", |world| world.engine.lists() > lists).await;
    world.engine.start(1, web(1));
    world.until("it is published", |world| world.store.len() == 2).await;
    world.all_the_while(SECOND * 5, &keys(0..2)).await;
}

async fn who_shares_a_network_through_others_follows_it(upkeep: Upkeep) {
    let world = following_world(upkeep, 1).await;
    for n in 1..3 {
        let mut guest = web(n);
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
    world.until("both are reached through the first", at_target).await;
    world.engine.change("web-0", |one| one.bindings[0].host_port = 9_999);
    world.engine.tell(0, Happening::Started, 9_000);
    let moved = |world: &World| port(world, 1) == Some(false) && port(world, 2) == Some(false);
    let took = world.until("both follow it", moved).await;
    assert!(took <= AT_ONCE, "{took:?}");
}

async fn a_listing_without_most_records_is_confirmed(upkeep: Upkeep) {
    let world = following_world(upkeep, 12).await;
    let hidden = world.engine.containers();
    let lists = world.engine.lists();
    for n in 0..7 {
        world.engine.remove_number(n);
    }
    world.until("they are missing", |world| world.engine.lists() > lists).await;
    for one in hidden {
        world.engine.run(one);
    }
    world.all_the_while(POLL * 2, &keys(0..12)).await;
    for n in 0..7 {
        world.engine.remove_number(n);
    }
    let took = world.until("they are withdrawn", |world| world.store.len() == 5).await;
    assert!(took <= POLL + SECOND * 2, "{took:?}");
    // Less than half, and less than ten, needs no second listing.
    world.engine.remove_number(7);
    world.engine.remove_number(8);
    world.engine.remove_number(9);
    let lists = world.engine.lists();
    world.until("they are withdrawn", |world| world.store.len() == 2).await;
    assert_eq!(world.engine.lists(), lists + 1);
}

async fn another_engine_is_believed_at_its_second_listing(upkeep: Upkeep) {
    let engine = Engine::default();
    engine.becomes("one");
    for n in 0..3 {
        engine.run(web(n));
    }
    let messages = Messages::default();
    let store = Store::new(upkeep);
    let world = World::start_logged(following(), engine, store, messages.logger());
    world.until("all are published", |world| world.store.len() == 3).await;
    let warned = "another docker engine than before answers; \
                  it is listed again before it is believed";
    // Another one answers once.
    let (hidden, lists) = (world.engine.containers(), world.engine.lists());
    world.engine.becomes("two");
    for n in 0..3 {
        world.engine.remove_number(n);
    }
    world.until("it was listed", |world| world.engine.lists() > lists).await;
    pass(AT_ONCE).await;
    world.engine.becomes("one");
    for one in hidden {
        world.engine.run(one);
    }
    world.all_the_while(POLL * 2, &keys(0..3)).await;
    assert_eq!(messages.count(warned), 1);
    // Another one stays.
    world.engine.becomes("two");
    for n in 0..3 {
        world.engine.remove_number(n);
    }
    world.engine.run(web(5));
    world.until("it is believed", |world| world.store.keys() == keys(5..6)).await;
    assert_eq!(messages.count(warned), 2);
    pass(POLL * 3).await;
    assert_eq!(messages.count(warned), 2);
}

async fn an_engine_that_lists_nothing_after_a_restart_is_asked_twice(upkeep: Upkeep) {
    // Without a lease a restarted daemon doesn't know its records before it wants them.
    if upkeep == Upkeep::Each {
        return;
    }
    let world = following_world(upkeep, 12).await;
    let World { engine, store, core } = world;
    core.stop(false, SECOND).await;
    let hidden = engine.containers();
    for n in 0..12 {
        engine.remove_number(n);
    }
    let lists = engine.lists();
    let world = World::start_with(following(), engine, store);
    world.until("it lists once", |world| world.engine.lists() > lists).await;
    // The second listing finds them all.
    for one in hidden {
        world.engine.run(one);
    }
    world.all_the_while(POLL * 2, &keys(0..12)).await;
    let state = world.state_of(&key("web-0")).await.unwrap().0;
    assert_eq!(state, RecordState::Live);
    // What is really gone is withdrawn soon.
    let World { engine, store, core } = world;
    core.stop(false, SECOND).await;
    for n in 1..12 {
        engine.remove_number(n);
    }
    let started = Instant::now();
    let world = World::start_with(following(), engine, store);
    world.until("the others are withdrawn", |world| world.store.len() == 1).await;
    assert!(started.elapsed() <= SECOND * 5, "{:?}", started.elapsed());
}
