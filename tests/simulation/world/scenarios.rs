//! [`Scenario`]: the situation that the steps of a plan favour.
//!
//! A mixed plan meets every situation, but some only once in many hundred seeds. Every third plan
//! is therefore devoted to one situation that needs several conditions at the same time.

use std::ops::Range;
use std::time::Duration;

use highhock_actors::model::publish_config::KeyLayout;
use highhock_actors::{Health, KeepAliveMode};

use super::docker::EventLoss;
use super::etcd::StoreFault;
use super::plan::{Conditions, InjectedPanic, Planner, SERVICE_NAMES, Step, seconds};

/// The situation of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// All kinds of steps, with weights of the plan's own.
    Mixed,
    /// Containers receive stop signals, survive them, or start again.
    StopSignals,
    /// Inspections of unchanged containers fail.
    FailedInspections,
    /// The watch of etcd is silent while other clients change records.
    SilentWatch,
    /// Writes are applied late, after their container ended, and the watch is silent.
    LateWrites,
    /// Many containers, truncated listings, and listings that are older than later events.
    StaleListings,
    /// Another engine answers one listing.
    OtherEngines,
    /// The daemon restarts with another TTL, or containers end while the daemon or its registry does
    /// not run.
    LeaseChanges,
    /// Other hosts want the same keys.
    SharedKeys,
    /// The engine's clock is set back between the end of a container and its next start.
    ClockChanges,
    /// The registry crashes, and containers end before it runs again.
    RegistryCrashes,
    /// Rows of listings have no readable id, while containers end and actors or the daemon restart.
    UnnamedRows,
}

/// All scenarios except [`Scenario::Mixed`].
const SPECIAL: [Scenario; 11] = [
    Scenario::StopSignals,
    Scenario::FailedInspections,
    Scenario::SilentWatch,
    Scenario::LateWrites,
    Scenario::StaleListings,
    Scenario::OtherEngines,
    Scenario::LeaseChanges,
    Scenario::SharedKeys,
    Scenario::ClockChanges,
    Scenario::RegistryCrashes,
    Scenario::UnnamedRows,
];

/// Steps with the time of each after the first.
pub type TimedSteps = Vec<(Duration, Step)>;

impl Scenario {
    pub fn from_seed(seed: u64) -> Self {
        match seed % 3 {
            1 => SPECIAL[(seed / 3) as usize % SPECIAL.len()],
            _ => Self::Mixed,
        }
    }

    /// Sets the conditions without which the situation cannot occur.
    pub fn adjust(self, conditions: &mut Conditions) {
        if self != Self::Mixed {
            conditions.events = true;
        }
        match self {
            Self::StopSignals => {
                conditions.drain = conditions.drain.or(Some(Duration::from_secs(30)));
            }
            Self::FailedInspections
            | Self::StaleListings
            | Self::OtherEngines
            | Self::UnnamedRows => {
                conditions.poll = Duration::from_secs(3);
            }
            Self::SilentWatch => {
                conditions.keep_alive_mode = KeepAliveMode::Lease;
                conditions.ttl = conditions.ttl.min(Duration::from_secs(15));
            }
            Self::LateWrites => conditions.ttl = Duration::from_secs(60),
            Self::LeaseChanges => {
                conditions.keep_alive_mode = KeepAliveMode::Lease;
                conditions.ttl = conditions.ttl.max(Duration::from_secs(15));
            }
            Self::SharedKeys => conditions.layout = KeyLayout::Flat,
            Self::ClockChanges | Self::RegistryCrashes | Self::Mixed => {}
        }
    }

    /// Returns the number of containers that run before the core starts.
    pub fn initial_containers(self) -> Range<usize> {
        match self {
            Self::StaleListings => 18..26,
            // The withdrawal of more records needs a second listing of the same engine, too.
            Self::OtherEngines => 2..5,
            Self::Mixed => 0..14,
            _ => 3..10,
        }
    }

    /// Returns the mean time between two steps, in seconds, if the scenario has one.
    pub fn pace(self) -> Option<f64> {
        match self {
            Self::Mixed => None,
            Self::FailedInspections => Some(0.6),
            Self::StaleListings => Some(1.0),
            Self::StopSignals | Self::SharedKeys => Some(1.5),
            Self::SilentWatch | Self::ClockChanges | Self::UnnamedRows => Some(3.0),
            Self::LeaseChanges | Self::OtherEngines => Some(6.0),
            Self::RegistryCrashes => Some(8.0),
            Self::LateWrites => Some(30.0),
        }
    }

