//! One run: a core between the simulated worlds, a plan carried out, and a judge who looks
//! at every step.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::{AddressOf, Layout, Method, Rules};
use highhock_actors::{
    Core, CoreSettings, Health, Host, LeaseFamily, Life, RecordKey, Stopped, Upkeep,
};
use tokio::time::{Instant, sleep_until};

use super::container::{Made, Net, key_of};
use super::docker::{Engine, Strike};
use super::etcd::{self, Bad, Owner};
use super::invariants::{Judge, Verdict};
use super::plan::{Conditions, Fall, NAMES, Plan, Recipe, Step, Tie};
use super::store::{LATEST_WRITE, Store};
use super::trace::{self, Lines, count, say};
use super::{HOST, OTHER_HOST, panics};

/// How often the judge looks, at the least.
const LOOK: Duration = Duration::from_millis(50);
/// How long the quiet at the end is watched.
const QUIET: Duration = Duration::from_secs(60);
/// What a clean stop may take.
const GRACE: Duration = Duration::from_secs(5);

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    pub verdict: Option<Verdict>,
    /// The last lines of its trace.
    pub lines: Vec<String>,
    /// Of all lines.
    pub digest: u64,
    pub counts: BTreeMap<String, u64>,
}

/// Carries out a plan, in simulated time.
pub fn run(plan: &Plan, lines: Lines) -> Outcome {
    fastrand::seed(plan.conditions.seed);
    // Paused from its very start: else the time that passes until it is paused would decide
    // on which side of a millisecond's end a timer falls.
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    actix_rt::System::with_tokio_rt(|| runtime().unwrap()).block_on(async {
        trace::begin(lines);
        panics::disarm();
        let mut world = World::new(plan.conditions);
        world.live(plan).await;
        trace::count_many("seconds simulated", world.begun.elapsed().as_secs());
        let verdict = world.judge.borrow().verdict.clone();
        drop(world);
        let (lines, digest, counts) = trace::end();
        let counts = counts.into_iter().map(|(what, many)| (what.to_owned(), many)).collect();
        let mut outcome = Outcome { verdict, lines, digest, counts };
        for (_, step) in &plan.steps {
            *outcome.counts.entry(format!("step {}", step.kind())).or_default() += 1;
        }
        outcome
    })
}

type Later = Box<dyn FnOnce(&mut World)>;

struct Running {
    core: Core<Engine, Store>,
    process: u32,
    ttl: Duration,
}

/// A process that was stopped in order.
struct HasStopped {
    stopped: Stopped,
    withdraw: bool,
    process: u32,
    ttl: Duration,
}

struct World {
    begun: Instant,
    conditions: Conditions,
    engine: Engine,
    etcd: Rc<RefCell<etcd::State>>,
    judge: Rc<RefCell<Judge>>,
    core: Option<Running>,
    twin: Option<Running>,
    /// What a stop in order came to, once it has.
    stopping: Rc<Cell<Option<HasStopped>>>,
    is_stopping: bool,
    ttl: Duration,
    processes: u32,
    agenda: BTreeMap<(Instant, u64), Later>,
    entries: u64,
    watcher_falls: u32,
}

impl World {
    fn new(conditions: Conditions) -> Self {
        let engine = Engine::new(conditions.seed);
        let denied = Rc::clone(&engine.0.borrow().denied);
        let judge = Rc::new(RefCell::new(Judge::new(conditions, denied)));
        let etcd =
            etcd::State::new(conditions.seed, conditions.upkeep, conditions.ttl, judge.clone());
        Self {
            begun: Instant::now(),
            conditions,
            engine,
            etcd: Rc::new(RefCell::new(etcd)),
            judge,
            core: None,
            twin: None,
            stopping: Rc::default(),
            is_stopping: false,
            ttl: conditions.ttl,
            processes: 0,
            agenda: BTreeMap::new(),
            entries: 0,
            watcher_falls: 0,
        }
    }

    async fn live(&mut self, plan: &Plan) {
        let begun = self.begun;
        say!("{:?}", self.conditions);
        let mut steps = plan.steps.iter().peekable();
        // What runs already when the core starts.
        while let Some((_, step)) = steps.next_if(|(at, _)| at.is_zero()) {
            self.take(step).await;
        }
        self.start();
        for (at, step) in steps {
            self.pass_until(begun + *at).await;
            if self.is_over() {
                return;
            }
            self.take(step).await;
        }
        self.pass_until(begun + plan.calm_from).await;
        self.calm_down();
        self.settle().await;
        if !self.is_over() {
            self.watch_the_quiet().await;
        }
        if !self.is_over() {
            self.end().await;
        }
    }

