//! The core's life: starts the actors, rebuilds one that falls, stops them in order.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use slog::{Logger, o};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::container_watcher::{ContainerWatcher, WatcherSetup};
use crate::docker_poller::{DockerPoller, ListingState, PollerSetup};
use crate::etcd_inserter::{EtcdInserter, InserterSetup};
use crate::messages::{
    CheckNow, CountPendingWrites, Flush, GetContainers, GetRecords, GetRecordsStatus,
    InserterRestarted, IsCaughtUp, Ping, Poll,
};
#[cfg(feature = "test-hooks")]
use crate::messages::{InjectDelay, InjectHang, InjectPanic, InjectWatcherPanic};
use crate::model::event_history::EventHistories;
use crate::model::publish_config::PublishConfig;
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::{LeaseNamespace, RecordStore};
use crate::reconciler::{RecordPolicy, WriteLog};
use crate::registry::Registry;
use crate::runtime::actor_ref::ActorRef;
use crate::runtime::metered_context::Metered;
use crate::runtime::metrics::MailboxSnapshot;
use crate::runtime::supervisor::{EscalationHandle, Supervisor};
use crate::status::{
    ContainerReport, CoreHandle, Queries, RecordCounts, RecordReport, SharedRequest, StatusRecorder,
};

/// How many inspections may be under way at a time.
const INSPECTIONS_MAX: usize = 8;
/// Between two looks whether all is caught up with.
const CAUGHT_UP_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How the core is to run.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// What is the same for all of this host's records.
    pub publish_config: PublishConfig,
    /// How long a key in the store outlives its last refresh.
    pub ttl: Duration,
    /// Whose leases are this publisher's, where the store's records hang on leases.
    pub lease_namespace: LeaseNamespace,
    /// Time between two listings.
    pub poll_interval: Duration,
    /// Time between two looks of a watcher at its container.
    pub recheck_interval: Duration,
    /// Whether the engine's events are followed too.
    pub events: bool,
    /// How long a container that got its stop signal is left out at the most; `None`: it
    /// stays until it ends. Only events tell of the signal.
    pub drain: Option<Duration>,
}

/// What outlives an actor, and can outlive a core: what was done to the store, what events
/// told, which engine is believed, and what was written down for an operator. A core that
/// follows on another one under the same keys needs it as much as an actor that follows on
/// one that fell.
#[derive(Clone, Default)]
pub struct CarriedState {
    write_log: WriteLog,
    histories: EventHistories,
    listing_state: Rc<RefCell<ListingState>>,
    recorder: StatusRecorder,
}

impl CarriedState {
    /// For a core that has its records at another place: all that happened.
    #[must_use]
    pub fn for_other_record_root(&self) -> Self {
        Self { recorder: self.recorder.for_other_core(), ..Self::default() }
    }
}

/// The running core. Dropping it ends the actors at once; [`Core::stop`] in order.
pub struct Core<S: ContainerSource, R: RecordStore> {
    poller: ActorRef<DockerPoller<S, R>>,
    registry: ActorRef<Registry<S, R>>,
    inserter: ActorRef<EtcdInserter<R>>,
    core_handle: CoreHandle,
    /// Of the poller and the registry, then of the inserter; none once they are to end.
    supervisors: RefCell<(Option<[Supervisor; 2]>, Option<Supervisor>)>,
    carried_state: CarriedState,
    escalation: watch::Receiver<Option<&'static str>>,
}

/// How much of the work at hand was finished when the core stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// All of it.
    Clean,
    /// Time ran out with so many changes not written (`None`: not known).
    TimedOut(Option<usize>),
}

impl<S: ContainerSource, R: RecordStore> Core<S, R> {
    /// Starts the actors on the current arbiter.
    pub fn start(settings: CoreSettings, source: S, store: R, log: &Logger) -> Self {
        Self::resume(settings, source, store, CarriedState::default(), log)
    }