    /// Returns the time of the first step, if the scenario has one. Until then nothing changes.
    pub fn first_step_at(self) -> Option<Duration> {
        match self {
            Self::Mixed => None,
            Self::FailedInspections | Self::OtherEngines => Some(Duration::from_secs(25)),
            _ => Some(Duration::from_secs(12)),
        }
    }

    /// Returns `true` if every container has names that no other container has.
    pub fn has_own_names(self) -> bool {
        self == Self::StaleListings
    }

    /// Returns the next steps of the plan.
    pub(super) fn steps(self, planner: &mut Planner) -> TimedSteps {
        match self {
            Self::LateWrites => return late_write(planner),
            Self::ClockChanges => return clock_changes(planner),
            Self::LeaseChanges => return lease_changes(planner),
            Self::RegistryCrashes => return registry_crashes(planner),
            Self::UnnamedRows => return unnamed_rows(planner),
            _ => {}
        }
        let kind = planner.random.u8(..10);
        let step = match self {
            Self::StopSignals => stop_signals(kind, planner),
            Self::FailedInspections => failed_inspections(kind, planner),
            Self::SilentWatch => silent_watch(kind, planner),
            Self::StaleListings => stale_listings(kind, planner),
            Self::OtherEngines => other_engines(kind, planner),
            Self::SharedKeys
            | Self::LateWrites
            | Self::ClockChanges
            | Self::LeaseChanges
            | Self::RegistryCrashes
            | Self::UnnamedRows
            | Self::Mixed => shared_keys(kind, planner),
        };
        vec![(Duration::ZERO, step)]
    }
}

fn stop_signals(kind: u8, planner: &mut Planner) -> Step {
    let pick = planner.pick();
    match kind {
        0 => Step::Run(planner.spec()),
        1 => Step::Stop(pick),
        2..=4 => {
            let ends = planner.random.u8(..3) == 0;
            let ends_after = ends.then(|| planner.seconds(0.1, 6.0));
            Step::Signal { pick, signal: 15, ends_after }
        }
        5 | 6 => Step::StopAndStart {
            pick,
            ends_after: planner.seconds(0.0, 2.0),
            starts_after: planner.seconds(0.0, 3.0),
        },
        7 => Step::Health(pick, Health::Healthy),
        _ => Step::Rename(pick, planner.random.u32(..1000)),
    }
}

fn failed_inspections(kind: u8, planner: &mut Planner) -> Step {
    match kind {
        0 => {
            Step::DockerFails { time: planner.seconds(1.0, 6.0), percent: planner.random.u8(50..) }
        }
        1 => Step::DockerSlow { time: planner.seconds(1.0, 4.0), by: planner.seconds(0.1, 4.0) },
        _ => Step::Rename(planner.pick(), planner.random.u32(..1000)),
    }
}

fn silent_watch(kind: u8, planner: &mut Planner) -> Step {
    let pick = planner.pick();
    match kind {
        0 | 1 => Step::WatchMuted { time: planner.seconds(20.0, 80.0) },
        2..=6 => Step::ForeignDelete { pick },
        7 => Step::ForeignEdit { pick, ttl: Some(planner.seconds(1.0, 10.0)) },
        _ => Step::Run(planner.spec()),
    }
}

/// A container that ends while its write is delayed.
fn late_write(planner: &mut Planner) -> TimedSteps {
    let fault = StoreFault::Delayed;
    vec![
        (Duration::ZERO, Step::WatchMuted { time: planner.seconds(60.0, 90.0) }),
        (
            Duration::from_secs(2),
            Step::StoreFaulty { time: planner.seconds(0.5, 2.0), fault, percent: 100 },
        ),
        (
            Duration::from_millis(2100),
            Step::RunBriefly { spec: planner.spec(), ends_after: planner.seconds(0.3, 3.0) },
        ),
    ]
}

/// A container that starts again with an earlier start time than its last end. Its start event is
/// delivered or lost.
fn clock_changes(planner: &mut Planner) -> TimedSteps {
    let (pick, by) = (planner.pick(), planner.seconds(2.0, 60.0));
    let at = Duration::from_millis;
    match planner.random.u8(..10) {
        0..=3 => {
            let lossy = EventLoss { lost: 100, ..EventLoss::default() };
            vec![
                (at(0), Step::Stop(pick)),
                (at(100), Step::EventsLossy { time: planner.seconds(1.0, 2.0), lossy }),
                (at(200), Step::ClockSetBack { by }),
                (planner.seconds(0.2, 1.0), Step::Restart(pick, None)),
            ]
        }
        4..=6 => {
            let (ends_after, starts_after) = (planner.seconds(0.0, 0.5), planner.seconds(0.5, 2.0));
            vec![
                (at(0), Step::StopAndStart { pick, ends_after, starts_after }),
                (planner.seconds(0.0, 2.0), Step::ClockSetBack { by }),
            ]
        }
        7 => vec![(at(0), Step::Run(planner.spec()))],
        8 => vec![(at(0), Step::Rename(pick, planner.random.u32(..1000)))],
        _ => {
            let ends_after = Some(planner.seconds(0.1, 6.0));
            vec![(at(0), Step::Signal { pick, signal: 15, ends_after })]
        }
    }
}