    fn is_over(&self) -> bool {
        self.judge.borrow().verdict.is_some()
    }

    // --- time --------------------------------------------------------------

    /// Lets time pass, does what is on the agenda, and has the judge look again and again.
    async fn pass_until(&mut self, end: Instant) {
        loop {
            self.look();
            let now = Instant::now();
            if now >= end || self.is_over() {
                return;
            }
            let next = self.agenda.first_key_value().map_or(end, |((at, _), _)| *at);
            sleep_until((now + LOOK).min(end).min(next)).await;
            // Nobody could do anything yet about what was sent in this very moment.
            if Instant::now() > now {
                self.look_at_sizes();
            }
            while let Some(entry) = self.agenda.first_entry() {
                if entry.key().0 > Instant::now() {
                    break;
                }
                entry.remove()(self);
            }
        }
    }

    async fn pass(&mut self, time: Duration) {
        self.pass_until(Instant::now() + time).await;
    }

    fn later(&mut self, wait: Duration, act: impl FnOnce(&mut World) + 'static) {
        self.entries += 1;
        self.agenda.insert((Instant::now() + wait, self.entries), Box::new(act));
    }

    fn look(&mut self) {
        let now = Instant::now();
        self.etcd.borrow_mut().tick();
        self.see_to_falls();
        self.see_to_stop();
        self.tell_of_ails(now);
        let due = {
            let state = self.engine.0.borrow();
            let drain = self.conditions.drain.filter(|_| self.conditions.events);
            let drain = drain.map(|drain| drain + super::docker::LATEST_EVENT);
            let all = state.containers.values();
            all.flat_map(|one| one.due(&state.containers, self.conditions.layout, drain)).collect()
        };
        let mut judge = self.judge.borrow_mut();
        judge.learn(due);
        judge.look(&self.etcd.borrow().nodes, self.core.is_some());
    }

    fn tell_of_ails(&mut self, now: Instant) {
        let mut judge = self.judge.borrow_mut();
        let engine = self.engine.0.borrow();
        let ails = &engine.ails;
        let lasts = |until: Option<Instant>| until.is_some_and(|until| now < until);
        if lasts(ails.away) || lasts(ails.slow.map(|it| it.0)) || lasts(ails.failing.map(|it| it.0))
        {
            judge.docker_is_bad();
        }
        if let Some((until, left)) = ails.stranger
            && now < until
        {
            // Once it is listed twice it may be believed. And of two that ask, each may get the
            // answer that was meant to warn the other.
            if left > 1 || self.twin.is_some() {
                judge.docker_lies()
            } else {
                judge.docker_is_bad()
            }
        }
        let etcd = self.etcd.borrow();
        let ails = &etcd.ails;
        if lasts(ails.bad.map(|it| it.0)) || lasts(ails.slow.map(|it| it.0)) || lasts(ails.mute) {
            judge.store_is_bad();
        }
        if let Some(twin) = &self.twin {
            judge.forgive_leftovers(self.after_a_twin(twin.ttl));
        }
    }

    /// What a twin puts that nobody wants stands until an audit and a listing after its end
    /// on v3; on v2 until its TTL ends.
    fn after_a_twin(&self, ttl: Duration) -> Duration {
        match self.conditions.upkeep {
            Upkeep::Each => ttl + LATEST_WRITE,
            Upkeep::Lease => Duration::from_secs(60) + LATEST_WRITE + self.conditions.poll,
        }
    }

    fn see_to_falls(&mut self) {
        if panics::take_unasked() {
            self.judge.borrow_mut().break_promise("no actor falls by itself", "it panicked");
        }
        let fallen = panics::take_fallen();
        if fallen > 0 {
            self.watcher_falls += fallen;
            // A watcher comes back after 4 s, 16 s, a minute; all others within two seconds.
            let respawn = 4 * 4_u64.pow(self.watcher_falls.min(3) - 1);
            let mut judge = self.judge.borrow_mut();
            let excuse = judge.one_poll() + Duration::from_secs(respawn);
            judge.excuse(excuse);
            judge.core_is_absent();
        }
        let Some(running) = &self.core else { return };
        if let Some(actor) = running.core.exhausted().now_or_never() {
            say!("! {actor} is exhausted");
            if self.watcher_falls < 5 {
                let mut judge = self.judge.borrow_mut();
                judge.break_promise("no actor falls by itself", actor);
            }
            self.kill(Duration::from_secs(1));
        }
    }

