//! A simulated Docker engine: containers that live and die, questions that are answered
//! late or never, and event streams that can't be trusted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use highhock_actors::{
    Container, ContainerId, ContainerRow, ContainerSource, EngineIdentity, EngineTime, Event,
    Events, Happening, Health, Life, SourceError, SourceErrorKind,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::container::{Made, Net, id};
use super::panics;
use super::trace::{count, say};

/// An event that is delayed comes no later than this.
pub const LATEST_EVENT: Duration = Duration::from_secs(3);
/// A question takes no longer than this, be it answered or not.
pub const LATEST_ANSWER: Duration = Duration::from_secs(5);

/// How much of a stream's events is lost, doubled or late, in hundredths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lossy {
    pub lost: u8,
    pub doubled: u8,
    pub late: u8,
}

/// Where a panic strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    List,
    Inspect,
}

struct Stream {
    sender: mpsc::UnboundedSender<Result<Event, SourceError>>,
    is_silent: bool,
}

/// What goes wrong, and until when.
#[derive(Default)]
pub struct Ails {
    pub away: Option<Instant>,
    pub slow: Option<(Instant, Duration)>,
    pub failing: Option<(Instant, u8)>,
    pub lossy: Option<(Instant, Lossy)>,
    /// Another engine answers: so many listings, and until then.
    pub stranger: Option<(Instant, u32)>,
    /// The next listing lacks most containers.
    pub cut_listing: bool,
    pub strike: Option<Strike>,
}

pub struct State {
    pub containers: BTreeMap<usize, Made>,
    pub ails: Ails,
    /// Whether another engine answered it. Who that is is asked right after it: nothing is
    /// promised of engines that are swapped between the two questions.
    stranger_listed: bool,
    /// When another engine did not find a container that runs here, last. Whose engine it is
    /// is asked only with listings, so that is believed until the next look.
    pub denied: Rc<Cell<Option<Instant>>>,
    streams: Vec<Stream>,
    random: fastrand::Rng,
    born: Instant,
    moments: i128,
    endpoints: u64,
    next: usize,
    /// Questions that are under way.
    pub asked: usize,
    pub inspecting: usize,
    pub most_inspecting: usize,
    pub lists: u64,
    pub inspections: u64,
}

/// A handle to the engine; clones share it.
#[derive(Clone)]
pub struct Engine(
    pub Rc<RefCell<State>>,
    /// Whether the last listing that this process got lacked what runs.
    Rc<Cell<bool>>,
);

impl Engine {
    pub fn new(seed: u64) -> Self {
        let state = Rc::new(RefCell::new(State {
            containers: BTreeMap::new(),
            ails: Ails::default(),
            stranger_listed: false,
            denied: Rc::default(),
            streams: Vec::new(),
            random: fastrand::Rng::with_seed(seed ^ 0xd0c_4e4),
            born: Instant::now(),
            moments: 0,
            endpoints: 0,
            next: 0,
            asked: 0,
            inspecting: 0,
            most_inspecting: 0,
            lists: 0,
            inspections: 0,
        }));
        Self(state, Rc::default())
    }

    /// The same engine, for another process.
    pub fn for_a_process(&self) -> Self {
        Self(Rc::clone(&self.0), Rc::default())
    }

    /// Does something to the engine, and delivers what it has to tell of that.
    pub fn act<T>(&self, act: impl FnOnce(&mut State, &mut Vec<Event>) -> T) -> T {
        let mut told = Vec::new();
        let result = act(&mut self.0.borrow_mut(), &mut told);
        for event in told {
            self.tell(event);
        }
        result
    }

