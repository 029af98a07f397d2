//! An event stream that is cut repeatedly, or that becomes silent, while containers start and
//! stop.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::changes::{WatchRecorder, WatchedChange};
use crate::fixture::{KEY_PREFIX, Records, stored_records};
use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::daemon::{Daemon, Highhock};
use crate::support::docker::{self, Container};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::support::proxy::Proxy;
use crate::{TIMEOUT, record, run_service_with, unique_name};

/// The number of containers, and of threads that start and stop them.
const CONTAINERS: usize = 20;
const THREADS: usize = 4;

/// The minimum of actions per thread, also on a busy machine.
const ACTIONS_MIN: usize = 8;

/// Milliseconds between two cuts.
const CUT_INTERVAL_MS: std::ops::Range<u64> = 100..600;

/// The age of the engine's responses on arrival: many of them are cut off or outdated.
const RESPONSE_DELAY: Duration = Duration::from_millis(50);

/// The period without changes after everything is exact.
const QUIET_PERIOD: Duration = Duration::from_secs(4);

#[test]
fn cut_streams_lose_no_record_of_a_running_container() {
    let long = std::env::var_os("HIGHHOCK_TEST_LONG").is_some();
    let span = Duration::from_secs(if long { 120 } else { 20 });
    let seed = std::env::var("HIGHHOCK_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("HIGHHOCK_TEST_SEED={seed}");
    // No changes arrive by polls: the listing after each reopening must find the events that the
    // stream missed.
    let CutStreamFixture { etcd, daemon, label, proxy, mut relay } =
        CutStreamFixture::start(Duration::from_secs(3600));
    proxy.set_delay(RESPONSE_DELAY);
    let changes = WatchRecorder::watch(&etcd);

    let stop = AtomicBool::new(false);
    let (services, cuts) = thread::scope(|scope| {
        let cutting = scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut cuts = 0;
            while !stop.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(random.u64(CUT_INTERVAL_MS)));
                relay.close_connections();
                cuts += 1;
            }
            cuts
        });
        let threads = (1..=THREADS as u64).map(|thread_number| {
            let label = &label;
            scope.spawn(move || {
                run_churn(&mut fastrand::Rng::with_seed(seed ^ thread_number), label, span)
            })
        });
        let threads: Vec<_> = threads.collect();
        let services: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        stop.store(true, Ordering::SeqCst);
        (services, cutting.join().unwrap())
    });

    let expected: Records = services.iter().filter_map(ChurningService::record).collect();
    eventually("the end state is exact", TIMEOUT, || {
        (stored_records(&etcd.v3()) == expected).then_some(())
    });
    thread::sleep(QUIET_PERIOD);
    assert_eq!(stored_records(&etcd.v3()), expected);
    let changes = changes.finish(&etcd);
    let ended = daemon.lines_with(&["event stream ended"]).len();
    println!(
        "{cuts} cuts, after which {ended} streams ended, and {} records in the end",
        expected.len()
    );
    check_deletions(&services, &changes);
    assert!(ended > 0, "no event stream was followed");
}

/// Every withdrawn record belonged to a container that had ended or was asked to end. A container
/// has a new port after each start, which distinguishes its runs.
fn check_deletions(services: &[ChurningService], changes: &[WatchedChange]) {
    let by_key: HashMap<_, _> = services.iter().map(|service| (service.key(), service)).collect();
    let (mut held, mut deletions) = (HashMap::new(), 0);
    for WatchedChange { at, key, value } in changes {
        if let Some(value) = value {
            held.insert(key, value);
            continue;
        }
        deletions += 1;
        let value = held.remove(key).expect("a deleted key existed");
        let service = by_key[key];
        assert!(
            service.was_asked_to_end(value, *at),
            "{key}: {value} was withdrawn while its container ran"
        );
    }
    let lifetimes: usize = services.iter().map(|service| service.lifetimes.len()).sum();
    println!("{lifetimes} starts, {} puts, {deletions} deletions", changes.len() - deletions);
    assert!(deletions > 0);
}

/// Performs random actions on its own containers.
fn run_churn(random: &mut fastrand::Rng, label: &str, span: Duration) -> Vec<ChurningService> {
    let mut services: Vec<_> =
        (0..CONTAINERS / THREADS).map(|_| ChurningService::new(label)).collect();
    services.iter_mut().for_each(|service| service.act(0));
    let (end, mut actions) = (Instant::now() + span, 0);
    while Instant::now() < end || actions < ACTIONS_MIN {
        let chosen = random.usize(..services.len());
        services[chosen].act(random.u8(..5));
        actions += 1;
        thread::sleep(Duration::from_millis(random.u64(..300)));
    }
    services
}

/// A service whose container may be missing, stopped or running.
struct ChurningService {
    name: String,
    label: String,
    container: Option<Container>,
    up: bool,
    lifetimes: Vec<Lifetime>,
}

