//! The engine's event stream, from the poller's side: followed, opened anew, and
//! mistrusted where listings tell what it didn't.

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
use crate::ports::container_source::{ContainerSource, EventStream, SourceError, SourceErrorKind};
use crate::ports::record_store::RecordStore;
use crate::runtime::backoff::Backoff;
use crate::runtime::metered_context::MeteredContext;

/// After a stream that could not be opened, or that ended soon.
const REOPEN_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), factor: 2, cap: Duration::from_secs(2) };
/// After an engine's word that it tells no events.
const REFUSED_RETRY_INTERVAL: Duration = Duration::from_secs(60);
/// A stream that lived so long, or told something, has not failed in a row with the one
/// before.
const STREAM_STABLE_AFTER: Duration = Duration::from_secs(5);
/// So long after a listing an event may still come for what it told.
const EVENT_GRACE: Duration = Duration::from_secs(2);
/// The same where it told that a container is gone. Podman lists one no more from its stop
/// signal on, of which it tells no event, and tells of its end when that has come: ten
/// seconds later at the latest, unless its user said otherwise.
const REMOVAL_EVENT_GRACE: Duration = Duration::from_secs(15);
/// The least time between two streams that are given up for their silence.
const FORCED_REOPEN_MIN_INTERVAL: Duration = Duration::from_secs(30);

/// What the poller knows of its event stream.
#[derive(Default)]
pub(super) struct EventStreamState {
    /// Ends what opens or reads the stream.
    reader: Option<SpawnHandle>,
    /// Since when it is open.
    open_since: Option<Instant>,
    failures: u32,
    /// Whether the engine said the last time that it tells no events.
    refused: bool,
    /// What listings told while no event did, and when an event is overdue.
    overdue_events: BTreeMap<ContainerId, Instant>,
    last_forced_reopen: Option<Instant>,
}

impl<S: ContainerSource, R: RecordStore> DockerPoller<S, R> {
    /// Opens the stream, and has Docker listed after it. What happened since the one before
    /// ended is asked for as well: only an event tells of a stop signal.
    pub(super) fn open_stream(&mut self, context: &mut MeteredContext<Self>) {
        if let Some(reader) = self.event_stream.reader.take() {
            context.cancel_future(reader);
        }
        self.event_stream.open_since = None;
        self.event_stream.overdue_events.clear();
        let source = self.source.clone();
        // The engine counts from that moment on, and what happened in it was told.
        let since = self.listing_state.borrow().last_event_at.map(|at| EngineTime(at.0 + 1));
        let opening = async move { source.events(since).await };
        self.event_stream.reader =
            Some(context.spawn(opening.into_actor(self).map(|opened, poller, context| {
                match opened {
                    Ok(events) => {
                        poller.event_stream.open_since = Some(Instant::now());
                        poller.event_stream.refused = false;
                        debug!(poller.log, "docker's events are followed");
                        poller.read_stream(events, context);
                    }
                    Err(error) => poller.handle_open_failure(&error, context),
                }
                poller.poll(context);
            })));
    }

    /// Hands on one event after the other; each is with the registry before the next is
    /// read.
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
                        // What is told again is no sign of life.
                        let last_event_at = poller.listing_state.borrow().last_event_at;
                        if last_event_at.is_none_or(|before| before < at) {
                            poller.listing_state.borrow_mut().last_event_at = Some(at);
                            poller.event_stream.failures = 0;
                        }
                        poller.event_stream.overdue_events.remove(&container);
                        poller.read_stream(events, context);
                    }
                    Some(Err(error)) => poller.handle_stream_end(Some(&error), context),
                    None => poller.handle_stream_end(None, context),
                }
            })));
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
        info!(self.log, "docker's event stream ended; it is opened anew"; "error" => error);
        self.schedule_reopen(None, context);
    }

    fn handle_open_failure(&mut self, error: &SourceError, context: &mut MeteredContext<Self>) {
        // That nobody answers is told once, of the listing.
        let is_permanent = error.kind != SourceErrorKind::Unreachable;
        if is_permanent && !std::mem::replace(&mut self.event_stream.refused, true) {
            warn!(self.log, "docker's events can't be followed; changes are seen at the next poll";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "docker's events can't be followed yet"; "error" => %error);
        }
        self.schedule_reopen(is_permanent.then_some(REFUSED_RETRY_INTERVAL), context);
    }

    fn schedule_reopen(&mut self, wait: Option<Duration>, context: &mut MeteredContext<Self>) {
        self.event_stream.failures = self.event_stream.failures.saturating_add(1);
        let wait = wait
            .unwrap_or_else(|| REOPEN_BACKOFF.wait(self.event_stream.failures, fastrand::f64()));
        self.event_stream.reader = Some(context.run_later(wait, Self::open_stream));
    }

    /// Takes note of what a listing told before any event did. Where none follows, the
    /// stream is silently dead: it is opened anew. `before` is when the listing before was
    /// asked for.
    pub(super) fn expect_events(
        &mut self,
        unannounced: Unannounced,
        previous_listing: Option<Instant>,
        context: &mut MeteredContext<Self>,
    ) {
        // What happened before the stream was open is none of its business.
        let Some(open_since) = self.event_stream.open_since else { return };
        if previous_listing.is_none_or(|previous| previous <= open_since) {
            return;
        }
        for (containers, late) in
            [(unannounced.seen, EVENT_GRACE), (unannounced.gone, REMOVAL_EVENT_GRACE)]
        {
            if containers.is_empty() {
                continue;
            }
            let overdue = Instant::now() + late;
            for container in containers {
                let known = self.event_stream.overdue_events.entry(container).or_insert(overdue);
                *known = overdue.min(*known);
            }
            context.run_later(late, move |poller, context| {
                if poller.event_stream.open_since == Some(open_since) {
                    poller.reopen_if_silent(context);
                }
            });
        }
    }

    fn reopen_if_silent(&mut self, context: &mut MeteredContext<Self>) {
        let now = Instant::now();
        let overdue =
            self.event_stream.overdue_events.values().filter(|overdue| **overdue <= now).count();
        let is_recent = |at: Instant| at.elapsed() < FORCED_REOPEN_MIN_INTERVAL;
        if overdue == 0 || self.event_stream.last_forced_reopen.is_some_and(is_recent) {
            return;
        }
        self.event_stream.last_forced_reopen = Some(now);
        notice!(self.log, "docker's event stream is silent about changes; it is opened anew";
            "containers" => overdue);
        self.open_stream(context);
    }
}
