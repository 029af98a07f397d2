//! One run: a core between the simulated worlds, a plan carried out, and a judge who looks
//! at every step.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::{
    AddressOwner, DiscoveryMethod, KeyLayout, PublishConfig,
};
use highhock_actors::{
    ContainerState, Core, CoreSettings, Health, Host, KeepAliveMode, LeaseNamespace, RecordKey,
    Shutdown,
};
use tokio::time::{Instant, sleep_until};

use super::container::{NetworkSetup, SimContainer, key_for_name};
use super::docker::{EnginePanic, SimEngine};
use super::etcd::{self, NodeOwner, StoreFault};
use super::invariants::{InvariantChecker, Violation};
use super::plan::{
    Conditions, ContainerSpec, InjectedPanic, NetworkChoice, Plan, SERVICE_NAMES, Step,
};
use super::store::{SimStore, WRITE_DELAY_MAX};
use super::trace::{self, TraceLines, count, trace_line};
use super::{HOST, OTHER_HOST, panics};

/// How often the judge looks, at the least.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// How long the quiet at the end is watched.
const QUIET_PERIOD: Duration = Duration::from_secs(60);
/// What a clean stop may take.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    /// The last lines of its trace.
    pub lines: Vec<String>,
    /// Of all lines.
    pub digest: u64,
    pub counts: BTreeMap<String, u64>,
}

/// Carries out a plan, in simulated time.
pub fn run(plan: &Plan, lines: TraceLines) -> Outcome {
    fastrand::seed(plan.conditions.seed);
    // Paused from its very start: else the time that passes until it is paused would decide
    // on which side of a millisecond's end a timer falls.
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
        let (lines, digest, counts) = trace::end();
        let counts = counts.into_iter().map(|(what, many)| (what.to_owned(), many)).collect();
        let mut outcome = Outcome { violation, lines, digest, counts };
        for (_, step) in &plan.steps {
            *outcome.counts.entry(format!("step {}", step.kind())).or_default() += 1;
        }
        outcome
    })
}

type ScheduledAction = Box<dyn FnOnce(&mut World)>;

struct RunningCore {
    core: Core<SimEngine, SimStore>,
    process: u32,
    ttl: Duration,
}

/// A process that was stopped in order.
struct StoppedCore {
    stopped: Shutdown,
    withdraw: bool,
    process: u32,
    ttl: Duration,
}