    fn look_at_sizes(&mut self) {
        let Some(running) = &self.core else { return };
        let cores = 1 + usize::from(self.twin.is_some());
        let (containers, inspecting, asked) = {
            let state = self.engine.0.borrow();
            (state.containers.len(), state.inspecting, state.asked)
        };
        let mut judge = self.judge.borrow_mut();
        for meter in running.core.meters() {
            // One message of each sender, and what a flood left a moment ago.
            let bound = (64 + 4 * containers * cores) as u64;
            if meter.depth > bound {
                judge.break_promise(
                    "mailboxes stay bounded",
                    &format!("{} has {}", meter.actor, meter.depth),
                );
            }
        }
        if inspecting > 8 * cores || asked > (8 + 3) * cores {
            let what = format!("{inspecting} inspections, {asked} questions in all");
            judge.break_promise("docker is asked a bounded number of things at a time", &what);
        }
    }

    // --- the daemon --------------------------------------------------------

    fn settings(&self) -> CoreSettings {
        CoreSettings {
            rules: Rules {
                prefix: "skydns".into(),
                domain: DomainName::parse("skydns.local").unwrap(),
                layout: self.conditions.layout,
                hostname: "node1".into(),
                address: AddressOf::Host,
                host: Host::parse(HOST).unwrap(),
                host6: None,
                ttl: NonZeroU32::new(60).unwrap(),
                methods: vec![Method::Env, Method::Label],
                compose_project: false,
                health: true,
                text_beside_name: true,
            },
            ttl: self.ttl,
            family: LeaseFamily::new(7),
            poll: self.conditions.poll,
            look: self.conditions.poll,
            events: self.conditions.events,
            drain: self.conditions.drain,
        }
    }

    fn launch(&mut self) -> Running {
        self.processes += 1;
        let process = self.processes;
        say!("! process {process} starts");
        let store = Store { state: self.etcd.clone(), process };
        let core = Core::start(
            self.settings(),
            self.engine.for_a_process(),
            store,
            &panics::logger(process),
        );
        Running { core, process, ttl: self.ttl }
    }

    fn start(&mut self) {
        if self.core.is_some() || self.is_stopping {
            return;
        }
        self.core = Some(self.launch());
        self.watcher_falls = 0;
        let mut judge = self.judge.borrow_mut();
        judge.excuse(Duration::from_secs(5));
        judge.core_is_absent();
    }

    /// What stays after a process that ends: on v2 for a TTL, as the next one looks only at
    /// the keys that it wants; on v3 the next one finds it.
    fn after_an_end(&self, ttl: Duration) -> Duration {
        match self.conditions.upkeep {
            Upkeep::Each => ttl + LATEST_WRITE + Duration::from_secs(1),
            Upkeep::Lease => Duration::ZERO,
        }
    }

    fn kill(&mut self, down: Duration) {
        let Some(running) = self.core.take() else { return };
        say!("! process {} is killed", running.process);
        let mut judge = self.judge.borrow_mut();
        judge.died(running.process);
        judge.forgive_leftovers(self.after_an_end(running.ttl));
        drop(judge);
        drop(running);
        self.later(down, World::start);
    }

    fn stop(&mut self, withdraw: bool) {
        let Some(running) = self.core.take() else { return };
        say!("! process {} is stopped, withdraw: {withdraw}", running.process);
        self.is_stopping = true;
        if withdraw {
            self.judge.borrow_mut().withdraws(running.process);
        }
        let stopping = Rc::clone(&self.stopping);
        actix_rt::spawn(async move {
            let Running { core, process, ttl } = running;
            let stopped = core.stop(withdraw, GRACE).await;
            stopping.set(Some(HasStopped { stopped, withdraw, process, ttl }));
        });
    }

