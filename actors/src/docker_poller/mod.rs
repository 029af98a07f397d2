//! [`DockerPoller`]: lists the containers of the engine, and follows its events.

mod event_stream;
mod listing;
mod unreadable;

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
use unreadable::UnreadableReports;

static MAILBOX_METRICS: MailboxMetrics = MailboxMetrics::new("DockerPoller", 16);

/// The pause before a failed listing is retried. The poll interval caps it.
const LISTING_RETRY_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2, cap: Duration::from_secs(10) };
/// The largest part of the poll interval that is subtracted at random, so that hosts that started
/// together do not poll together.
const POLL_JITTER_FRACTION: f64 = 0.05;
/// The minimum time between two listings, including requested ones.
const LISTING_MIN_INTERVAL: Duration = Duration::from_millis(250);
/// The time after a suspect listing at which the confirming listing is requested.
const CONFIRMATION_DELAY: Duration = Duration::from_secs(1);
/// The longest time for which the first listing waits for the event stream to open.
const STREAM_OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Lists the containers at each poll interval, and passes the engine's events to the registry.
///
/// After each listing the poller requests the last reported state from the registry and sends
/// only the differences. The poller keeps no list of containers, so a restarted registry receives
/// everything at the next poll. A failed listing changes nothing. A suspect listing takes effect
/// when a second listing confirms it (ARCHITECTURE.md, "Suspect listings").
pub struct DockerPoller<S: ContainerSource, R: RecordStore> {
    source: Rc<S>,
    registry: ActorRef<Registry<S, R>>,
    poll_interval: Duration,
    /// `true` if the engine's events are followed too.
    events: bool,
    event_stream: EventStreamState,
    unreadable: UnreadableReports,
    listing_state: Rc<RefCell<ListingState>>,
    /// The time at which the latest listing was requested.
    requested_at: Option<Instant>,
    polling: bool,
    /// `true` if a listing was requested while another was in flight.
    poll_again: bool,
    timer: Option<SpawnHandle>,
    failures: u32,
    recorder: StatusRecorder,
    log: Logger,
}

/// The parameters and connections of a poller.
pub(crate) struct PollerSetup<S: ContainerSource, R: RecordStore> {
    /// The source of listings and events.
    pub source: Rc<S>,
    /// The receiver of differences and events.
    pub registry: ActorRef<Registry<S, R>>,
    /// The time between two listings.
    pub poll_interval: Duration,
    /// `true` if the engine's events are followed too.
    pub events: bool,
    /// The state that outlives the poller.
    pub listing_state: Rc<RefCell<ListingState>>,
    /// The status for the admin interface.
    pub recorder: StatusRecorder,
    /// The logger of the poller.
    pub log: Logger,
}

impl<S: ContainerSource, R: RecordStore> DockerPoller<S, R> {
    /// Returns a poller that has requested no listing yet.
    pub(crate) fn new(setup: PollerSetup<S, R>) -> Self {
        let PollerSetup { source, registry, poll_interval, events, listing_state, recorder, log } =
            setup;
        Self {
            source,
            registry,
            poll_interval,
            events,
            event_stream: EventStreamState::default(),
            unreadable: UnreadableReports::default(),
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

    /// Requests a listing now, or as soon as the one in flight is complete and
    /// [`LISTING_MIN_INTERVAL`] has passed.
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
        let previous_listing = self.requested_at.replace(now);
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
                    poller.expect_events(unannounced, previous_listing, context);
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

    /// Logs a completed listing, and returns the time to wait for the next one.
    fn handle_listing(&mut self, result: &PollResult, started: Instant) -> Duration {
        if std::mem::take(&mut self.failures) > 0 {
            notice!(self.log, "docker connected again"; "containers" => result.containers);
        }
        let duration = started.elapsed();
        self.recorder.record_listing(duration);
        self.unreadable.record_rows(&result.unreadable, &self.recorder, &self.log);
        info!(self.log, "docker listed"; "containers" => result.containers,
            "changed" => result.changed, "gone" => result.gone);
        if let Some(suspect) = &result.suspect {
            self.log_suspect(suspect);
            return CONFIRMATION_DELAY.min(self.poll_interval);
        }
        let next = self.poll_interval.mul_f64(1.0 - POLL_JITTER_FRACTION * fastrand::f64());
        // An engine whose listings take longer than the interval gets a pause, too.
        next.saturating_sub(duration).max(duration.min(self.poll_interval))
    }

    fn log_suspect(&self, suspect: &SuspectListing) {
        match suspect {
            SuspectListing::OtherEngine(engine) => {
                warn!(self.log, "docker engine changed; waiting for a second listing";
                    "engine" => &engine.0);
            }
            SuspectListing::MassRemoval { affected, total } => {
                warn!(self.log, "listing would withdraw most records; \
                    waiting for a second listing";
                    "records" => affected, "of" => total);
            }
        }
    }

    /// Logs a failed listing, and returns the time to wait before it is retried.
    fn handle_failure(&mut self, error: &SourceError) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.recorder.record_listing_error(error);
        if self.failures == 1 {
            warn!(self.log, "docker unreachable; keeping last known state";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "docker still unreachable";
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
