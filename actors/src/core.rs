//! The core's life: starts the actors, rebuilds one that falls, stops them in order.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use slog::{Logger, o};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::container_watcher::{ContainerWatcher, WatcherSetup};
use crate::docker_poller::{Beliefs, DockerPoller, PollerSetup};
use crate::etcd_inserter::{EtcdInserter, InserterSetup};
use crate::messages::{
    AllInspected, CheckNow, Flush, InserterRebuilt, Poll, Pulse, ReportContainers, ReportRecords,
    ReportStanding, Unsettled,
};
#[cfg(feature = "test-hooks")]
use crate::messages::{Dawdle, Fall, FallOfWatcher, Hang};
use crate::model::event_history::Hearsays;
use crate::model::publish_config::Rules;
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::{LeaseFamily, RecordStore};
use crate::reconciler::{Deeds, Terms};
use crate::registry::Registry;
use crate::runtime::actor_ref::Seat;
use crate::runtime::metered_context::Metered;
use crate::runtime::metrics::MeterReading;
use crate::runtime::supervisor::{Exhausted, Keeper};
use crate::status::{
    Chronicle, ContainerReport, Counts, Observer, Question, Questions, RecordReport,
};

/// How many inspections may be under way at a time.
const INSPECTIONS: usize = 8;
/// Between two looks whether all is caught up with.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How the core is to run.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// What is the same for all of this host's records.
    pub rules: Rules,
    /// How long a key in the store outlives its last refresh.
    pub ttl: Duration,
    /// Whose leases are this publisher's, where the store's records hang on leases.
    pub family: LeaseFamily,
    /// Time between two listings.
    pub poll: Duration,
    /// Time between two looks of a watcher at its container.
    pub look: Duration,
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
pub struct Memory {
    deeds: Deeds,
    hearsays: Hearsays,
    beliefs: Rc<RefCell<Beliefs>>,
    chronicle: Chronicle,
}

impl Memory {
    /// For a core that has its records at another place: all that happened.
    #[must_use]
    pub fn for_another_place(&self) -> Self {
        Self { chronicle: self.chronicle.of_another_core(), ..Self::default() }
    }
}

/// The running core. Dropping it ends the actors at once; [`Core::stop`] in order.
pub struct Core<S: ContainerSource, R: RecordStore> {
    poller: Seat<DockerPoller<S, R>>,
    registry: Seat<Registry<S, R>>,
    inserter: Seat<EtcdInserter<R>>,
    observer: Observer,
    /// Of the poller and the registry, then of the inserter; none once they are to end.
    keepers: RefCell<(Option<[Keeper; 2]>, Option<Keeper>)>,
    memory: Memory,
    exhausted: watch::Receiver<Option<&'static str>>,
}

/// How much of the work at hand was finished when the core stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All of it.
    Clean,
    /// Time ran out with so many changes not written (`None`: not known).
    Unfinished(Option<usize>),
}

impl<S: ContainerSource, R: RecordStore> Core<S, R> {
    /// Starts the actors on the current arbiter.
    pub fn start(settings: CoreSettings, source: S, store: R, log: &Logger) -> Self {
        Self::resume(settings, source, store, Memory::default(), log)
    }

