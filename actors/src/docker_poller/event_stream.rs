//! The poller's event stream: reads events, reopens the stream when it ends, and detects a
//! stream that is open but silent.
//!
//! Events make changes visible sooner. Listings find every change except a stop signal, so a
//! listing that reports a change without an event shows that the stream is silent.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, SpawnHandle, WrapFuture};
use futures_util::StreamExt;
use slog::warn;
use tokio::time::Instant;

use super::DockerPoller;
use super::listing::Unannounced;
use crate::messages::ContainerEvent;
use crate::model::container::{ContainerId, EngineTime};
use crate::ports::container_source::{
    ContainerSource, EventStream, LOSS_WITHOUT_EVENTS, SourceError, SourceErrorKind,
};
use crate::ports::record_store::RecordStore;
use crate::runtime::backoff::Backoff;
use crate::runtime::metered_context::MeteredContext;

/// The pause before the stream is reopened after it failed to open or ended early.
const REOPEN_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), factor: 2, cap: Duration::from_secs(2) };
/// The pause before the stream is reopened if the engine rejected the request for events.
const REFUSED_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// The time after which an open stream resets the backoff. A new event resets it at once.
const STREAM_STABLE_AFTER: Duration = Duration::from_secs(5);
/// The time after the opening of a stream in which the engine repeats earlier events.
const REPLAY_TIME_MAX: Duration = Duration::from_secs(1);
/// The time within which an event must follow a change that a listing reported.
const EVENT_GRACE: Duration = Duration::from_secs(2);
/// The time within which an event must follow the removal of a container from a listing.
///
/// It is longer because of Podman: a container leaves the listing at its stop signal, for which
/// Podman sends no event. The event of its end follows at most ten seconds later, unless the user
/// configured a longer stop timeout.
const REMOVAL_EVENT_GRACE: Duration = Duration::from_secs(15);
/// The minimum time between two reopenings of a silent stream.
const FORCED_REOPEN_MIN_INTERVAL: Duration = Duration::from_secs(30);

/// The poller's state of the event stream.
#[derive(Default)]
pub(super) struct EventStreamState {
    /// The handle of the future that opens or reads the stream, or waits to reopen it.
    reader: Option<SpawnHandle>,
    /// The time at which the stream was opened. `None` if it is not open.
    open_since: Option<Instant>,
    failures: u32,
    /// `true` if the engine rejected the last request for events.
    refused: bool,
    /// The containers whose change was reported by a listing and by no event yet, with the time
    /// from which the event is overdue.
    overdue_events: BTreeMap<ContainerId, Instant>,
    last_forced_reopen: Option<Instant>,
}

impl<S: ContainerSource, R: RecordStore> DockerPoller<S, R> {
    /// Opens the stream, and then requests a listing.
    ///
    /// The events since the previous stream are requested as well, because a stop signal is
    /// reported only by an event.
    pub(super) fn open_stream(&mut self, context: &mut MeteredContext<Self>) {
        if let Some(reader) = self.event_stream.reader.take() {
            context.cancel_future(reader);
        }
        self.event_stream.open_since = None;
        self.event_stream.overdue_events.clear();
        let source = self.source.clone();
        // The engine includes the start of the range, and that event was received already.
        let since = self.listing_state.borrow().last_event_at.map(|at| EngineTime(at.0 + 1));
        let opening = async move { source.events(since).await };
        self.event_stream.reader =
            Some(context.spawn(opening.into_actor(self).map(|opened, poller, context| {
                match opened {
                    Ok(events) => {
                        poller.event_stream.open_since = Some(Instant::now());
                        poller.event_stream.refused = false;
                        debug!(poller.log, "docker event stream open");
                        poller.read_stream(events, context);
                    }
                    Err(error) => poller.handle_open_failure(&error, context),
                }
                poller.poll(context);
            })));
    }