    /// Looks at a stop in order that has come to its end.
    fn see_to_stop(&mut self) {
        let Some(has_stopped) = self.stopping.take() else { return };
        let HasStopped { stopped, withdraw, process, ttl } = has_stopped;
        say!("! process {process} has stopped: {stopped:?}");
        self.is_stopping = false;
        let mut judge = self.judge.borrow_mut();
        judge.died(process);
        judge.forgive_leftovers(self.after_an_end(ttl));
        let etcd = self.etcd.borrow();
        let is_ours = |node: &&etcd::Node| node.owner == Owner::Us(process);
        let left = etcd.nodes.values().filter(is_ours).count();
        // A write in doubt may land after the stop.
        if withdraw
            && stopped == Stopped::Clean
            && left > 0
            && judge.is_store_sure()
            && self.twin.is_none()
        {
            judge.break_promise("a clean stop leaves nothing", &format!("{:?}", etcd.nodes));
        }
    }

    // --- steps -------------------------------------------------------------

    async fn take(&mut self, step: &Step) {
        say!("> {step:?}");
        match step {
            Step::Suspended { time } => {
                self.judge.borrow_mut().core_sleeps(true);
                tokio::time::advance(*time).await;
                // Who drains does so for as long as before: it was heard of after the sleep, or
                // is timed by a clock that stood still.
                for one in self.engine.0.borrow_mut().containers.values_mut() {
                    one.signalled = one.signalled.map(|at| at + *time);
                }
                self.judge.borrow_mut().core_sleeps(false);
                if let Some(running) = &self.core {
                    running.core.check_now();
                }
                if let Some(running) = &self.twin {
                    running.core.check_now();
                }
                let mut judge = self.judge.borrow_mut();
                judge.core_is_absent();
                judge.excuse(Duration::from_secs(5));
            }
            _ if self.life_goes_on(step) || self.docker_ails(step) || self.store_ails(step) => {}
            _ => self.daemon_ails(step),
        }
        self.look();
    }

    /// What containers do.
    fn life_goes_on(&mut self, step: &Step) -> bool {
        let pick = |pick: usize| self.engine.0.borrow().pick(pick);
        let engine = self.engine.clone();
        match step {
            Step::Run(recipe) => {
                let made = self.make(recipe);
                engine.act(|state, told| state.run(made, told));
            }
            Step::Stop(n) => with(pick(*n), |n| engine.act(|state, told| state.stop(n, told))),
            Step::Remove(n) => with(pick(*n), |n| engine.act(|state, told| state.remove(n, told))),
            Step::Restart(n, port) => {
                with(pick(*n), |n| engine.act(|state, told| state.restart(n, *port, told)));
            }
            Step::CrashLoop { pick: n, times, every } => {
                let Some(n) = pick(*n) else { return true };
                for time in 0..*times {
                    self.later(*every * time, move |world| {
                        world.engine.act(|state, told| state.restart(n, None, told));
                    });
                }
            }
            Step::Freeze(n) => with(pick(*n), |n| engine.act(|state, told| state.freeze(n, told))),
            Step::Health(n, health) => {
                with(pick(*n), |n| engine.act(|state, told| state.set_health(n, *health, told)));
            }
            Step::Rename(n, name) => {
                let name = format!("renamed-{name}");
                with(pick(*n), |n| engine.act(|state, told| state.rename(n, &name, told)));
            }
            Step::Signal { pick: n, signal, ends_after } => {
                let (Some(n), signal) = (pick(*n), *signal) else { return true };
                engine.act(|state, told| state.signal(n, signal, told));
                if let Some(wait) = ends_after {
                    self.later(*wait, move |world| {
                        world.engine.act(|state, told| state.stop(n, told));
                    });
                }
            }
            Step::Burst(times) => {
                for n in 0..*times {
                    with(pick(n), |n| {
                        engine.act(|state, told| match n % 3 {
                            0 => state.restart(n, None, told),
                            _ => state.tell_nothing_new(n, told),
                        });
                    });
                }
            }
            _ => return false,
        }
        true
    }

