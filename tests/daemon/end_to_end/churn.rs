//! Containers that come and go at random, while Docker and etcd do so as well.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::many_containers::{Fleet, Member};
use crate::poller::{Sample, Sampler};
use crate::support::cuttable_proxy::Relay;
use crate::support::daemon::{Daemon, Highhock};
use crate::support::etcd::Etcd;
use crate::support::proxy::Front;
use crate::support::{docker, eventually};
use crate::{PATIENCE, ROOT, key, named, record_with_ttl, value_at};

/// How many containers are left alone, and how many are not.
const UNDISTURBED: usize = 5;
const DISTURBED: usize = 20;

/// Of the records, in seconds; some outages are longer.
const TTL: u64 = 15;

/// In which a change is in etcd: a poll, and what a busy machine may take.
const SETTLED: Duration = Duration::from_secs(4);
/// In which all is right again after etcd was away.
const MENDED: Duration = Duration::from_secs(2);
/// A read that takes longer than this met an etcd that was held up.
const PROMPT: Duration = Duration::from_millis(500);

#[test]
#[ignore = "long: tests/run --long"]
fn all_is_right_in_and_after_minutes_of_churn_and_outages() {
    let seconds = std::env::var("HIGHHOCK_TEST_CHURN").ok().and_then(|text| text.parse().ok());
    let seconds = Duration::from_secs(seconds.unwrap_or(240));
    let seed = std::env::var("HIGHHOCK_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("HIGHHOCK_TEST_SEED={seed}");
    let mut world = World::start(seed);

    let sampler = Sampler::start(world.etcd.reader(), Duration::from_millis(50));
    let end = Instant::now() + seconds;
    while Instant::now() < end {
        world.disturb_a_container();
        world.disturb_a_server();
        thread::sleep(Duration::from_millis(world.random.u64(..600)));
    }
    world.mend();
    let expected = world.expected();
    eventually("the end state is exact", PATIENCE, || (world.held() == expected).then_some(()));
    thread::sleep(SETTLED);
    assert_eq!(world.held(), expected);
    world.judge(&sampler.finish());
}

/// What a container does, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Up,
    Paused,
    Down,
}

/// A span in which a container was left in peace, and whether it was up.
struct Peace {
    key: String,
    up: bool,
    from: Instant,
    until: Instant,
}

/// A span in which a server was away.
struct Outage {
    from: Instant,
    until: Instant,
}

struct World {
    etcd: Etcd,
    etcd_back: Option<(Instant, bool)>,
    engine: Relay,
    engine_back: Option<Instant>,
    engine_cut: Instant,
    engine_outages: Vec<Outage>,
    next_trouble: Instant,
    undisturbed: Fleet,
    disturbed: Fleet,
    lives: Vec<(Life, Instant)>,
    peace: Vec<Peace>,
    begun: Instant,
    random: fastrand::Rng,
    daemon: Daemon,
}

impl World {
    fn start(seed: u64) -> Self {
        let etcd = Etcd::start();
        // What other tests' containers do would blur what is measured here.
        let label = named("churn");
        let narrowed = Front::narrowed(docker::place(), &label);
        let engine = Relay::tcp(narrowed.place());
        let highhock = Highhock::new(&etcd.url())
            .flag("--etcd-ttl", &TTL.to_string())
            .flag("--log-level", "debug");
        let daemon =
            highhock.flag("--docker-url", &format!("tcp://{}", engine.authority())).start();
        let (undisturbed, disturbed) =
            (Fleet::start_labelled(UNDISTURBED, &label), Fleet::start_labelled(DISTURBED, &label));
        for key in undisturbed.keys().union(&disturbed.keys()) {
            value_at(&etcd, key);
        }
        let now = Instant::now();
        Self {
            etcd,
            etcd_back: None,
            engine,
            engine_back: None,
            engine_cut: now,
            engine_outages: Vec::new(),
            next_trouble: now + Duration::from_secs(10),
            undisturbed,
            disturbed,
            lives: vec![(Life::Up, now); DISTURBED],
            peace: Vec::new(),
            begun: now,
            random: fastrand::Rng::with_seed(seed),
            daemon,
        }
    }

    fn disturb_a_container(&mut self) {
        let chosen = self.random.usize(..DISTURBED);
        let container = &self.disturbed.0[chosen].container;
        let (before, since) = self.lives[chosen];
        self.peace.push(Peace {
            key: key(&self.disturbed.0[chosen].name),
            up: before == Life::Up,
            from: since,
            until: Instant::now(),
        });
        let (verb, after) = match (before, self.random.u8(..4)) {
            (Life::Up, 0) => ("stop", Life::Down),
            (Life::Up, 1) => ("kill", Life::Down),
            (Life::Up, 2) => ("restart", Life::Up),
            (Life::Up, _) => ("pause", Life::Paused),
            (Life::Paused, _) => ("unpause", Life::Up),
            (Life::Down, _) => ("start", Life::Up),
        };
        container.does(verb);
        self.lives[chosen] = (after, Instant::now());
    }