    fn tell(&self, event: Event) {
        let mut state = self.0.borrow_mut();
        count("events");
        let now = Instant::now();
        let lossy = state.ails.lossy.filter(|(until, _)| now < *until).map(|(_, lossy)| lossy);
        let lossy = lossy.unwrap_or_default();
        let State { streams, random, .. } = &mut *state;
        streams.retain(|stream| !stream.sender.is_closed());
        for stream in streams.iter().filter(|stream| !stream.is_silent) {
            let mut dice = |hundredths: u8| random.u8(..100) < hundredths;
            if dice(lossy.lost) {
                count("events lost");
                continue;
            }
            let copies = if dice(lossy.doubled) { 2 } else { 1 };
            for copy in 0..copies {
                if copy > 0 {
                    count("events doubled");
                }
                if !dice(lossy.late) {
                    let _ = stream.sender.send(Ok(event.clone()));
                    continue;
                }
                count("events late");
                let late = LATEST_EVENT.mul_f64(random_share(copy, &event));
                let (engine, sender, event) = (self.clone(), stream.sender.clone(), event.clone());
                actix_rt::spawn(async move {
                    sleep(late).await;
                    engine.touch(&event.container);
                    let _ = sender.send(Ok(event));
                });
            }
        }
    }

    /// Something of a container was told of just now, though it happened before.
    fn touch(&self, container: &ContainerId) {
        let mut state = self.0.borrow_mut();
        let touched =
            state.containers.values_mut().find(|one| id(one.number) == container.as_str());
        if let Some(one) = touched {
            one.touched = Instant::now();
        }
    }

    /// What a question meets: how long until the engine looks, how long until its answer is
    /// there, and whether it is one.
    fn fate(&self) -> (Duration, Duration, bool) {
        let mut state = self.0.borrow_mut();
        let now = Instant::now();
        let State { random, ails, .. } = &mut *state;
        let mut within = |most: Duration| most.mul_f64(random.f64());
        let (mut to, mut back) =
            (within(Duration::from_millis(2)), within(Duration::from_millis(3)));
        if let Some((_, most)) = ails.slow.filter(|(until, _)| now < *until) {
            count("late answers of docker");
            let all = within(most);
            to = within(all);
            back = all - to;
        }
        let fails = ails.failing.filter(|(until, _)| now < *until);
        let fails = fails.is_some_and(|(_, hundredths)| random.u8(..100) < hundredths);
        if fails {
            count("failed answers of docker");
        }
        (to, back, !fails)
    }

    async fn ask<T>(&self, look: impl FnOnce(&mut State) -> T) -> Result<T, SourceError> {
        let _asked = Asked::new(self);
        let (to, back, works) = self.fate();
        sleep(to).await;
        if self.0.borrow().is_away() {
            return Err(unreachable("connection refused"));
        }
        let found = look(&mut self.0.borrow_mut());
        sleep(back).await;
        if !works || self.0.borrow().is_away() {
            return Err(unreachable("connection lost"));
        }
        Ok(found)
    }
}

/// A place between 0 and 1 that hangs on nothing but the event.
fn random_share(copy: usize, event: &Event) -> f64 {
    let mixed = highhock_actors::model::stable_hash::fnv1a(format!("{copy}{event:?}").as_bytes());
    (mixed % 1000) as f64 / 1000.0
}

struct Asked(Engine);

impl Asked {
    fn new(engine: &Engine) -> Self {
        engine.0.borrow_mut().asked += 1;
        Self(engine.clone())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.0.borrow_mut().asked -= 1;
    }
}

struct Inspecting(Engine);

impl Drop for Inspecting {
    fn drop(&mut self) {
        self.0.0.borrow_mut().inspecting -= 1;
    }
}

fn unreachable(how: &str) -> SourceError {
    SourceError::new(SourceErrorKind::Unreachable, format!("simulated: {how}"))
}

impl State {
    fn is_away(&self) -> bool {
        self.ails.away.is_some_and(|until| Instant::now() < until)
    }

    /// The engine's clock. No two moments are the same.
    fn moment(&mut self) -> i128 {
        self.moments += 1;
        1_000_000_000 + self.born.elapsed().as_nanos() as i128 + self.moments
    }

    fn event(&mut self, number: usize, what: Happening) -> Event {
        let at = EngineTime(self.moment());
        let name = self.containers.get(&number).map(|one| one.name.clone());
        Event { container: ContainerId::new(&id(number)), name, at, what }
    }

