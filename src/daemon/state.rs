//! The state of a running daemon, as its run loop publishes it for the admin interface, systemd
//! and tests.

use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use highhock_actors::Core;
use highhock_actors::status::CoreStatus;
use tokio::sync::watch;

use super::status_line::{UnavailableServers, status_line, waiting};
use crate::admin::{ActiveConfig, CoreApi, DaemonApi};
use crate::dns::DnsStats;
use crate::docker::DockerClient;
use crate::metrics::instrumented::{Instrumented, RequestMetrics};
use crate::metrics::{MetricsSnapshot, Reloads};
use crate::record_store::Store;
use crate::settings::StoreKind;

/// A core that uses the real Docker engine and the selected store, with counted requests.
pub type DaemonCore = Core<Instrumented<DockerClient>, Instrumented<Store>>;

/// The request counters of both ports. They outlive the cores, so that a reload resets nothing.
#[derive(Clone)]
pub(super) struct PortMetrics {
    pub docker: Arc<RequestMetrics>,
    pub etcd: Arc<RequestMetrics>,
}

impl PortMetrics {
    pub fn new() -> Self {
        let (docker, etcd) = (RequestMetrics::for_docker(), RequestMetrics::for_etcd());
        Self { docker: Arc::new(docker), etcd: Arc::new(etcd) }
    }
}

/// The part of the state that stays on the thread of the actors.
#[derive(Clone)]
pub(super) struct PublishedState {
    pub store: StoreKind,
    /// `None` until Docker and etcd have answered. A reload replaces the core.
    pub core: Option<Rc<DaemonCore>>,
    pub unavailable: UnavailableServers,
    pub reloads: Reloads,
    /// `None` with etcd, because another program answers DNS queries.
    pub dns_stats: Option<DnsStats>,
}

/// The run loop's end of the state.
pub(super) struct StatePublisher {
    published: watch::Sender<PublishedState>,
    active_config: watch::Sender<ActiveConfig>,
}

impl StatePublisher {
    /// Replaces the state that all readers see.
    pub fn publish(&self, state: PublishedState, active_config: ActiveConfig) {
        self.active_config.send_replace(active_config);
        self.published.send_replace(state);
    }
}

/// The state of a running daemon, for its readers.
///
/// The run loop owns its own state and publishes this copy of it. Before the daemon runs, and
/// after it has stopped, the last published state stays readable.
pub struct DaemonState {
    published: watch::Receiver<PublishedState>,
    active_config: watch::Receiver<ActiveConfig>,
    metrics: PortMetrics,
}

impl DaemonState {
    /// Creates both ends of the state of a daemon that has not started.
    pub(super) fn channel(
        store: StoreKind,
        active_config: ActiveConfig,
        metrics: PortMetrics,
    ) -> (StatePublisher, Rc<Self>) {
        let (config_sender, config_receiver) = watch::channel(active_config);
        let (sender, published) = watch::channel(PublishedState {
            store,
            core: None,
            unavailable: UnavailableServers::new(),
            reloads: Reloads::default(),
            dns_stats: None,
        });
        let publisher = StatePublisher { published: sender, active_config: config_sender };
        let state = Self { published, active_config: config_receiver, metrics };
        (publisher, Rc::new(state))
    }

    /// Returns the running core, or `None` until Docker and etcd have answered.
    ///
    /// A reload replaces the core, so request it again for each use.
    pub fn core(&self) -> Option<Rc<DaemonCore>> {
        self.published.borrow().core.clone()
    }

    /// Returns the active configuration and its changes, for the admin interface.
    pub fn active_config(&self) -> watch::Receiver<ActiveConfig> {
        self.active_config.clone()
    }

    /// Returns the health of the daemon in one line, after a round trip through all actors of the
    /// core.
    ///
    /// Returns at once if no core runs, and never if an actor hangs.
    pub async fn status_line(&self) -> String {
        let status = self.core_status().await;
        let published = self.published.borrow();
        status_line(&published.unavailable, status.as_ref(), published.store)
    }

    async fn core_status(&self) -> Option<CoreStatus> {
        loop {
            let core = self.core()?;
            let mut published = self.published.clone();
            let is_replaced = |state: &PublishedState| {
                !state.core.as_ref().is_some_and(|now| Rc::ptr_eq(now, &core))
            };
            tokio::select! {
                () = core.ping() => return Some(core.handle().status().await),
                // A replaced core never replies.
                Ok(_) = published.wait_for(is_replaced) => {}
            }
        }
    }

    /// Waits until a core runs.
    pub(super) async fn core_started(&self) {
        let mut published = self.published.clone();
        // An error means that the daemon has stopped, which ends the caller.
        let _ = published.wait_for(|state| state.core.is_some()).await;
    }
}

impl DaemonApi for DaemonState {
    fn core(&self) -> Result<Rc<dyn CoreApi>, String> {
        match self.core() {
            Some(core) => Ok(Rc::new(core)),
            None => {
                let published = self.published.borrow();
                Err(waiting(&published.unavailable, published.store, str::to_owned))
            }
        }
    }

    fn metrics_snapshot(&self) -> LocalBoxFuture<'static, MetricsSnapshot> {
        let PublishedState { core, reloads, dns_stats, .. } = self.published.borrow().clone();
        let core = core.map(|core| core.handle());
        let dns = dns_stats.map(|stats| stats.read());
        let PortMetrics { docker, etcd } = self.metrics.clone();
        let etcd = dns.is_none().then_some(etcd);
        Box::pin(async move {
            let etcd = etcd.as_deref();
            MetricsSnapshot {
                dns,
                ..MetricsSnapshot::take(core.as_ref(), &docker, etcd, reloads).await
            }
        })
    }
}
