//! A large host under steady change: memory, listings, and nothing lost. A file of its own,
//! since memory is told of a whole process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
mod fakes;

use std::time::Duration;

use fakes::{Engine, Store, World, container, key, pass, settings};
use highhock_actors::{Container, CoreSettings, EngineTime, Life, Upkeep};

const CONTAINERS: usize = 2_000;
const SECONDS: usize = 60;
const CHANGES_A_SECOND: usize = 100;
const MOST_MEMORY: usize = 60 << 20;

/// The most memory that this process ever had resident, in bytes (proc(5), `VmHWM`).
fn most_resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Of the size that a container's environment and labels usually have.
fn usual(n: usize, at: i128) -> Container {
    let mut usual = container(&format!("web-{n}"), n);
    usual.started = EngineTime(at);
    for variable in 0..15 {
        usual.env.insert(format!("VARIABLE_{variable}"), "/usr/local/bin:/usr/bin".repeat(2));
        usual.labels.insert(format!("org.example.label-{variable}"), "value ".repeat(6));
    }
    usual
}

#[actix::test]
async fn two_thousand_containers_under_a_hundred_changes_a_second() {
    tokio::time::pause();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let engine = Engine::default();
    engine.inspect_takes(Duration::from_millis(2));
    for n in 0..CONTAINERS {
        engine.run(usual(n, 1_000));
    }
    let settings = CoreSettings { events: true, ..settings() };
    let world = World::start_with(settings, engine, Store::new(Upkeep::Lease));
    world.until("all are published", |world| world.store.len() == CONTAINERS).await;

    for change in 0..SECONDS * CHANGES_A_SECOND {
        let n = random.usize(..CONTAINERS);
        let at = 10_000 + change as i128;
        let lives = world.engine.life_and_port(n).0 == Life::Running;
        match (lives, random.u8(..4)) {
            (false, _) => world.engine.start(n, usual(n, at)),
            (true, 0) => world.engine.change_port(n, at),
            (true, _) => world.engine.end(n, at),
        }
        pass(Duration::from_secs(1) / CHANGES_A_SECOND as u32).await;
    }

    let is_right = |world: &World, n: usize| {
        let value = world.store.get(&key(&format!("web-{n}")));
        match world.engine.life_and_port(n) {
            (Life::Running, port) => {
                value.is_some_and(|value| value.contains(&format!(r#""port":{port},"#)))
            }
            _ => value.is_none(),
        }
    };
    let right = |world: &World| (0..CONTAINERS).all(|n| is_right(world, n));
    // One that restarts too often is damped for a few seconds.
    let took = world.until("every change is in the store", right).await;
    assert!(took <= Duration::from_secs(6), "{took:?}");
    let listings = world.engine.listings();
    let closest = listings.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(closest >= Duration::from_millis(100), "{closest:?}");
    let resident = most_resident();
    println!("resident at most: {} MiB; {} listings", resident >> 20, listings.len());
    assert!(resident <= MOST_MEMORY, "{} MiB", resident >> 20);
}