/// The time from one start of a container to its next end.
struct Lifetime {
    record: String,
    end_requested_at: Option<Instant>,
}

impl ChurningService {
    fn new(label: &str) -> Self {
        let name = unique_name("actor");
        Self { name, label: label.to_owned(), container: None, up: false, lifetimes: Vec::new() }
    }

    fn act(&mut self, choice: u8) {
        match (self.container.is_some(), self.up, choice) {
            (false, ..) => {
                let label = ["--label", &self.label];
                self.container = Some(run_service_with(&self.name, &label));
                self.begin_lifetime();
            }
            (true, false, 0..4) => self.start(),
            (true, true, 0) => self.end(Container::stop),
            (true, true, 1) => self.end(|container| container.docker_command("kill")),
            (true, true, 2 | 3) => {
                self.end(Container::restart);
                self.begin_lifetime();
            }
            (true, ..) => {
                self.end(|_| ());
                self.container = None;
            }
        }
    }

    fn start(&mut self) {
        self.container.as_ref().unwrap().docker_command("start");
        self.begin_lifetime();
    }

    fn begin_lifetime(&mut self) {
        let port = self.container.as_ref().unwrap().published_port("80/tcp");
        self.lifetimes.push(Lifetime { record: record(port), end_requested_at: None });
        self.up = true;
    }

    fn end(&mut self, end: impl FnOnce(&Container)) {
        if let Some(lifetime) = self.lifetimes.last_mut().filter(|_| self.up) {
            lifetime.end_requested_at = Some(Instant::now());
        }
        self.up = false;
        end(self.container.as_ref().unwrap());
    }

    fn key(&self) -> String {
        format!("{KEY_PREFIX}{}", self.name)
    }

    /// The expected record at the end.
    fn record(&self) -> Option<(String, String)> {
        let lifetime = self.lifetimes.last().filter(|_| self.up)?;
        Some((self.key(), lifetime.record.clone()))
    }

    /// Returns `true` if the run of this record had been asked to end by then.
    fn was_asked_to_end(&self, record: &str, by: Instant) -> bool {
        let mut lifetimes = self.lifetimes.iter().filter(|lifetime| lifetime.record == record);
        lifetimes
            .any(|lifetime| lifetime.end_requested_at.is_some_and(|requested_at| requested_at < by))
    }
}

#[test]
fn silent_stream_is_detected_and_reopened() {
    // Long enough that a poll is not mistaken for an event.
    const POLL_INTERVAL: Duration = Duration::from_secs(15);
    const EVENT_LATENCY_MAX: Duration = Duration::from_secs(3);
    let CutStreamFixture { etcd, daemon, label, proxy: _, mut relay } =
        CutStreamFixture::start(POLL_INTERVAL);
    let v3 = etcd.v3();
    let published = |deadline| {
        let name = unique_name("silent");
        let container = run_service_with(&name, &["--label", &label]);
        let started = Instant::now();
        let (key, value) =
            (format!("{KEY_PREFIX}{name}"), record(container.published_port("80/tcp")));
        let is_there = || v3.get(&key).is_some_and(|kv| kv.value == value);
        eventually("its record", deadline, || is_there().then_some(()));
        println!("published {:?} after the start", started.elapsed());
        container
    };
    daemon.wait_for_log(&["docker event stream open"]);
    let _before = published(EVENT_LATENCY_MAX);

    relay.silence_connections();
    // The pooled connection for requests is dead as well, which costs one time-out.
    let _by_poll = published(POLL_INTERVAL + TIMEOUT);
    daemon.wait_for_log(&["NOTICE", "event stream missed changes"]);
    eventually("a second stream", TIMEOUT, || {
        (daemon.lines_with(&["docker event stream open"]).len() >= 2).then_some(())
    });
    let _after = [published(EVENT_LATENCY_MAX), published(EVENT_LATENCY_MAX)];
}

/// A daemon that reaches the engine through a proxy, which shows only containers with one label.
struct CutStreamFixture {
    etcd: Etcd,
    daemon: Daemon,
    label: String,
    proxy: Proxy,
    relay: CuttableProxy,
}

impl CutStreamFixture {
    fn start(poll: Duration) -> Self {
        let etcd = Etcd::start();
        let label = unique_name("cut");
        let proxy = Proxy::with_label_filter(docker::server_address(), &label);
        let relay = CuttableProxy::tcp(proxy.server_address());
        let highhock = Highhock::new(&etcd.url()).flag("--etcd-api", "v3");
        let highhock = highhock.flag("--docker-url", &format!("tcp://{}", relay.authority()));
        let highhock = highhock.flag("--docker-poll", &poll.as_secs().to_string());
        let highhock = highhock.flag("--log-level", "debug");
        let daemon = highhock.without_flag("--docker-poll-container").start();
        daemon.wait_for_log(&["using etcd API"]);
        Self { etcd, daemon, label, proxy, relay }
    }
}