    /// Starts the actors where an earlier core has left off: one that was stopped, and
    /// kept its records under the same prefix and domain in the same store.
    pub fn resume(
        settings: CoreSettings,
        source: S,
        store: R,
        carried_state: CarriedState,
        log: &Logger,
    ) -> Self {
        let (source, store) = (Rc::new(source), Rc::new(store));
        let poller: ActorRef<DockerPoller<S, R>> = ActorRef::default();
        let (registry, inserter) = (ActorRef::default(), ActorRef::default());
        let (escalation, exhausted_actor) = EscalationHandle::channel();
        let logger = |actor: &'static str| log.new(o!("actor" => actor));
        let recorder = carried_state.recorder.clone();
        recorder.set_poll_interval(settings.poll_interval);
        let core_handle = core_handle(&registry, &inserter, &recorder);

        let policy = RecordPolicy {
            keep_alive_mode: store.keep_alive_mode(),
            ttl: settings.ttl,
            host: settings.publish_config.host.clone(),
        };
        let (write_log, lease_namespace, inserter_log) =
            (carried_state.write_log.clone(), settings.lease_namespace, logger("EtcdInserter"));
        let (poller_of_requests, inserter_recorder) = (poller.clone(), recorder.clone());
        let request_listing: Rc<dyn Fn()> = Rc::new(move || poller_of_requests.notify(Poll));
        let build_inserter = move || {
            EtcdInserter::new(InserterSetup {
                store: Rc::clone(&store),
                policy: policy.clone(),
                namespace: lease_namespace,
                write_log: write_log.clone(),
                request_listing: Rc::clone(&request_listing),
                recorder: inserter_recorder.clone(),
                log: inserter_log.clone(),
            })
        };
        let dependencies: ActorRef<Registry<S, R>> = registry.clone();
        let watchers = Rc::new(WatcherSetup {
            source: Rc::clone(&source),
            inserter: inserter.clone(),
            report_dependency: Rc::new(move |dependency| dependencies.notify(dependency)),
            publish_config: settings.publish_config,
            recheck_interval: settings.recheck_interval,
            drain: settings.drain,
            inspections: Semaphore::new(INSPECTIONS_MAX),
            recorder: recorder.clone(),
            log: logger("ContainerWatcher"),
        });
        let (registry_escalation, histories) =
            (escalation.clone(), Rc::clone(&carried_state.histories));
        let build_registry = move || {
            Registry::new(Rc::clone(&watchers), histories.clone(), registry_escalation.clone())
        };
        let (poll, poller_log, poller_registry) =
            (settings.poll_interval, logger("DockerPoller"), registry.clone());
        let (events, listing_state) = (settings.events, Rc::clone(&carried_state.listing_state));
        let build_poller = move || {
            DockerPoller::new(PollerSetup {
                source: Rc::clone(&source),
                registry: poller_registry.clone(),
                poll_interval: poll,
                events,
                listing_state: Rc::clone(&listing_state),
                recorder: recorder.clone(),
                log: poller_log.clone(),
            })
        };

        // What a rebuilt actor lacks, the one before it in the flow tells again.
        let (poller_of_registry, registry_of_inserter) = (poller.clone(), registry.clone());
        let poller_of_inserter = poller.clone();
        let first = [
            Supervisor::start(poller.clone(), build_poller, || (), &escalation, log),
            Supervisor::start(
                registry.clone(),
                build_registry,
                move || poller_of_registry.notify(Poll),
                &escalation,
                log,
            ),
        ];
        let last = Supervisor::start(
            inserter.clone(),
            build_inserter,
            move || {
                registry_of_inserter.notify(InserterRestarted);
                poller_of_inserter.notify(Poll);
            },
            &escalation,
            log,
        );
        let supervisors = RefCell::new((Some(first), Some(last)));
        Self {
            poller,
            registry,
            inserter,
            core_handle,
            supervisors,
            carried_state,
            escalation: exhausted_actor,
        }
    }

