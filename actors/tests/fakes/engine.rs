//! [`Engine`]: a Docker engine with containers, events and faults set by a test.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    Container, ContainerId, ContainerListing, ContainerSource, ContainerState, ContainerSummary,
    EngineIdentity, EngineTime, Event, EventKind, EventStream, Health, NetworkMode, PortBinding,
    Protocol, SourceError, SourceErrorKind, UnreadableRow,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Returns the id of container number `n`.
pub fn id(n: usize) -> String {
    format!("{n:012x}{n:052x}")
}

/// Returns a container that offers a service of its name on port 80, published on port 8000 + `n`.
/// Containers with a lower `n` started earlier.
pub fn container(name: &str, n: usize) -> Container {
    Container {
        id: ContainerId::new(&id(n)),
        name: name.into(),
        state: ContainerState::Running,
        health: Health::Unchecked,
        started: EngineTime(1_000 + n as i128),
        restarts: 0,
        exit_code: 0,
        env: BTreeMap::from([("DISCOVER".into(), format!("{name}:80"))]),
        labels: BTreeMap::new(),
        network: NetworkMode::Own,
        bindings: vec![PortBinding {
            port: 80,
            proto: Protocol::Tcp,
            host_address: "0.0.0.0".parse().unwrap(),
            host_port: 8000 + n as u16,
        }],
        exposed: vec![(80, Protocol::Tcp)],
        requested: Vec::new(),
        shared_ports: None,
        networks: BTreeMap::new(),
        image: "highhock-test".into(),
        stop_signal: 15,
        fingerprint: 0,
    }
}

#[derive(Default)]
struct State {
    containers: BTreeMap<String, Container>,
    /// The network endpoint of each container, by id. Part of the fingerprint.
    endpoint_ids: BTreeMap<String, u64>,
    unavailable: bool,
    refuses_events: bool,
    lists: usize,
    inspections: Vec<String>,
    list_takes: Duration,
    inspect_takes: Duration,
    /// The containers that are inspected more slowly than others, by name.
    slow_inspections: BTreeMap<String, Duration>,
    /// The containers whose inspections fail, by name.
    failing_inspections: BTreeSet<String>,
    panic_in_list: bool,
    panic_in_inspect: Option<String>,
    identity: String,
    /// The time of each listing request.
    requested_at: Vec<Instant>,
    streams: Vec<mpsc::UnboundedSender<Result<Event, SourceError>>>,
    sent_events: Vec<Event>,
    unreadable_rows: Vec<UnreadableRow>,
    truncate_listing: bool,
    /// The containers whose rows have no readable id, by name.
    unnamed: BTreeSet<String>,
    silent_streams: Vec<mpsc::UnboundedSender<Result<Event, SourceError>>>,
    /// The number of event streams opened so far.
    streams_opened_count: usize,
    inspections_in_flight: usize,
    inspections_in_flight_max: usize,
}

/// A handle to the engine. Clones share one engine.
#[derive(Clone, Default)]
pub struct Engine(Rc<RefCell<State>>);

impl Engine {
    pub fn run(&self, container: Container) {
        let mut state = self.0.borrow_mut();
        let endpoints = state.endpoint_ids.len() as u64;
        state.endpoint_ids.insert(container.id.as_str().into(), endpoints);
        state.containers.insert(container.id.as_str().into(), container);
    }

