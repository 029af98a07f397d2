//! [`SimEngine`]: a simulated Docker engine with slow and lost responses, and with event streams
//! that lose, repeat and delay events.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    Container, ContainerId, ContainerListing, ContainerSource, ContainerState, EngineIdentity,
    EngineTime, Event, EventKind, EventStream, Health, SourceError, SourceErrorKind, UnreadableRow,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::container::{NetworkSetup, SimContainer, container_id};
use super::panics;
use super::trace::{count, trace_line};

/// The longest delay of an event.
pub const EVENT_DELAY_MAX: Duration = Duration::from_secs(3);
/// The longest duration of a request, successful or not.
pub const RESPONSE_DELAY_MAX: Duration = Duration::from_secs(5);

/// The percentages of a stream's events that are lost, duplicated or late.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventLoss {
    pub lost: u8,
    pub duplicated: u8,
    pub late: u8,
}

/// The request at which an injected panic occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnginePanic {
    List,
    Inspect,
}

struct EventSender {
    sender: mpsc::UnboundedSender<Result<Event, SourceError>>,
    is_silent: bool,
}

/// The faults of Docker, each with its end.
#[derive(Default)]
pub struct DockerFaults {
    pub away: Option<Instant>,
    /// The end of the slowness, and the longest duration of a request.
    pub slow: Option<(Instant, Duration)>,
    /// The end of the slowness of listings, and the duration of a listing.
    pub slow_listings: Option<(Instant, Duration)>,
    /// The end of the failures, and the percentage of lost responses.
    pub failing: Option<(Instant, u8)>,
    pub lossy: Option<(Instant, EventLoss)>,
    /// Another engine answers until this time, for this number of listings.
    pub other_engine: Option<(Instant, u32)>,
    /// The next listing is empty.
    pub truncate_listing: bool,
    /// The end of the listings without all ids, and the remainder of the numbers of the containers
    /// whose rows have none, divided by three.
    pub unnamed_rows: Option<(Instant, usize)>,
    pub panic: Option<EnginePanic>,
}

pub struct EngineState {
    pub containers: BTreeMap<usize, SimContainer>,
    pub faults: DockerFaults,
    /// `true` if another engine answered the latest listing. The identity is requested right after
    /// a listing, and no rule covers an engine replaced between both requests.
    listed_other_engine: bool,
    /// The last time at which another engine did not find a running container. The identity is
    /// requested only with listings, so the core believes this until the next listing.
    pub container_denied_at: Rc<Cell<Option<Instant>>>,
    streams: Vec<EventSender>,
    random: fastrand::Rng,
    born: Instant,
    ticks: i128,
    /// The time by which the engine's clock was set back so far.
    clock_offset: Duration,
    endpoints: u64,
    next: usize,
    /// The number of requests in flight.
    pub in_flight: usize,
    pub inspecting: usize,
    pub most_inspecting: usize,
    /// `true` after a listing with a row without an id. The poller then inspects containers, too.
    pub listed_unnamed: bool,
    pub lists: u64,
    pub inspections: u64,
}

/// The fate of one request.
struct ResponsePlan {
    /// The time until the engine handles the request.
    send_delay: Duration,
    /// The time from then until the response arrives.
    return_delay: Duration,
    /// The response is lost: the request fails although it was handled.
    is_lost: bool,
}

/// A handle to the engine. Clones share one engine.
#[derive(Clone)]
pub struct SimEngine(
    pub Rc<RefCell<EngineState>>,
    /// `true` if the last listing that this process received was false, or another engine answered
    /// the request for the identity after it.
    Rc<Cell<bool>>,
);

impl SimEngine {
    pub fn new(seed: u64) -> Self {
        let state = Rc::new(RefCell::new(EngineState {
            containers: BTreeMap::new(),
            faults: DockerFaults::default(),
            listed_other_engine: false,
            container_denied_at: Rc::default(),
            streams: Vec::new(),
            random: fastrand::Rng::with_seed(seed ^ 0xd0c_4e4),
            born: Instant::now(),
            ticks: 0,
            clock_offset: Duration::ZERO,
            endpoints: 0,
            next: 0,
            in_flight: 0,
            inspecting: 0,
            most_inspecting: 0,
            listed_unnamed: false,
            lists: 0,
            inspections: 0,
        }));
        Self(state, Rc::default())
    }

