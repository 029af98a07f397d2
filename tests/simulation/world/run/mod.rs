//! One run of a plan: a core between a simulated Docker and a simulated etcd.
//!
//! `steps` and `faults` carry out the steps of the plan, `daemon` starts and ends the HighHock
//! processes, and `checks` reports broken invariants.

mod checks;
mod daemon;
mod faults;
mod lease_checks;
mod steps;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::docker::SimEngine;
use super::etcd::StoreState;
use super::invariants::{InvariantChecker, Violation};
use super::panics;
use super::plan::{Conditions, Plan};
use super::trace::{self, TraceLines, TraceSummary, trace_line};
use daemon::{RunningCore, StoppedCore};

/// The longest time between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// The longest duration of a clean stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    /// The trace lines that were kept. See [`TraceLines`].
    pub lines: Vec<String>,
    /// A hash of all trace lines.
    pub digest: u64,
    /// The counters of the run, by name.
    pub counts: BTreeMap<String, u64>,
}

/// Runs a plan in simulated time.
pub fn run(plan: &Plan, lines: TraceLines) -> Outcome {
    fastrand::seed(plan.conditions.seed);
    // Time is paused from the start. Otherwise the real time before the pause would decide in which
    // millisecond a timer ends.
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    actix_rt::System::with_tokio_rt(|| runtime().unwrap()).block_on(async {
        trace::begin(lines);
        panics::disarm();
        let mut world = World::new(plan.conditions);
        world.run_plan(plan).await;
        trace::count_many("seconds simulated", world.begun.elapsed().as_secs());
        let violation = world.checker.borrow().violation.clone();
        drop(world);
        let TraceSummary { lines, digest, counts } = trace::end();
        let counts = counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        let mut outcome = Outcome { violation, lines, digest, counts };
        for (_, step) in &plan.steps {
            *outcome.counts.entry(format!("step {}", step.kind())).or_default() += 1;
        }
        outcome
    })
}

type ScheduledAction = Box<dyn FnOnce(&mut World)>;

struct World {
    begun: Instant,
    conditions: Conditions,
    engine: SimEngine,
    etcd: Rc<RefCell<StoreState>>,
    checker: Rc<RefCell<InvariantChecker>>,
    core: Option<RunningCore>,
    duplicate: Option<RunningCore>,
    /// The result of a clean stop, until `check_stop` takes it.
    stopping: Rc<Cell<Option<StoppedCore>>>,
    is_stopping: bool,
    ttl: Duration,
    processes: u32,
    agenda: BTreeMap<(Instant, u64), ScheduledAction>,
    next_entry: u64,
    watcher_panics: u32,
}

impl World {
    fn new(conditions: Conditions) -> Self {
        let engine = SimEngine::new(conditions.seed);
        let container_denied_at = Rc::clone(&engine.0.borrow().container_denied_at);
        let checker = Rc::new(RefCell::new(InvariantChecker::new(conditions, container_denied_at)));
        let etcd = StoreState::new(
            conditions.seed,
            conditions.keep_alive_mode,
            conditions.ttl,
            checker.clone(),
        );
        Self {
            begun: Instant::now(),
            conditions,
            engine,
            etcd: Rc::new(RefCell::new(etcd)),
            checker,
            core: None,
            duplicate: None,
            stopping: Rc::default(),
            is_stopping: false,
            ttl: conditions.ttl,
            processes: 0,
            agenda: BTreeMap::new(),
            next_entry: 0,
            watcher_panics: 0,
        }
    }

    async fn run_plan(&mut self, plan: &Plan) {
        let begun = self.begun;
        trace_line!("{:?}", self.conditions);
        let mut steps = plan.steps.iter().peekable();
        // Containers that run before the core starts.
        while let Some((_, step)) = steps.next_if(|(at, _)| at.is_zero()) {
            self.apply_step(step).await;
        }
        self.start();
        for (at, step) in steps {
            self.advance_until(begun + *at).await;
            if self.is_over() {
                return;
            }
            self.apply_step(step).await;
        }
        self.advance_until(begun + plan.faults_end).await;
        self.end_faults();
        self.wait_until_quiet().await;
        if !self.is_over() {
            self.check_quiet_period().await;
        }
        if !self.is_over() {
            self.stop_and_check().await;
        }
    }

    fn is_over(&self) -> bool {
        self.checker.borrow().violation.is_some()
    }

    /// Lets time pass until `end`, runs scheduled actions, and checks the invariants regularly.
    async fn advance_until(&mut self, end: Instant) {
        loop {
            self.check();
            let now = Instant::now();
            if now >= end || self.is_over() {
                return;
            }
            let next = self.agenda.first_key_value().map_or(end, |((at, _), _)| *at);
            sleep_until((now + CHECK_INTERVAL).min(end).min(next)).await;
            // At the same instant, no actor has handled the new messages yet.
            if Instant::now() > now {
                self.check_bounds();
            }
            while let Some(entry) = self.agenda.first_entry() {
                if entry.key().0 > Instant::now() {
                    break;
                }
                entry.remove()(self);
            }
        }
    }

    async fn advance(&mut self, time: Duration) {
        self.advance_until(Instant::now() + time).await;
    }

    fn schedule(&mut self, wait: Duration, act: impl FnOnce(&mut World) + 'static) {
        self.next_entry += 1;
        self.agenda.insert((Instant::now() + wait, self.next_entry), Box::new(act));
    }
}

fn if_picked(picked: Option<usize>, act: impl FnOnce(usize)) {
    if let Some(number) = picked {
        act(number);
    }
}
