//! The engine's event stream, from the poller's side: followed, opened anew, and
//! mistrusted where listings tell what it didn't.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, SpawnHandle, WrapFuture};
use futures_util::StreamExt;
use slog::warn;
use tokio::time::Instant;

use super::DockerPoller;
use super::listing::Surprises;
use crate::messages::ContainerNamed;
use crate::model::container::{ContainerId, EngineTime};
use crate::ports::container_source::{ContainerSource, Events, SourceError, SourceErrorKind};
use crate::ports::record_store::RecordStore;
use crate::runtime::backoff::Backoff;
use crate::runtime::metered_context::MeteredContext;

/// After a stream that could not be opened, or that ended soon.
const REOPEN: Backoff =
    Backoff { first: Duration::from_millis(100), factor: 2, cap: Duration::from_secs(2) };
/// After an engine's word that it tells no events.
const REFUSED: Duration = Duration::from_secs(60);
/// A stream that lived so long, or told something, has not failed in a row with the one
/// before.
const LIVED: Duration = Duration::from_secs(5);
/// So long after a listing an event may still come for what it told.
const LATE: Duration = Duration::from_secs(2);
/// The same where it told that a container is gone. Podman lists one no more from its stop
/// signal on, of which it tells no event, and tells of its end when that has come: ten
/// seconds later at the latest, unless its user said otherwise.
const LATE_END: Duration = Duration::from_secs(15);
/// The least time between two streams that are given up for their silence.
const MISTRUST_EVERY: Duration = Duration::from_secs(30);

/// What the poller knows of its event stream.
#[derive(Default)]
pub(super) struct Stream {
    /// Ends what opens or reads the stream.
    reading: Option<SpawnHandle>,
    /// Since when it is open.
    open_since: Option<Instant>,
    failures: u32,
    /// Whether the engine said the last time that it tells no events.
    refused: bool,
    /// What listings told while no event did, and when an event is overdue.
    untold: BTreeMap<ContainerId, Instant>,
    mistrusted: Option<Instant>,
}

impl<S: ContainerSource, R: RecordStore> DockerPoller<S, R> {
    /// Opens the stream, and has Docker listed after it. What happened since the one before
    /// ended is asked for as well: only an event tells of a stop signal.
    pub(super) fn open_stream(&mut self, context: &mut MeteredContext<Self>) {
        if let Some(reading) = self.stream.reading.take() {
            context.cancel_future(reading);
        }
        self.stream.open_since = None;
        self.stream.untold.clear();
        let source = self.source.clone();
        // The engine counts from that moment on, and what happened in it was told.
        let since = self.beliefs.borrow().told_until.map(|at| EngineTime(at.0 + 1));
        let opening = async move { source.events(since).await };
        self.stream.reading =
            Some(context.spawn(opening.into_actor(self).map(|opened, poller, context| {
                match opened {
                    Ok(events) => {
                        poller.stream.open_since = Some(Instant::now());
                        poller.stream.refused = false;
                        debug!(poller.log, "docker's events are followed");
                        poller.read_stream(events, context);
                    }
                    Err(error) => poller.not_opened(&error, context),
                }
                poller.poll(context);
            })));
    }

    /// Hands on one event after the other; each is with the registry before the next is
    /// read.
    fn read_stream(&mut self, mut events: Events, context: &mut MeteredContext<Self>) {
        let registry = self.registry.clone();
        let reading = async move {
            let next = match events.next().await {
                Some(Ok(event)) => {
                    let (container, at) = (event.container.clone(), event.at);
                    registry.deliver(ContainerNamed { event }).await;
                    Some(Ok((container, at)))
                }
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            (events, next)
        };
        self.stream.reading =
            Some(context.spawn(reading.into_actor(self).map(|(events, next), poller, context| {
                match next {
                    Some(Ok((container, at))) => {
                        // What is told again is no sign of life.
                        let told_until = poller.beliefs.borrow().told_until;
                        if told_until.is_none_or(|before| before < at) {
                            poller.beliefs.borrow_mut().told_until = Some(at);
                            poller.stream.failures = 0;
                        }
                        poller.stream.untold.remove(&container);
                        poller.read_stream(events, context);
                    }
                    Some(Err(error)) => poller.stream_ended(Some(&error), context),
                    None => poller.stream_ended(None, context),
                }
            })));
    }

    fn stream_ended(&mut self, error: Option<&SourceError>, context: &mut MeteredContext<Self>) {
        let lived = self.stream.open_since.take().map(|since| since.elapsed());
        if lived.is_some_and(|lived| lived >= LIVED) {
            self.stream.failures = 0;
        }
        let error = error.map_or_else(|| "closed by the engine".to_owned(), ToString::to_string);
        info!(self.log, "docker's event stream ended; it is opened anew"; "error" => error);
        self.reopen_in(None, context);
    }

    fn not_opened(&mut self, error: &SourceError, context: &mut MeteredContext<Self>) {
        // That nobody answers is told once, of the listing.
        let stays = error.kind != SourceErrorKind::Unreachable;
        if stays && !std::mem::replace(&mut self.stream.refused, true) {
            warn!(self.log, "docker's events can't be followed; changes are seen at the next poll";
                "error" => %error, "kind" => error.kind.as_str());
        } else {
            info!(self.log, "docker's events can't be followed yet"; "error" => %error);
        }
        self.reopen_in(stays.then_some(REFUSED), context);
    }

    fn reopen_in(&mut self, wait: Option<Duration>, context: &mut MeteredContext<Self>) {
        self.stream.failures = self.stream.failures.saturating_add(1);
        let wait = wait.unwrap_or_else(|| REOPEN.wait(self.stream.failures, fastrand::f64()));
        self.stream.reading = Some(context.run_later(wait, Self::open_stream));
    }

    /// Takes note of what a listing told before any event did. Where none follows, the
    /// stream is silently dead: it is opened anew. `before` is when the listing before was
    /// asked for.
    pub(super) fn expect_events(
        &mut self,
        surprises: Surprises,
        before: Option<Instant>,
        context: &mut MeteredContext<Self>,
    ) {
        // What happened before the stream was open is none of its business.
        let Some(open_since) = self.stream.open_since else { return };
        if before.is_none_or(|before| before <= open_since) {
            return;
        }
        for (containers, late) in [(surprises.seen, LATE), (surprises.gone, LATE_END)] {
            if containers.is_empty() {
                continue;
            }
            let overdue = Instant::now() + late;
            for container in containers {
                let known = self.stream.untold.entry(container).or_insert(overdue);
                *known = overdue.min(*known);
            }
            context.run_later(late, move |poller, context| {
                if poller.stream.open_since == Some(open_since) {
                    poller.judge_stream(context);
                }
            });
        }
    }

    fn judge_stream(&mut self, context: &mut MeteredContext<Self>) {
        let now = Instant::now();
        let overdue = self.stream.untold.values().filter(|overdue| **overdue <= now).count();
        let lately = |at: Instant| at.elapsed() < MISTRUST_EVERY;
        if overdue == 0 || self.stream.mistrusted.is_some_and(lately) {
            return;
        }
        self.stream.mistrusted = Some(now);
        notice!(self.log, "docker's event stream is silent about changes; it is opened anew";
            "containers" => overdue);
        self.open_stream(context);
    }
}