    /// Returns a handle for another process.
    pub fn for_process(&self) -> Self {
        Self(Rc::clone(&self.0), Rc::default())
    }

    /// Changes the engine, and delivers the events of the change.
    pub fn act<T>(&self, act: impl FnOnce(&mut EngineState, &mut Vec<Event>) -> T) -> T {
        let mut events = Vec::new();
        let result = act(&mut self.0.borrow_mut(), &mut events);
        for event in events {
            self.deliver(event);
        }
        result
    }

    fn deliver(&self, event: Event) {
        let mut state = self.0.borrow_mut();
        count("events");
        let now = Instant::now();
        let lossy = state.faults.lossy.filter(|(until, _)| now < *until).map(|(_, lossy)| lossy);
        let lossy = lossy.unwrap_or_default();
        let EngineState { streams, random, .. } = &mut *state;
        streams.retain(|stream| !stream.sender.is_closed());
        for stream in streams.iter().filter(|stream| !stream.is_silent) {
            let mut chance = |hundredths: u8| random.u8(..100) < hundredths;
            if chance(lossy.lost) {
                count("events lost");
                continue;
            }
            let copies = if chance(lossy.duplicated) { 2 } else { 1 };
            for copy in 0..copies {
                if copy > 0 {
                    count("events duplicated");
                }
                if !chance(lossy.late) {
                    let _ = stream.sender.send(Ok(event.clone()));
                    continue;
                }
                count("events late");
                let late = EVENT_DELAY_MAX.mul_f64(hashed_fraction(copy, &event));
                let (engine, sender, event) = (self.clone(), stream.sender.clone(), event.clone());
                actix_rt::spawn(async move {
                    sleep(late).await;
                    engine.mark_delivered(&event);
                    let _ = sender.send(Ok(event));
                });
            }
        }
    }

    /// Marks the container of a late event as changed now.
    fn mark_delivered(&self, event: &Event) {
        let mut state = self.0.borrow_mut();
        let changed = state
            .containers
            .values_mut()
            .find(|container| container_id(container.number) == event.container.as_str());
        let Some(container) = changed else { return };
        container.last_changed = Instant::now();
        if matches!(event.kind, EventKind::Ended | EventKind::Signalled(_)) {
            container.mark_interrupted();
        }
    }

    /// Waits while listings are slow. The rows of the listing are as old as the wait is long.
    async fn delay_listing(&self) {
        let slow = self.0.borrow().faults.slow_listings;
        if let Some((_, by)) = slow.filter(|(until, _)| Instant::now() < *until) {
            count("slow listings of docker");
            sleep(by).await;
        }
    }

    /// Chooses the fate of one request.
    fn plan_response(&self) -> ResponsePlan {
        let mut state = self.0.borrow_mut();
        let now = Instant::now();
        let EngineState { random, faults, .. } = &mut *state;
        let mut within = |most: Duration| most.mul_f64(random.f64());
        let (mut send_delay, mut return_delay) =
            (within(Duration::from_millis(2)), within(Duration::from_millis(3)));
        if let Some((_, most)) = faults.slow.filter(|(until, _)| now < *until) {
            count("slow responses of docker");
            let total = within(most);
            send_delay = within(total);
            return_delay = total - send_delay;
        }
        let fails = faults.failing.filter(|(until, _)| now < *until);
        let fails = fails.is_some_and(|(_, hundredths)| random.u8(..100) < hundredths);
        if fails {
            count("lost responses of docker");
        }
        ResponsePlan { send_delay, return_delay, is_lost: fails }
    }

    async fn request<T>(
        &self,
        handle: impl FnOnce(&mut EngineState) -> T,
    ) -> Result<T, SourceError> {
        let _guard = RequestGuard::new(self);
        let ResponsePlan { send_delay, return_delay, is_lost } = self.plan_response();
        sleep(send_delay).await;
        if self.0.borrow().is_away() {
            return Err(unreachable("connection refused"));
        }
        let found = handle(&mut self.0.borrow_mut());
        sleep(return_delay).await;
        if is_lost || self.0.borrow().is_away() {
            return Err(unreachable("connection lost"));
        }
        Ok(found)
    }
}

