//! The core: starts the actors, supervises them, and stops them in the order of the flow.
//!
//! `wiring` builds and connects the actors. The daemon holds a [`Core`] for each set of settings
//! in use, and passes the [`CarriedState`] of a stopped core to its successor.

#[cfg(feature = "test-hooks")]
mod test_hooks;
mod wiring;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use slog::Logger;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::container_watcher::ContainerWatcher;
use crate::docker_poller::{DockerPoller, ListingState};
use crate::etcd_inserter::EtcdInserter;
use crate::messages::{
    CheckNow, CountPendingWrites, Flush, GetContainers, GetRecords, IsCaughtUp, Ping, Poll,
};
use crate::model::event_history::EventHistories;
use crate::model::publish_config::PublishConfig;
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::{LeaseNamespace, RecordStore};
use crate::reconciler::WriteLog;
use crate::registry::Registry;
use crate::runtime::actor_ref::ActorRef;
use crate::runtime::metered_context::Metered;
use crate::runtime::metrics::MailboxSnapshot;
use crate::runtime::supervisor::{EscalationHandle, Supervisor};
use crate::status::{ContainerReport, CoreHandle, RecordCounts, RecordReport, StatusRecorder};
use wiring::Wiring;

/// The time between two requests of [`Core::wait_until_caught_up`].
const CAUGHT_UP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The parameters of a core.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// The parameters that all records of this host share.
    pub publish_config: PublishConfig,
    /// The time after its last refresh at which a key in the store expires.
    pub ttl: Duration,
    /// The leases that belong to this publisher. Only stores with leases (v3) use it.
    pub lease_namespace: LeaseNamespace,
    /// The time between two listings.
    pub poll_interval: Duration,
    /// The longest time between two checks of a watcher for due work.
    pub recheck_interval: Duration,
    /// `true` if the engine's events are followed too.
    pub events: bool,
    /// The longest time for which a container is withdrawn after its stop signal. With `None` a
    /// container is published until it ends. Stop signals are reported only by events.
    pub drain: Option<Duration>,
}

/// The state that outlives an actor, and can outlive a core.
///
/// It holds the write log, the event histories, the identity of the engine and the status. A
/// restarted actor needs it, and so does the successor of a core that publishes the same keys.
#[derive(Clone, Default)]
pub struct CarriedState {
    write_log: WriteLog,
    histories: EventHistories,
    listing_state: Rc<RefCell<ListingState>>,
    recorder: StatusRecorder,
}

impl CarriedState {
    /// Returns the state for a core with another record root: only the history of recent
    /// changes is kept.
    #[must_use]
    pub fn for_other_record_root(&self) -> Self {
        Self { recorder: self.recorder.for_other_core(), ..Self::default() }
    }
}

/// A running core. [`Core::stop`] ends the actors in order, and dropping the core ends them at
/// once.
pub struct Core<S: ContainerSource, R: RecordStore> {
    poller: ActorRef<DockerPoller<S, R>>,
    registry: ActorRef<Registry<S, R>>,
    inserter: ActorRef<EtcdInserter<R>>,
    core_handle: CoreHandle,
    supervisors: RefCell<Supervisors>,
    carried_state: CarriedState,
    exhausted_actor: watch::Receiver<Option<&'static str>>,
}

/// The supervisors of a core. Dropping a supervisor ends its actor.
struct Supervisors {
    poller: Option<Supervisor>,
    registry: Option<Supervisor>,
    inserter: Option<Supervisor>,
}

/// The result of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Every change was written.
    Clean,
    /// The grace period ended before every change was written. The number of unwritten changes
    /// is `None` if the inserter did not return it.
    TimedOut(Option<usize>),
}

impl<S: ContainerSource, R: RecordStore> Core<S, R> {
    /// Starts the actors on the current arbiter.
    pub fn start(settings: CoreSettings, source: S, store: R, log: &Logger) -> Self {
        Self::resume(settings, source, store, CarriedState::default(), log)
    }

    /// Starts the actors with the state of an earlier core.
    ///
    /// The earlier core must be stopped, and must have published under the same prefix and
    /// domain in the same store.
    pub fn resume(
        settings: CoreSettings,
        source: S,
        store: R,
        carried_state: CarriedState,
        log: &Logger,
    ) -> Self {
        carried_state.recorder.set_poll_interval(settings.poll_interval);
        let (escalation, exhausted_actor) = EscalationHandle::channel();
        let wiring = Wiring::new(settings, source, store, carried_state.clone(), escalation, log);
        Self {
            poller: wiring.poller.clone(),
            registry: wiring.registry.clone(),
            inserter: wiring.inserter.clone(),
            core_handle: wiring.core_handle(),
            supervisors: RefCell::new(Supervisors {
                poller: Some(wiring.supervise_poller()),
                registry: Some(wiring.supervise_registry()),
                inserter: Some(wiring.supervise_inserter()),
            }),
            carried_state,
            exhausted_actor,
        }
    }

