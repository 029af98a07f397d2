//! Containers start and stop at random while Docker and etcd fail at random.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::many_containers::{ContainerGroup, Member};
use crate::poller::{Sample, Sampler};
use crate::support::cuttable_proxy::CuttableProxy;
use crate::support::daemon::{Daemon, Highhock};
use crate::support::etcd::Etcd;
use crate::support::proxy::Proxy;
use crate::support::{docker, eventually};
use crate::{ROOT, TIMEOUT, key, record_with_ttl, unique_name, wait_for_key};

/// The number of stable containers, and of those that start and stop.
const STABLE_COUNT: usize = 5;
const CHURNING_COUNT: usize = 20;

/// The TTL of the records in seconds. Some outages are longer.
const TTL: u64 = 15;

/// The limit until a change reaches etcd: one poll, and a margin for a busy machine.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(4);
/// The limit of the recovery after an outage of etcd.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(5);
/// A slower read met a delayed etcd.
const READ_LATENCY_MAX: Duration = Duration::from_millis(500);

#[test]
#[ignore = "long: tests/run --long"]
fn records_stay_correct_during_churn_and_outages() {
    let seconds = std::env::var("HIGHHOCK_TEST_CHURN").ok().and_then(|text| text.parse().ok());
    let seconds = Duration::from_secs(seconds.unwrap_or(240));
    let seed = std::env::var("HIGHHOCK_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("HIGHHOCK_TEST_SEED={seed}");
    let mut fixture = ChurnFixture::start(seed);

    let sampler = Sampler::start(fixture.etcd.reader(), Duration::from_millis(50));
    let end = Instant::now() + seconds;
    while Instant::now() < end {
        fixture.change_a_container();
        fixture.interrupt_a_server();
        thread::sleep(Duration::from_millis(fixture.random.u64(..600)));
    }
    fixture.restore_all();
    let expected = fixture.expected();
    eventually("the end state is exact", TIMEOUT, || {
        (fixture.stored_records() == expected).then_some(())
    });
    thread::sleep(SETTLE_TIME_MAX);
    assert_eq!(fixture.stored_records(), expected);
    fixture.check_samples(&sampler.finish());
}

/// The state of a container, and the time of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContainerPhase {
    Up,
    Paused,
    Down,
}

/// A period without actions on a container, and whether it was running.
struct StablePeriod {
    key: String,
    running: bool,
    from: Instant,
    until: Instant,
}

/// A period in which a server was away.
struct Outage {
    from: Instant,
    until: Instant,
}

struct ChurnFixture {
    etcd: Etcd,
    etcd_back: Option<(Instant, bool)>,
    engine: CuttableProxy,
    engine_back: Option<Instant>,
    engine_cut: Instant,
    engine_outages: Vec<Outage>,
    next_outage: Instant,
    stable: ContainerGroup,
    churning: ContainerGroup,
    phases: Vec<(ContainerPhase, Instant)>,
    stable_periods: Vec<StablePeriod>,
    started_at: Instant,
    random: fastrand::Rng,
    daemon: Daemon,
}

impl ChurnFixture {
    fn start(seed: u64) -> Self {
        let etcd = Etcd::start();
        // Containers of other tests would disturb the measurement.
        let label = unique_name("churn");
        let narrowed = Proxy::with_label_filter(docker::server_address(), &label);
        let engine = CuttableProxy::tcp(narrowed.server_address());
        let highhock = Highhock::new(&etcd.url())
            .flag("--etcd-ttl", &TTL.to_string())
            .flag("--log-level", "debug");
        let daemon =
            highhock.flag("--docker-url", &format!("tcp://{}", engine.authority())).start();
        let (stable, churning) = (
            ContainerGroup::start_with_label(STABLE_COUNT, &label),
            ContainerGroup::start_with_label(CHURNING_COUNT, &label),
        );
        for key in stable.keys().union(&churning.keys()) {
            wait_for_key(&etcd, key);
        }
        let now = Instant::now();
        Self {
            etcd,
            etcd_back: None,
            engine,
            engine_back: None,
            engine_cut: now,
            engine_outages: Vec::new(),
            next_outage: now + Duration::from_secs(10),
            stable,
            churning,
            phases: vec![(ContainerPhase::Up, now); CHURNING_COUNT],
            stable_periods: Vec::new(),
            started_at: now,
            random: fastrand::Rng::with_seed(seed),
            daemon,
        }
    }

    fn change_a_container(&mut self) {
        let chosen = self.random.usize(..CHURNING_COUNT);
        let container = &self.churning.0[chosen].container;
        let (before, since) = self.phases[chosen];
        self.stable_periods.push(StablePeriod {
            key: key(&self.churning.0[chosen].name),
            running: before == ContainerPhase::Up,
            from: since,
            until: Instant::now(),
        });
        let (verb, after) = match (before, self.random.u8(..4)) {
            (ContainerPhase::Up, 0) => ("stop", ContainerPhase::Down),
            (ContainerPhase::Up, 1) => ("kill", ContainerPhase::Down),
            (ContainerPhase::Up, 2) => ("restart", ContainerPhase::Up),
            (ContainerPhase::Up, _) => ("pause", ContainerPhase::Paused),
            (ContainerPhase::Paused, _) => ("unpause", ContainerPhase::Up),
            (ContainerPhase::Down, _) => ("start", ContainerPhase::Up),
        };
        container.docker_command(verb);
        self.phases[chosen] = (after, Instant::now());
    }