    /// Takes a server away now and then, one at a time or both; brings back the one
    /// whose time has come.
    fn disturb_a_server(&mut self) {
        let now = Instant::now();
        if self.etcd_back.is_some_and(|(at, _)| now >= at) {
            self.bring_etcd_back();
        }
        if self.engine_back.is_some_and(|at| now >= at) {
            self.bring_engine_back();
        }
        if now < self.next_trouble {
            return;
        }
        self.next_trouble = now + Duration::from_secs(self.random.u64(8..20));
        let back = now + Duration::from_millis(self.random.u64(200..18_000));
        if self.random.bool() && self.engine_back.is_none() {
            self.engine.cut();
            (self.engine_back, self.engine_cut) = (Some(back), now);
        } else if self.etcd_back.is_none() {
            let paused = self.random.bool();
            if paused {
                self.etcd.pause();
            } else {
                self.etcd.kill();
            }
            self.etcd_back = Some((back, paused));
        }
    }

    fn bring_etcd_back(&mut self) {
        match self.etcd_back.take() {
            Some((_, true)) => self.etcd.resume(),
            Some((_, false)) => {
                let empty = self.random.bool();
                self.etcd.start_again(empty);
            }
            None => {}
        }
    }

    fn bring_engine_back(&mut self) {
        if self.engine_back.take().is_some() {
            self.engine.mend();
            self.engine_outages.push(Outage { from: self.engine_cut, until: Instant::now() });
        }
    }

    /// Brings the servers back, and closes the books on the containers.
    fn mend(&mut self) {
        self.bring_etcd_back();
        self.bring_engine_back();
        let now = Instant::now();
        for (member, (life, since)) in self.disturbed.0.iter().zip(&self.lives) {
            let (key, up) = (key(&member.name), *life == Life::Up);
            self.peace.push(Peace { key, up, from: *since, until: now });
        }
        for member in &self.undisturbed.0 {
            let peace = Peace { key: key(&member.name), up: true, from: self.begun, until: now };
            self.peace.push(peace);
        }
    }

    /// What should be in etcd.
    fn expected(&self) -> HashMap<String, String> {
        let up = self.disturbed.0.iter().zip(&self.lives);
        let up = up.filter(|(_, (life, _))| *life == Life::Up).map(|(member, _)| member);
        up.chain(&self.undisturbed.0)
            .map(|Member { name, container }| {
                (key(name), record_with_ttl(container.published("80/tcp"), TTL))
            })
            .collect()
    }

    /// What it holds.
    fn held(&self) -> HashMap<String, String> {
        self.etcd.list(ROOT).into_iter().map(|node| (node.key, node.value)).collect()
    }

    /// Every read, when etcd had been there for a while, found the record of each
    /// container that was up and in peace; and none of one that was down, where Docker
    /// could tell so.
    fn judge(&self, samples: &[Sample]) {
        let (mut looked, mut unseen, mut stale) = (0_usize, Vec::new(), Vec::new());
        let mut mended_at = self.begun;
        for sample in samples {
            let values = match &sample.values {
                Some(values) if sample.answered - sample.asked < PROMPT => values,
                _ => {
                    mended_at = sample.answered + MENDED;
                    continue;
                }
            };
            if sample.asked < mended_at {
                continue;
            }
            for peace in self.peace.iter().filter(|peace| peace.covers(sample)) {
                // A container that went up while Docker was away can't be known.
                if !self.engine_was_there(peace.from, sample.asked) {
                    continue;
                }
                looked += 1;
                let after = sample.asked - self.begun;
                match (peace.up, values.contains_key(&peace.key)) {
                    (true, false) => unseen.push((after, &peace.key)),
                    (false, true) => stale.push((after, &peace.key)),
                    _ => {}
                }
            }
        }
        println!(
            "{} reads, {looked} looks at a container in peace, {} of them up to a record; {} \
             changes, {} outages of Docker, {} of etcd",
            samples.len(),
            looked - unseen.len() - stale.len(),
            self.peace.len(),
            self.engine_outages.len(),
            self.daemon.lines_with(&["WARNING", "etcd does not answer"]).len()
        );
        assert!(unseen.is_empty(), "{} missing, such as {:?}", unseen.len(), &unseen[..1]);
        assert!(stale.is_empty(), "{} too many, such as {:?}", stale.len(), &stale[..1]);
    }

    /// Whether the daemon could learn what a container did at `since`, and did so by
    /// `now`: Docker was there for long enough after it.
    fn engine_was_there(&self, since: Instant, now: Instant) -> bool {
        let away = |outage: &&Outage| outage.from < since + SETTLED && outage.until > since;
        self.engine_outages.iter().filter(away).all(|outage| outage.until + SETTLED < now)
    }
}

impl Peace {
    /// Whether all was settled before this read, and nothing happened until after it.
    fn covers(&self, sample: &Sample) -> bool {
        self.from + SETTLED < sample.asked && sample.answered < self.until
    }
}