/// Returns a fraction between 0 and 1 that depends only on the event.
fn hashed_fraction(copy: usize, event: &Event) -> f64 {
    let mixed = highhock_actors::model::stable_hash::fnv1a(format!("{copy}{event:?}").as_bytes());
    (mixed % 1000) as f64 / 1000.0
}

struct RequestGuard(SimEngine);

impl RequestGuard {
    fn new(engine: &SimEngine) -> Self {
        engine.0.borrow_mut().in_flight += 1;
        Self(engine.clone())
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.0.borrow_mut().in_flight -= 1;
    }
}

struct InspectionGuard(SimEngine);

impl Drop for InspectionGuard {
    fn drop(&mut self) {
        self.0.0.borrow_mut().inspecting -= 1;
    }
}

fn unreachable(how: &str) -> SourceError {
    SourceError::new(SourceErrorKind::Unreachable, format!("simulated: {how}"))
}

impl EngineState {
    fn is_away(&self) -> bool {
        self.faults.away.is_some_and(|until| Instant::now() < until)
    }

    /// Returns the time by the engine's clock. Every call returns a later time, so that a restart
    /// has its start time after the end of the previous run, unless the clock is set back.
    fn next_time(&mut self) -> i128 {
        self.ticks += 10;
        let elapsed = self.born.elapsed().as_nanos() as i128;
        1_000_000_000 + elapsed + self.ticks - self.clock_offset.as_nanos() as i128
    }

    pub fn set_clock_back(&mut self, by: Duration) {
        self.clock_offset += by;
    }

    fn event(&mut self, number: usize, kind: EventKind) -> Event {
        let at = EngineTime(self.next_time());
        let name = self.containers.get(&number).map(|container| container.name.clone());
        Event { container: ContainerId::new(&container_id(number)), name, at, kind }
    }

