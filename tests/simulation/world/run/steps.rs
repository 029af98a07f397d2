//! The steps of a plan: applies each step, and the steps of containers and of the machine here.

use std::time::Duration;

use highhock_actors::{ContainerState, Health};
use tokio::time::Instant;

use super::{World, if_picked};
use crate::world::container::{NetworkSetup, SimContainer};
use crate::world::plan::{ContainerSpec, NetworkChoice, Step};
use crate::world::trace::trace_line;

impl World {
    pub(super) async fn apply_step(&mut self, step: &Step) {
        trace_line!("> {step:?}");
        match step {
            Step::Suspended { time } => {
                self.checker.borrow_mut().set_suspended(true);
                tokio::time::advance(*time).await;
                // A drain is not shortened by the suspension: its event arrives after the resume,
                // or its clock stood still.
                for container in self.engine.0.borrow_mut().containers.values_mut() {
                    container.stop_signal_at = container.stop_signal_at.map(|at| at + *time);
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
                checker.extend_exemption(Duration::from_secs(5));
            }
            _ if self.apply_container_step(step)
                || self.apply_docker_step(step)
                || self.apply_store_step(step) => {}
            _ => self.apply_daemon_step(step),
        }
        self.check();
    }

    /// Applies a step of a container. Returns `false` for other steps.
    fn apply_container_step(&mut self, step: &Step) -> bool {
        let pick = |pick: usize| self.engine.0.borrow().pick(pick);
        let engine = self.engine.clone();
        match step {
            Step::Run(spec) => {
                let container = self.create_container(spec);
                engine.act(|state, events| state.run(container, events));
            }
            Step::RunBriefly { spec, ends_after } => {
                let container = self.create_container(spec);
                let n = engine.act(|state, events| state.run(container, events));
                self.schedule(*ends_after, move |world| {
                    world.engine.act(|state, events| state.remove(n, events));
                });
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
            Step::StopAndStart { pick: n, ends_after, starts_after } => {
                let Some(n) = pick(*n) else { return true };
                engine.act(|state, events| state.signal(n, 15, events));
                self.schedule(*ends_after, move |world| {
                    world.engine.act(|state, events| state.stop(n, events));
                });
                self.schedule(*ends_after + *starts_after, move |world| {
                    world.engine.act(|state, events| state.restart(n, None, events));
                });
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
            // Restarts of a guest change only the coarse uptime of a listing. Without events, the
            // order of starts is therefore unknown, so a guest has names of its own.
            for (place, (name, _)) in services.iter_mut().enumerate() {
                *name = format!("guest{}-{place}", state.next_number());
            }
        }
        let host_port =
            |(place, (_, port)): (usize, &(String, u16))| (*port, spec.port + place as u16);
        SimContainer {
            number: 0,
            name: String::new(),
            ports: services.iter().enumerate().map(host_port).collect(),
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
            is_signal_unknown: false,
            last_changed: Instant::now(),
            last_interrupted: None,
            starts: Vec::new(),
        }
    }
}
