//! The HighHock processes of a run: start, kill, clean stop and the faults of a process.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::{AddressOwner, DiscoveryMethod, PublishConfig};
use highhock_actors::{
    CarriedState, Core, CoreSettings, Host, KeepAliveMode, LeaseNamespace, Shutdown,
};

use super::{STOP_GRACE, World, if_picked};
use crate::world::docker::{EnginePanic, SimEngine};
use crate::world::etcd::{Node, NodeOwner};
use crate::world::plan::{InjectedPanic, Step};
use crate::world::store::{SimStore, WRITE_DELAY_MAX};
use crate::world::trace::{count, trace_line};
use crate::world::{HOST, panics};

/// The longest duration of the stop before a reload.
const HANDOVER_GRACE: Duration = Duration::from_millis(500);

pub(super) struct RunningCore {
    pub(super) core: Core<SimEngine, SimStore>,
    process: u32,
    pub(super) ttl: Duration,
}

/// The result of a clean stop.
pub(super) struct StoppedCore {
    stopped: Shutdown,
    withdraw: bool,
    process: u32,
    ttl: Duration,
    /// The state for the next core of this process, if the process was reloaded.
    carried_state: Option<CarriedState>,
}

impl World {
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
        trace_line!("! process {} starts", self.processes);
        self.build_core(self.processes, CarriedState::default())
    }

    fn build_core(&self, process: u32, carried_state: CarriedState) -> RunningCore {
        let store = SimStore { state: self.etcd.clone(), process };
        let (engine, log) = (self.engine.for_process(), panics::logger(process));
        let core = Core::resume(self.settings(), engine, store, carried_state, &log);
        self.checker.borrow_mut().mark_started(self.ttl);
        RunningCore { core, process, ttl: self.ttl }
    }

    pub(super) fn start(&mut self) {
        if self.core.is_some() || self.is_stopping {
            return;
        }
        let running = self.launch();
        self.set_running(running);
    }

    fn set_running(&mut self, running: RunningCore) {
        self.core = Some(running);
        self.watcher_panics = 0;
        let mut checker = self.checker.borrow_mut();
        checker.extend_exemption(Duration::from_secs(5));
        checker.mark_core_absent();
    }

    /// Returns the time for which records of an ended process may be left over. With v2, the next
    /// process reads only the keys that it wants, so other records expire with their TTL. With v3,
    /// the next process finds all records by the lease.
    pub(super) fn leftover_time(&self, ttl: Duration) -> Duration {
        match self.conditions.keep_alive_mode {
            KeepAliveMode::PerRecord => ttl + WRITE_DELAY_MAX + Duration::from_secs(1),
            KeepAliveMode::Lease => Duration::ZERO,
        }
    }

    pub(super) fn kill(&mut self, down: Duration) {
        let Some(running) = self.core.take() else { return };
        trace_line!("! process {} is killed", running.process);
        let mut checker = self.checker.borrow_mut();
        checker.mark_ended(running.process);
        checker.allow_leftovers(self.leftover_time(running.ttl));
        drop(checker);
        drop(running);
        self.schedule(down, World::start);
    }

    pub(super) fn stop(&mut self, withdraw: bool) {
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
            let carried_state = None;
            stopping.set(Some(StoppedCore { stopped, withdraw, process, ttl, carried_state }));
        });
    }

    /// Replaces the core by another one in the same process, as a reload does.
    fn reload(&mut self) {
        let Some(running) = self.core.take() else { return };
        trace_line!("! process {} is reloaded", running.process);
        self.is_stopping = true;
        let stopping = Rc::clone(&self.stopping);
        actix_rt::spawn(async move {
            let RunningCore { core, process, ttl } = running;
            let stopped = core.stop(false, HANDOVER_GRACE).await;
            let carried_state = Some(core.carried_state());
            let withdraw = false;
            stopping.set(Some(StoppedCore { stopped, withdraw, process, ttl, carried_state }));
        });
    }

    /// Checks the result of a clean stop that has ended.
    pub(super) fn check_stop(&mut self) {
        let Some(stopped_core) = self.stopping.take() else { return };
        let StoppedCore { stopped, withdraw, process, ttl, carried_state } = stopped_core;
        trace_line!("! process {process} has stopped: {stopped:?}");
        self.is_stopping = false;
        if let Some(carried_state) = carried_state {
            let running = self.build_core(process, carried_state);
            self.set_running(running);
            return;
        }
        let mut checker = self.checker.borrow_mut();
        checker.mark_ended(process);
        checker.allow_leftovers(self.leftover_time(ttl));
        let etcd = self.etcd.borrow();
        let is_own = |node: &&Node| node.owner == NodeOwner::Own(process);
        let left = etcd.model.nodes.values().filter(is_own).count();
        // An uncertain write may be applied after the stop.
        if withdraw
            && stopped == Shutdown::Clean
            && left > 0
            && checker.is_store_settled()
            && self.duplicate.is_none()
        {
            checker.report_violation(
                "a withdrawing stop leaves no record",
                &format!("{:?}", etcd.model.nodes),
            );
        }
    }

    /// Applies a fault of the daemon.
    pub(super) fn apply_daemon_step(&mut self, step: &Step) {
        match *step {
            Step::Panic(panic) => match panic {
                // More crashes would end the process, which other steps simulate.
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
                    panics::arm_at_message("container watcher crashed");
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
                count("message floods");
            }
            Step::Killed { down } => self.kill(down),
            Step::Restarted { withdraw, down, ttl } => {
                self.stop(withdraw);
                if let Some(ttl) = ttl {
                    self.ttl = ttl;
                    self.etcd.borrow_mut().model.observer.ttl = ttl;
                }
                self.schedule(STOP_GRACE + down, World::start);
            }
            Step::Reloaded => self.reload(),
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

    pub(super) fn end_duplicate(&mut self) {
        let Some(duplicate) = self.duplicate.take() else { return };
        trace_line!("! process {} is killed", duplicate.process);
        let mut checker = self.checker.borrow_mut();
        checker.mark_ended(duplicate.process);
        checker.mark_survivor(duplicate.process, self.core.is_some());
        checker.allow_leftovers(self.duplicate_leftover_time(duplicate.ttl));
        checker.extend_exemption(Duration::from_secs(5));
    }

    /// Returns the time for which undesired records of a duplicate process may be left over. With
    /// v3, an audit and a listing after its end withdraw the records. With v2, they expire.
    pub(super) fn duplicate_leftover_time(&self, ttl: Duration) -> Duration {
        match self.conditions.keep_alive_mode {
            KeepAliveMode::PerRecord => ttl + WRITE_DELAY_MAX,
            KeepAliveMode::Lease => {
                Duration::from_secs(60) + WRITE_DELAY_MAX + self.conditions.poll
            }
        }
    }
}