    fn make(&self, recipe: &Recipe) -> Made {
        let state = self.engine.0.borrow();
        let net = match recipe.net {
            Tie::Own => Net::Own,
            Tie::Host => Net::Host,
            Tie::Of { pick, by_name } => match state.pick(pick) {
                Some(number) => Net::Of { number, by_name },
                None => Net::Own,
            },
        };
        let mut services = recipe.services.clone();
        if matches!(net, Net::Of { .. }) {
            // Its restarts show in no listing but for the uptime, which is coarse: who started
            // first is then not to be seen without events. So its names are its own.
            for (place, (name, _)) in services.iter_mut().enumerate() {
                *name = format!("guest{}-{place}", state.next_number());
            }
        }
        let outside =
            |(place, (_, port)): (usize, &(String, u16))| (*port, recipe.port + place as u16);
        Made {
            number: 0,
            name: String::new(),
            ports: services.iter().enumerate().map(outside).collect(),
            services,
            net,
            life: Life::Created,
            health: if recipe.is_checked { Health::Starting } else { Health::Unchecked },
            ignores_health: recipe.ignores_health,
            ignores_drain: recipe.ignores_drain,
            priority: recipe.priority,
            stop_signal: recipe.stop_signal,
            started: 0,
            up_since: Instant::now(),
            endpoint: 0,
            signalled: None,
            touched: Instant::now(),
        }
    }

    /// What goes wrong with Docker.
    fn docker_ails(&mut self, step: &Step) -> bool {
        let now = Instant::now();
        let mut state = self.engine.0.borrow_mut();
        match *step {
            Step::DockerAway { time, kills } => {
                drop(state);
                if kills {
                    // The engine ends its containers as it ends; some start again with it.
                    let all: Vec<_> = self.engine.0.borrow().containers.keys().copied().collect();
                    for n in all {
                        self.engine.act(|state, told| state.stop(n, told));
                        if n % 2 == 0 {
                            self.later(time, move |world| {
                                world.engine.act(|state, told| state.restart(n, None, told));
                            });
                        }
                    }
                }
                let mut state = self.engine.0.borrow_mut();
                state.cut_streams(true);
                state.ails.away = Some(now + time);
            }
            Step::DockerSlow { time, by } => state.ails.slow = Some((now + time, by)),
            Step::DockerFails { time, share } => state.ails.failing = Some((now + time, share)),
            Step::Stranger { time, listings } => state.ails.stranger = Some((now + time, listings)),
            Step::ListingCut => {
                let ours = self
                    .etcd
                    .borrow()
                    .nodes
                    .values()
                    .filter(|node| node.owner != Owner::Other)
                    .count();
                // Fewer records need no second listing (SPEC 4).
                if ours >= 16 && self.judge.borrow().wanted() >= 16 {
                    state.ails.cut_listing = true;
                }
            }
            Step::EventsLossy { time, lossy } => state.ails.lossy = Some((now + time, lossy)),
            Step::EventsCut { with_error } => state.cut_streams(with_error),
            Step::EventsSilent => state.silence(),
            _ => return false,
        }
        true
    }

    /// What goes wrong with etcd, and what others do there.
    fn store_ails(&mut self, step: &Step) -> bool {
        let now = Instant::now();
        let etcd = Rc::clone(&self.etcd);
        let mut state = etcd.borrow_mut();
        let judge = Rc::clone(&self.judge);
        match *step {
            Step::StoreBad { time, bad, share } => {
                if bad == Bad::Refused && share == 100 {
                    state.cut_watches(true);
                }
                state.ails.bad = Some((now + time, bad, share));
            }
            Step::StoreSlow { time, by } => state.ails.slow = Some((now + time, by)),
            Step::LeaderChange { time } => {
                state.ails.bad = Some((now + time, Bad::Any, 100));
                self.later(time, |world| world.etcd.borrow_mut().change_leader());
            }
            Step::WatchCut { with_error } => {
                state.cut_watches(with_error);
                judge.borrow_mut().store_is_bad();
            }
            Step::WatchMute { time } => {
                state.ails.mute = Some(now + time);
            }
            Step::Wiped => {
                state.wipe();
                judge.borrow_mut().store_is_bad();
            }
            Step::LeaseEnds => {
                for id in state.leases.keys().copied().collect::<Vec<_>>() {
                    state.end_lease(id);
                }
                judge.borrow_mut().store_is_bad();
            }
            Step::OtherRaces { name, time, lapses } => {
                let rival = Rival { key: self.others_key(name), until: now + time, lapses };
                drop(state);
                rival.act(self);
            }
            Step::OtherEdits { pick, ttl } => {
                let ours = state.nodes.iter().filter(|(_, node)| node.owner != Owner::Other);
                let ours: Vec<_> = ours.map(|(key, _)| key.clone()).collect();
                if !ours.is_empty() {
                    let life = ttl.map_or(etcd::Life::Static, |ttl| etcd::Life::Until(now + ttl));
                    state.set(&ours[pick % ours.len()], &foreign(1), life, Owner::Other);
                }
            }
            Step::OtherDeletes { pick } => {
                let keys: Vec<_> = state.nodes.keys().cloned().collect();
                if !keys.is_empty() {
                    let key = &keys[pick % keys.len()];
                    state.unset(key, "another deleted it");
                    judge.borrow_mut().touched(key);
                }
            }
            Step::Static { name, time } => {
                let key = self.others_key(name);
                let own = RecordKey::from_path(&key);
                let hides =
                    |other: &String| RecordKey::from_path(other).hides_or_is_hidden_by(&own);
                if !state.nodes.keys().any(hides) {
                    state.set(&key, &foreign(2), etcd::Life::Static, Owner::Other);
                    self.later(time, move |world| {
                        let mut state = world.etcd.borrow_mut();
                        if state.nodes.get(&key).is_some_and(|node| node.value == foreign(2)) {
                            state.unset(&key, "the static entry was removed");
                        }
                    });
                }
            }
            _ => return false,
        }
        true
    }

