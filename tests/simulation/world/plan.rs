//! [`Plan`]: the conditions and the steps of a run, derived from a seed.

use std::time::Duration;

use highhock_actors::model::publish_config::KeyLayout;
use highhock_actors::{Health, KeepAliveMode};

use super::docker::EventLoss;
use super::etcd::StoreFault;
use super::scenarios::{Scenario, TimedSteps};

/// The settings of a core and of its world.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub seed: u64,
    pub keep_alive_mode: KeepAliveMode,
    pub layout: KeyLayout,
    pub ttl: Duration,
    pub poll: Duration,
    pub events: bool,
    pub drain: Option<Duration>,
}

/// A container that a step runs.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    pub services: Vec<(String, u16)>,
    pub port: u16,
    pub net: NetworkChoice,
    pub is_checked: bool,
    pub ignores_health: bool,
    pub ignores_drain: bool,
    pub priority: Option<u16>,
    pub stop_signal: u8,
}

/// The network of a [`ContainerSpec`].
#[derive(Clone, Copy, Debug)]
pub enum NetworkChoice {
    Own,
    Host,
    Shared { pick: usize, by_name: bool },
}

/// The moment of an injected panic.
#[derive(Clone, Copy, Debug)]
pub enum InjectedPanic {
    List,
    Inspect,
    Write,
    /// The registry panics when a watcher has crashed.
    Registry,
    /// An actor of this type panics after this number of log records.
    LogLine(&'static str, u32),
}

/// A step of a plan. A step selects a container by a number, modulo the number of containers.
#[derive(Clone, Debug)]
pub enum Step {
    Run(ContainerSpec),
    /// A container runs, and is removed after this time.
    RunBriefly {
        spec: ContainerSpec,
        ends_after: Duration,
    },
    Stop(usize),
    Remove(usize),
    Restart(usize, Option<u16>),
    CrashLoop {
        pick: usize,
        times: u32,
        every: Duration,
    },
    TogglePause(usize),
    Health(usize, Health),
    Rename(usize, u32),
    /// The container ends after this time, or survives the signal.
    Signal {
        pick: usize,
        signal: u8,
        ends_after: Option<Duration>,
    },
    /// The container receives SIGTERM, ends, and starts again, each after a time.
    StopAndStart {
        pick: usize,
        ends_after: Duration,
        starts_after: Duration,
    },
    EventBurst(usize),
    DockerAway {
        time: Duration,
        kills: bool,
    },
    DockerSlow {
        time: Duration,
        by: Duration,
    },
    /// Listings arrive late, and other requests do not.
    ListingsSlow {
        time: Duration,
        by: Duration,
    },
    DockerFails {
        time: Duration,
        /// The share of the responses that are lost.
        percent: u8,
    },
    OtherEngine {
        time: Duration,
        listings: u32,
    },
    ListingTruncated,
    /// In listings, every third row has no readable id: that of each container with this remainder.
    RowsUnnamed {
        time: Duration,
        remainder: usize,
    },
    EventsLossy {
        time: Duration,
        lossy: EventLoss,
    },
    EventsCut {
        with_error: bool,
    },
    EventsSilent,
    /// The engine's clock is set back by this time.
    ClockSetBack {
        by: Duration,
    },
    StoreFaulty {
        time: Duration,
        fault: StoreFault,
        /// The share of the requests that the fault hits.
        percent: u8,
    },
    StoreSlow {
        time: Duration,
        by: Duration,
    },
    LeaderChange {
        time: Duration,
    },
    WatchCut {
        with_error: bool,
    },
    WatchMuted {
        time: Duration,
    },
    Wiped,
    LeaseExpires,
    RivalWrites {
        name: usize,
        time: Duration,
        lapses: bool,
    },
    ForeignEdit {
        pick: usize,
        ttl: Option<Duration>,
    },
    ForeignDelete {
        pick: usize,
    },
    StaticEntry {
        name: usize,
        time: Duration,
    },
    Panic(InjectedPanic),
    MessageFlood(u32),
    Killed {
        down: Duration,
    },
    Restarted {
        withdraw: bool,
        down: Duration,
        ttl: Option<Duration>,
    },
    Reloaded,
    Duplicate {
        time: Duration,
    },
    Suspended {
        time: Duration,
    },
    CheckNow,
}

impl Step {
    /// Returns the name of the step, for counters.
    pub fn kind(&self) -> String {
        let shown = format!("{self:?}");
        let end = shown.find(|it: char| !it.is_alphanumeric()).unwrap_or(shown.len());
        shown[..end].to_owned()
    }
}

/// The names of services. One name is below another.
pub const SERVICE_NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "deep.c"];