struct World {
    begun: Instant,
    conditions: Conditions,
    engine: SimEngine,
    etcd: Rc<RefCell<etcd::StoreState>>,
    checker: Rc<RefCell<InvariantChecker>>,
    core: Option<RunningCore>,
    duplicate: Option<RunningCore>,
    /// What a stop in order came to, once it has.
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
        let etcd = etcd::StoreState::new(
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
        // What runs already when the core starts.
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

    // --- time --------------------------------------------------------------

    /// Lets time pass, does what is on the agenda, and has the judge look again and again.
    async fn advance_until(&mut self, end: Instant) {
        loop {
            self.check();
            let now = Instant::now();
            if now >= end || self.is_over() {
                return;
            }
            let next = self.agenda.first_key_value().map_or(end, |((at, _), _)| *at);
            sleep_until((now + CHECK_INTERVAL).min(end).min(next)).await;
            // Nobody could do anything yet about what was sent in this very moment.
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

    fn check(&mut self) {
        let now = Instant::now();
        self.etcd.borrow_mut().tick();
        self.check_panics();
        self.check_stop();
        self.report_faults(now);
        let due = {
            let state = self.engine.0.borrow();
            let drain = self.conditions.drain.filter(|_| self.conditions.events);
            let drain = drain.map(|drain| drain + super::docker::EVENT_DELAY_MAX);
            let all = state.containers.values();
            all.flat_map(|one| {
                one.expected_records(&state.containers, self.conditions.layout, drain)
            })
            .collect()
        };
        let mut checker = self.checker.borrow_mut();
        checker.update_rules(due);
        checker.check_keys(&self.etcd.borrow().nodes, self.core.is_some());
    }

    fn report_faults(&mut self, now: Instant) {
        let mut checker = self.checker.borrow_mut();
        let engine = self.engine.0.borrow();
        let faults = &engine.faults;
        let is_active = |until: Option<Instant>| until.is_some_and(|until| now < until);
        if is_active(faults.away)
            || is_active(faults.slow.map(|it| it.0))
            || is_active(faults.failing.map(|it| it.0))
        {
            checker.mark_docker_faulty();
        }
        if let Some((until, left)) = faults.other_engine
            && now < until
        {
            // Once it is listed twice it may be believed. And of two that ask, each may get the
            // answer that was meant to warn the other.
            if left > 1 || self.duplicate.is_some() {
                checker.mark_listing_false()
            } else {
                checker.mark_docker_faulty()
            }
        }
        let etcd = self.etcd.borrow();
        let faults = &etcd.faults;
        if is_active(faults.bad.map(|it| it.0))
            || is_active(faults.slow.map(|it| it.0))
            || is_active(faults.mute)
        {
            checker.mark_store_faulty();
        }
        if let Some(duplicate) = &self.duplicate {
            checker.allow_leftovers(self.duplicate_leftover_time(duplicate.ttl));
        }
    }

    /// What a twin puts that nobody wants stands until an audit and a listing after its end
    /// on v3; on v2 until its TTL ends.
    fn duplicate_leftover_time(&self, ttl: Duration) -> Duration {
        match self.conditions.keep_alive_mode {
            KeepAliveMode::PerRecord => ttl + WRITE_DELAY_MAX,
            KeepAliveMode::Lease => {
                Duration::from_secs(60) + WRITE_DELAY_MAX + self.conditions.poll
            }
        }
    }

    fn check_panics(&mut self) {
        if panics::take_unexpected_panic() {
            self.checker.borrow_mut().report_violation("no actor falls by itself", "it panicked");
        }
        let panic_count = panics::take_panic_count();
        if panic_count > 0 {
            self.watcher_panics += panic_count;
            // A watcher comes back after 4 s, 16 s, a minute; all others within two seconds.
            let respawn = 4 * 4_u64.pow(self.watcher_panics.min(3) - 1);
            let mut checker = self.checker.borrow_mut();
            let excuse = checker.poll_time_max() + Duration::from_secs(respawn);
            checker.extend_excuse(excuse);
            checker.mark_core_absent();
        }
        let Some(running) = &self.core else { return };
        if let Some(actor) = running.core.restarts_exhausted().now_or_never() {
            trace_line!("! {actor} is exhausted");
            if self.watcher_panics < 5 {
                let mut checker = self.checker.borrow_mut();
                checker.report_violation("no actor falls by itself", actor);
            }
            self.kill(Duration::from_secs(1));
        }
    }

    fn check_bounds(&mut self) {
        let Some(running) = &self.core else { return };
        let cores = 1 + usize::from(self.duplicate.is_some());
        let (containers, inspecting, asked) = {
            let state = self.engine.0.borrow();
            (state.containers.len(), state.inspecting, state.in_flight)
        };
        let mut checker = self.checker.borrow_mut();
        for meter in running.core.mailbox_snapshots() {
            // One message of each sender, and what a flood left a moment ago.
            let bound = (64 + 4 * containers * cores) as u64;
            if meter.depth > bound {
                checker.report_violation(
                    "mailboxes stay bounded",
                    &format!("{} has {}", meter.actor, meter.depth),
                );
            }
        }
        if inspecting > 8 * cores || asked > (8 + 3) * cores {
            let what = format!("{inspecting} inspections, {asked} questions in all");
            checker.report_violation("docker is asked a bounded number of things at a time", &what);
        }
    }

    // --- the daemon --------------------------------------------------------

    fn settings(&self) -> CoreSettings {
        CoreSettings {
            publish_config: PublishConfig {
                prefix: "skydns".into(),
                domain: DomainName::parse("skydns.local").unwrap(),
                layout: self.conditions.layout,
                hostname: "node1".into(),
                address: AddressOwner::Host,
                host: Host::parse(HOST).unwrap(),
                host6: None,
                ttl: NonZeroU32::new(60).unwrap(),
                methods: vec![DiscoveryMethod::Env, DiscoveryMethod::Label],
                compose_project: false,
                health: true,
                text_beside_name: true,
            },
            ttl: self.ttl,
            lease_namespace: LeaseNamespace::from_hash(7),
            poll_interval: self.conditions.poll,
            recheck_interval: self.conditions.poll,
            events: self.conditions.events,
            drain: self.conditions.drain,
        }
    }

    fn launch(&mut self) -> RunningCore {
        self.processes += 1;
        let process = self.processes;
        trace_line!("! process {process} starts");
        let store = SimStore { state: self.etcd.clone(), process };
        let core = Core::start(
            self.settings(),
            self.engine.for_process(),
            store,
            &panics::logger(process),
        );
        RunningCore { core, process, ttl: self.ttl }
    }

    fn start(&mut self) {
        if self.core.is_some() || self.is_stopping {
            return;
        }
        self.core = Some(self.launch());
        self.watcher_panics = 0;
        let mut checker = self.checker.borrow_mut();
        checker.extend_excuse(Duration::from_secs(5));
        checker.mark_core_absent();
    }

    /// What stays after a process that ends: on v2 for a TTL, as the next one looks only at
    /// the keys that it wants; on v3 the next one finds it.
    fn leftover_time(&self, ttl: Duration) -> Duration {
        match self.conditions.keep_alive_mode {
            KeepAliveMode::PerRecord => ttl + WRITE_DELAY_MAX + Duration::from_secs(1),
            KeepAliveMode::Lease => Duration::ZERO,
        }
    }

    fn kill(&mut self, down: Duration) {
        let Some(running) = self.core.take() else { return };
        trace_line!("! process {} is killed", running.process);
        let mut checker = self.checker.borrow_mut();
        checker.mark_ended(running.process);
        checker.allow_leftovers(self.leftover_time(running.ttl));
        drop(checker);
        drop(running);
        self.schedule(down, World::start);
    }

    fn stop(&mut self, withdraw: bool) {
        let Some(running) = self.core.take() else { return };
        trace_line!("! process {} is stopped, withdraw: {withdraw}", running.process);
        self.is_stopping = true;
        if withdraw {
            self.checker.borrow_mut().mark_withdrawing(running.process);
        }
        let stopping = Rc::clone(&self.stopping);
        actix_rt::spawn(async move {
            let RunningCore { core, process, ttl } = running;
            let stopped = core.stop(withdraw, STOP_GRACE).await;
            stopping.set(Some(StoppedCore { stopped, withdraw, process, ttl }));
        });
    }

    /// Looks at a stop in order that has come to its end.
    fn check_stop(&mut self) {
        let Some(stopped_core) = self.stopping.take() else { return };
        let StoppedCore { stopped, withdraw, process, ttl } = stopped_core;
        trace_line!("! process {process} has stopped: {stopped:?}");
        self.is_stopping = false;
        let mut checker = self.checker.borrow_mut();
        checker.mark_ended(process);
        checker.allow_leftovers(self.leftover_time(ttl));
        let etcd = self.etcd.borrow();
        let is_ours = |node: &&etcd::Node| node.owner == NodeOwner::Own(process);
        let left = etcd.nodes.values().filter(is_ours).count();
        // A write in doubt may land after the stop.
        if withdraw
            && stopped == Shutdown::Clean
            && left > 0
            && checker.is_store_settled()
            && self.duplicate.is_none()
        {
            checker.report_violation("a clean stop leaves nothing", &format!("{:?}", etcd.nodes));
        }
    }

    // --- steps -------------------------------------------------------------

    async fn apply_step(&mut self, step: &Step) {
        trace_line!("> {step:?}");
        match step {
            Step::Suspended { time } => {
                self.checker.borrow_mut().set_suspended(true);
                tokio::time::advance(*time).await;
                // Who drains does so for as long as before: it was heard of after the sleep, or
                // is timed by a clock that stood still.
                for one in self.engine.0.borrow_mut().containers.values_mut() {
                    one.stop_signal_at = one.stop_signal_at.map(|at| at + *time);
                }
                self.checker.borrow_mut().set_suspended(false);
                if let Some(running) = &self.core {
                    running.core.check_now();
                }
                if let Some(running) = &self.duplicate {
                    running.core.check_now();
                }
                let mut checker = self.checker.borrow_mut();
                checker.mark_core_absent();
                checker.extend_excuse(Duration::from_secs(5));
            }
            _ if self.apply_container_step(step)
                || self.apply_docker_step(step)
                || self.apply_store_step(step) => {}
            _ => self.apply_daemon_step(step),
        }
        self.check();
    }

    /// What containers do.
    fn apply_container_step(&mut self, step: &Step) -> bool {
        let pick = |pick: usize| self.engine.0.borrow().pick(pick);
        let engine = self.engine.clone();
        match step {
            Step::Run(spec) => {
                let container = self.create_container(spec);
                engine.act(|state, events| state.run(container, events));
            }
            Step::Stop(n) => {
                if_picked(pick(*n), |n| engine.act(|state, events| state.stop(n, events)))
            }
            Step::Remove(n) => {
                if_picked(pick(*n), |n| engine.act(|state, events| state.remove(n, events)))
            }
            Step::Restart(n, port) => {
                if_picked(pick(*n), |n| {
                    engine.act(|state, events| state.restart(n, *port, events))
                });
            }
            Step::CrashLoop { pick: n, times, every } => {
                let Some(n) = pick(*n) else { return true };
                for time in 0..*times {
                    self.schedule(*every * time, move |world| {
                        world.engine.act(|state, events| state.restart(n, None, events));
                    });
                }
            }
            Step::TogglePause(n) => {
                if_picked(pick(*n), |n| engine.act(|state, events| state.toggle_pause(n, events)))
            }
            Step::Health(n, health) => {
                if_picked(pick(*n), |n| {
                    engine.act(|state, events| state.set_health(n, *health, events))
                });
            }
            Step::Rename(n, name) => {
                let name = format!("renamed-{name}");
                if_picked(pick(*n), |n| engine.act(|state, events| state.rename(n, &name, events)));
            }
            Step::Signal { pick: n, signal, ends_after } => {
                let (Some(n), signal) = (pick(*n), *signal) else { return true };
                engine.act(|state, events| state.signal(n, signal, events));
                if let Some(wait) = ends_after {
                    self.schedule(*wait, move |world| {
                        world.engine.act(|state, events| state.stop(n, events));
                    });
                }
            }
            Step::EventBurst(times) => {
                for n in 0..*times {
                    if_picked(pick(n), |n| {
                        engine.act(|state, events| match n % 3 {
                            0 => state.restart(n, None, events),
                            _ => state.emit_redundant_change(n, events),
                        });
                    });
                }
            }
            _ => return false,
        }
        true
    }

    fn create_container(&self, spec: &ContainerSpec) -> SimContainer {
        let state = self.engine.0.borrow();
        let net = match spec.net {
            NetworkChoice::Own => NetworkSetup::Own,
            NetworkChoice::Host => NetworkSetup::Host,
            NetworkChoice::Shared { pick, by_name } => match state.pick(pick) {
                Some(number) => NetworkSetup::SharedWith { number, by_name },
                None => NetworkSetup::Own,
            },
        };
        let mut services = spec.services.clone();
        if matches!(net, NetworkSetup::SharedWith { .. }) {
            // Its restarts show in no listing but for the uptime, which is coarse: who started
            // first is then not to be seen without events. So its names are its own.
            for (place, (name, _)) in services.iter_mut().enumerate() {
                *name = format!("guest{}-{place}", state.next_number());
            }
        }
        let outside =
            |(place, (_, port)): (usize, &(String, u16))| (*port, spec.port + place as u16);
        SimContainer {
            number: 0,
            name: String::new(),
            ports: services.iter().enumerate().map(outside).collect(),
            services,
            net,
            life: ContainerState::Created,
            health: if spec.is_checked { Health::Starting } else { Health::Unchecked },
            ignores_health: spec.ignores_health,
            ignores_drain: spec.ignores_drain,
            priority: spec.priority,
            stop_signal: spec.stop_signal,
            started: 0,
            up_since: Instant::now(),
            endpoint: 0,
            stop_signal_at: None,
            last_changed: Instant::now(),
        }
    }

    /// What goes wrong with Docker.
    fn apply_docker_step(&mut self, step: &Step) -> bool {
        let now = Instant::now();
        let mut state = self.engine.0.borrow_mut();
        match *step {
            Step::DockerAway { time, kills } => {
                drop(state);
                if kills {
                    // The engine ends its containers as it ends; some start again with it.
                    let all: Vec<_> = self.engine.0.borrow().containers.keys().copied().collect();
                    for n in all {
                        self.engine.act(|state, events| state.stop(n, events));
                        if n % 2 == 0 {
                            self.schedule(time, move |world| {
                                world.engine.act(|state, events| state.restart(n, None, events));
                            });
                        }
                    }
                }
                let mut state = self.engine.0.borrow_mut();
                state.cut_streams(true);
                state.faults.away = Some(now + time);
            }
            Step::DockerSlow { time, by } => state.faults.slow = Some((now + time, by)),
            Step::DockerFails { time, share } => state.faults.failing = Some((now + time, share)),
            Step::OtherEngine { time, listings } => {
                state.faults.other_engine = Some((now + time, listings))
            }
            Step::ListingTruncated => {
                let ours = self
                    .etcd
                    .borrow()
                    .nodes
                    .values()
                    .filter(|node| node.owner != NodeOwner::Foreign)
                    .count();
                // Fewer records need no second listing (SPEC 4).
                if ours >= 16 && self.checker.borrow().wanted_keys() >= 16 {
                    state.faults.truncate_listing = true;
                }
            }
            Step::EventsLossy { time, lossy } => state.faults.lossy = Some((now + time, lossy)),
            Step::EventsCut { with_error } => state.cut_streams(with_error),
            Step::EventsSilent => state.silence_streams(),
            _ => return false,
        }
        true
    }

    /// What goes wrong with etcd, and what others do there.
    fn apply_store_step(&mut self, step: &Step) -> bool {
        let now = Instant::now();
        let etcd = Rc::clone(&self.etcd);
        let mut state = etcd.borrow_mut();
        let checker = Rc::clone(&self.checker);
        match *step {
            Step::StoreFaulty { time, bad, share } => {
                if bad == StoreFault::Refused && share == 100 {
                    state.cut_watches(true);
                }
                state.faults.bad = Some((now + time, bad, share));
            }
            Step::StoreSlow { time, by } => state.faults.slow = Some((now + time, by)),
            Step::LeaderChange { time } => {
                state.faults.bad = Some((now + time, StoreFault::Any, 100));
                self.schedule(time, |world| world.etcd.borrow_mut().reset_leases());
            }
            Step::WatchCut { with_error } => {
                state.cut_watches(with_error);
                checker.borrow_mut().mark_store_faulty();
            }
            Step::WatchMuted { time } => {
                state.faults.mute = Some(now + time);
            }
            Step::Wiped => {
                state.wipe();
                checker.borrow_mut().mark_store_faulty();
            }
            Step::LeaseExpires => {
                for id in state.leases.keys().copied().collect::<Vec<_>>() {
                    state.expire_lease(id);
                }
                checker.borrow_mut().mark_store_faulty();
            }
            Step::RivalWrites { name, time, lapses } => {
                let rival = Rival { key: self.foreign_key(name), until: now + time, lapses };
                drop(state);
                rival.act(self);
            }
            Step::ForeignEdit { pick, ttl } => {
                let ours = state.nodes.iter().filter(|(_, node)| node.owner != NodeOwner::Foreign);
                let ours: Vec<_> = ours.map(|(key, _)| key.clone()).collect();
                if !ours.is_empty() {
                    let expiry =
                        ttl.map_or(etcd::NodeExpiry::Never, |ttl| etcd::NodeExpiry::At(now + ttl));
                    state.set(
                        &ours[pick % ours.len()],
                        &foreign_value(1),
                        expiry,
                        NodeOwner::Foreign,
                    );
                }
            }
            Step::ForeignDelete { pick } => {
                let keys: Vec<_> = state.nodes.keys().cloned().collect();
                if !keys.is_empty() {
                    let key = &keys[pick % keys.len()];
                    state.unset(key, "another deleted it");
                    checker.borrow_mut().mark_foreign_change(key);
                }
            }
            Step::StaticEntry { name, time } => {
                let key = self.foreign_key(name);
                let own = RecordKey::from_path(&key);
                let hides = |other: &String| RecordKey::from_path(other).overlaps(&own);
                if !state.nodes.keys().any(hides) {
                    state.set(&key, &foreign_value(2), etcd::NodeExpiry::Never, NodeOwner::Foreign);
                    self.schedule(time, move |world| {
                        let mut state = world.etcd.borrow_mut();
                        if state.nodes.get(&key).is_some_and(|node| node.value == foreign_value(2))
                        {
                            state.unset(&key, "the static entry was removed");
                        }
                    });
                }
            }
            _ => return false,
        }
        true
    }

    fn foreign_key(&self, name: usize) -> String {
        let key = key_for_name(SERVICE_NAMES[name]);
        match self.conditions.layout {
            KeyLayout::Flat => key,
            KeyLayout::Instance => format!("{key}/node9-0-80"),
        }
    }

    /// What goes wrong with the daemon.
    fn apply_daemon_step(&mut self, step: &Step) {
        match *step {
            Step::Panic(panic) => match panic {
                // A process that falls too often ends, which others here are about.
                _ if self.watcher_panics >= 3 => {}
                InjectedPanic::List => {
                    self.engine.0.borrow_mut().faults.panic = Some(EnginePanic::List)
                }
                InjectedPanic::Inspect => {
                    self.engine.0.borrow_mut().faults.panic = Some(EnginePanic::Inspect)
                }
                InjectedPanic::Write => self.etcd.borrow_mut().faults.panic_on_write = true,
                InjectedPanic::Registry => {
                    self.engine.0.borrow_mut().faults.panic = Some(EnginePanic::Inspect);
                    panics::arm_at_message("a container's watcher panicked");
                }
                InjectedPanic::LogLine(actor, lines) => panics::arm_after_lines(actor, lines),
            },
            Step::MessageFlood(times) => {
                let Some(running) = &self.core else { return };
                for _ in 0..times {
                    running.core.poll_now();
                }
                for n in 0..times as usize {
                    let pick = self.engine.0.borrow().pick(n);
                    if_picked(pick, |n| {
                        self.engine.act(|state, events| state.emit_redundant_change(n, events))
                    });
                }
                count("floods");
            }
            Step::Killed { down } => self.kill(down),
            Step::Restarted { withdraw, down, ttl } => {
                self.stop(withdraw);
                if let Some(ttl) = ttl {
                    self.ttl = ttl;
                    self.etcd.borrow_mut().ttl = ttl;
                }
                self.schedule(STOP_GRACE + down, World::start);
            }
            Step::Duplicate { time } => {
                if self.core.is_none() || self.duplicate.is_some() {
                    return;
                }
                self.duplicate = Some(self.launch());
                self.checker.borrow_mut().mark_core_absent();
                self.schedule(time, World::end_duplicate);
            }
            Step::CheckNow => {
                if let Some(running) = &self.core {
                    running.core.check_now();
                }
            }
            ref other => unreachable!("{other:?}"),
        }
    }

    fn end_duplicate(&mut self) {
        let Some(duplicate) = self.duplicate.take() else { return };
        trace_line!("! process {} is killed", duplicate.process);
        let mut checker = self.checker.borrow_mut();
        checker.mark_ended(duplicate.process);
        checker.mark_survivor(duplicate.process, self.core.is_some());
        checker.allow_leftovers(self.duplicate_leftover_time(duplicate.ttl));
        checker.extend_excuse(Duration::from_secs(5));
    }

    // --- the end -----------------------------------------------------------

    /// Ends all faults.
    fn end_faults(&mut self) {
        trace_line!("> the faults are over");
        panics::disarm();
        {
            let mut state = self.engine.0.borrow_mut();
            state.faults = super::docker::DockerFaults::default();
            // A stream that is silent for good is found out only by a change that it
            // doesn't tell of; with those there are none any more.
            if state.has_silent_stream() {
                state.cut_streams(false);
            }
            let mut etcd = self.etcd.borrow_mut();
            let mute = etcd.faults.mute.map(|_| Instant::now());
            etcd.faults = etcd::StoreFaults { mute, ..etcd::StoreFaults::default() };
        }
        self.end_duplicate();
        self.start();
    }

    /// Waits until nothing has an excuse any more: for what is under way, for TTLs of
    /// others, for stop signals that were survived.
    async fn wait_until_quiet(&mut self) {
        self.advance(Duration::from_secs(75)).await;
        while !self.is_over() {
            let (quiet_from, delayed_requests) =
                (self.checker.borrow().quiet_from(), self.etcd.borrow().delayed_requests);
            let now = Instant::now();
            if now >= quiet_from && delayed_requests == 0 && self.agenda.is_empty() {
                return;
            }
            self.advance(Duration::from_secs(1)).await;
        }
    }

    /// A minute in which nothing happens: nothing is written, and little is asked.
    async fn check_quiet_period(&mut self) {
        trace_line!("> quiet");
        let figures = |world: &World| {
            let (etcd, engine) = (world.etcd.borrow(), world.engine.0.borrow());
            (etcd.puts + etcd.deletes, etcd.refreshes, engine.lists, engine.inspections, etcd.reads)
        };
        let (changes, refreshes, lists, inspections, reads) = figures(self);
        self.advance(QUIET_PERIOD).await;
        let after = figures(self);
        let polls = QUIET_PERIOD.as_secs() / self.conditions.poll.as_secs();
        let every = (self.ttl / 3).min(Duration::from_secs(20)).as_secs_f64();
        let keys =
            self.checker.borrow().wanted_keys() as u64 + self.etcd.borrow().nodes.len() as u64;
        let rounds = (QUIET_PERIOD.as_secs_f64() / every * 1.3) as u64 + 2;
        let mut checker = self.checker.borrow_mut();
        if after.0 > changes {
            checker.report_violation("a quiet world is left alone", "something was written");
        }
        if after.1 - refreshes > keys * rounds || after.4 - reads > (keys + 1) * rounds * 2 {
            checker.report_violation("a quiet world is left alone", "etcd was asked too much");
        }
        // Who shares the network of one that isn't listed is looked at with each listing, and
        // with it what is between the two.
        let looked_at = (after.2 - lists) * self.unlisted_hops() as u64;
        if after.2 - lists > polls * 11 / 10 + 2 || after.3 - inspections > looked_at {
            let what =
                format!("{} listings, {} inspections", after.2 - lists, after.3 - inspections);
            checker.report_violation("a quiet world is left alone", &what);
        }
    }

    /// How many inspections one look costs at those who share a network by way of a container
    /// that isn't listed.
    fn unlisted_hops(&self) -> usize {
        let state = self.engine.0.borrow();
        let hops = |one: &SimContainer| {
            let (mut hops, mut network_owner, mut is_unlisted) = (1, Some(one), false);
            while let Some(NetworkSetup::SharedWith { number, .. }) =
                network_owner.map(|one| &one.net)
            {
                network_owner = state.containers.get(number);
                is_unlisted |= network_owner.is_none_or(|one| !one.is_listed());
                hops += 1;
            }
            if is_unlisted { hops } else { 0 }
        };
        state.containers.values().filter(|one| one.is_listed()).map(hops).sum()
    }

    /// Stops in order, which leaves nothing.
    async fn stop_and_check(&mut self) {
        self.stop(true);
        self.advance(STOP_GRACE + Duration::from_millis(100)).await;
        if self.is_stopping && !self.is_over() {
            self.checker
                .borrow_mut()
                .report_violation("a clean stop leaves nothing", "it never ended");
        }
        let (asked, inspecting) = (self.etcd.borrow().in_flight, self.engine.0.borrow().in_flight);
        if asked + inspecting > 0 && !self.is_over() {
            let what = format!("{asked} requests to etcd, {inspecting} to docker");
            self.checker.borrow_mut().report_violation("what has ended asks nothing", &what);
        }
    }
}

fn if_picked(picked: Option<usize>, act: impl FnOnce(usize)) {
    if let Some(number) = picked {
        act(number);
    }
}

fn foreign_value(port: u16) -> String {
    format!(r#"{{"host":"{OTHER_HOST}","port":{port}}}"#)
}

/// Another host that wants a key, keeps the rules, and refreshes what it holds.
struct Rival {
    key: String,
    until: Instant,
    lapses: bool,
}

impl Rival {
    fn act(self, world: &mut World) {
        let now = Instant::now();
        {
            let mut state = world.etcd.borrow_mut();
            state.tick();
            let own = RecordKey::from_path(&self.key);
            let hides = |other: &String| RecordKey::from_path(other).overlaps(&own);
            let is_free = !state.nodes.keys().any(|other| *other == self.key || hides(other));
            let value = foreign_value(9);
            let ends = etcd::NodeExpiry::At(now + Duration::from_secs(9));
            if now >= self.until {
                let holds = state.nodes.get(&self.key).is_some_and(|node| node.value == value);
                if holds && !self.lapses {
                    state.unset(&self.key, "its rival withdrew it");
                }
                return;
            }
            if is_free {
                count("keys that a rival took");
                state.set(&self.key, &value, ends, NodeOwner::Foreign);
            } else if let Some(node) =
                state.nodes.get_mut(&self.key).filter(|node| node.value == value)
            {
                node.expiry = ends;
            }
        }
        world.schedule(Duration::from_millis(150), |world| self.act(world));
    }
}