fn stale_listings(kind: u8, planner: &mut Planner) -> Step {
    match kind {
        0 => Step::ListingTruncated,
        1..=3 => {
            Step::ListingsSlow { time: planner.seconds(3.0, 8.0), by: planner.seconds(1.5, 4.0) }
        }
        4 | 5 => Step::Remove(planner.pick()),
        6 => Step::Rename(planner.pick(), planner.random.u32(..1000)),
        _ => Step::Run(planner.spec()),
    }
}

fn other_engines(kind: u8, planner: &mut Planner) -> Step {
    match kind {
        0..=6 => Step::OtherEngine { time: planner.seconds(4.0, 9.0), listings: 1 },
        7 => Step::Stop(planner.pick()),
        _ => Step::Restart(planner.pick(), None),
    }
}

fn lease_changes(planner: &mut Planner) -> TimedSteps {
    let pick = planner.pick();
    let at = Duration::from_millis;
    let step = match planner.random.u8(..10) {
        0..=3 => Step::Restarted {
            withdraw: false,
            down: planner.seconds(0.0, 1.0),
            ttl: Some(Duration::from_secs(planner.random.u64(10..60))),
        },
        4 | 5 => {
            let down = planner.seconds(1.0, 2.0);
            return vec![
                (at(0), Step::Killed { down }),
                (planner.seconds(0.1, 0.9), Step::Stop(pick)),
            ];
        }
        6 => return registry_crash(planner),
        7 => Step::Restart(pick, None),
        _ => Step::Run(planner.spec()),
    };
    vec![(at(0), step)]
}

/// A container ends while the registry does not run.
fn registry_crash(planner: &mut Planner) -> TimedSteps {
    let at = Duration::from_millis;
    // The inspection after the renaming crashes. The registry restarts after 0.1 s at least.
    vec![
        (at(0), Step::Panic(InjectedPanic::Registry)),
        (at(0), Step::Rename(planner.pick(), planner.random.u32(..1000))),
        (at(50), Step::Remove(planner.pick())),
    ]
}

fn registry_crashes(planner: &mut Planner) -> TimedSteps {
    let step = match planner.random.u8(..10) {
        0..=5 => return registry_crash(planner),
        6 => Step::Stop(planner.pick()),
        _ => Step::Run(planner.spec()),
    };
    vec![(Duration::ZERO, step)]
}

fn unnamed_rows(planner: &mut Planner) -> TimedSteps {
    let pick = planner.pick();
    let step = match planner.random.u8(..10) {
        0..=2 => Step::RowsUnnamed {
            time: planner.seconds(3.0, 20.0),
            remainder: planner.random.usize(..3),
        },
        3 => return registry_crash(planner),
        4 => Step::Killed { down: planner.seconds(0.1, 2.0) },
        5 => Step::EventsLossy {
            time: planner.seconds(1.0, 5.0),
            lossy: EventLoss { lost: 100, ..EventLoss::default() },
        },
        6 => Step::Stop(pick),
        7 => Step::Restart(pick, None),
        _ => Step::Run(planner.spec()),
    };
    vec![(Duration::ZERO, step)]
}

fn shared_keys(kind: u8, planner: &mut Planner) -> Step {
    let (pick, name) = (planner.pick(), planner.random.usize(..SERVICE_NAMES.len()));
    match kind {
        0..=2 => Step::RivalWrites {
            name,
            time: planner.seconds(3.0, 30.0),
            lapses: planner.random.bool(),
        },
        3 => Step::StaticEntry { name, time: planner.seconds(3.0, 20.0) },
        4 => Step::ForeignEdit { pick, ttl: Some(planner.seconds(1.0, 10.0)) },
        5 => Step::Remove(pick),
        6 => Step::Restart(pick, None),
        _ => Step::Run(planner.spec()),
    }
}

impl Planner {
    fn pick(&mut self) -> usize {
        self.random.usize(..1000)
    }

    fn seconds(&mut self, from: f64, to: f64) -> Duration {
        seconds(from, to, &mut self.random)
    }
}