    /// Starts the actors where an earlier core has left off: one that was stopped, and
    /// kept its records under the same prefix and domain in the same store.
    pub fn resume(
        settings: CoreSettings,
        source: S,
        store: R,
        memory: Memory,
        log: &Logger,
    ) -> Self {
        let (source, store) = (Rc::new(source), Rc::new(store));
        let poller: Seat<DockerPoller<S, R>> = Seat::default();
        let (registry, inserter) = (Seat::default(), Seat::default());
        let (exhausted, told) = Exhausted::channel();
        let logger = |actor: &'static str| log.new(o!("actor" => actor));
        let chronicle = memory.chronicle.clone();
        chronicle.docker_is_listed_every(settings.poll);
        let observer = observer(&registry, &inserter, &chronicle);

        let terms =
            Terms { upkeep: store.upkeep(), ttl: settings.ttl, host: settings.rules.host.clone() };
        let (deeds, family, inserter_log) =
            (memory.deeds.clone(), settings.family, logger("EtcdInserter"));
        let (list, inserter_chronicle) = (poller.clone(), chronicle.clone());
        let list_again: Rc<dyn Fn()> = Rc::new(move || list.tell(Poll));
        let build_inserter = move || {
            EtcdInserter::new(InserterSetup {
                store: Rc::clone(&store),
                terms: terms.clone(),
                family,
                deeds: deeds.clone(),
                list_again: Rc::clone(&list_again),
                chronicle: inserter_chronicle.clone(),
                log: inserter_log.clone(),
            })
        };
        let dependencies: Seat<Registry<S, R>> = registry.clone();
        let watchers = Rc::new(WatcherSetup {
            source: Rc::clone(&source),
            inserter: inserter.clone(),
            report_dependency: Rc::new(move |dependency| dependencies.tell(dependency)),
            rules: settings.rules,
            look_every: settings.look,
            drain: settings.drain,
            inspections: Semaphore::new(INSPECTIONS),
            chronicle: chronicle.clone(),
            log: logger("ContainerWatcher"),
        });
        let (registry_exhausted, hearsays) = (exhausted.clone(), Rc::clone(&memory.hearsays));
        let build_registry = move || {
            Registry::new(Rc::clone(&watchers), hearsays.clone(), registry_exhausted.clone())
        };
        let (poll, poller_log, registry_seat) =
            (settings.poll, logger("DockerPoller"), registry.clone());
        let (events, beliefs) = (settings.events, Rc::clone(&memory.beliefs));
        let build_poller = move || {
            DockerPoller::new(PollerSetup {
                source: Rc::clone(&source),
                registry: registry_seat.clone(),
                every: poll,
                events,
                beliefs: Rc::clone(&beliefs),
                chronicle: chronicle.clone(),
                log: poller_log.clone(),
            })
        };

        // What a rebuilt actor lacks, the one before it in the flow tells again.
        let (poll_again, retell) = (poller.clone(), registry.clone());
        let list_anew = poller.clone();
        let first = [
            Keeper::start(poller.clone(), build_poller, || (), &exhausted, log),
            Keeper::start(
                registry.clone(),
                build_registry,
                move || poll_again.tell(Poll),
                &exhausted,
                log,
            ),
        ];
        let last = Keeper::start(
            inserter.clone(),
            build_inserter,
            move || {
                retell.tell(InserterRebuilt);
                list_anew.tell(Poll);
            },
            &exhausted,
            log,
        );
        let keepers = RefCell::new((Some(first), Some(last)));
        Self { poller, registry, inserter, observer, keepers, memory, exhausted: told }
    }