    pub fn name_of(&self) -> impl Fn(usize) -> String + '_ {
        |number| self.containers.get(&number).map_or_else(String::new, |one| one.name.clone())
    }

    /// The container that a plan's number stands for, where there is any.
    pub fn pick(&self, pick: usize) -> Option<usize> {
        let numbers: Vec<_> = self.containers.keys().copied().collect();
        (!numbers.is_empty()).then(|| numbers[pick % numbers.len()])
    }

    pub fn run(&mut self, mut made: Made, told: &mut Vec<Event>) -> usize {
        let number = self.next;
        self.next += 1;
        made.number = number;
        made.name = format!("box-{number}");
        self.containers.insert(number, made);
        self.start(number, told);
        number
    }

    pub fn next_number(&self) -> usize {
        self.next
    }

    fn start(&mut self, number: usize, told: &mut Vec<Event>) {
        self.endpoints += 1;
        let (endpoint, event) = (self.endpoints, self.event(number, Happening::Started));
        let Some(one) = self.containers.get_mut(&number) else { return };
        // By Docker's clock a container has started a moment before that is told.
        (one.started, one.up_since, one.endpoint) = (event.at.0 - 1, Instant::now(), endpoint);
        (one.life, one.signalled, one.touched) = (Life::Running, None, Instant::now());
        if one.health != Health::Unchecked {
            one.health = Health::Starting;
        }
        told.push(event);
    }

    fn end(&mut self, number: usize, told: &mut Vec<Event>) {
        let Some(one) = self.containers.get_mut(&number).filter(|one| one.is_listed()) else {
            return;
        };
        (one.life, one.touched) = (Life::Exited, Instant::now());
        told.push(self.event(number, Happening::Ended));
    }

    /// Whether the container is up, does something that is told of as a change.
    fn change(&mut self, number: usize, told: &mut Vec<Event>, change: impl FnOnce(&mut Made)) {
        let Some(one) = self.containers.get_mut(&number) else { return };
        if one.is_listed() {
            change(one);
            one.touched = Instant::now();
            told.push(self.event(number, Happening::Changed));
        }
    }

    pub fn stop(&mut self, number: usize, told: &mut Vec<Event>) {
        self.end(number, told);
    }

    pub fn remove(&mut self, number: usize, told: &mut Vec<Event>) {
        self.end(number, told);
        if self.containers.contains_key(&number) {
            told.push(self.event(number, Happening::Ended));
            self.containers.remove(&number);
            // Who shared its network has none now.
            let now = Instant::now();
            let guests = self.containers.values_mut();
            for guest in
                guests.filter(|one| matches!(one.net, Net::Of { number: of, .. } if of == number))
            {
                guest.touched = now;
            }
        }
    }

    /// Ends and starts it again at once, on other ports where so asked.
    pub fn restart(&mut self, number: usize, ports: Option<u16>, told: &mut Vec<Event>) {
        self.end(number, told);
        if let (Some(base), Some(one)) = (ports, self.containers.get_mut(&number)) {
            for (port, (_, outside)) in (base..).zip(&mut one.ports) {
                *outside = port;
            }
        }
        self.start(number, told);
    }

    pub fn freeze(&mut self, number: usize, told: &mut Vec<Event>) {
        self.change(number, told, |one| {
            one.life = if one.life == Life::Running { Life::Paused } else { Life::Running };
        });
    }

    pub fn set_health(&mut self, number: usize, health: Health, told: &mut Vec<Event>) {
        let is_checked = |one: &Made| one.life == Life::Running && one.health != Health::Unchecked;
        if self.containers.get(&number).is_some_and(is_checked) {
            self.change(number, told, |one| one.health = health);
        }
    }

    pub fn rename(&mut self, number: usize, name: &str, told: &mut Vec<Event>) {
        // Guests that name it by its name keep that name's old meaning in Docker (it is
        // resolved to an id when they start), so such are left alone.
        let named = |one: &Made| one.net == Net::Of { number, by_name: true };
        if !self.containers.values().any(named) {
            self.change(number, told, |one| one.name = name.to_owned());
        }
    }

    pub fn signal(&mut self, number: usize, signal: u8, told: &mut Vec<Event>) {
        let Some(one) = self.containers.get_mut(&number).filter(|one| one.life == Life::Running)
        else {
            return;
        };
        one.touched = Instant::now();
        if signal == 15 || signal == one.stop_signal {
            one.signalled = Some(Instant::now());
        }
        told.push(self.event(number, Happening::Signalled(signal)));
    }

    pub fn tell_nothing_new(&mut self, number: usize, told: &mut Vec<Event>) {
        self.change(number, told, |_| {});
    }

    pub fn cut_streams(&mut self, with_error: bool) {
        for stream in self.streams.drain(..) {
            if with_error {
                let _ = stream.sender.send(Err(unreachable("the stream broke")));
            }
        }
    }

    pub fn silence(&mut self) {
        for stream in &mut self.streams {
            stream.is_silent = true;
        }
    }

    pub fn has_silent_stream(&self) -> bool {
        self.streams.iter().any(|stream| stream.is_silent && !stream.sender.is_closed())
    }

    fn strikes(&mut self, strike: Strike) -> bool {
        let strikes = self.ails.strike == Some(strike);
        if strikes {
            self.ails.strike = None;
        }
        strikes
    }

    /// Whether it is another engine that answers.
    fn is_stranger(&self) -> bool {
        self.ails.stranger.is_some_and(|(until, left)| left > 0 && Instant::now() < until)
    }

    /// What it lists for who was told an untruth before, or was not; and whether it is true.
    fn listing(&mut self, was_untrue: bool) -> (Vec<ContainerRow>, bool) {
        // Two that agree are believed (SPEC 4).
        if was_untrue && self.ails.stranger.is_some_and(|(_, left)| left == 1) {
            self.ails.stranger = None;
        }
        self.stranger_listed = self.is_stranger();
        let is_cut = !self.stranger_listed && std::mem::take(&mut self.ails.cut_listing);
        if self.stranger_listed || is_cut && !was_untrue {
            return (Vec::new(), false);
        }
        let listed = self.containers.values().filter(|one| one.is_listed());
        let names = self.name_of();
        (listed.map(|one| one.row(&names)).collect(), true)
    }
}