    /// Waits until an actor fails again and again, and gives its name. Nothing but a
    /// new process is likely to help then.
    pub async fn restarts_exhausted(&self) -> &'static str {
        let mut exhausted_actor = self.escalation.clone();
        match exhausted_actor.wait_for(Option::is_some).await.map(|actor| *actor) {
            Ok(Some(actor)) => actor,
            // The senders live in the keepers, and those as long as `self`.
            _ => std::future::pending().await,
        }
    }

    /// Stops in the order of the flow: poller, watchers, then what is still to be
    /// written, for `grace` at most. With `withdraw`, all records are deleted. It can be
    /// given up while it waits, and done again.
    pub async fn stop(&self, withdraw: bool, grace: Duration) -> Shutdown {
        let deadline = Instant::now() + grace;
        // In a statement of its own: the borrow must not last.
        let first = self.supervisors.borrow_mut().0.take();
        drop(first);
        let flush = self.inserter.send_until_handled(Flush { withdraw });
        let flushed = tokio::time::timeout_at(deadline, flush).await;
        let stopped = match flushed {
            Ok(()) => Shutdown::Clean,
            Err(_) => Shutdown::TimedOut(self.inserter.request(CountPendingWrites).await),
        };
        let last = self.supervisors.borrow_mut().1.take();
        drop(last);
        stopped
    }

    /// What a core that follows on this one is to know, once this one is stopped.
    pub fn carried_state(&self) -> CarriedState {
        self.carried_state.clone()
    }

    /// Asks poller, registry and inserter in turn, and returns when each has answered. Each
    /// answers when it is that message's turn in its mailbox; one that is being rebuilt is
    /// waited for.
    pub async fn ping(&self) {
        self.poller.send_until_handled(Ping).await;
        self.registry.send_until_handled(Ping).await;
        self.inserter.send_until_handled(Ping).await;
    }

    /// Waits until Docker was listed, all that it listed was inspected, and what follows
    /// from that is in the store, stands by, or was refused.
    pub async fn wait_until_caught_up(&self) {
        loop {
            // In this order: what was told when it was asked is unsettled until it is written.
            if self.registry.send_until_handled(IsCaughtUp).await
                && self.inserter.send_until_handled(CountPendingWrites).await == 0
            {
                return;
            }
            tokio::time::sleep(CAUGHT_UP_POLL_INTERVAL).await;
        }
    }

    /// Every wanted record, and how it stands; `None` while the inserter is being
    /// rebuilt.
    pub async fn records(&self) -> Option<Vec<RecordReport>> {
        self.inserter.request(GetRecords).await
    }

    /// What happened to records so far.
    pub fn counts(&self) -> RecordCounts {
        self.core_handle.counts()
    }

    /// A handle to look at the core from outside.
    pub fn handle(&self) -> CoreHandle {
        self.core_handle.clone()
    }

    /// Every container under watch; `None` while the registry is being rebuilt.
    pub async fn containers(&self) -> Option<Vec<ContainerReport>> {
        self.registry.request(GetContainers).await
    }

    /// The actors' mailboxes, in the order of the flow.
    pub fn mailbox_snapshots(&self) -> [MailboxSnapshot; 4] {
        mailbox_snapshots::<S, R>()
    }

    /// Makes the registry fall.
    #[cfg(feature = "test-hooks")]
    pub fn inject_registry_panic(&self) {
        self.registry.notify(InjectPanic);
    }

    /// Makes the watcher of the container of this name fall.
    #[cfg(feature = "test-hooks")]
    pub fn inject_watcher_panic(&self, container: &str) {
        self.registry.notify(InjectWatcherPanic(container.to_owned()));
    }

    /// Makes the actor of this name answer nothing any more.
    #[cfg(feature = "test-hooks")]
    pub fn inject_hang(&self, actor: &str) {
        match actor {
            "DockerPoller" => self.poller.notify(InjectHang),
            "Registry" => self.registry.notify(InjectHang),
            _ => self.inserter.notify(InjectHang),
        }
    }

    /// Makes the inserter take no message for so long.
    #[cfg(feature = "test-hooks")]
    pub fn inject_inserter_delay(&self, time: Duration) {
        self.inserter.notify(InjectDelay(time));
    }

    /// Has the poller list now.
    pub fn poll_now(&self) {
        self.poller.notify(Poll);
    }

    /// Has Docker asked and the store looked at now: after the machine slept, say.
    pub fn check_now(&self) {
        self.poller.notify(Poll);
        self.inserter.notify(CheckNow);
    }
}

/// The actors' mailboxes, in the order of the flow. They can be read from any thread, even
/// where the actors' own hangs.
pub fn mailbox_snapshots<S: ContainerSource, R: RecordStore>() -> [MailboxSnapshot; 4] {
    [
        DockerPoller::<S, R>::mailbox_metrics().snapshot(),
        Registry::<S, R>::mailbox_metrics().snapshot(),
        ContainerWatcher::<S, R>::mailbox_metrics().snapshot(),
        EtcdInserter::<R>::mailbox_metrics().snapshot(),
    ]
}

fn core_handle<S: ContainerSource, R: RecordStore>(
    registry: &ActorRef<Registry<S, R>>,
    inserter: &ActorRef<EtcdInserter<R>>,
    recorder: &StatusRecorder,
) -> CoreHandle {
    let (registry, records) = (registry.clone(), inserter.clone());
    let status = inserter.clone();
    CoreHandle::new(Queries {
        containers: SharedRequest::new(move || {
            let registry = registry.clone();
            async move { registry.request(GetContainers).await }
        }),
        records: SharedRequest::new(move || {
            let inserter = records.clone();
            async move { inserter.request(GetRecords).await }
        }),
        status: SharedRequest::new(move || {
            let inserter = status.clone();
            async move { inserter.request(GetRecordsStatus).await }
        }),
        mailbox_snapshots: mailbox_snapshots::<S, R>,
        recorder: recorder.clone(),
    })
}
