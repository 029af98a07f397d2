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
    /// What goes wrong with Docker.
    pub(super) fn apply_docker_step(&mut self, step: &Step) -> bool {
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
                    .model
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
    pub(super) fn apply_store_step(&mut self, step: &Step) -> bool {
        let now = Instant::now();
        let etcd = Rc::clone(&self.etcd);
        let mut state = etcd.borrow_mut();
        let checker = Rc::clone(&self.checker);
        match *step {
            Step::StoreFaulty { time, bad, share } => {
                if bad == StoreFault::Refused && share == 100 {
                    state.break_watches(true);
                }
                state.faults.bad =
                    Some(ActiveFault { until: now + time, fault: bad, percent: share });
            }
            Step::StoreSlow { time, by } => state.faults.slow = Some((now + time, by)),
            Step::LeaderChange { time } => {
                state.faults.bad =
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
                checker.borrow_mut().mark_store_faulty();
            }
            Step::LeaseExpires => {
                for id in state.model.leases.keys().copied().collect::<Vec<_>>() {
                    state.model.end_lease(id);
                }
                checker.borrow_mut().mark_store_faulty();
            }
            Step::RivalWrites { name, time, lapses } => {
                let rival = Rival { key: self.foreign_key(name), until: now + time, lapses };
                drop(state);
                rival.act(self);
            }
            Step::ForeignEdit { pick, ttl } => {
                let ours =
                    state.model.nodes.iter().filter(|(_, node)| node.owner != NodeOwner::Foreign);
                let ours: Vec<_> = ours.map(|(key, _)| key.clone()).collect();
                if !ours.is_empty() {
                    let expiry = ttl.map_or(NodeExpiry::Never, |ttl| NodeExpiry::At(now + ttl));
                    state.model.set(
                        &ours[pick % ours.len()],
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
                    state.model.remove(key, "another deleted it");
                    checker.borrow_mut().mark_foreign_change(key);
                }
            }
            Step::StaticEntry { name, time } => {
                let key = self.foreign_key(name);
                let own = RecordKey::from_path(&key);
                let hides = |other: &String| RecordKey::from_path(other).overlaps(&own);
                if !state.model.nodes.keys().any(hides) {
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
            // A stream that is silent for good is found out only by a change that it
            // doesn't tell of; with those there are none any more.
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
            state.model.advance_to_now();
            let own = RecordKey::from_path(&self.key);
            let hides = |other: &String| RecordKey::from_path(other).overlaps(&own);
            let is_free = !state.model.nodes.keys().any(|other| *other == self.key || hides(other));
            let value = foreign_value(9);
            let ends = NodeExpiry::At(now + Duration::from_secs(9));
            if now >= self.until {
                let holds =
                    state.model.nodes.get(&self.key).is_some_and(|node| node.value == value);
                if holds && !self.lapses {
                    state.model.remove(&self.key, "its rival withdrew it");
                }
                return;
            }
            if is_free {
                count("keys that a rival took");
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