    /// Changes the container with this name.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Container)) {
        let mut state = self.0.borrow_mut();
        change(state.containers.values_mut().find(|container| container.name == name).unwrap());
    }

    pub fn remove(&self, name: &str) {
        self.0.borrow_mut().containers.retain(|_, container| container.name != name);
    }

    /// Changes the container with this number. Returns `true` if it exists.
    pub fn change_number(&self, n: usize, change: impl FnOnce(&mut Container)) -> bool {
        self.0.borrow_mut().containers.get_mut(&id(n)).map(change).is_some()
    }

    pub fn remove_number(&self, n: usize) {
        self.0.borrow_mut().containers.remove(&id(n));
    }

    /// Returns the state and the first host port of container number `n`.
    pub fn state_and_port(&self, n: usize) -> (ContainerState, u16) {
        let state = self.0.borrow();
        let container = &state.containers[&id(n)];
        (container.state, container.bindings[0].host_port)
    }

    /// Returns all containers, running or not.
    pub fn containers(&self) -> Vec<Container> {
        self.0.borrow().containers.values().cloned().collect()
    }

    pub fn set_unavailable(&self, unavailable: bool) {
        self.0.borrow_mut().unavailable = unavailable;
    }

    /// Refuses requests for event streams from now on, or accepts them again.
    pub fn refuse_events(&self, refuses: bool) {
        self.0.borrow_mut().refuses_events = refuses;
    }

    pub fn list_takes(&self, time: Duration) {
        self.0.borrow_mut().list_takes = time;
    }

    pub fn inspect_takes(&self, time: Duration) {
        self.0.borrow_mut().inspect_takes = time;
    }

    /// Makes the inspections of the container with this name take this time.
    pub fn inspection_of_takes(&self, name: &str, time: Duration) {
        self.0.borrow_mut().slow_inspections.insert(name.into(), time);
    }

    /// Makes the inspections of the container with this name fail, or succeed again.
    pub fn fail_inspections_of(&self, name: &str, fail: bool) {
        set_member(&mut self.0.borrow_mut().failing_inspections, name, fail);
    }

    pub fn panic_in_next_list(&self) {
        self.0.borrow_mut().panic_in_list = true;
    }

    pub fn panic_in_next_inspection_of(&self, name: &str) {
        self.0.borrow_mut().panic_in_inspect = Some(name.into());
    }

    /// Sends an event of container number `n`. `at` is the time by the engine's clock.
    pub fn send_event(&self, n: usize, kind: EventKind, at: i128) {
        let mut state = self.0.borrow_mut();
        let event = Event {
            container: ContainerId::new(&id(n)),
            name: Some(format!("web-{n}")),
            at: EngineTime(at),
            kind,
        };
        state.streams.retain(|stream| stream.send(Ok(event.clone())).is_ok());
        state.sent_events.push(event);
    }

    /// Starts a container and sends the event.
    pub fn start(&self, n: usize, container: Container) {
        let at = container.started.0;
        self.run(container);
        self.send_event(n, EventKind::Started, at);
    }

    /// Restarts a container with another host port and sends the event.
    pub fn change_port(&self, n: usize, at: i128) {
        self.change_number(n, |one| {
            one.started = EngineTime(at);
            one.bindings[0].host_port = one.bindings[0].host_port.wrapping_add(7).max(1);
        });
        self.send_event(n, EventKind::Started, at);
    }

    /// Ends a container and sends the event.
    pub fn end(&self, n: usize, at: i128) {
        self.change_number(n, |container| container.state = ContainerState::Exited);
        self.send_event(n, EventKind::Ended, at);
    }

    /// Sends an event that cannot be read on all open event streams.
    pub fn send_unreadable_event(&self) {
        let error = || SourceError::new(SourceErrorKind::Malformed, "scripted: unreadable");
        self.0.borrow_mut().streams.retain(|stream| stream.send(Err(error())).is_ok());
    }

    /// Adds these rows that cannot be read to all further listings.
    pub fn set_unreadable_rows(&self, rows: Vec<UnreadableRow>) {
        self.0.borrow_mut().unreadable_rows = rows;
    }

    /// Makes the next listing empty.
    pub fn truncate_next_listing(&self) {
        self.0.borrow_mut().truncate_listing = true;
    }

    /// Makes the id in the row of the container with this name unreadable, or readable again.
    pub fn hide_id_of(&self, name: &str, hide: bool) {
        set_member(&mut self.0.borrow_mut().unnamed, name, hide);
    }

    /// Ends all open event streams.
    pub fn cut_streams(&self) {
        let mut state = self.0.borrow_mut();
        state.streams.clear();
        state.silent_streams.clear();
    }

    /// Keeps all event streams open, and sends no further events on them.
    pub fn silence_streams(&self) {
        let mut state = self.0.borrow_mut();
        let streams = std::mem::take(&mut state.streams);
        state.silent_streams.extend(streams);
    }

    /// Reports this engine identity from now on.
    pub fn set_identity(&self, identity: &str) {
        self.0.borrow_mut().identity = identity.into();
    }

    /// Returns the number of event streams opened so far.
    pub fn streams_opened(&self) -> usize {
        self.0.borrow().streams_opened_count
    }

    /// Returns the time of each listing request.
    pub fn listings(&self) -> Vec<Instant> {
        self.0.borrow().requested_at.clone()
    }

    /// Returns the highest number of concurrent inspections so far.
    pub fn inspections_in_flight_max(&self) -> usize {
        self.0.borrow().inspections_in_flight_max
    }

    pub fn lists(&self) -> usize {
        self.0.borrow().lists
    }

    pub fn inspections(&self) -> Vec<String> {
        self.0.borrow().inspections.clone()
    }
}