/// All steps of a run, with the time of each.
#[derive(Clone, Debug)]
pub struct Plan {
    pub conditions: Conditions,
    pub steps: Vec<(Duration, Step)>,
    /// The time at which all faults end.
    pub faults_end: Duration,
}

/// Draws the steps of a plan.
pub(super) struct Planner {
    pub(super) random: fastrand::Rng,
    scenario: Scenario,
    next_port: u16,
}

/// Returns a random duration of this number of seconds.
pub(super) fn seconds(from: f64, to: f64, random: &mut fastrand::Rng) -> Duration {
    Duration::from_secs_f64(from + (to - from) * random.f64())
}

impl Plan {
    pub fn from_seed(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let scenario = Scenario::from_seed(seed);
        let mut conditions = Conditions {
            seed,
            keep_alive_mode: if random.bool() {
                KeepAliveMode::PerRecord
            } else {
                KeepAliveMode::Lease
            },
            layout: if random.u8(..4) == 0 { KeyLayout::Instance } else { KeyLayout::Flat },
            ttl: Duration::from_secs([5, 15, 15, 60][random.usize(..4)]),
            poll: Duration::from_secs([3, 10][random.usize(..2)]),
            events: random.u8(..5) > 0,
            drain: [None, Some(20), Some(60)][random.usize(..3)].map(Duration::from_secs),
        };
        scenario.adjust(&mut conditions);
        let mut planner = Planner { random, scenario, next_port: 8000 };
        let mut steps = Vec::new();
        for _ in 0..planner.random.usize(scenario.initial_containers()) {
            steps.push((Duration::ZERO, Step::Run(planner.spec())));
        }
        // Each run has its own mix of steps: some kinds occur often, others never.
        let weights = planner.weights();
        let span = planner.random.u64(30..150);
        let mut at = seconds(0.0, 20.0, &mut planner.random);
        at = scenario.first_step_at().unwrap_or(at);
        let faults_end = Duration::from_secs(span);
        let pace = [0.3, 1.0, 4.0][planner.random.usize(..3)];
        let pace = scenario.pace().unwrap_or(pace);
        while at < faults_end {
            let next = planner.steps(&weights);
            steps.extend(next.into_iter().map(|(after, step)| (at + after, step)));
            at += seconds(0.0, 2.0 * pace, &mut planner.random);
        }
        steps.sort_by_key(|(at, _)| *at);
        Self { conditions, steps, faults_end }
    }
}

const STEP_KINDS: usize = 34;

impl Planner {
    fn weights(&mut self) -> Vec<u32> {
        let mut weights: Vec<u32> = (0..STEP_KINDS)
            .map(|kind| match self.random.u8(..4) {
                // Containers start and end in every run.
                _ if kind < 6 => self.random.u32(1..6),
                0 | 1 => 0,
                2 => 1,
                _ => 3,
            })
            .collect();
        // Some runs have no faults at all.
        if self.random.u8(..12) == 0 {
            weights[9..].fill(0);
        }
        weights
    }

    pub(super) fn spec(&mut self) -> ContainerSpec {
        self.next_port += 10;
        let random = &mut self.random;
        let mut services = Vec::new();
        for n in 0..[1, 1, 1, 2, 3][random.usize(..5)] {
            let mut name = SERVICE_NAMES[random.usize(..SERVICE_NAMES.len())].to_owned();
            if self.scenario.has_own_names() {
                name = format!("own-{}-{n}", self.next_port);
            }
            services.push((name, 80 + n));
        }
        let net = match random.u8(..10) {
            0 => NetworkChoice::Host,
            1 | 2 => {
                NetworkChoice::Shared { pick: random.usize(..1000), by_name: random.u8(..4) == 0 }
            }
            _ => NetworkChoice::Own,
        };
        ContainerSpec {
            services,
            port: self.next_port,
            net,
            is_checked: random.u8(..4) == 0,
            ignores_health: random.u8(..4) == 0,
            ignores_drain: random.u8(..4) == 0,
            priority: (random.u8(..6) == 0).then(|| random.u16(..100)),
            stop_signal: if random.u8(..4) == 0 { 3 } else { 15 },
        }
    }

    fn steps(&mut self, weights: &[u32]) -> TimedSteps {
        match self.scenario {
            Scenario::Mixed => vec![(Duration::ZERO, self.step(weights))],
            scenario => scenario.steps(self),
        }
    }

    fn step(&mut self, weights: &[u32]) -> Step {
        let total: u32 = weights.iter().sum();
        let mut left = self.random.u32(..total);
        let kind = weights.iter().position(|weight| {
            let hit = left < *weight;
            left = left.wrapping_sub(*weight);
            hit
        });
        self.step_of_kind(kind.unwrap_or(0))
    }

