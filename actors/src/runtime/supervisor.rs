//! Restarts actors that crashed, within limits.

use std::rc::Rc;
use std::time::Duration;

use slog::{Logger, crit, error};
use tokio::sync::watch;
use tokio::time::Instant;

use super::actor_ref::ActorRef;
use super::backoff::Backoff;
use super::failure_window::FailureWindow;
use super::metered_context::{AbortOnDrop, Metered, MeteredContext};

/// Before a poller, registry or inserter that fell is rebuilt.
const RESTART_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(200), factor: 2, cap: Duration::from_secs(2) };

/// Tells that an actor fails again and again.
#[derive(Clone)]
pub struct EscalationHandle(Rc<watch::Sender<Option<&'static str>>>);

impl EscalationHandle {
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
pub(crate) struct Supervisor(
    #[expect(dead_code, reason = "it ends the task when dropped")] AbortOnDrop,
);

impl Supervisor {
    pub fn start<A: Metered>(
        actor_ref: ActorRef<A>,
        build: impl Fn() -> A + 'static,
        on_restart: impl Fn() + 'static,
        escalation: &EscalationHandle,
        log: &Logger,
    ) -> Self {
        let (escalation, log) = (escalation.clone(), log.clone());
        // The first one sits before this returns, so that nobody finds an empty seat.
        let (address, mut task) = MeteredContext::start(build());
        actor_ref.set(address);
        // An actor that lives is ended with this keeper, be it before the keeper's own task
        // has begun.
        let mut actor = AbortOnDrop::new(&task);
        let supervision = actix_rt::spawn(async move {
            let meter = A::mailbox_metrics();
            let mut failures = FailureWindow::default();
            loop {
                let ended = task.await;
                drop(actor);
                actor_ref.clear();
                if !ended.is_err_and(|end| end.is_panic()) {
                    return;
                }
                meter.count_panic();
                let Some(consecutive) = failures.record(Instant::now()) else {
                    crit!(log, "an actor fails again and again"; "actor" => meter.actor);
                    escalation.report(meter.actor);
                    return;
                };
                let wait = RESTART_BACKOFF.wait(consecutive, fastrand::f64());
                error!(log, "an actor panicked; a fresh one follows"; "actor" => meter.actor,
                    "failures" => consecutive, "wait_seconds" => wait.as_secs_f64());
                tokio::time::sleep(wait).await;
                meter.count_restart();
                let (address, next) = MeteredContext::start(build());
                actor_ref.set(address);
                (actor, task) = (AbortOnDrop::new(&next), next);
                on_restart();
            }
        });
        Self(AbortOnDrop::new(&supervision))
    }
}