impl ContainerSource for Engine {
    async fn list(&self) -> Result<Vec<ContainerRow>, SourceError> {
        {
            let mut state = self.0.borrow_mut();
            state.lists += 1;
            if state.strikes(Strike::List) {
                drop(state);
                panics::fall("list");
            }
        }
        count("listings");
        let was_untrue = self.1.get();
        let (rows, is_true) = self.ask(|state| state.listing(was_untrue)).await?;
        // One that is lost on its way tells nobody better.
        self.1.set(!is_true);
        say!("  listed {}", rows.len());
        Ok(rows)
    }

    async fn inspect(&self, target: &str) -> Result<Option<Container>, SourceError> {
        {
            let mut state = self.0.borrow_mut();
            if state.strikes(Strike::Inspect) {
                drop(state);
                panics::fall("inspect");
            }
            state.inspections += 1;
            state.inspecting += 1;
            state.most_inspecting = state.most_inspecting.max(state.inspecting);
        }
        count("inspections");
        let _inspecting = Inspecting(self.clone());
        let found = self
            .ask(|state| {
                let is_it = |one: &&Made| id(one.number) == target || one.name == target;
                if state.is_stranger() {
                    state.denied.set(Some(Instant::now()));
                    return None;
                }
                let found = state.containers.values().find(is_it);
                found.map(|one| one.shown(&state.name_of()))
            })
            .await?;
        let life = found.as_ref().map(|one| (one.life, one.health));
        say!("  inspected {}: {life:?}", target.get(..12).unwrap_or(target));
        Ok(found)
    }

    /// This engine remembers nothing: what a stream missed is lost.
    async fn events(&self, _: Option<EngineTime>) -> Result<Events, SourceError> {
        let receiver = self.ask(|state| {
            let (sender, receiver) = mpsc::unbounded_channel();
            state.streams.push(Stream { sender, is_silent: false });
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
        self.ask(|state| {
            let stranger = state.is_stranger() || std::mem::take(&mut state.stranger_listed);
            if let (true, Some((_, left))) = (stranger, &mut state.ails.stranger) {
                *left = left.saturating_sub(1);
            }
            let engine = if stranger { "another" } else { "the one" };
            say!("  the engine is {engine}");
            EngineIdentity(engine.to_owned())
        })
        .await
    }
}