fn unreachable() -> SourceError {
    SourceError::new(SourceErrorKind::Unreachable, "scripted: away")
}

/// Adds the name to the set, or removes it.
fn set_member(names: &mut BTreeSet<String>, name: &str, is_member: bool) {
    if is_member {
        names.insert(name.into());
    } else {
        names.remove(name);
    }
}

impl State {
    fn summary(&self, container: &Container) -> ContainerSummary {
        let mut digest = DefaultHasher::new();
        let endpoint = self.endpoint_ids.get(container.id.as_str());
        format!("{:?} {:?} {:?}", container.bindings, container.state, container.health)
            .hash(&mut digest);
        endpoint.hash(&mut digest);
        ContainerSummary {
            id: container.id.clone(),
            name: container.name.clone(),
            network: container.network.clone(),
            condition: container.condition(),
            fingerprint: digest.finish(),
            uptime: None,
        }
    }

    /// Returns the response to a listing at this moment.
    fn list_now(&self) -> ContainerListing {
        let listed = self.containers.values().filter(|container| container.condition().is_some());
        let (unnamed, named): (Vec<_>, Vec<_>) =
            listed.partition(|container| self.unnamed.contains(&container.name));
        let unreadable =
            unnamed.iter().map(|_| UnreadableRow { container: None, reason: "scripted".into() });
        ContainerListing {
            containers: named.into_iter().map(|container| self.summary(container)).collect(),
            unreadable: self.unreadable_rows.iter().cloned().chain(unreadable).collect(),
        }
    }

    /// Returns the response to an inspection at this moment.
    fn inspect_now(&self, target: &str) -> Option<Container> {
        let container = self.containers.get(target)?;
        Some(Container { fingerprint: self.summary(container).fingerprint, ..container.clone() })
    }
}

impl ContainerSource for Engine {
    async fn list(&self) -> Result<ContainerListing, SourceError> {
        let (answer, takes) = {
            let mut state = self.0.borrow_mut();
            state.lists += 1;
            state.requested_at.push(Instant::now());
            assert!(!std::mem::take(&mut state.panic_in_list), "panic requested by the test");
            let is_truncated = std::mem::take(&mut state.truncate_listing);
            let listing = if is_truncated { ContainerListing::default() } else { state.list_now() };
            (if state.unavailable { Err(unreachable()) } else { Ok(listing) }, state.list_takes)
        };
        tokio::time::sleep(takes).await;
        answer
    }

    async fn inspect(&self, target: &str) -> Result<Option<Container>, SourceError> {
        let (answer, takes) = {
            let mut state = self.0.borrow_mut();
            let found = state.inspect_now(target);
            let name = found.as_ref().map(|container| container.name.clone()).unwrap_or_default();
            state.inspections.push(name.clone());
            if state.panic_in_inspect.as_ref() == Some(&name) {
                state.panic_in_inspect = None;
                panic!("panic requested by the test");
            }
            state.inspections_in_flight += 1;
            state.inspections_in_flight_max =
                state.inspections_in_flight_max.max(state.inspections_in_flight);
            let fails = state.unavailable || state.failing_inspections.contains(&name);
            let takes = state.slow_inspections.get(&name).copied().unwrap_or(state.inspect_takes);
            (if fails { Err(unreachable()) } else { Ok(found) }, takes)
        };
        tokio::time::sleep(takes).await;
        self.0.borrow_mut().inspections_in_flight -= 1;
        answer
    }

    async fn events(&self, since: Option<EngineTime>) -> Result<EventStream, SourceError> {
        let mut state = self.0.borrow_mut();
        if state.unavailable {
            return Err(unreachable());
        }
        if state.refuses_events {
            return Err(SourceError::new(SourceErrorKind::Refused, "scripted: no events"));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let is_missed = |event: &&Event| since.is_some_and(|since| event.at >= since);
        for event in state.sent_events.iter().filter(is_missed) {
            sender.send(Ok(event.clone())).unwrap();
        }
        state.streams.push(sender);
        state.streams_opened_count += 1;
        let next = |mut receiver: mpsc::UnboundedReceiver<_>| async move {
            receiver.recv().await.map(|event| (event, receiver))
        };
        Ok(Box::pin(futures_util::stream::unfold(receiver, next)))
    }

    async fn identity(&self) -> Result<EngineIdentity, SourceError> {
        let state = self.0.borrow();
        if state.unavailable {
            Err(unreachable())
        } else {
            Ok(EngineIdentity(state.identity.clone()))
        }
    }
}
