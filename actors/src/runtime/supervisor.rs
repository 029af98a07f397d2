//! [`Supervisor`]: restarts an actor that crashed, within the limits of [`FailureWindow`].

use std::rc::Rc;
use std::time::Duration;

use slog::{Logger, crit, error};
use tokio::sync::watch;
use tokio::time::Instant;

use super::actor_ref::ActorRef;
use super::backoff::Backoff;
use super::failure_window::FailureWindow;
use super::metered_context::{AbortOnDrop, Metered, MeteredContext};

/// The pause before a poller, registry or inserter that crashed is restarted.
const RESTART_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(200), factor: 2, cap: Duration::from_secs(2) };

/// Reports that an actor crashed too often to be restarted.
///
/// The daemon then ends the process, so that a new process starts from the beginning.
#[derive(Clone)]
pub struct EscalationHandle(Rc<watch::Sender<Option<&'static str>>>);

impl EscalationHandle {
    /// Returns a handle, and the receiver of the name of the actor that crashed too often.
    pub(crate) fn channel() -> (Self, watch::Receiver<Option<&'static str>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(Rc::new(sender)), receiver)
    }

    /// Reports an actor. The last report replaces an earlier one.
    pub(crate) fn report(&self, actor: &'static str) {
        self.0.send_replace(Some(actor));
    }
}

/// Runs an actor, and replaces it by a new one when it panicked.
///
/// The actor is built again from a factory, because `actix::Supervisor` does not handle panics.
/// Dropping the supervisor ends the actor.
pub(crate) struct Supervisor(
    #[expect(dead_code, reason = "dropping it ends the supervision")] AbortOnDrop,
);

impl Supervisor {
    /// Starts an actor from `build`, and sets `actor_ref` to it now and after each restart.
    ///
    /// `on_restart` is called after each restart. It requests the state of the new actor from the
    /// actor before it in the flow. An actor that exceeds the limit of [`FailureWindow`] is
    /// reported to `escalation` and not restarted.
    pub fn start<A: Metered>(
        actor_ref: ActorRef<A>,
        build: impl Fn() -> A + 'static,
        on_restart: impl Fn() + 'static,
        escalation: &EscalationHandle,
        log: &Logger,
    ) -> Self {
        let (escalation, log) = (escalation.clone(), log.clone());
        // The first actor is set before this function returns, so that the reference is never
        // empty at the start.
        let (address, mut task) = MeteredContext::start(build());
        actor_ref.set(address);
        // The guard moves into the supervision task. It ends the actor with that task, even if the
        // task has not run yet.
        let mut actor = AbortOnDrop::new(&task);
        let supervision = actix_rt::spawn(async move {
            let metrics = A::mailbox_metrics();
            let mut failures = FailureWindow::default();
            loop {
                let ended = task.await;
                drop(actor);
                actor_ref.clear();
                if !ended.is_err_and(|end| end.is_panic()) {
                    return;
                }
                metrics.count_panic();
                let Some(consecutive) = failures.record(Instant::now()) else {
                    crit!(log, "actor crashed too often; not restarting"; "actor" => metrics.actor);
                    escalation.report(metrics.actor);
                    return;
                };
                let wait = RESTART_BACKOFF.wait(consecutive, fastrand::f64());
                error!(log, "actor crashed; restarting"; "actor" => metrics.actor,
                    "failures" => consecutive, "wait_seconds" => wait.as_secs_f64());
                tokio::time::sleep(wait).await;
                metrics.count_restart();
                let (address, next) = MeteredContext::start(build());
                actor_ref.set(address);
                (actor, task) = (AbortOnDrop::new(&next), next);
                on_restart();
            }
        });
        Self(AbortOnDrop::new(&supervision))
    }
}
