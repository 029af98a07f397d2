//! Mailbox metrics of a slow actor and of an actor that crashes.
//!
//! The metrics belong to the process, so this file has one test.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{World, key, pass};
use highhock_actors::KeepAliveMode;
use highhock_actors::runtime::metrics::{MailboxSnapshot, MessageSnapshot};

const SECOND: Duration = Duration::from_secs(1);
const CONTAINERS: usize = 10;

fn meter(world: &World, actor: &str) -> MailboxSnapshot {
    world.core.mailbox_snapshots().into_iter().find(|meter| meter.actor == actor).unwrap()
}

fn messages(meter: &MailboxSnapshot, name: &str) -> MessageSnapshot {
    meter.messages.iter().find(|one| one.message == name).unwrap().clone()
}

#[actix::test]
async fn metrics_show_slow_inserter_and_crashed_watcher() {
    tokio::time::pause();
    let world = World::with_containers(KeepAliveMode::Lease, CONTAINERS).await;
    let before = meter(&world, "EtcdInserter");
    assert_eq!(before.depth, 0);
    assert!(before.wait.max < SECOND, "{:?}", before.wait);

    world.core.inject_inserter_delay(SECOND * 5);
    for n in 0..CONTAINERS {
        world
            .engine
            .change(&format!("web-{n}"), |container| container.bindings[0].host_port = 9000);
    }
    world.core.poll_now();
    pass(SECOND).await;
    let slow = meter(&world, "EtcdInserter");
    // Each watcher and the registry have one message in flight. The next state waits in the sender.
    assert!((10..=12).contains(&slow.depth), "{slow:?}");
    assert_eq!(
        world.core.handle().status().await.records,
        None,
        "the slow inserter answered in time"
    );

    let changed = |world: &World| world.store.get(&key("web-9")).unwrap().contains("9000");
    world.until("all changes are in the store", changed).await;
    pass(SECOND).await;
    let after = meter(&world, "EtcdInserter");
    assert_eq!(after.depth, 0, "{after:?}");
    assert!(after.high_water >= slow.depth);
    let domains = messages(&after, "Domain");
    assert!(domains.wait.max >= SECOND * 3, "{domains:?}");
    assert!(domains.handling.max < SECOND / 10, "the time in the mailbox counts as handling time");
    let new = domains.wait.count - messages(&before, "Domain").wait.count;
    assert_eq!(new, CONTAINERS as u64);
    let sum: u64 = after.messages.iter().map(|one| one.wait.count).sum();
    assert_eq!(after.wait.count, sum);

    let before = meter(&world, "ContainerWatcher");
    world.engine.panic_in_next_inspection_of("web-3");
    world.engine.change("web-3", |container| container.bindings[0].host_port = 9003);
    let back = |world: &World| world.store.get(&key("web-3")).unwrap().contains("9003");
    world.until("the restarted watcher publishes", back).await;
    let after = meter(&world, "ContainerWatcher");
    assert_eq!((after.panics - before.panics, after.restarts - before.restarts), (1, 1));
    assert_eq!((after.instances, after.depth), (CONTAINERS as u64, 0));
}