    /// Passes the events to the registry one by one. The registry has handled an event before the
    /// next event is read.
    fn read_stream(&mut self, mut events: EventStream, context: &mut MeteredContext<Self>) {
        let registry = self.registry.clone();
        let reader = async move {
            let next = match events.next().await {
                Some(Ok(event)) => {
                    let (container, at) = (event.container.clone(), event.at);
                    registry.send_until_handled(ContainerEvent { event }).await;
                    Some(Ok((container, at)))
                }
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            (events, next)
        };
        self.event_stream.reader =
            Some(context.spawn(reader.into_actor(self).map(|(events, next), poller, context| {
                match next {
                    Some(Ok((container, at))) => {
                        // A repeated event does not show that the stream works.
                        if poller.is_news(at) {
                            poller.listing_state.borrow_mut().last_event_at = Some(at);
                            poller.event_stream.failures = 0;
                        }
                        poller.event_stream.overdue_events.remove(&container);
                        poller.read_stream(events, context);
                    }
                    Some(Err(error)) if error.kind == SourceErrorKind::Malformed => {
                        poller.unreadable.record_event(&error, &poller.recorder, &poller.log);
                        poller.read_stream(events, context);
                    }
                    Some(Err(error)) => poller.handle_stream_end(Some(&error), context),
                    None => poller.handle_stream_end(None, context),
                }
            })));
    }

    /// Returns `true` if an event at this time, by the engine's clock, is not repeated.
    ///
    /// The engine repeats earlier events at once. An event that arrives later is news, even if its
    /// time is earlier, because the engine's clock may have been set back.
    fn is_news(&self, at: EngineTime) -> bool {
        let is_replay_over =
            self.event_stream.open_since.is_some_and(|since| since.elapsed() >= REPLAY_TIME_MAX);
        let last_event_at = self.listing_state.borrow().last_event_at;
        last_event_at.is_none_or(|before| before < at || before != at && is_replay_over)
    }

    fn handle_stream_end(
        &mut self,
        error: Option<&SourceError>,
        context: &mut MeteredContext<Self>,
    ) {
        let uptime = self.event_stream.open_since.take().map(|since| since.elapsed());
        if uptime.is_some_and(|uptime| uptime >= STREAM_STABLE_AFTER) {
            self.event_stream.failures = 0;
        }
        let error = error.map_or_else(|| "closed by the engine".to_owned(), ToString::to_string);
        info!(self.log, "docker event stream ended; reopening"; "error" => error);
        self.schedule_reopen(None, context);
    }

    fn handle_open_failure(&mut self, error: &SourceError, context: &mut MeteredContext<Self>) {
        // An unreachable engine is logged once, when a listing fails.
        let is_rejected = error.kind != SourceErrorKind::Unreachable;
        if is_rejected && !std::mem::replace(&mut self.event_stream.refused, true) {
            warn!(self.log, "docker events unavailable; relying on polls";
                "lost" => LOSS_WITHOUT_EVENTS, "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "docker events unavailable; retrying"; "error" => %error);
        }
        self.schedule_reopen(is_rejected.then_some(REFUSED_RETRY_INTERVAL), context);
    }

    /// Reopens the stream after `wait`, or after a growing pause if `wait` is `None`.
    fn schedule_reopen(&mut self, wait: Option<Duration>, context: &mut MeteredContext<Self>) {
        self.event_stream.failures = self.event_stream.failures.saturating_add(1);
        let wait = wait
            .unwrap_or_else(|| REOPEN_BACKOFF.wait(self.event_stream.failures, fastrand::f64()));
        self.event_stream.reader = Some(context.run_later(wait, Self::open_stream));
    }

    /// Expects an event for each change that a listing reported before any event did. If no event
    /// follows, the stream is silent and is reopened.
    ///
    /// `previous_listing` is the time at which the previous listing was requested.
    pub(super) fn expect_events(
        &mut self,
        unannounced: Unannounced,
        previous_listing: Option<Instant>,
        context: &mut MeteredContext<Self>,
    ) {
        // The stream reports no change from before it was opened.
        let Some(open_since) = self.event_stream.open_since else { return };
        let is_unannounced = |previous: Instant| {
            // A skipped event may have been the event of any container.
            previous > open_since && !self.unreadable.has_event_since(previous)
        };
        if !previous_listing.is_some_and(is_unannounced) {
            return;
        }
        for (containers, grace) in
            [(unannounced.seen, EVENT_GRACE), (unannounced.gone, REMOVAL_EVENT_GRACE)]
        {
            if containers.is_empty() {
                continue;
            }
            let overdue = Instant::now() + grace;
            for container in containers {
                let overdue_at =
                    self.event_stream.overdue_events.entry(container).or_insert(overdue);
                *overdue_at = overdue.min(*overdue_at);
            }
            context.run_later(grace, move |poller, context| {
                if poller.event_stream.open_since == Some(open_since) {
                    poller.reopen_if_silent(context);
                }
            });
        }
    }

    /// Reopens the stream if an event is overdue, unless a silent stream was reopened recently.
    fn reopen_if_silent(&mut self, context: &mut MeteredContext<Self>) {
        let now = Instant::now();
        let overdue =
            self.event_stream.overdue_events.values().filter(|overdue| **overdue <= now).count();
        let is_recent = |at: Instant| at.elapsed() < FORCED_REOPEN_MIN_INTERVAL;
        if overdue == 0 || self.event_stream.last_forced_reopen.is_some_and(is_recent) {
            return;
        }
        self.event_stream.last_forced_reopen = Some(now);
        notice!(self.log, "docker event stream missed changes; reopening";
            "containers" => overdue);
        self.open_stream(context);
    }
}
