//! A host with many containers and steady changes: memory, listings and complete records.
//!
//! Memory is measured for the whole process, so this file has one test.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, Store, World, container, key, pass, settings};
use highhock_actors::{Container, ContainerState, CoreSettings, EngineTime, KeepAliveMode};

const CONTAINERS: usize = 2_000;
const SECONDS: usize = 60;
const CHANGES_PER_SECOND: usize = 100;
const MEMORY_MAX_BYTES: usize = 60 << 20;

/// Returns the peak resident memory of this process in bytes (proc(5), `VmHWM`).
fn peak_resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// A container with an environment and labels of typical size.
fn typical_container(n: usize, at: i128) -> Container {
    let mut typical_container = container(&format!("web-{n}"), n);
    typical_container.started = EngineTime(at);
    for variable in 0..15 {
        typical_container
            .env
            .insert(format!("VARIABLE_{variable}"), "/usr/local/bin:/usr/bin".repeat(2));
        typical_container
            .labels
            .insert(format!("org.example.label-{variable}"), "value ".repeat(6));
    }
    typical_container
}

#[actix::test]
async fn handles_2000_containers_with_100_changes_per_second() {
    tokio::time::pause();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let engine = Engine::default();
    engine.inspect_takes(Duration::from_millis(2));
    for n in 0..CONTAINERS {
        engine.run(typical_container(n, 1_000));
    }
    let settings = CoreSettings { events: true, ..settings() };
    let world = World::start_with(settings, engine, Store::new(KeepAliveMode::Lease));
    world.until("all records are published", |world| world.store.len() == CONTAINERS).await;

    for change in 0..SECONDS * CHANGES_PER_SECOND {
        let n = random.usize(..CONTAINERS);
        let at = 10_000 + change as i128;
        let lives = world.engine.state_and_port(n).0 == ContainerState::Running;
        match (lives, random.u8(..4)) {
            (false, _) => world.engine.start(n, typical_container(n, at)),
            (true, 0) => world.engine.change_port(n, at),
            (true, _) => world.engine.end(n, at),
        }
        pass(Duration::from_secs(1) / CHANGES_PER_SECOND as u32).await;
    }

    let is_right = |world: &World, n: usize| {
        let value = world.store.get(&key(&format!("web-{n}")));
        match world.engine.state_and_port(n) {
            (ContainerState::Running, port) => {
                value.is_some_and(|value| value.contains(&format!(r#""port":{port},"#)))
            }
            _ => value.is_none(),
        }
    };
    let right = |world: &World| (0..CONTAINERS).all(|n| is_right(world, n));
    // The restart limiter delays a container that restarts too often by a few seconds.
    let took = world.until("every change is in the store", right).await;
    assert!(took <= Duration::from_secs(6), "{took:?}");
    let listings = world.engine.listings();
    let closest = listings.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(closest >= Duration::from_millis(100), "{closest:?}");
    let resident = peak_resident_bytes();
    println!("peak resident memory: {} MiB; {} listings", resident >> 20, listings.len());
    assert!(resident <= MEMORY_MAX_BYTES, "peak resident memory: {} MiB", resident >> 20);
}