    /// Waits until an actor fails again and again, and gives its name. Nothing but a
    /// new process is likely to help then.
    pub async fn exhausted(&self) -> &'static str {
        let mut told = self.exhausted.clone();
        match told.wait_for(Option::is_some).await.map(|actor| *actor) {
            Ok(Some(actor)) => actor,
            // The senders live in the keepers, and those as long as `self`.
            _ => std::future::pending().await,
        }
    }

    /// Stops in the order of the flow: poller, watchers, then what is still to be
    /// written, for `grace` at most. With `withdraw`, all records are deleted. It can be
    /// given up while it waits, and done again.
    pub async fn stop(&self, withdraw: bool, grace: Duration) -> Stopped {
        let deadline = Instant::now() + grace;
        // In a statement of its own: the borrow must not last.
        let first = self.keepers.borrow_mut().0.take();
        drop(first);
        let flush = self.inserter.deliver(Flush { withdraw });
        let flushed = tokio::time::timeout_at(deadline, flush).await;
        let stopped = match flushed {
            Ok(()) => Stopped::Clean,
            Err(_) => Stopped::Unfinished(self.inserter.ask(Unsettled).await),
        };
        let last = self.keepers.borrow_mut().1.take();
        drop(last);
        stopped
    }

    /// What a core that follows on this one is to know, once this one is stopped.
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// Asks poller, registry and inserter in turn, and returns when each has answered. Each
    /// answers when it is that message's turn in its mailbox; one that is being rebuilt is
    /// waited for.
    pub async fn pulse(&self) {
        self.poller.deliver(Pulse).await;
        self.registry.deliver(Pulse).await;
        self.inserter.deliver(Pulse).await;
    }

    /// Waits until Docker was listed, all that it listed was inspected, and what follows
    /// from that is in the store, stands by, or was refused.
    pub async fn caught_up(&self) {
        loop {
            // In this order: what was told when it was asked is unsettled until it is written.
            if self.registry.deliver(AllInspected).await
                && self.inserter.deliver(Unsettled).await == 0
            {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Every wanted record, and how it stands; `None` while the inserter is being
    /// rebuilt.
    pub async fn records(&self) -> Option<Vec<RecordReport>> {
        self.inserter.ask(ReportRecords).await
    }

    /// What happened to records so far.
    pub fn counts(&self) -> Counts {
        self.observer.counts()
    }

    /// A handle to look at the core from outside.
    pub fn observer(&self) -> Observer {
        self.observer.clone()
    }

    /// Every container under watch; `None` while the registry is being rebuilt.
    pub async fn containers(&self) -> Option<Vec<ContainerReport>> {
        self.registry.ask(ReportContainers).await
    }

    /// The actors' mailboxes, in the order of the flow.
    pub fn meters(&self) -> [MeterReading; 4] {
        meters::<S, R>()
    }

    /// Makes the registry fall.
    #[cfg(feature = "test-hooks")]
    pub fn fell_registry(&self) {
        self.registry.tell(Fall);
    }

    /// Makes the watcher of the container of this name fall.
    #[cfg(feature = "test-hooks")]
    pub fn fell_watcher_of(&self, container: &str) {
        self.registry.tell(FallOfWatcher(container.to_owned()));
    }

    /// Makes the actor of this name answer nothing any more.
    #[cfg(feature = "test-hooks")]
    pub fn hang(&self, actor: &str) {
        match actor {
            "DockerPoller" => self.poller.tell(Hang),
            "Registry" => self.registry.tell(Hang),
            _ => self.inserter.tell(Hang),
        }
    }

    /// Makes the inserter take no message for so long.
    #[cfg(feature = "test-hooks")]
    pub fn slow_inserter(&self, time: Duration) {
        self.inserter.tell(Dawdle(time));
    }

    /// Has the poller list now.
    pub fn poll_now(&self) {
        self.poller.tell(Poll);
    }

    /// Has Docker asked and the store looked at now: after the machine slept, say.
    pub fn check_now(&self) {
        self.poller.tell(Poll);
        self.inserter.tell(CheckNow);
    }
}

/// The actors' mailboxes, in the order of the flow. They can be read from any thread, even
/// where the actors' own hangs.
pub fn meters<S: ContainerSource, R: RecordStore>() -> [MeterReading; 4] {
    [
        DockerPoller::<S, R>::meter().read(),
        Registry::<S, R>::meter().read(),
        ContainerWatcher::<S, R>::meter().read(),
        EtcdInserter::<R>::meter().read(),
    ]
}

fn observer<S: ContainerSource, R: RecordStore>(
    registry: &Seat<Registry<S, R>>,
    inserter: &Seat<EtcdInserter<R>>,
    chronicle: &Chronicle,
) -> Observer {
    let (registry, records) = (registry.clone(), inserter.clone());
    let standing = inserter.clone();
    Observer::new(Questions {
        containers: Question::new(move || {
            let registry = registry.clone();
            async move { registry.ask(ReportContainers).await }
        }),
        records: Question::new(move || {
            let inserter = records.clone();
            async move { inserter.ask(ReportRecords).await }
        }),
        standing: Question::new(move || {
            let inserter = standing.clone();
            async move { inserter.ask(ReportStanding).await }
        }),
        meters: meters::<S, R>,
        chronicle: chronicle.clone(),
    })
}
