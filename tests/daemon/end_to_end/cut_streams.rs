//! An event stream that is cut again and again, or that says nothing any more, while
//! containers come and go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::changes::{Change, Changes};
use crate::fixture::{BELOW, Records, held};
use crate::support::cuttable_proxy::Relay;
use crate::support::daemon::{Daemon, Highhock};
use crate::support::docker::{self, Container};
use crate::support::etcd::Etcd;
use crate::support::eventually;
use crate::support::proxy::Front;
use crate::{PATIENCE, named, offering_with, record};

/// Containers that come and go, by so many threads.
const CONTAINERS: usize = 20;
const HANDS: usize = 4;

/// What each of these does at least, on however busy a machine.
const LEAST_ACTS: usize = 8;

/// In milliseconds, between two cuts.
const CUT_AFTER: std::ops::Range<u64> = 100..600;

/// How old an answer of the engine's is when it comes: so many of them are cut off, or
/// overtaken.
const LAG: Duration = Duration::from_millis(50);

/// In which nothing may change any more once all is exact.
const STAYS: Duration = Duration::from_secs(4);

#[test]
fn no_living_container_loses_its_record_while_the_stream_is_cut_under_churn() {
    let long = std::env::var_os("HIGHHOCK_TEST_LONG").is_some();
    let span = Duration::from_secs(if long { 120 } else { 20 });
    let seed = std::env::var("HIGHHOCK_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("HIGHHOCK_TEST_SEED={seed}");
    // Nothing comes by polls: what the stream doesn't tell, the listing after it is opened
    // anew has to.
    let World { etcd, daemon, label, front, mut relay } = World::start(Duration::from_secs(3600));
    front.lags(LAG);
    let changes = Changes::watch(&etcd);

    let over = AtomicBool::new(false);
    let (actors, cuts) = thread::scope(|scope| {
        let cutting = scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut cuts = 0;
            while !over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(random.u64(CUT_AFTER)));
                relay.hang_up();
                cuts += 1;
            }
            cuts
        });
        let hands = (1..=HANDS as u64).map(|hand| {
            let label = &label;
            scope.spawn(move || churn(&mut fastrand::Rng::with_seed(seed ^ hand), label, span))
        });
        let hands: Vec<_> = hands.collect();
        let actors: Vec<_> = hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect();
        over.store(true, Ordering::SeqCst);
        (actors, cutting.join().unwrap())
    });

    let expected: Records = actors.iter().filter_map(Actor::record).collect();
    eventually("the end state is exact", PATIENCE, || (held(&etcd.v3()) == expected).then_some(()));
    thread::sleep(STAYS);
    assert_eq!(held(&etcd.v3()), expected);
    let changes = changes.finish(&etcd);
    let ended = daemon.lines_with(&["event stream ended"]).len();
    println!(
        "{cuts} cuts, after which {ended} streams ended, and {} records in the end",
        expected.len()
    );
    judge(&actors, &changes);
    assert!(ended > 0, "no event stream was followed");
}

/// Every record that was withdrawn was of a container that had ended, or been asked to.
/// A container has another port each time it is started, which tells its lives apart.
fn judge(actors: &[Actor], changes: &[Change]) {
    let of_key: HashMap<_, _> = actors.iter().map(|actor| (actor.key(), actor)).collect();
    let (mut held, mut deletions) = (HashMap::new(), 0);
    for Change { at, key, value } in changes {
        if let Some(value) = value {
            held.insert(key, value);
            continue;
        }
        deletions += 1;
        let value = held.remove(key).expect("what is deleted was there");
        let actor = of_key[key];
        assert!(actor.ended(value, *at), "{key}: {value} was withdrawn while its container ran");
    }
    let lives: usize = actors.iter().map(|actor| actor.lives.len()).sum();
    println!("{lives} starts, {} puts, {deletions} deletions", changes.len() - deletions);
    assert!(deletions > 0);
}

/// Does one thing after the other to containers of its own, at random.
fn churn(random: &mut fastrand::Rng, label: &str, span: Duration) -> Vec<Actor> {
    let mut actors: Vec<_> = (0..CONTAINERS / HANDS).map(|_| Actor::new(label)).collect();
    actors.iter_mut().for_each(|actor| actor.acts(0));
    let (end, mut acts) = (Instant::now() + span, 0);
    while Instant::now() < end || acts < LEAST_ACTS {
        let chosen = random.usize(..actors.len());
        actors[chosen].acts(random.u8(..5));
        acts += 1;
        thread::sleep(Duration::from_millis(random.u64(..300)));
    }
    actors
}