    fn step_of_kind(&mut self, kind: usize) -> Step {
        let spec = self.spec();
        let random = &mut self.random;
        let pick = random.usize(..1000);
        let brief = seconds(0.2, 12.0, random);
        let percent = random.u8(20..=100);
        match kind {
            0 | 1 => Step::Run(spec),
            2 => Step::Stop(pick),
            3 => Step::Remove(pick),
            4 => Step::Restart(pick, Some(spec.port)),
            5 => Step::Restart(pick, None),
            6 => Step::TogglePause(pick),
            7 => {
                let health = [Health::Healthy, Health::Unhealthy, Health::Healthy];
                Step::Health(pick, health[random.usize(..3)])
            }
            8 => Step::Rename(pick, random.u32(..1000)),
            9 => {
                let signal = [15, 15, 3, 1, 9][random.usize(..5)];
                let ends = random.u8(..3) > 0 || signal == 9;
                Step::Signal { pick, signal, ends_after: ends.then(|| brief / 2) }
            }
            10 => {
                Step::CrashLoop { pick, times: random.u32(2..9), every: seconds(0.05, 4.0, random) }
            }
            11 => Step::EventBurst(random.usize(5..60)),
            12 => Step::DockerAway { time: brief * 2, kills: random.bool() },
            13 => Step::DockerSlow { time: brief * 2, by: seconds(0.1, 5.0, random) },
            14 => Step::DockerFails { time: brief * 2, percent },
            15 => Step::OtherEngine { time: brief, listings: if random.bool() { 1 } else { 99 } },
            16 => match random.bool() {
                true => Step::ListingTruncated,
                false => Step::RowsUnnamed { time: brief * 3, remainder: random.usize(..3) },
            },
            17 => {
                let mut chance = || if random.bool() { random.u8(..100) } else { 0 };
                let lossy = EventLoss { lost: chance(), duplicated: chance(), late: chance() };
                Step::EventsLossy { time: brief * 2, lossy }
            }
            18 => Step::EventsCut { with_error: random.bool() },
            19 => Step::EventsSilent,
            20 | 21 => {
                let fault = [
                    StoreFault::Refused,
                    StoreFault::RequestLost,
                    StoreFault::ResponseLost,
                    StoreFault::Delayed,
                    StoreFault::Any,
                    StoreFault::ReadOnly,
                ][random.usize(..6)];
                Step::StoreFaulty { time: brief, fault, percent }
            }
            22 => Step::StoreSlow { time: brief * 2, by: seconds(0.01, 0.9, random) },
            23 => Step::LeaderChange { time: seconds(0.5, 4.0, random) },
            24 => match random.u8(..3) {
                0 => Step::WatchMuted { time: brief },
                _ => Step::WatchCut { with_error: random.bool() },
            },
            25 => [Step::Wiped, Step::LeaseExpires][random.usize(..2)].clone(),
            26 => Step::RivalWrites {
                name: random.usize(..SERVICE_NAMES.len()),
                time: brief * 3,
                lapses: random.bool(),
            },
            27 => match random.u8(..3) {
                0 => Step::ForeignEdit { pick, ttl: None },
                1 => Step::ForeignEdit { pick, ttl: Some(brief) },
                _ => Step::ForeignDelete { pick },
            },
            28 => Step::StaticEntry { name: random.usize(..SERVICE_NAMES.len()), time: brief * 2 },
            29 => {
                let actor = ["EtcdInserter", "DockerPoller", "ContainerWatcher"][random.usize(..3)];
                Step::Panic(match random.u8(..7) {
                    0 => InjectedPanic::List,
                    1 => InjectedPanic::Inspect,
                    2 => InjectedPanic::Write,
                    3 => InjectedPanic::Registry,
                    _ => InjectedPanic::LogLine(actor, random.u32(..20)),
                })
            }
            30 => Step::MessageFlood(random.u32(50..400)),
            31 => {
                let down = if random.bool() { brief / 10 } else { brief * 2 };
                match random.u8(..4) {
                    0 => Step::Killed { down },
                    1 => Step::Reloaded,
                    _ => Step::Restarted {
                        withdraw: random.bool(),
                        down,
                        ttl: random.bool().then(|| Duration::from_secs(random.u64(5..60))),
                    },
                }
            }
            32 => Step::Duplicate { time: brief * 2 },
            _ => match random.u8(..3) {
                0 => Step::CheckNow,
                _ => Step::Suspended { time: brief * 5 },
            },
        }
    }
}
