//! The steps of a plan that are faults of Docker or etcd, or writes of other etcd clients.

use std::rc::Rc;
use std::time::Duration;

use highhock_actors::RecordKey;
use highhock_actors::model::publish_config::KeyLayout;
use tokio::time::Instant;

use super::World;
use crate::world::OTHER_HOST;
use crate::world::container::key_for_name;
use crate::world::docker::DockerFaults;
use crate::world::etcd::{ActiveFault, NodeExpiry, NodeOwner, StoreFault, StoreFaults};
use crate::world::panics;
use crate::world::plan::{SERVICE_NAMES, Step};
use crate::world::trace::{count, trace_line};

impl World {
    /// Applies a fault of Docker. Returns `false` for other steps.
    pub(super) fn apply_docker_step(&mut self, step: &Step) -> bool {
        let now = Instant::now();
        let mut state = self.engine.0.borrow_mut();
        match *step {
            Step::DockerAway { time, kills } => {
                drop(state);
                if kills {
                    // The containers end with the engine. Some start with it again.
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
            Step::ListingsSlow { time, by } => {
                state.faults.slow_listings = Some((now + time, by));
            }
            Step::DockerFails { time, percent } => {
                state.faults.failing = Some((now + time, percent))
            }
            Step::OtherEngine { time, listings } => {
                state.faults.other_engine = Some((now + time, listings))
            }
            Step::RowsUnnamed { time, remainder } => {
                state.faults.unnamed_rows = Some((now + time, remainder));
            }
            Step::ListingTruncated => {
                let own = self
                    .etcd
                    .borrow()
                    .model
                    .nodes
                    .values()
                    .filter(|node| node.owner != NodeOwner::Foreign)
                    .count();
                // Fewer records need no second listing (ARCHITECTURE.md, "Suspect listings").
                if own >= 16 && self.checker.borrow().wanted_keys() >= 16 {
                    state.faults.truncate_listing = true;
                }
            }
            Step::EventsLossy { time, lossy } => state.faults.lossy = Some((now + time, lossy)),
            Step::EventsCut { with_error } => state.cut_streams(with_error),
            Step::EventsSilent => state.silence_streams(),
            Step::ClockSetBack { by } => state.set_clock_back(by),
            _ => return false,
        }
        true
    }

    /// Applies a fault of etcd or a write of another client. Returns `false` for other steps.
    pub(super) fn apply_store_step(&mut self, step: &Step) -> bool {
        let now = Instant::now();
        let etcd = Rc::clone(&self.etcd);
        let mut state = etcd.borrow_mut();
        let checker = Rc::clone(&self.checker);
        match *step {
            Step::StoreFaulty { time, fault, percent } => {
                if fault == StoreFault::Refused && percent == 100 {
                    state.break_watches(true);
                }
                state.faults.requests = Some(ActiveFault { until: now + time, fault, percent });
            }
            Step::StoreSlow { time, by } => state.faults.slow = Some((now + time, by)),
            Step::LeaderChange { time } => {
                state.faults.requests =
                    Some(ActiveFault { until: now + time, fault: StoreFault::Any, percent: 100 });
                self.schedule(time, |world| world.etcd.borrow_mut().model.restart_leases());
            }
            Step::WatchCut { with_error } => {
                state.break_watches(with_error);
                checker.borrow_mut().mark_store_faulty();
            }
            Step::WatchMuted { time } => {
                state.model.muted_until = Some(now + time);
            }
            Step::Wiped => {
                state.model.wipe();
                checker.borrow_mut().mark_store_loss();
            }
            Step::LeaseExpires => {
                for id in state.model.leases.keys().copied().collect::<Vec<_>>() {
                    state.model.end_lease(id);
                }
                checker.borrow_mut().mark_store_loss();
            }
            Step::RivalWrites { name, time, lapses } => {
                let rival = Rival { key: self.foreign_key(name), until: now + time, lapses };
                drop(state);
                rival.act(self);
            }
            Step::ForeignEdit { pick, ttl } => {
                let own =
                    state.model.nodes.iter().filter(|(_, node)| node.owner != NodeOwner::Foreign);
                let own: Vec<_> = own.map(|(key, _)| key.clone()).collect();
                if !own.is_empty() {
                    let expiry = ttl.map_or(NodeExpiry::Never, |ttl| NodeExpiry::At(now + ttl));
                    state.model.set(
                        &own[pick % own.len()],
                        &foreign_value(1),
                        expiry,
                        NodeOwner::Foreign,
                    );
                }
            }
            Step::ForeignDelete { pick } => {
                let keys: Vec<_> = state.model.nodes.keys().cloned().collect();
                if !keys.is_empty() {
                    let key = &keys[pick % keys.len()];
                    state.model.remove(key, "deleted by another client");
                    checker.borrow_mut().mark_foreign_change(key);
                }
            }
            Step::StaticEntry { name, time } => {
                let key = self.foreign_key(name);
                let own = RecordKey::from_path(&key);
                let overlaps = |other: &String| RecordKey::from_path(other).overlaps(&own);
                if !state.model.nodes.keys().any(overlaps) {
                    state.model.set(&key, &foreign_value(2), NodeExpiry::Never, NodeOwner::Foreign);
                    self.schedule(time, move |world| {
                        let mut state = world.etcd.borrow_mut();
                        if state
                            .model
                            .nodes
                            .get(&key)
                            .is_some_and(|node| node.value == foreign_value(2))
                        {
                            state.model.remove(&key, "the static entry was removed");
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

    /// Ends all faults.
    pub(super) fn end_faults(&mut self) {
        trace_line!("> the faults are over");
        panics::disarm();
        {
            let mut state = self.engine.0.borrow_mut();
            state.faults = DockerFaults::default();
            // The core detects a silent stream only by a change without an event, and there are no
            // further changes.
            if state.has_silent_stream() {
                state.cut_streams(false);
            }
            let mut etcd = self.etcd.borrow_mut();
            etcd.model.muted_until = etcd.model.muted_until.map(|_| Instant::now());
            etcd.faults = StoreFaults::default();
        }
        self.end_duplicate();
        self.start();
    }
}

fn foreign_value(port: u16) -> String {
    format!(r#"{{"host":"{OTHER_HOST}","port":{port}}}"#)
}

/// Another host that wants a key. It follows the rules, and refreshes its record until it
/// withdraws the record or lets it lapse.
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
            state.model.advance_to_now();
            let own = RecordKey::from_path(&self.key);
            let overlaps = |other: &String| RecordKey::from_path(other).overlaps(&own);
            let is_free =
                !state.model.nodes.keys().any(|other| *other == self.key || overlaps(other));
            let value = foreign_value(9);
            let ends = NodeExpiry::At(now + Duration::from_secs(9));
            if now >= self.until {
                let is_holder =
                    state.model.nodes.get(&self.key).is_some_and(|node| node.value == value);
                if is_holder && !self.lapses {
                    state.model.remove(&self.key, "withdrawn by the rival");
                }
                return;
            }
            if is_free {
                count("keys taken by a rival");
                state.model.set(&self.key, &value, ends, NodeOwner::Foreign);
            } else if let Some(node) =
                state.model.nodes.get_mut(&self.key).filter(|node| node.value == value)
            {
                node.expiry = ends;
            }
        }
        world.schedule(Duration::from_millis(150), |world| self.act(world));
    }
}
