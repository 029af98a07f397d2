//! A Docker engine of the test that ends and returns, with or without its containers surviving.

use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::changes::{WatchRecorder, deleted_keys};
use crate::fixture::{KEY_PREFIX, Records, stored_records};
use crate::support::daemon::{Daemon, Highhock};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::support::private_engine::{LiveRestore, PrivateEngine};
use crate::{TIMEOUT, record_with_ttl, unique_name};

/// The shortest TTL, so that absences that outlast it are short.
const TTL: u64 = 5;

/// An absence that a record survives only if it is refreshed.
const LEASE_EXPIRED_AFTER: Duration = Duration::from_secs(TTL + 3);

/// The limit until everything is exact after the engine's return: one poll, and a margin for a
/// busy machine.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(1 + 3);

/// The way in which an engine ends.
type StopMethod = fn(&mut PrivateEngine);

#[test]
fn containers_that_survive_the_engine_keep_their_records() {
    let mut engine_fixture = EngineFixture::start(LiveRestore::On);
    let names: Vec<_> = (0..5).map(|_| unique_name("outlives")).collect();
    for name in &names {
        engine_fixture.engine.run_service(name, &[]);
    }
    engine_fixture.wait_for_expected("5 records", TIMEOUT);

    let changes = WatchRecorder::watch(&engine_fixture.etcd);
    for end in [PrivateEngine::stop as StopMethod, PrivateEngine::kill] {
        end(&mut engine_fixture.engine);
        engine_fixture.restart_and_check();
        assert_eq!(engine_fixture.engine.running_containers().len(), 5);
    }
    for (end, victim) in
        [PrivateEngine::stop as StopMethod, PrivateEngine::kill].into_iter().zip(&names)
    {
        let before = engine_fixture.expected();
        let process = engine_fixture.engine.container_pid(victim);
        end(&mut engine_fixture.engine);
        engine_fixture.engine.signal(process, "KILL");
        thread::sleep(LEASE_EXPIRED_AFTER);
        let key = key(victim);
        let living = |records: Records| -> Records {
            records.into_iter().filter(|(other, _)| *other != key).collect()
        };
        assert_eq!(living(stored_records(&engine_fixture.etcd.v3())), living(before));
        engine_fixture.restart_and_check();
        assert_eq!(stored_records(&engine_fixture.etcd.v3()).get(&key), None);
    }
    let changes = changes.finish(&engine_fixture.etcd);
    let victims: Vec<_> = names[..2].iter().map(|name| key(name)).collect();
    assert_eq!(deleted_keys(&changes), victims);
}

#[test]
fn containers_stopped_with_the_engine_are_withdrawn_by_events() {
    // No changes arrive by polls.
    let engine_fixture = EngineFixture::start_with(LiveRestore::Off, &[("--docker-poll", "3600")]);
    let all_are_withdrawn = |engine_fixture: &EngineFixture| {
        let none = || stored_records(&engine_fixture.etcd.v3()).is_empty().then_some(());
        eventually("none is left while the engine is away", SETTLE_TIME_MAX, none);
    };
    assert_withdrawn_with_engine(engine_fixture, all_are_withdrawn);
}

#[test]
fn containers_stopped_with_the_engine_are_withdrawn_by_polls() {
    let engine_fixture =
        EngineFixture::start_with(LiveRestore::Off, &[("--docker-events", "false")]);
    // Polls may have seen some of them end before the engine did.
    assert_withdrawn_with_engine(engine_fixture, |engine_fixture| {
        println!(
            "{} records while the engine is away",
            stored_records(&engine_fixture.etcd.v3()).len()
        );
    });
}

fn assert_withdrawn_with_engine(
    mut engine_fixture: EngineFixture,
    while_away: impl Fn(&EngineFixture),
) {
    let once: Vec<_> = (0..3).map(|_| unique_name("once")).collect();
    let always: Vec<_> = (0..2).map(|_| unique_name("always")).collect();
    for name in &once {
        engine_fixture.engine.run_service(name, &[]);
    }
    for name in &always {
        engine_fixture.engine.run_service(name, &["--restart", "always"]);
    }
    engine_fixture.wait_for_expected("5 records", TIMEOUT);

    for absence in [Duration::ZERO, LEASE_EXPIRED_AFTER] {
        engine_fixture.engine.stop();
        while_away(&engine_fixture);
        thread::sleep(absence);
        engine_fixture.restart_and_check();
        assert_eq!(stored_records(&engine_fixture.etcd.v3()).len(), always.len());
        for name in &once {
            engine_fixture.engine.docker(&["start", name]);
        }
        engine_fixture.wait_for_expected("5 records again", TIMEOUT);
    }
}

#[test]
fn containers_survive_a_crashed_engine_until_it_stops_them() {
    let mut engine_fixture = EngineFixture::start(LiveRestore::Off);
    let (once, always) = (unique_name("once"), unique_name("always"));
    engine_fixture.engine.run_service(&once, &[]);
    engine_fixture.engine.run_service(&always, &["--restart", "always"]);
    engine_fixture.wait_for_expected("2 records", TIMEOUT);
    let before = engine_fixture.expected();

    let changes = WatchRecorder::watch(&engine_fixture.etcd);
    engine_fixture.engine.kill();
    thread::sleep(LEASE_EXPIRED_AFTER);
    assert_eq!(stored_records(&engine_fixture.etcd.v3()), before);
    assert_eq!(deleted_keys(&changes.recorded()), Vec::<&str>::new());
    // Without live-restore, the engine ends the containers of its earlier run.
    engine_fixture.restart_and_check();
    let held = stored_records(&engine_fixture.etcd.v3());
    assert_eq!(held.into_keys().collect::<Vec<_>>(), [key(&always)]);
}

fn key(name: &str) -> String {
    format!("{KEY_PREFIX}{name}")
}

struct EngineFixture {
    etcd: Etcd,
    engine: PrivateEngine,
    _daemon: Daemon,
}

impl EngineFixture {
    fn start(live_restore: LiveRestore) -> Self {
        Self::start_with(live_restore, &[])
    }

    fn start_with(live_restore: LiveRestore, flags: &[(&str, &str)]) -> Self {
        let (etcd, engine) = (Etcd::start(), PrivateEngine::start(live_restore));
        let highhock = Highhock::new(&etcd.url()).flag("--docker-url", &engine.url());
        let highhock = highhock.flag("--etcd-api", "v3").flag("--etcd-ttl", &TTL.to_string());
        let highhock = highhock.flag("--log-level", "info");
        let with = |highhock: Highhock, (name, value): &(&str, &str)| highhock.flag(name, value);
        let daemon = flags.iter().fold(highhock, with).start();
        Self { etcd, engine, _daemon: daemon }
    }

    /// The expected records of the engine's running containers.
    fn expected(&self) -> Records {
        let running = self.engine.running_containers().into_iter();
        running.map(|(name, port)| (key(&name), record_with_ttl(port, TTL))).collect()
    }

    fn wait_for_expected(&self, what: &str, deadline: Duration) {
        eventually(what, deadline, || {
            (stored_records(&self.etcd.v3()) == self.expected()).then_some(())
        });
    }

    fn restart_and_check(&mut self) {
        self.engine.restart();
        let back = Instant::now();
        self.wait_for_expected("exact again", SETTLE_TIME_MAX);
        println!("exact {:?} after the engine's first answer", back.elapsed());
    }
}
