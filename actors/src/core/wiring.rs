//! Builds the actors of a core, connects them, and puts each under a supervisor.

use std::rc::Rc;
use std::time::Duration;

use slog::{Logger, o};
use tokio::sync::Semaphore;

use super::{CarriedState, CoreSettings, mailbox_snapshots};
use crate::container_watcher::WatcherSetup;
use crate::docker_poller::{DockerPoller, PollerSetup};
use crate::etcd_inserter::{EtcdInserter, InserterSetup};
use crate::messages::{GetContainers, GetRecords, GetRecordsStatus, InserterRestarted, Poll};
use crate::model::publish_config::KeyLayout;
use crate::ports::container_source::{ContainerSource, INSPECTIONS_MAX};
use crate::ports::record_store::{LeaseNamespace, RecordStore};
use crate::reconciler::RecordPolicy;
use crate::registry::Registry;
use crate::runtime::actor_ref::ActorRef;
use crate::runtime::supervisor::{EscalationHandle, Supervisor};
use crate::status::{CoreHandle, Queries, SharedRequest};

/// The parts from which the actors of a core are built, at the start and after each crash.
///
/// The supervisors share it, because each of them builds its actor from it. The actor
/// references connect the actors: they stay valid when an actor is restarted.
pub(super) struct Wiring<S: ContainerSource, R: RecordStore> {
    pub poller: ActorRef<DockerPoller<S, R>>,
    pub registry: ActorRef<Registry<S, R>>,
    pub inserter: ActorRef<EtcdInserter<R>>,
    source: Rc<S>,
    store: Rc<R>,
    record_policy: RecordPolicy,
    lease_namespace: LeaseNamespace,
    poll_interval: Duration,
    events: bool,
    watcher_setup: Rc<WatcherSetup<S, R>>,
    carried_state: CarriedState,
    escalation: EscalationHandle,
    log: Logger,
}

impl<S: ContainerSource, R: RecordStore> Wiring<S, R> {
    /// Connects the parts of a core. No actor is started.
    pub fn new(
        settings: CoreSettings,
        source: S,
        store: R,
        carried_state: CarriedState,
        escalation: EscalationHandle,
        log: &Logger,
    ) -> Rc<Self> {
        let (source, registry, inserter) =
            (Rc::new(source), ActorRef::default(), ActorRef::default());
        let record_policy = RecordPolicy {
            keep_alive_mode: store.keep_alive_mode(),
            ttl: settings.ttl,
            host: settings.publish_config.host.clone(),
            exclusive_keys: settings.publish_config.layout == KeyLayout::Instance,
        };
        let dependencies: ActorRef<Registry<S, R>> = registry.clone();
        let watcher_setup = WatcherSetup {
            source: Rc::clone(&source),
            inserter: inserter.clone(),
            report_dependency: Rc::new(move |dependency| dependencies.notify(dependency)),
            publish_config: settings.publish_config,
            recheck_interval: settings.recheck_interval,
            drain: settings.drain,
            inspections: Semaphore::new(INSPECTIONS_MAX),
            recorder: carried_state.recorder.clone(),
            log: actor_logger(log, "ContainerWatcher"),
        };
        Rc::new(Self {
            poller: ActorRef::default(),
            registry,
            inserter,
            source,
            store: Rc::new(store),
            record_policy,
            lease_namespace: settings.lease_namespace,
            poll_interval: settings.poll_interval,
            events: settings.events,
            watcher_setup: Rc::new(watcher_setup),
            carried_state,
            escalation,
            log: log.clone(),
        })
    }

    /// Starts the poller. It needs no notice after a restart, because it then lists again.
    pub fn supervise_poller(self: &Rc<Self>) -> Supervisor {
        let wiring = Rc::clone(self);
        let build = move || wiring.build_poller();
        Supervisor::start(self.poller.clone(), build, || (), &self.escalation, &self.log)
    }

    /// Starts the registry. After a restart a new listing restores its state.
    pub fn supervise_registry(self: &Rc<Self>) -> Supervisor {
        let (wiring, poller) = (Rc::clone(self), self.poller.clone());
        let build = move || wiring.build_registry();
        let request_state = move || poller.notify(Poll);
        Supervisor::start(self.registry.clone(), build, request_state, &self.escalation, &self.log)
    }

    /// Starts the inserter. After a restart the watchers restore its state, and a new listing
    /// identifies orphaned records.
    pub fn supervise_inserter(self: &Rc<Self>) -> Supervisor {
        let wiring = Rc::clone(self);
        let build = move || wiring.build_inserter();
        let (registry, poller) = (self.registry.clone(), self.poller.clone());
        let request_state = move || {
            registry.notify(InserterRestarted);
            poller.notify(Poll);
        };
        Supervisor::start(self.inserter.clone(), build, request_state, &self.escalation, &self.log)
    }

    /// Returns the handle through which reports and counters of the core are read.
    pub fn core_handle(&self) -> CoreHandle {
        let registry = self.registry.clone();
        let (records, status) = (self.inserter.clone(), self.inserter.clone());
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
            recorder: self.carried_state.recorder.clone(),
        })
    }

    fn build_poller(&self) -> DockerPoller<S, R> {
        DockerPoller::new(PollerSetup {
            source: Rc::clone(&self.source),
            registry: self.registry.clone(),
            poll_interval: self.poll_interval,
            events: self.events,
            listing_state: Rc::clone(&self.carried_state.listing_state),
            recorder: self.carried_state.recorder.clone(),
            log: actor_logger(&self.log, "DockerPoller"),
        })
    }

    fn build_registry(&self) -> Registry<S, R> {
        Registry::new(
            Rc::clone(&self.watcher_setup),
            Rc::clone(&self.carried_state.histories),
            self.escalation.clone(),
        )
    }

    fn build_inserter(&self) -> EtcdInserter<R> {
        let poller = self.poller.clone();
        EtcdInserter::new(InserterSetup {
            store: Rc::clone(&self.store),
            policy: self.record_policy.clone(),
            namespace: self.lease_namespace,
            write_log: self.carried_state.write_log.clone(),
            request_listing: Rc::new(move || poller.notify(Poll)),
            recorder: self.carried_state.recorder.clone(),
            log: actor_logger(&self.log, "EtcdInserter"),
        })
    }
}

fn actor_logger(log: &Logger, actor: &'static str) -> Logger {
    log.new(o!("actor" => actor))
}