    /// Takes one or both servers away at random, and restores the one whose time has come.
    fn interrupt_a_server(&mut self) {
        let now = Instant::now();
        if self.etcd_back.is_some_and(|(at, _)| now >= at) {
            self.restore_etcd();
        }
        if self.engine_back.is_some_and(|at| now >= at) {
            self.restore_engine();
        }
        if now < self.next_outage {
            return;
        }
        self.next_outage = now + Duration::from_secs(self.random.u64(8..20));
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

    fn restore_etcd(&mut self) {
        match self.etcd_back.take() {
            Some((_, true)) => self.etcd.resume(),
            Some((_, false)) => {
                let empty = self.random.bool();
                self.etcd.restart(empty);
            }
            None => {}
        }
    }

    fn restore_engine(&mut self) {
        if self.engine_back.take().is_some() {
            self.engine.restore();
            self.engine_outages.push(Outage { from: self.engine_cut, until: Instant::now() });
        }
    }

    /// Restores the servers, and ends all recorded periods.
    fn restore_all(&mut self) {
        self.restore_etcd();
        self.restore_engine();
        let now = Instant::now();
        for (member, (phase, since)) in self.churning.0.iter().zip(&self.phases) {
            let (key, running) = (key(&member.name), *phase == ContainerPhase::Up);
            self.stable_periods.push(StablePeriod { key, running, from: *since, until: now });
        }
        for member in &self.stable.0 {
            let stable_period = StablePeriod {
                key: key(&member.name),
                running: true,
                from: self.started_at,
                until: now,
            };
            self.stable_periods.push(stable_period);
        }
    }

    /// The expected records in etcd.
    fn expected(&self) -> HashMap<String, String> {
        let running = self.churning.0.iter().zip(&self.phases);
        let running = running
            .filter(|(_, (phase, _))| *phase == ContainerPhase::Up)
            .map(|(member, _)| member);
        running
            .chain(&self.stable.0)
            .map(|Member { name, container }| {
                (key(name), record_with_ttl(container.published_port("80/tcp"), TTL))
            })
            .collect()
    }

    /// The records in etcd.
    fn stored_records(&self) -> HashMap<String, String> {
        self.etcd.list(ROOT).into_iter().map(|node| (node.key, node.value)).collect()
    }

    /// Checks every read at which etcd had been available for a while: it contains the record of
    /// each running and untouched container, and no record of a stopped one, if Docker could
    /// report it.
    fn check_samples(&self, samples: &[Sample]) {
        let (mut looked, mut unseen, mut stale) = (0_usize, Vec::new(), Vec::new());
        let mut recovered_at = self.started_at;
        for sample in samples {
            let values = match &sample.values {
                Some(values) if sample.received_at - sample.sent_at < READ_LATENCY_MAX => values,
                _ => {
                    recovered_at = sample.received_at + RECOVERY_TIME_MAX;
                    continue;
                }
            };
            if sample.sent_at < recovered_at {
                continue;
            }
            for stable_period in
                self.stable_periods.iter().filter(|stable_period| stable_period.covers(sample))
            {
                // The daemon cannot know a container that started while Docker was away.
                if !self.engine_was_available(stable_period.from, sample.sent_at) {
                    continue;
                }
                looked += 1;
                let after = sample.sent_at - self.started_at;
                match (stable_period.running, values.contains_key(&stable_period.key)) {
                    (true, false) => unseen.push((after, &stable_period.key)),
                    (false, true) => stale.push((after, &stable_period.key)),
                    _ => {}
                }
            }
        }
        println!(
            "{} reads, {looked} looks at a container in peace, {} of them up to a record; {} \
             changes, {} outages of Docker, {} of etcd",
            samples.len(),
            looked - unseen.len() - stale.len(),
            self.stable_periods.len(),
            self.engine_outages.len(),
            self.daemon.lines_with(&["WARNING", "etcd unreachable"]).len()
        );
        assert!(unseen.is_empty(), "{} missing, such as {:?}", unseen.len(), &unseen[..1]);
        assert!(stale.is_empty(), "{} too many, such as {:?}", stale.len(), &stale[..1]);
    }

    /// Returns `true` if the daemon could learn the change at `since` before `now`: Docker was
    /// available for long enough after it.
    fn engine_was_available(&self, since: Instant, now: Instant) -> bool {
        let away = |outage: &&Outage| outage.from < since + SETTLE_TIME_MAX && outage.until > since;
        self.engine_outages.iter().filter(away).all(|outage| outage.until + SETTLE_TIME_MAX < now)
    }
}

impl StablePeriod {
    /// Returns `true` if everything was settled before this read, and nothing happened until
    /// after it.
    fn covers(&self, sample: &Sample) -> bool {
        self.from + SETTLE_TIME_MAX < sample.sent_at && sample.received_at < self.until
    }
}