    pub fn container_names(&self) -> impl Fn(usize) -> String + '_ {
        |number| {
            self.containers
                .get(&number)
                .map_or_else(String::new, |container| container.name.clone())
        }
    }

    /// Returns the container that a plan's number selects, if any exists.
    pub fn pick(&self, pick: usize) -> Option<usize> {
        let numbers: Vec<_> = self.containers.keys().copied().collect();
        (!numbers.is_empty()).then(|| numbers[pick % numbers.len()])
    }

    pub fn run(&mut self, mut container: SimContainer, events: &mut Vec<Event>) -> usize {
        let number = self.next;
        self.next += 1;
        container.number = number;
        container.name = format!("box-{number}");
        self.containers.insert(number, container);
        self.start(number, events);
        number
    }

    pub fn next_number(&self) -> usize {
        self.next
    }

    fn start(&mut self, number: usize, events: &mut Vec<Event>) {
        self.endpoints += 1;
        let (endpoint, event) = (self.endpoints, self.event(number, EventKind::Started));
        let Some(container) = self.containers.get_mut(&number) else { return };
        // In Docker, the start time is slightly earlier than the time of the event.
        (container.started, container.up_since, container.endpoint) =
            (event.at.0 - 1, Instant::now(), endpoint);
        (container.life, container.stop_signal_at) = (ContainerState::Running, None);
        container.mark_started();
        if container.health != Health::Unchecked {
            container.health = Health::Starting;
        }
        events.push(event);
    }

    fn end(&mut self, number: usize, events: &mut Vec<Event>) {
        let Some(container) =
            self.containers.get_mut(&number).filter(|container| container.is_listed())
        else {
            return;
        };
        container.life = ContainerState::Exited;
        container.mark_interrupted();
        events.push(self.event(number, EventKind::Ended));
    }

    /// Changes a container and emits an event, if the container is listed.
    fn change(
        &mut self,
        number: usize,
        events: &mut Vec<Event>,
        change: impl FnOnce(&mut SimContainer),
    ) {
        let Some(container) = self.containers.get_mut(&number) else { return };
        if container.is_listed() {
            change(container);
            container.last_changed = Instant::now();
            events.push(self.event(number, EventKind::Changed));
        }
    }

    pub fn stop(&mut self, number: usize, events: &mut Vec<Event>) {
        self.end(number, events);
    }

    pub fn remove(&mut self, number: usize, events: &mut Vec<Event>) {
        self.end(number, events);
        if self.containers.contains_key(&number) {
            events.push(self.event(number, EventKind::Ended));
            self.containers.remove(&number);
            // The guests of the container have no network from now on.
            let uses_network = |guest: &&mut SimContainer| match guest.net {
                NetworkSetup::SharedWith { number: owner, .. } => owner == number,
                NetworkSetup::Own | NetworkSetup::Host => false,
            };
            for guest in self.containers.values_mut().filter(uses_network) {
                guest.mark_interrupted();
            }
        }
    }

    /// Ends and starts a container at once, with other host ports if a base port is given.
    pub fn restart(&mut self, number: usize, ports: Option<u16>, events: &mut Vec<Event>) {
        self.end(number, events);
        if let (Some(base), Some(container)) = (ports, self.containers.get_mut(&number)) {
            for (port, (_, host_port)) in (base..).zip(&mut container.ports) {
                *host_port = port;
            }
        }
        self.start(number, events);
    }

    pub fn toggle_pause(&mut self, number: usize, events: &mut Vec<Event>) {
        self.change(number, events, |container| {
            container.life = if container.life == ContainerState::Running {
                ContainerState::Paused
            } else {
                ContainerState::Running
            };
        });
    }

    pub fn set_health(&mut self, number: usize, health: Health, events: &mut Vec<Event>) {
        let is_checked = |container: &SimContainer| {
            container.life == ContainerState::Running && container.health != Health::Unchecked
        };
        if self.containers.get(&number).is_some_and(is_checked) {
            self.change(number, events, |container| container.health = health);
        }
    }

    pub fn rename(&mut self, number: usize, name: &str, events: &mut Vec<Event>) {
        // Docker resolves the name of a network owner when a guest starts. A container named by
        // a guest is therefore never renamed here.
        let is_named = |container: &SimContainer| {
            container.net == NetworkSetup::SharedWith { number, by_name: true }
        };
        if !self.containers.values().any(is_named) {
            self.change(number, events, |container| container.name = name.to_owned());
        }
    }

    pub fn signal(&mut self, number: usize, signal: u8, events: &mut Vec<Event>) {
        let Some(container) = self
            .containers
            .get_mut(&number)
            .filter(|container| container.life == ContainerState::Running)
        else {
            return;
        };
        container.mark_interrupted();
        let (started, stop_signal) = (container.started, container.stop_signal);
        let event = self.event(number, EventKind::Signalled(signal));
        let is_missed = !self.delivers_events();
        if (signal == 15 || signal == stop_signal)
            && let Some(container) = self.containers.get_mut(&number)
        {
            container.stop_signal_at = Some(Instant::now());
            container.is_signal_unknown = is_missed || event.at.0 < started;
        }
        events.push(event);
    }

    pub fn emit_redundant_change(&mut self, number: usize, events: &mut Vec<Event>) {
        self.change(number, events, |_| {});
    }

    pub fn cut_streams(&mut self, with_error: bool) {
        for stream in self.streams.drain(..) {
            if with_error {
                let _ = stream.sender.send(Err(unreachable("the stream broke")));
            }
        }
    }

    pub fn silence_streams(&mut self) {
        for stream in &mut self.streams {
            stream.is_silent = true;
        }
    }

    /// Returns `true` if every event reaches a process at once.
    pub fn delivers_events(&self) -> bool {
        let is_lossy = self.faults.lossy.is_some_and(|(until, _)| Instant::now() < until);
        let is_open = |stream: &EventSender| !stream.sender.is_closed() && !stream.is_silent;
        !is_lossy && self.streams.iter().any(is_open)
    }

    pub fn has_silent_stream(&self) -> bool {
        self.streams.iter().any(|stream| stream.is_silent && !stream.sender.is_closed())
    }

    fn take_panic(&mut self, panic: EnginePanic) -> bool {
        let is_armed = self.faults.panic == Some(panic);
        if is_armed {
            self.faults.panic = None;
        }
        is_armed
    }

    /// Returns `true` if another engine answers now.
    fn is_other_engine(&self) -> bool {
        self.faults.other_engine.is_some_and(|(until, left)| left > 0 && Instant::now() < until)
    }

    /// Returns a listing, and `true` if it is the truth. `was_false` is `true` if the previous
    /// listing of this process was false.
    fn listing(&mut self, was_false: bool) -> (ContainerListing, bool) {
        // The core believes a second listing that agrees (ARCHITECTURE.md, "Suspect listings").
        if was_false && self.faults.other_engine.is_some_and(|(_, left)| left == 1) {
            self.faults.other_engine = None;
        }
        self.listed_other_engine = self.is_other_engine();
        let is_truncated =
            !self.listed_other_engine && std::mem::take(&mut self.faults.truncate_listing);
        if self.listed_other_engine || is_truncated && !was_false {
            return (ContainerListing::default(), false);
        }
        let unnamed = self.faults.unnamed_rows.filter(|(until, _)| Instant::now() < *until);
        let listed = self.containers.values().filter(|container| container.is_listed());
        let (unnamed, named): (Vec<_>, Vec<_>) = listed.partition(|container| {
            unnamed.is_some_and(|(_, remainder)| container.number % 3 == remainder)
        });
        self.listed_unnamed |= !unnamed.is_empty();
        let names = self.container_names();
        let without_id =
            |_| UnreadableRow { container: None, reason: "the row has no id".to_owned() };
        let listing = ContainerListing {
            containers: named.into_iter().map(|container| container.row(&names)).collect(),
            unreadable: unnamed.into_iter().map(without_id).collect(),
        };
        (listing, true)
    }
}

