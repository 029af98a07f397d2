//! Restarts actors that crashed, within limits.

use std::rc::Rc;
use std::time::Duration;

use slog::{Logger, crit, error};
use tokio::sync::watch;
use tokio::time::Instant;

use super::actor_ref::Seat;
use super::backoff::Backoff;
use super::failure_window::Failures;
use super::metered_context::{AbortOnDrop, Metered, MeteredContext};

/// Before a poller, registry or inserter that fell is rebuilt.
const REBUILD: Backoff =
    Backoff { first: Duration::from_millis(200), factor: 2, cap: Duration::from_secs(2) };

/// Tells that an actor fails again and again.
#[derive(Clone)]
pub struct Exhausted(Rc<watch::Sender<Option<&'static str>>>);

impl Exhausted {
    /// A reporter, and the receiver of the name of the actor that failed too often.
    pub(crate) fn channel() -> (Self, watch::Receiver<Option<&'static str>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(Rc::new(sender)), receiver)
    }

    pub(crate) fn report(&self, actor: &'static str) {
        self.0.send_replace(Some(actor));
    }
}

/// Sees to it that a seat is taken: builds an actor, waits for its end, and where it
/// panicked builds the next.
pub(crate) struct Keeper(
    #[expect(dead_code, reason = "it ends the task when dropped")] AbortOnDrop,
);

impl Keeper {
    pub fn start<A: Metered>(
        seat: Seat<A>,
        build: impl Fn() -> A + 'static,
        rebuilt: impl Fn() + 'static,
        exhausted: &Exhausted,
        log: &Logger,
    ) -> Self {
        let (exhausted, log) = (exhausted.clone(), log.clone());
        // The first one sits before this returns, so that nobody finds an empty seat.
        let (address, mut task) = MeteredContext::start(build());
        seat.fill(address);
        // An actor that lives is ended with this keeper, be it before the keeper's own task
        // has begun.
        let mut actor = AbortOnDrop::new(&task);
        let keeping = actix_rt::spawn(async move {
            let meter = A::meter();
            let mut failures = Failures::default();
            loop {
                let ended = task.await;
                drop(actor);
                seat.vacate();
                if !ended.is_err_and(|end| end.is_panic()) {
                    return;
                }
                meter.count_panic();
                let Some(in_a_row) = failures.add(Instant::now()) else {
                    crit!(log, "an actor fails again and again"; "actor" => meter.actor);
                    exhausted.report(meter.actor);
                    return;
                };
                let wait = REBUILD.wait(in_a_row, fastrand::f64());
                error!(log, "an actor panicked; a fresh one follows"; "actor" => meter.actor,
                    "failures" => in_a_row, "wait_seconds" => wait.as_secs_f64());
                tokio::time::sleep(wait).await;
                meter.count_restart();
                let (address, next) = MeteredContext::start(build());
                seat.fill(address);
                (actor, task) = (AbortOnDrop::new(&next), next);
                rebuilt();
            }
        });
        Self(AbortOnDrop::new(&keeping))
    }
}
