//! Random faults of Docker and the store, chosen by seed, in simulated time.
//!
//! After the faults, the store holds the records of the running containers. Foreign records are
//! never changed.

#[macro_use]
mod fakes;

use std::collections::BTreeMap;
use std::time::Duration;

use fakes::{Engine, Outage, Store, World, container, key, pass, settings};
use highhock_actors::{ContainerState, CoreSettings, KeepAliveMode};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const NAMES: [&str; 4] = ["a", "b", "c", "b.c"];

/// Foreign records by key: the value, and the end of the record's TTL.
type ForeignRecords = BTreeMap<String, (String, Option<Instant>)>;

struct Chaos {
    random: fastrand::Rng,
    world: World,
    foreign: ForeignRecords,
    number: usize,
    panics_left: usize,
    trace: Vec<String>,
}

impl Chaos {
    fn step(&mut self) {
        let name = NAMES[self.random.usize(..NAMES.len())];
        let n = self.random.usize(..self.number.max(1));
        let (engine, store) = (&self.world.engine, &self.world.store);
        let step = match self.random.u32(..20) {
            0..=3 => {
                self.number += 1;
                engine.run(container(name, self.number));
                format!("run {name} {}", self.number)
            }
            4..=6 => {
                engine.remove_number(n);
                format!("remove {n}")
            }
            7 => {
                let port = self.random.u16(9000..9100);
                engine.change_number(n, |container| container.bindings[0].host_port = port);
                format!("port {n} {port}")
            }
            8 => {
                let state = if self.random.bool() {
                    ContainerState::Paused
                } else {
                    ContainerState::Running
                };
                engine.change_number(n, |container| container.state = state);
                format!("{n} {state:?}")
            }
            9 => {
                let how = [Outage::Refused, Outage::Silent, Outage::Late][self.random.usize(..3)];
                store.fail(how);
                format!("store {how:?}")
            }
            10..=12 => {
                store.recover();
                "store recovers".into()
            }
            13 => {
                store.apply_late_writes();
                "late writes".into()
            }
            14 => {
                engine.set_unavailable(self.random.bool());
                "docker fails or recovers".into()
            }
            15 if self.panics_left > 0 => {
                self.panics_left -= 1;
                match self.random.u32(..4) {
                    0 => store.panic_in_next_write(),
                    1 => engine.panic_in_next_list(),
                    2 => engine.panic_in_next_inspection_of(name),
                    _ => self.world.core.inject_registry_panic(),
                }
                "panic".into()
            }
            16 => {
                let ttl = (!self.random.bool()).then(|| SECOND * self.random.u32(5..60));
                let value = format!(r#"{{"host":"10.0.0.9","port":{}}}"#, self.random.u16(..));
                let free = !store.keys().iter().any(|other| {
                    highhock_actors::RecordKey::from_path(other)
                        .overlaps(&highhock_actors::RecordKey::from_path(&key_of(name)))
                });
                if free {
                    store.put(&key_of(name), &value, ttl);
                    let end = ttl.map(|ttl| Instant::now() + ttl);
                    self.foreign.insert(key_of(name), (value, end));
                }
                format!("foreign {name} {ttl:?} {free}")
            }
            17 if self.random.bool() => {
                for (lease, _) in store.lease_ttls() {
                    store.end_lease(lease);
                }
                "leases end".into()
            }
            17 => {
                store.remove(&key_of(name));
                self.foreign.remove(&key_of(name));
                format!("lost {name}")
            }
            18 => {
                store.wipe();
                self.foreign.clear();
                "wipe".into()
            }
            19 if self.random.bool() => {
                let millis =
                    |random: &mut fastrand::Rng, most| Duration::from_millis(random.u64(..most));
                engine.list_takes(millis(&mut self.random, 5000));
                engine.inspect_takes(millis(&mut self.random, 5000));
                store.slow_by(millis(&mut self.random, 400));
                "other response times".into()
            }
            _ => {
                self.world.core.check_now();
                "check".into()
            }
        };
        self.trace.push(format!("{:?} {step}", Instant::now()));
    }

    fn check_foreign_records(&mut self, seed: u64) {
        let now = Instant::now();
        self.foreign.retain(|_, (_, end)| end.is_none_or(|end| end > now));
        for (key, (value, _)) in &self.foreign {
            let found = self.world.store.get(key);
            assert_eq!(
                found.as_ref(),
                Some(value),
                "seed {seed}: foreign record {key} was changed\n{}",
                self.trace.join("\n")
            );
        }
    }
}

fn key_of(name: &str) -> String {
    key(&name.split('.').rev().collect::<Vec<_>>().join("/"))
}

/// Returns the expected values of each key, the holder of the key first. Ignores conflicts between
/// names above and below each other.
fn expected_records(engine: &Engine) -> BTreeMap<String, Vec<String>> {
    let mut by_key: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let mut running = engine.containers();
    running.retain(|container| container.state == ContainerState::Running);
    running.sort_by_key(|container| container.started);
    for one in running {
        let port = one.bindings[0].host_port;
        let value = format!(r#"{{"host":"10.77.66.0","port":{port},"ttl":60}}"#);
        by_key.entry(key_of(&one.name)).or_default().push(value);
    }
    by_key
}

async fn run(keep_alive_mode: KeepAliveMode, seed: u64, ttl: Duration) {
    let engine = Engine::default();
    let settings = CoreSettings { ttl, ..settings() };
    let world = World::start_with(settings, engine, Store::new(keep_alive_mode));
    let mut chaos = Chaos {
        random: fastrand::Rng::with_seed(seed),
        world,
        foreign: ForeignRecords::new(),
        number: 0,
        panics_left: 4,
        trace: Vec::new(),
    };
    for _ in 0..150 {
        chaos.step();
        let wait = Duration::from_millis(chaos.random.u64(..3000));
        pass(wait).await;
        chaos.check_foreign_records(seed);
    }
    chaos.world.store.recover();
    chaos.world.engine.set_unavailable(false);
    chaos.world.store.slow_by(Duration::ZERO);
    chaos.world.engine.list_takes(Duration::ZERO);
    chaos.world.engine.inspect_takes(Duration::ZERO);
    pass(SECOND).await;
    chaos.world.store.apply_late_writes();
    // Enough for restarts, rechecks, the last TTL of a foreign record, a slow retry and an audit.
    pass(SECOND * 60).await;
    let (reads, writes) = (chaos.world.store.reads(), chaos.world.store.writes().len());
    pass(SECOND * 60).await;
    chaos.check_foreign_records(seed);
    let trace = || chaos.trace.join("\n");
    let keys = chaos.world.store.keys();
    let wanted = expected_records(&chaos.world.engine);
    for (key, values) in &wanted {
        let own = highhock_actors::RecordKey::from_path(key);
        let overlaps = |other: &String| highhock_actors::RecordKey::from_path(other).overlaps(&own);
        if chaos.foreign.contains_key(key) || keys.iter().any(overlaps) {
            continue;
        }
        let got = chaos.world.store.get(key);
        assert_eq!(
            got.as_ref(),
            Some(&values[0]),
            "seed {seed}: wrong record at {key}\n{}",
            trace()
        );
    }
    for key in &keys {
        let is_expected = wanted.contains_key(key) || chaos.foreign.contains_key(key);
        assert!(is_expected, "seed {seed}: {key} is left over\n{}", trace());
    }
    let reads = chaos.world.store.reads() - reads;
    let writes = chaos.world.store.writes().len() - writes;
    let most = 60 * (keys.len() + wanted.len() + 2);
    assert!(
        reads + writes < most,
        "seed {seed}: {reads} reads, {writes} writes in a minute without changes"
    );
    let stopped = chaos.world.core.stop(true, SECOND * 5).await;
    let left: Vec<_> =
        chaos.world.store.keys().into_iter().filter(|k| !chaos.foreign.contains_key(k)).collect();
    assert!(left.is_empty(), "seed {seed}: {stopped:?} left {left:?}");
}

on_both_stores! {
    chaos
}

async fn chaos(keep_alive_mode: KeepAliveMode) {
    let from: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(20);
    for seed in from..from + seeds {
        run(keep_alive_mode, seed, SECOND * [5, 15, 60][seed as usize % 3]).await;
    }
}
