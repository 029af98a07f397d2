//! DockerPoller: owns what Docker says runs.

mod event_stream;
mod listing;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, SpawnHandle, WrapFuture};
use slog::{Logger, warn};
use tokio::time::Instant;

use crate::messages::{Ping, Poll};
use crate::ports::container_source::{ContainerSource, SourceError};
use crate::ports::record_store::RecordStore;
use crate::registry::Registry;
use crate::runtime::actor_ref::ActorRef;
use crate::runtime::backoff::Backoff;
use crate::runtime::metered_context::{Metered, MeteredContext};
use crate::runtime::metrics::MailboxMetrics;
use crate::status::StatusRecorder;
use event_stream::EventStreamState;
pub use listing::ListingState;
use listing::{PollResult, SuspectListing, poll_once};

static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new("DockerPoller", 16);

/// After a listing that failed; capped by the time between two polls.
const LISTING_RETRY_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2, cap: Duration::from_secs(10) };
/// How much of the time between two polls is left to chance, so that a fleet's
/// hosts that started together don't poll together.
const POLL_JITTER_FRACTION: f64 = 0.05;
/// The least time between two listings, whoever asks for one.
const LISTING_MIN_INTERVAL: Duration = Duration::from_millis(250);
/// A listing that is to confirm another comes so long after it.
const CONFIRMATION_DELAY: Duration = Duration::from_secs(1);
/// The first listing waits no longer than this for the event stream to be open.
const STREAM_OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Asks the engine every few seconds what runs, and tells the registry of every
/// container whose row isn't what the registry knows. Follows the engine's events in
/// between, and hands them on.
pub struct DockerPoller<S: ContainerSource, R: RecordStore> {
    source: Rc<S>,
    registry: ActorRef<Registry<S, R>>,
    poll_interval: Duration,
    /// Whether events are followed too.
    events: bool,
    event_stream: EventStreamState,
    listing_state: Rc<RefCell<ListingState>>,
    /// When the newest listing was asked for.
    requested_at: Option<Instant>,
    polling: bool,
    poll_again: bool,
    timer: Option<SpawnHandle>,
    failures: u32,
    recorder: StatusRecorder,
    log: Logger,
}

/// What a poller is made with.
pub(crate) struct PollerSetup<S: ContainerSource, R: RecordStore> {
    /// Whom to ask.
    pub source: Rc<S>,
    /// Whom to tell.
    pub registry: ActorRef<Registry<S, R>>,
    /// Time between two listings.
    pub poll_interval: Duration,
    /// Whether events are followed too.
    pub events: bool,
    /// What was made of earlier listings.
    pub listing_state: Rc<RefCell<ListingState>>,
    /// Where to write down what an operator may ask for.
    pub recorder: StatusRecorder,
    /// Where to log.
    pub log: Logger,
}

impl<S: ContainerSource, R: RecordStore> DockerPoller<S, R> {
    /// A poller that has listed nothing yet.
    pub(crate) fn new(setup: PollerSetup<S, R>) -> Self {
        let PollerSetup { source, registry, poll_interval, events, listing_state, recorder, log } =
            setup;
        Self {
            source,
            registry,
            poll_interval,
            events,
            event_stream: EventStreamState::default(),
            listing_state,
            requested_at: None,
            polling: false,
            poll_again: false,
            timer: None,
            failures: 0,
            recorder,
            log,
        }
    }

    fn poll(&mut self, context: &mut MeteredContext<Self>) {
        if self.polling {
            self.poll_again = true;
            return;
        }
        let now = Instant::now();
        let too_soon = self
            .requested_at
            .map(|requested_at| requested_at + LISTING_MIN_INTERVAL)
            .filter(|earliest| now < *earliest);
        if let Some(earliest) = too_soon {
            return self.schedule_poll(earliest - now, context);
        }
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.polling = true;
        let before = self.requested_at.replace(now);
        let poll = poll_once(
            Rc::clone(&self.source),
            self.registry.clone(),
            Rc::clone(&self.listing_state),
        );
        context.spawn(poll.into_actor(self).map(move |result, poller, context| {
            poller.polling = false;
            let wait = match result {
                Ok(mut result) => {
                    let unannounced = std::mem::take(&mut result.unannounced);
                    poller.expect_events(unannounced, before, context);
                    poller.handle_listing(&result, now)
                }
                Err(error) => poller.handle_failure(&error),
            };
            if std::mem::take(&mut poller.poll_again) {
                poller.poll(context);
            } else {
                poller.schedule_poll(wait, context);
            }
        }));
    }

    fn schedule_poll(&mut self, wait: Duration, context: &mut MeteredContext<Self>) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = Some(context.run_later(wait, Self::poll));
    }

    fn handle_listing(&mut self, result: &PollResult, started: Instant) -> Duration {
        if std::mem::take(&mut self.failures) > 0 {
            notice!(self.log, "docker answers again"; "containers" => result.containers);
        }
        self.recorder.record_listing();
        info!(self.log, "docker listed"; "containers" => result.containers,
            "changed" => result.changed, "gone" => result.gone);
        if let Some(suspect) = &result.suspect {
            self.log_suspect(suspect);
            return CONFIRMATION_DELAY.min(self.poll_interval);
        }
        let next = self.poll_interval.mul_f64(1.0 - POLL_JITTER_FRACTION * fastrand::f64());
        next.saturating_sub(started.elapsed())
    }

    fn log_suspect(&self, suspect: &SuspectListing) {
        match suspect {
            SuspectListing::OtherEngine(engine) => {
                warn!(self.log, "another docker engine than before answers; \
                    it is listed again before it is believed"; "engine" => &engine.0);
            }
            SuspectListing::MassRemoval { affected, total } => {
                warn!(self.log, "docker lists none of the containers of most records; \
                    it is listed again before they are withdrawn";
                    "records" => affected, "of" => total);
            }
        }
    }

    fn handle_failure(&mut self, error: &SourceError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.recorder.record_listing_error(error);
        if self.failures == 1 {
            warn!(self.log, "docker does not answer; what was last known is kept up";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "docker still does not answer";
                "error" => %error, "tries" => self.failures);
        }
        LISTING_RETRY_BACKOFF.wait(self.failures, fastrand::f64()).min(self.poll_interval)
    }
}

impl<S: ContainerSource, R: RecordStore> Actor for DockerPoller<S, R> {
    type Context = MeteredContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if self.events {
            self.open_stream(context);
            self.schedule_poll(STREAM_OPEN_TIMEOUT, context);
        } else {
            self.poll(context);
        }
    }
}

impl<S: ContainerSource, R: RecordStore> Metered for DockerPoller<S, R> {
    fn mailbox_metrics() -> &'static MailboxMetrics {
        &MAILBOX_METRICS
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Poll> for DockerPoller<S, R> {
    type Result = ();

    fn handle(&mut self, _: Poll, context: &mut Self::Context) {
        self.poll(context);
    }
}

impl<S: ContainerSource, R: RecordStore> Handler<Ping> for DockerPoller<S, R> {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {}
}

#[cfg(feature = "test-hooks")]
impl<S: ContainerSource, R: RecordStore> Handler<crate::messages::InjectHang>
    for DockerPoller<S, R>
{
    type Result = ();

    fn handle(&mut self, _: crate::messages::InjectHang, context: &mut Self::Context) {
        context.wait(std::future::pending().into_actor(self));
    }
}