    /// Waits until an actor has crashed too often to be restarted, and returns its name.
    ///
    /// The caller should end the process: only a new process is likely to help.
    pub async fn restarts_exhausted(&self) -> &'static str {
        let mut exhausted_actor = self.exhausted_actor.clone();
        match exhausted_actor.wait_for(Option::is_some).await.map(|actor| *actor) {
            Ok(Some(actor)) => actor,
            // The supervisors hold the senders. After a stop there are none.
            _ => std::future::pending().await,
        }
    }

    /// Stops the core in the order of the flow: the poller and the watchers first, then the
    /// inserter, which writes the remaining changes for at most `grace`.
    ///
    /// With `withdraw` all records are deleted. The future can be dropped while it waits, and
    /// `stop` can be called again.
    pub async fn stop(&self, withdraw: bool, grace: Duration) -> Shutdown {
        let deadline = Instant::now() + grace;
        self.end_poller_and_registry();
        let flush = self.inserter.send_until_handled(Flush { withdraw });
        let flushed = tokio::time::timeout_at(deadline, flush).await;
        let shutdown = match flushed {
            Ok(()) => Shutdown::Clean,
            Err(_) => Shutdown::TimedOut(self.inserter.request(CountPendingWrites).await),
        };
        self.end_inserter();
        shutdown
    }

    /// Ends both actors, and the watchers with the registry. The borrow ends before the
    /// supervisors are dropped.
    fn end_poller_and_registry(&self) {
        let ended = {
            let mut supervisors = self.supervisors.borrow_mut();
            [supervisors.poller.take(), supervisors.registry.take()]
        };
        drop(ended);
    }

    /// Ends the inserter. The borrow ends before the supervisor is dropped.
    fn end_inserter(&self) {
        let ended = self.supervisors.borrow_mut().inserter.take();
        drop(ended);
    }

    /// Returns the state for a successor of this core. Call it after [`Core::stop`].
    pub fn carried_state(&self) -> CarriedState {
        self.carried_state.clone()
    }

    /// Sends a [`Ping`] to the poller, the registry and the inserter in turn, and returns when
    /// each has replied.
    ///
    /// An actor replies when all earlier messages are handled. An actor that is being restarted
    /// replies after the restart.
    pub async fn ping(&self) {
        self.poller.send_until_handled(Ping).await;
        self.registry.send_until_handled(Ping).await;
        self.inserter.send_until_handled(Ping).await;
    }

    /// Waits until Docker was listed, every listed container was inspected, and every resulting
    /// record is in the store, on standby, or rejected by the store.
    pub async fn wait_until_caught_up(&self) {
        loop {
            // The registry first: a domain that it has passed on is pending until it is written.
            if self.registry.send_until_handled(IsCaughtUp).await
                && self.inserter.send_until_handled(CountPendingWrites).await == 0
            {
                return;
            }
            tokio::time::sleep(CAUGHT_UP_POLL_INTERVAL).await;
        }
    }

    /// Returns a report on every desired record, or `None` while the inserter is being
    /// restarted.
    pub async fn records(&self) -> Option<Vec<RecordReport>> {
        self.inserter.request(GetRecords).await
    }

    /// Returns counters of the changes to records so far.
    pub fn counts(&self) -> RecordCounts {
        self.core_handle.counts()
    }

    /// Returns a handle through which reports and counters of the core are read.
    pub fn handle(&self) -> CoreHandle {
        self.core_handle.clone()
    }

    /// Returns a report on every container that has a watcher, or `None` while the registry is
    /// being restarted.
    pub async fn containers(&self) -> Option<Vec<ContainerReport>> {
        self.registry.request(GetContainers).await
    }

    /// Returns the mailbox metrics of the actors, in the order of the flow.
    pub fn mailbox_snapshots(&self) -> [MailboxSnapshot; 4] {
        mailbox_snapshots::<S, R>()
    }

    /// Requests a listing now.
    pub fn poll_now(&self) {
        self.poller.notify(Poll);
    }

    /// Requests a listing and an audit of the store now, for example after the machine was
    /// suspended.
    pub fn check_now(&self) {
        self.poller.notify(Poll);
        self.inserter.notify(CheckNow);
    }
}

/// Returns the mailbox metrics of the actors, in the order of the flow.
///
/// Any thread can read them, even if the thread of the actors hangs.
pub fn mailbox_snapshots<S: ContainerSource, R: RecordStore>() -> [MailboxSnapshot; 4] {
    [
        DockerPoller::<S, R>::mailbox_metrics().snapshot(),
        Registry::<S, R>::mailbox_metrics().snapshot(),
        ContainerWatcher::<S, R>::mailbox_metrics().snapshot(),
        EtcdInserter::<R>::mailbox_metrics().snapshot(),
    ]
}