/// A service, whose container is there or not, and runs or not.
struct Actor {
    name: String,
    label: String,
    container: Option<Container>,
    up: bool,
    lives: Vec<Life>,
}

/// A container's time from one start to the next end.
struct Life {
    record: String,
    asked_to_end: Option<Instant>,
}

impl Actor {
    fn new(label: &str) -> Self {
        let name = named("actor");
        Self { name, label: label.to_owned(), container: None, up: false, lives: Vec::new() }
    }

    fn acts(&mut self, choice: u8) {
        match (self.container.is_some(), self.up, choice) {
            (false, ..) => {
                let label = ["--label", &self.label];
                self.container = Some(offering_with(&self.name, &label));
                self.lives();
            }
            (true, false, 0..4) => self.starts(),
            (true, true, 0) => self.ends(Container::stop),
            (true, true, 1) => self.ends(|container| container.does("kill")),
            (true, true, 2 | 3) => {
                self.ends(Container::restart);
                self.lives();
            }
            (true, ..) => {
                self.ends(|_| ());
                self.container = None;
            }
        }
    }

    fn starts(&mut self) {
        self.container.as_ref().unwrap().does("start");
        self.lives();
    }

    fn lives(&mut self) {
        let port = self.container.as_ref().unwrap().published("80/tcp");
        self.lives.push(Life { record: record(port), asked_to_end: None });
        self.up = true;
    }

    fn ends(&mut self, end: impl FnOnce(&Container)) {
        if let Some(life) = self.lives.last_mut().filter(|_| self.up) {
            life.asked_to_end = Some(Instant::now());
        }
        self.up = false;
        end(self.container.as_ref().unwrap());
    }

    fn key(&self) -> String {
        format!("{BELOW}{}", self.name)
    }

    /// What is to be in etcd in the end.
    fn record(&self) -> Option<(String, String)> {
        let life = self.lives.last().filter(|_| self.up)?;
        Some((self.key(), life.record.clone()))
    }

    /// Whether the life that this record is of had been asked to end by then.
    fn ended(&self, record: &str, by: Instant) -> bool {
        let mut lives = self.lives.iter().filter(|life| life.record == record);
        lives.any(|life| life.asked_to_end.is_some_and(|asked| asked < by))
    }
}

#[test]
fn a_stream_that_is_silently_dead_is_noticed_and_opened_anew() {
    // So long that a poll is not mistaken for an event.
    const POLL: Duration = Duration::from_secs(15);
    const AT_ONCE: Duration = Duration::from_secs(3);
    let World { etcd, daemon, label, front: _, mut relay } = World::start(POLL);
    let v3 = etcd.v3();
    let published = |deadline| {
        let name = named("silent");
        let container = offering_with(&name, &["--label", &label]);
        let started = Instant::now();
        let (key, value) = (format!("{BELOW}{name}"), record(container.published("80/tcp")));
        let is_there = || v3.get(&key).is_some_and(|kv| kv.value == value);
        eventually("its record", deadline, || is_there().then_some(()));
        println!("published {:?} after the start", started.elapsed());
        container
    };
    daemon.says(&["docker's events are followed"]);
    let _before = published(AT_ONCE);

    relay.fall_silent();
    // The kept connection for questions is dead as well, and costs a time-out.
    let _by_poll = published(POLL + PATIENCE);
    daemon.says(&["NOTICE", "event stream is silent about changes"]);
    eventually("a second stream", PATIENCE, || {
        (daemon.lines_with(&["docker's events are followed"]).len() >= 2).then_some(())
    });
    let _after = [published(AT_ONCE), published(AT_ONCE)];
}

/// A daemon that reaches the engine through a relay, which shows the containers with one
/// label alone.
struct World {
    etcd: Etcd,
    daemon: Daemon,
    label: String,
    front: Front,
    relay: Relay,
}

impl World {
    fn start(poll: Duration) -> Self {
        let etcd = Etcd::start();
        let label = named("cut");
        let front = Front::narrowed(docker::place(), &label);
        let relay = Relay::tcp(front.place());
        let highhock = Highhock::new(&etcd.url()).flag("--etcd-api", "v3");
        let highhock = highhock.flag("--docker-url", &format!("tcp://{}", relay.authority()));
        let highhock = highhock.flag("--docker-poll", &poll.as_secs().to_string());
        let highhock = highhock.flag("--log-level", "debug");
        let daemon = highhock.without("--docker-poll-container").start();
        daemon.says(&["etcd is spoken to"]);
        Self { etcd, daemon, label, front, relay }
    }
}
