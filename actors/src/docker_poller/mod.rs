//! DockerPoller: owns what Docker says runs.

mod event_stream;
mod listing;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, SpawnHandle, WrapFuture};
use slog::{Logger, warn};
use tokio::time::Instant;

use crate::messages::{Poll, Pulse};
use crate::ports::container_source::{ContainerSource, SourceError};
use crate::ports::record_store::RecordStore;
use crate::registry::Registry;
use crate::runtime::actor_ref::Seat;
use crate::runtime::backoff::Backoff;
use crate::runtime::metered_context::{Metered, MeteredContext};
use crate::runtime::metrics::Meter;
use crate::status::Chronicle;
use event_stream::Stream;
pub use listing::Beliefs;
use listing::{Doubt, Polled, poll};

static METER: Meter = Meter::new("DockerPoller", 16);

/// After a listing that failed; capped by the time between two polls.
const RETRY: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2, cap: Duration::from_secs(10) };
/// How much of the time between two polls is left to chance, so that a fleet's
/// hosts that started together don't poll together.
const JITTER: f64 = 0.05;
/// The least time between two listings, whoever asks for one.
const LEAST: Duration = Duration::from_millis(250);
/// A listing that is to confirm another comes so long after it.
const CONFIRM: Duration = Duration::from_secs(1);
/// The first listing waits no longer than this for the event stream to be open.
const OPENING: Duration = Duration::from_secs(1);

/// Asks the engine every few seconds what runs, and tells the registry of every
/// container whose row isn't what the registry knows. Follows the engine's events in
/// between, and hands them on.
pub struct DockerPoller<S: ContainerSource, R: RecordStore> {
    source: Rc<S>,
    registry: Seat<Registry<S, R>>,
    every: Duration,
    /// Whether events are followed too.
    events: bool,
    stream: Stream,
    beliefs: Rc<RefCell<Beliefs>>,
    /// When the newest listing was asked for.
    asked: Option<Instant>,
    polling: bool,
    again: bool,
    timer: Option<SpawnHandle>,
    failures: u32,
    chronicle: Chronicle,
    log: Logger,
}

/// What a poller is made with.
pub(crate) struct PollerSetup<S: ContainerSource, R: RecordStore> {
    /// Whom to ask.
    pub source: Rc<S>,
    /// Whom to tell.
    pub registry: Seat<Registry<S, R>>,
    /// Time between two listings.
    pub every: Duration,
    /// Whether events are followed too.
    pub events: bool,
    /// What was made of earlier listings.
    pub beliefs: Rc<RefCell<Beliefs>>,
    /// Where to write down what an operator may ask for.
    pub chronicle: Chronicle,
    /// Where to log.
    pub log: Logger,
}

impl<S: ContainerSource, R: RecordStore> DockerPoller<S, R> {
    /// A poller that has listed nothing yet.
    pub(crate) fn new(setup: PollerSetup<S, R>) -> Self {
        let PollerSetup { source, registry, every, events, beliefs, chronicle, log } = setup;
        Self {
            source,
            registry,
            every,
            events,
            stream: Stream::default(),
            beliefs,
            asked: None,
            polling: false,
            again: false,
            timer: None,
            failures: 0,
            chronicle,
            log,
        }
    }

    fn poll(&mut self, context: &mut MeteredContext<Self>) {
        if self.polling {
            self.again = true;
            return;
        }
        let now = Instant::now();
        let too_soon = self.asked.map(|asked| asked + LEAST).filter(|earliest| now < *earliest);
        if let Some(earliest) = too_soon {
            return self.poll_in(earliest - now, context);
        }
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.polling = true;
        let before = self.asked.replace(now);
        let poll = poll(Rc::clone(&self.source), self.registry.clone(), Rc::clone(&self.beliefs));
        context.spawn(poll.into_actor(self).map(move |result, poller, context| {
            poller.polling = false;
            let wait = match result {
                Ok(mut polled) => {
                    let surprises = std::mem::take(&mut polled.surprises);
                    poller.expect_events(surprises, before, context);
                    poller.answered(&polled, now)
                }
                Err(error) => poller.failed(&error),
            };
            if std::mem::take(&mut poller.again) {
                poller.poll(context);
            } else {
                poller.poll_in(wait, context);
            }
        }));
    }

    fn poll_in(&mut self, wait: Duration, context: &mut MeteredContext<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = Some(context.run_later(wait, Self::poll));
    }

    fn answered(&mut self, polled: &Polled, started: Instant) -> Duration {
        if std::mem::take(&mut self.failures) > 0 {
            notice!(self.log, "docker answers again"; "containers" => polled.containers);
        }
        self.chronicle.docker_listed();
        info!(self.log, "docker listed"; "containers" => polled.containers,
            "changed" => polled.changed, "gone" => polled.gone);
        if let Some(doubt) = &polled.doubt {
            self.explain(doubt);
            return CONFIRM.min(self.every);
        }
        let next = self.every.mul_f64(1.0 - JITTER * fastrand::f64());
        next.saturating_sub(started.elapsed())
    }

    fn explain(&self, doubt: &Doubt) {
        match doubt {
            Doubt::Stranger(engine) => {
                warn!(self.log, "another docker engine than before answers; \
                    it is listed again before it is believed"; "engine" => &engine.0);
            }
            Doubt::MostGone { records, of } => {
                warn!(self.log, "docker lists none of the containers of most records; \
                    it is listed again before they are withdrawn";
                    "records" => records, "of" => of);
            }
        }
    }

    fn failed(&mut self, error: &SourceError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.chronicle.docker_failed(error);
        if self.failures == 1 {
            warn!(self.log, "docker does not answer; what was last known is kept up";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "docker still does not answer";
                "error" => %error, "tries" => self.failures);
        }
        RETRY.wait(self.failures, fastrand::f64()).min(self.every)
    }
}

impl<S: ContainerSource, R: RecordStore> Actor for DockerPoller<S, R> {
    type Context = MeteredContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.events {
            self.open_stream(context);
            self.poll_in(OPENING, context);
        } else {
            self.poll(context);
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Metered for DockerPoller<S, R> {
    fn meter() -> &'static Meter {
        &METER
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Poll> for DockerPoller<S, R> {
    type Result = ();

    fn handle(&mut self, _: Poll, context: &mut Self::Context) {
        self.poll(context);
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Pulse> for DockerPoller<S, R> {
    type Result = ();

    fn handle(&mut self, _: Pulse, _: &mut Self::Context) {}
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::Hang> for DockerPoller<S, R> {
    type Result = ();

    fn handle(&mut self, _: crate::messages::Hang, context: &mut Self::Context) {
        context.wait(std::future::pending().into_actor(self));
    }
}