impl ContainerSource for SimEngine {
    async fn list(&self) -> Result<ContainerListing, SourceError> {
        {
            let mut state = self.0.borrow_mut();
            state.lists += 1;
            if state.take_panic(EnginePanic::List) {
                drop(state);
                panics::panic_now("list");
            }
        }
        count("listings");
        let was_false = self.1.get();
        let (listing, is_true) = self.request(|state| state.listing(was_false)).await?;
        self.delay_listing().await;
        // A lost response changes nothing, so this line is after the request.
        self.1.set(!is_true);
        for _ in &listing.unreadable {
            count("rows without an id");
        }
        trace_line!("  listed {}", listing.containers.len());
        Ok(listing)
    }

    async fn inspect(&self, target: &str) -> Result<Option<Container>, SourceError> {
        {
            let mut state = self.0.borrow_mut();
            if state.take_panic(EnginePanic::Inspect) {
                drop(state);
                panics::panic_now("inspect");
            }
            state.inspections += 1;
            state.inspecting += 1;
            state.most_inspecting = state.most_inspecting.max(state.inspecting);
        }
        count("inspections");
        let _guard = InspectionGuard(self.clone());
        let found = self
            .request(|state| {
                let is_it = |container: &&SimContainer| {
                    container_id(container.number) == target || container.name == target
                };
                if state.is_other_engine() {
                    state.container_denied_at.set(Some(Instant::now()));
                    return None;
                }
                let found = state.containers.values().find(is_it);
                found.map(|container| container.inspection(&state.container_names()))
            })
            .await?;
        let life = found.as_ref().map(|container| (container.state, container.health));
        trace_line!("  inspected {}: {life:?}", target.get(..12).unwrap_or(target));
        Ok(found)
    }

    /// Opens an event stream. The engine keeps no history, so missed events are lost.
    async fn events(&self, _: Option<EngineTime>) -> Result<EventStream, SourceError> {
        let receiver = self.request(|state| {
            let (sender, receiver) = mpsc::unbounded_channel();
            state.streams.push(EventSender { sender, is_silent: false });
            receiver
        });
        let receiver = receiver.await?;
        count("event streams");
        let next = |mut receiver: mpsc::UnboundedReceiver<_>| async move {
            receiver.recv().await.map(|event| (event, receiver))
        };
        Ok(Box::pin(futures_util::stream::unfold(receiver, next)))
    }

    async fn identity(&self) -> Result<EngineIdentity, SourceError> {
        let (identity, is_other) = self
            .request(|state| {
                let other_engine =
                    state.is_other_engine() || std::mem::take(&mut state.listed_other_engine);
                if let (true, Some((_, left))) = (other_engine, &mut state.faults.other_engine) {
                    *left = left.saturating_sub(1);
                }
                let engine = if other_engine { "another" } else { "the one" };
                trace_line!("  the engine is {engine}");
                (EngineIdentity(engine.to_owned()), other_engine)
            })
            .await?;
        // The core suspects a true listing, too, if another engine answers this request. It then
        // believes a second listing of that engine.
        if is_other {
            self.1.set(true);
        }
        Ok(identity)
    }
}