    fn others_key(&self, name: usize) -> String {
        let key = key_of(NAMES[name]);
        match self.conditions.layout {
            Layout::Flat => key,
            Layout::Instance => format!("{key}/node9-0-80"),
        }
    }

    /// What goes wrong with the daemon.
    fn daemon_ails(&mut self, step: &Step) {
        match *step {
            Step::Falls(fall) => match fall {
                // A process that falls too often ends, which others here are about.
                _ if self.watcher_falls >= 3 => {}
                Fall::AtList => self.engine.0.borrow_mut().ails.strike = Some(Strike::List),
                Fall::AtInspect => self.engine.0.borrow_mut().ails.strike = Some(Strike::Inspect),
                Fall::AtWrite => self.etcd.borrow_mut().ails.strike = true,
                Fall::OfRegistry => {
                    self.engine.0.borrow_mut().ails.strike = Some(Strike::Inspect);
                    panics::arm_at("a container's watcher panicked");
                }
                Fall::AtLog(actor, lines) => panics::arm(actor, lines),
            },
            Step::Flood(times) => {
                let Some(running) = &self.core else { return };
                for _ in 0..times {
                    running.core.poll_now();
                }
                for n in 0..times as usize {
                    let pick = self.engine.0.borrow().pick(n);
                    with(pick, |n| self.engine.act(|state, told| state.tell_nothing_new(n, told)));
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
                self.later(GRACE + down, World::start);
            }
            Step::Twin { time } => {
                if self.core.is_none() || self.twin.is_some() {
                    return;
                }
                self.twin = Some(self.launch());
                self.judge.borrow_mut().core_is_absent();
                self.later(time, World::end_twin);
            }
            Step::CheckNow => {
                if let Some(running) = &self.core {
                    running.core.check_now();
                }
            }
            ref other => unreachable!("{other:?}"),
        }
    }

    fn end_twin(&mut self) {
        let Some(twin) = self.twin.take() else { return };
        say!("! process {} is killed", twin.process);
        let mut judge = self.judge.borrow_mut();
        judge.died(twin.process);
        judge.leaves_survivor(twin.process, self.core.is_some());
        judge.forgive_leftovers(self.after_a_twin(twin.ttl));
        judge.excuse(Duration::from_secs(5));
    }

    // --- the end -----------------------------------------------------------

    /// Ends all faults.
    fn calm_down(&mut self) {
        say!("> the faults are over");
        panics::disarm();
        {
            let mut state = self.engine.0.borrow_mut();
            state.ails = super::docker::Ails::default();
            // A stream that is silent for good is found out only by a change that it
            // doesn't tell of; with those there are none any more.
            if state.has_silent_stream() {
                state.cut_streams(false);
            }
            let mut etcd = self.etcd.borrow_mut();
            let mute = etcd.ails.mute.map(|_| Instant::now());
            etcd.ails = etcd::Ails { mute, ..etcd::Ails::default() };
        }
        self.end_twin();
        self.start();
    }

    /// Waits until nothing has an excuse any more: for what is under way, for TTLs of
    /// others, for stop signals that were survived.
    async fn settle(&mut self) {
        self.pass(Duration::from_secs(75)).await;
        while !self.is_over() {
            let (calm_from, on_their_way) =
                (self.judge.borrow().calm_from(), self.etcd.borrow().on_their_way);
            let now = Instant::now();
            if now >= calm_from && on_their_way == 0 && self.agenda.is_empty() {
                return;
            }
            self.pass(Duration::from_secs(1)).await;
        }
    }

    /// A minute in which nothing happens: nothing is written, and little is asked.
    async fn watch_the_quiet(&mut self) {
        say!("> quiet");
        let figures = |world: &World| {
            let (etcd, engine) = (world.etcd.borrow(), world.engine.0.borrow());
            (etcd.puts + etcd.deletes, etcd.refreshes, engine.lists, engine.inspections, etcd.reads)
        };
        let (changes, refreshes, lists, inspections, reads) = figures(self);
        self.pass(QUIET).await;
        let after = figures(self);
        let polls = QUIET.as_secs() / self.conditions.poll.as_secs();
        let every = (self.ttl / 3).min(Duration::from_secs(20)).as_secs_f64();
        let keys = self.judge.borrow().wanted() as u64 + self.etcd.borrow().nodes.len() as u64;
        let rounds = (QUIET.as_secs_f64() / every * 1.3) as u64 + 2;
        let mut judge = self.judge.borrow_mut();
        if after.0 > changes {
            judge.break_promise("a quiet world is left alone", "something was written");
        }
        if after.1 - refreshes > keys * rounds || after.4 - reads > (keys + 1) * rounds * 2 {
            judge.break_promise("a quiet world is left alone", "etcd was asked too much");
        }
        // Who shares the network of one that isn't listed is looked at with each listing, and
        // with it what is between the two.
        let looked_at = (after.2 - lists) * self.unlisted_hops() as u64;
        if after.2 - lists > polls * 11 / 10 + 2 || after.3 - inspections > looked_at {
            let what =
                format!("{} listings, {} inspections", after.2 - lists, after.3 - inspections);
            judge.break_promise("a quiet world is left alone", &what);
        }
    }

    /// How many inspections one look costs at those who share a network by way of a container
    /// that isn't listed.
    fn unlisted_hops(&self) -> usize {
        let state = self.engine.0.borrow();
        let hops = |one: &Made| {
            let (mut hops, mut bearer, mut is_unlisted) = (1, Some(one), false);
            while let Some(Net::Of { number, .. }) = bearer.map(|one| &one.net) {
                bearer = state.containers.get(number);
                is_unlisted |= bearer.is_none_or(|one| !one.is_listed());
                hops += 1;
            }
            if is_unlisted { hops } else { 0 }
        };
        state.containers.values().filter(|one| one.is_listed()).map(hops).sum()
    }

    /// Stops in order, which leaves nothing.
    async fn end(&mut self) {
        self.stop(true);
        self.pass(GRACE + Duration::from_millis(100)).await;
        if self.is_stopping && !self.is_over() {
            self.judge.borrow_mut().break_promise("a clean stop leaves nothing", "it never ended");
        }
        let (asked, inspecting) = (self.etcd.borrow().asked, self.engine.0.borrow().asked);
        if asked + inspecting > 0 && !self.is_over() {
            let what = format!("{asked} requests to etcd, {inspecting} to docker");
            self.judge.borrow_mut().break_promise("what has ended asks nothing", &what);
        }
    }
}

fn with(picked: Option<usize>, act: impl FnOnce(usize)) {
    if let Some(number) = picked {
        act(number);
    }
}

fn foreign(port: u16) -> String {
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
            let hides = |other: &String| RecordKey::from_path(other).hides_or_is_hidden_by(&own);
            let is_free = !state.nodes.keys().any(|other| *other == self.key || hides(other));
            let value = foreign(9);
            let ends = etcd::Life::Until(now + Duration::from_secs(9));
            if now >= self.until {
                let holds = state.nodes.get(&self.key).is_some_and(|node| node.value == value);
                if holds && !self.lapses {
                    state.unset(&self.key, "its rival withdrew it");
                }
                return;
            }
            if is_free {
                count("keys that a rival took");
                state.set(&self.key, &value, ends, Owner::Other);
            } else if let Some(node) =
                state.nodes.get_mut(&self.key).filter(|node| node.value == value)
            {
                node.life = ends;
            }
        }
        world.later(Duration::from_millis(150), |world| self.act(world));
    }
}
