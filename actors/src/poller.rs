//! DockerPoller: owns what Docker says runs.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Handler, MailboxError, Message, SpawnHandle,
    WrapFuture,
};
use slog::{Logger, warn};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::container::{ContainerId, ContainerRow};
use crate::meter::Meter;
use crate::metered::{Metered, MeteredContext};
use crate::registry::{ContainerGone, ContainerSeen, KnownContainers, Listed, Registry};
use crate::seat::Seat;
use crate::source::{ContainerSource, SourceError};
use crate::store::RecordStore;

static METER: Meter = Meter::new("DockerPoller", 16);

/// After a listing that failed; capped by the time between two polls.
const RETRY: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 2, cap: Duration::from_secs(10) };
/// How much of the time between two polls is left to chance, so that a fleet's
/// hosts that started together don't poll together.
const JITTER: f64 = 0.05;

/// Asks the engine every few seconds what runs, and tells the registry of every
/// container whose row isn't what the registry knows.
pub struct DockerPoller<S: ContainerSource, R: RecordStore> {
    source: Rc<S>,
    registry: Seat<Registry<S, R>>,
    every: Duration,
    polling: bool,
    again: bool,
    timer: Option<SpawnHandle>,
    failures: u32,
    log: Logger,
}

/// Asks for a listing now.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Poll;

/// What came of a poll that the engine answered.
struct Polled {
    containers: usize,
    changed: usize,
    gone: usize,
}

impl<S: ContainerSource, R: RecordStore> DockerPoller<S, R> {
    /// A poller that lists every `every`.
    pub fn new(
        source: Rc<S>,
        registry: Seat<Registry<S, R>>,
        every: Duration,
        log: Logger,
    ) -> Self {
        Self {
            source,
            registry,
            every,
            polling: false,
            again: false,
            timer: None,
            failures: 0,
            log,
        }
    }

    fn poll(&mut self, context: &mut MeteredContext<Self>) {
        if self.polling {
            self.again = true;
            return;
        }
        self.polling = true;
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        let started = Instant::now();
        let poll = poll(Rc::clone(&self.source), self.registry.clone());
        context.spawn(poll.into_actor(self).map(move |result, poller, context| {
            poller.polling = false;
            let wait = match result {
                Ok(polled) => poller.answered(&polled, started),
                Err(error) => poller.failed(&error),
            };
            if std::mem::take(&mut poller.again) {
                poller.poll(context);
            } else {
                poller.timer = Some(context.run_later(wait, Self::poll));
            }
        }));
    }

    fn answered(&mut self, polled: &Polled, started: Instant) -> Duration {
        if std::mem::take(&mut self.failures) > 0 {
            notice!(self.log, "docker answers again"; "containers" => polled.containers);
        }
        info!(self.log, "docker listed"; "containers" => polled.containers,
            "changed" => polled.changed, "gone" => polled.gone);
        let next = self.every.mul_f64(1.0 - JITTER * fastrand::f64());
        next.saturating_sub(started.elapsed())
    }

    fn failed(&mut self, error: &SourceError) -> Duration {
        self.failures = self.failures.saturating_add(1);
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

/// Lists once, and brings the registry up to date. What the registry knows is asked
/// of it each time: so a registry that was rebuilt, or that did not believe a
/// listing, hears all that it lacks at the next poll.
async fn poll<S: ContainerSource, R: RecordStore>(
    source: Rc<S>,
    registry: Seat<Registry<S, R>>,
) -> Result<Polled, SourceError> {
    let asked = Instant::now();
    let rows = source.list().await?;
    let mut polled = Polled { containers: rows.len(), changed: 0, gone: 0 };
    // A registry that falls in the middle of this is told nothing more, and above
    // all not that it now knows all: its successor asks for a poll of its own.
    if let Some(registry) = registry.occupant() {
        let _ = bring_up_to_date(&registry, rows, asked, &mut polled).await;
    }
    Ok(polled)
}

async fn bring_up_to_date<S: ContainerSource, R: RecordStore>(
    registry: &Addr<Registry<S, R>>,
    rows: Vec<ContainerRow>,
    asked: Instant,
    polled: &mut Polled,
) -> Result<(), MailboxError> {
    let mut known = registry.send(KnownContainers).await?;
    for row in rows {
        let before = known.remove(&row.id);
        if before.is_none_or(|before| row.differs_from(&before)) {
            polled.changed += 1;
            registry.send(ContainerSeen { row: Arc::new(row) }).await?;
        }
    }
    for container in known.into_keys() {
        polled.gone += 1;
        registry.send(ContainerGone { container, asked }).await?;
    }
    registry.send(Listed { asked }).await
}

/// What the registry answers to [`KnownContainers`]: the newest row of each.
pub type KnownRows = HashMap<ContainerId, Arc<ContainerRow>>;

impl<S: ContainerSource, R: RecordStore> Actor for DockerPoller<S, R> {
    type Context = MeteredContext<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.poll(context);
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
