//! A Docker engine of the test's own that ends and comes back, with its containers
//! living on meanwhile or not.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::changes::{Changes, deleted};
use crate::fixture::{BELOW, Records, held};
use crate::support::daemon::{Daemon, Highhock};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::support::private_engine::{LiveRestore, OwnEngine};
use crate::{PATIENCE, named, record_with_ttl};

/// As short as it may be, so that the absences that outlast it can be short as well.
const TTL: u64 = 5;

/// An absence that a record outlasts only if it is refreshed.
const LONG: Duration = Duration::from_secs(TTL + 3);

/// In which all is exact once the engine is back: a poll, and what a busy machine may take.
const SETTLED: Duration = Duration::from_secs(1 + 3);

/// How an engine ends.
type End = fn(&mut OwnEngine);

#[test]
fn containers_that_outlive_their_engine_keep_their_records() {
    let mut world = World::start(LiveRestore::On);
    let names: Vec<_> = (0..5).map(|_| named("outlives")).collect();
    for name in &names {
        world.engine.offering(name, &[]);
    }
    world.becomes_exact("5 records", PATIENCE);

    let changes = Changes::watch(&world.etcd);
    for end in [OwnEngine::stop as End, OwnEngine::kill] {
        end(&mut world.engine);
        world.comes_back();
        assert_eq!(world.engine.running().len(), 5);
    }
    for (end, victim) in [OwnEngine::stop as End, OwnEngine::kill].into_iter().zip(&names) {
        let before = world.expected();
        let process = world.engine.process_of(victim);
        end(&mut world.engine);
        world.engine.signal(process, "KILL");
        thread::sleep(LONG);
        let key = key(victim);
        let living = |records: Records| -> Records {
            records.into_iter().filter(|(other, _)| *other != key).collect()
        };
        assert_eq!(living(held(&world.etcd.v3())), living(before));
        world.comes_back();
        assert_eq!(held(&world.etcd.v3()).get(&key), None);
    }
    let changes = changes.finish(&world.etcd);
    let victims: Vec<_> = names[..2].iter().map(|name| key(name)).collect();
    assert_eq!(deleted(&changes), victims);
}

#[test]
fn containers_that_end_with_their_engine_are_withdrawn_by_what_it_tells_at_last() {
    // Nothing comes by polls.
    let world = World::start_with(LiveRestore::Off, &[("--docker-poll", "3600")]);
    let all_are_withdrawn = |world: &World| {
        let none = || held(&world.etcd.v3()).is_empty().then_some(());
        eventually("none is left while the engine is away", SETTLED, none);
    };
    end_with_their_engine(world, all_are_withdrawn);
}

#[test]
fn containers_that_end_with_their_engine_are_withdrawn_by_polls_where_events_are_off() {
    let world = World::start_with(LiveRestore::Off, &[("--docker-events", "false")]);
    // Polls may have seen some of them end before the engine did.
    end_with_their_engine(world, |world| {
        println!("{} records while the engine is away", held(&world.etcd.v3()).len());
    });
}

fn end_with_their_engine(mut world: World, while_away: impl Fn(&World)) {
    let once: Vec<_> = (0..3).map(|_| named("once")).collect();
    let always: Vec<_> = (0..2).map(|_| named("always")).collect();
    for name in &once {
        world.engine.offering(name, &[]);
    }
    for name in &always {
        world.engine.offering(name, &["--restart", "always"]);
    }
    world.becomes_exact("5 records", PATIENCE);

    for absence in [Duration::ZERO, LONG] {
        world.engine.stop();
        while_away(&world);
        thread::sleep(absence);
        world.comes_back();
        assert_eq!(held(&world.etcd.v3()).len(), always.len());
        for name in &once {
            world.engine.docker(&["start", name]);
        }
        world.becomes_exact("5 records again", PATIENCE);
    }
}

#[test]
fn containers_that_outlive_a_crashed_engine_are_held_until_it_ends_them() {
    let mut world = World::start(LiveRestore::Off);
    let (once, always) = (named("once"), named("always"));
    world.engine.offering(&once, &[]);
    world.engine.offering(&always, &["--restart", "always"]);
    world.becomes_exact("2 records", PATIENCE);
    let before = world.expected();

    let changes = Changes::watch(&world.etcd);
    world.engine.kill();
    thread::sleep(LONG);
    assert_eq!(held(&world.etcd.v3()), before);
    assert_eq!(deleted(&changes.so_far()), Vec::<&str>::new());
    // Without live-restore, it ends what its earlier life has left.
    world.comes_back();
    let held = held(&world.etcd.v3());
    assert_eq!(held.into_keys().collect::<Vec<_>>(), [key(&always)]);
}

fn key(name: &str) -> String {
    format!("{BELOW}{name}")
}

struct World {
    etcd: Etcd,
    engine: OwnEngine,
    _daemon: Daemon,
}

impl World {
    fn start(live_restore: LiveRestore) -> Self {
        Self::start_with(live_restore, &[])
    }

    fn start_with(live_restore: LiveRestore, flags: &[(&str, &str)]) -> Self {
        let (etcd, engine) = (Etcd::start(), OwnEngine::start(live_restore));
        let highhock = Highhock::new(&etcd.url()).flag("--docker-url", &engine.url());
        let highhock = highhock.flag("--etcd-api", "v3").flag("--etcd-ttl", &TTL.to_string());
        let highhock = highhock.flag("--log-level", "info");
        let with = |highhock: Highhock, (name, value): &(&str, &str)| highhock.flag(name, value);
        let daemon = flags.iter().fold(highhock, with).start();
        Self { etcd, engine, _daemon: daemon }
    }

    /// What the engine's containers that run should have.
    fn expected(&self) -> Records {
        let running = self.engine.running().into_iter();
        running.map(|(name, port)| (key(&name), record_with_ttl(port, TTL))).collect()
    }

    fn becomes_exact(&self, what: &str, deadline: Duration) {
        eventually(what, deadline, || (held(&self.etcd.v3()) == self.expected()).then_some(()));
    }

    fn comes_back(&mut self) {
        self.engine.start_again();
        let back = Instant::now();
        self.becomes_exact("exact again", SETTLED);
        println!("exact {:?} after the engine's first answer", back.elapsed());
    }
}
