//! What there is to know of a running daemon.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::LocalBoxFuture;
use highhock_actors::Core;
use highhock_actors::status::CoreStatus;
use slog::{Logger, o};
use tokio::sync::{Notify, watch};

use super::standalone::Standalone;
use super::status_line::{status_line, waiting};
use super::systemd::SystemdNotifier;
use crate::admin::{ActiveConfig, CoreApi, DaemonApi, DnsReport};
use crate::dns::DnsError;
use crate::docker::DockerClient;
use crate::host::PublicAddress;
use crate::logging::LogControl;
use crate::metrics::instrumented::{Instrumented, RequestMetrics};
use crate::metrics::{MetricsSnapshot, Reloads};
use crate::record_store::Store;
use crate::settings::{ConfigDiff, EffectiveKey, Loaded, Settings, SettingsErrors};

/// The core, between the real Docker and the store, whose requests are counted.
pub type DaemonCore = Core<Instrumented<DockerClient>, Instrumented<Store>>;

/// Reads the configuration, which may take as long as the file takes to be read.
pub type ConfigLoader = dyn Fn() -> Result<Loaded, SettingsErrors> + Send + Sync;

/// What a daemon's life begins with.
pub struct DaemonConfig {
    /// What the operator wants.
    pub settings: Settings,
    /// The same for the operator's eyes.
    pub effective: Vec<EffectiveKey>,
    /// The address to publish, for the whole life.
    pub public_address: PublicAddress,
    /// Where to log.
    pub log: Logger,
    /// Changes how is logged.
    pub log_control: LogControl,
    /// Who is told how it goes.
    pub notifier: SystemdNotifier,
    /// Reads the configuration again.
    pub load_config: Arc<ConfigLoader>,
}

/// A daemon's life: what is in force in it and what runs, for those who look at it from
/// outside while [`super::run`] lives it.
pub struct DaemonState {
    pub(super) public_address: PublicAddress,
    pub(super) log: Logger,
    pub(super) log_control: LogControl,
    pub(super) notifier: SystemdNotifier,
    pub(super) load_config: Arc<ConfigLoader>,
    settings: RefCell<Rc<Settings>>,
    /// What the settings that were read last would be for the operator's eyes, were they
    /// in force.
    staged_keys: RefCell<Vec<EffectiveKey>>,
    active_config: watch::Sender<ActiveConfig>,
    /// What Docker and etcd are asked, over all cores.
    pub(super) docker_requests: Arc<RequestMetrics>,
    pub(super) etcd_requests: Arc<RequestMetrics>,
    /// What answers DNS; nothing where the records are in etcd.
    standalone: OnceCell<Standalone>,
    core: RefCell<Option<Rc<DaemonCore>>>,
    /// Who does not answer the daemon's first questions, and why.
    unavailable: RefCell<BTreeMap<&'static str, String>>,
    core_changed: Notify,
    reloads: Cell<Reloads>,
}

impl DaemonState {
    /// A life that is to be lived.
    pub fn new(config: DaemonConfig) -> Self {
        let DaemonConfig {
            settings,
            effective,
            public_address,
            log,
            log_control,
            notifier,
            load_config,
        } = config;
        let admin = settings.admin.clone();
        let (active_config, _) = watch::channel(ActiveConfig::new(admin, effective.clone()));
        Self {
            public_address,
            log,
            log_control,
            notifier,
            load_config,
            settings: RefCell::new(Rc::new(settings)),
            staged_keys: RefCell::new(effective),
            active_config,
            docker_requests: Arc::new(RequestMetrics::for_docker()),
            etcd_requests: Arc::new(RequestMetrics::for_etcd()),
            standalone: OnceCell::new(),
            core: RefCell::default(),
            unavailable: RefCell::default(),
            core_changed: Notify::new(),
            reloads: Cell::default(),
        }
    }

    /// The core that runs now; `None` as long as Docker or etcd has not answered yet. Another
    /// one follows on a reload: to be asked for each time.
    pub fn core(&self) -> Option<Rc<DaemonCore>> {
        self.core.borrow().clone()
    }

    /// The settings in force.
    pub fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }

    /// Who does not answer the daemon's first questions, so that no core runs, or that the
    /// settings read last are not in force yet: `docker` or `etcd`, each with the reason.
    pub fn unavailable(&self) -> BTreeMap<&'static str, String> {
        self.unavailable.borrow().clone()
    }

    /// What came of reloads so far.
    pub fn reloads(&self) -> Reloads {
        self.reloads.get()
    }

    /// How it goes, after a round trip through the core's actors; at once where no core
    /// runs. Never, where an actor answers nothing any more.
    pub async fn status_line(&self) -> String {
        let status = self.core_status().await;
        status_line(&self.unavailable.borrow(), status.as_ref(), self.settings().store)
    }

    /// What answers DNS in this process; `None`: the records are in etcd.
    pub(super) fn standalone(&self) -> Option<&Standalone> {
        self.standalone.get()
    }

    /// Answers DNS from now on, where the records are to stay in this process.
    pub(super) fn start_dns(&self) -> Result<(), DnsError> {
        let settings = self.settings();
        let log = self.log.new(o!("edge" => "dns"));
        let Some(standalone) = Standalone::start(&settings, &log)? else { return Ok(()) };
        let addresses = standalone.addresses();
        notice!(self.log, "answers dns"; "addresses" => addresses.join(", "),
            "domain" => settings.skydns.domain.to_string());
        let domain = settings.skydns.domain.to_string();
        self.active_config.send_modify(|now| now.dns = Some(DnsReport { domain, addresses }));
        // There is none yet: a life begins once.
        let _ = self.standalone.set(standalone);
        Ok(())
    }

    async fn core_status(&self) -> Option<CoreStatus> {
        loop {
            // Made before the look at the core, so that no change is missed: a core that was
            // replaced never answers.
            let core_changed = self.core_changed.notified();
            let core = self.core()?;
            tokio::select! {
                () = core.ping() => return Some(core.handle().status().await),
                () = core_changed => {}
            }
        }
    }

    /// Waits until a core runs.
    pub(super) async fn core_started(&self) {
        let core_changed = self.core_changed.notified();
        if self.core().is_none() {
            core_changed.await;
        }
    }

    /// What others than the core need to know of the settings in force, now and later.
    pub fn active_config(&self) -> watch::Receiver<ActiveConfig> {
        self.active_config.subscribe()
    }

    /// Takes note of the settings that were read, and are to be in force if all goes well.
    pub(super) fn stage_config(&self, diff: &ConfigDiff, effective: Vec<EffectiveKey>) {
        let old = self.active_config.borrow().effective.clone();
        self.staged_keys.replace(diff.effective_keys(&old, effective));
    }

    pub(super) fn activate(&self, settings: Rc<Settings>) {
        self.log_control.set(settings.log);
        let effective = self.staged_keys.borrow().clone();
        self.active_config.send_modify(|now| {
            (now.admin, now.effective) = (settings.admin.clone(), effective);
        });
        self.settings.replace(settings);
    }

    pub(super) fn set_core(&self, core: &Rc<DaemonCore>) {
        self.core.replace(Some(Rc::clone(core)));
        self.core_changed.notify_waiters();
    }

    pub(super) fn mark_unavailable(&self, target: &'static str, reason: String) {
        self.unavailable.borrow_mut().insert(target, reason);
        self.publish_waiting();
    }

    pub(super) fn mark_available(&self, target: &'static str) {
        self.unavailable.borrow_mut().remove(target);
        self.publish_waiting();
    }

    pub(super) fn clear_waiting(&self) {
        self.unavailable.borrow_mut().clear();
        self.publish_waiting();
    }

    /// As long as no core runs, all that is shown tells of it.
    fn publish_waiting(&self) {
        let unavailable = self.unavailable.borrow();
        let all: Vec<_> =
            unavailable.iter().map(|(target, reason)| format!("{target}: {reason}")).collect();
        let waits = Some(all.join("; ")).filter(|_| !all.is_empty() && self.core().is_some());
        self.active_config.send_if_modified(|now| {
            let is_new = now.reload_waiting_for != waits;
            now.reload_waiting_for = waits;
            is_new
        });
    }

    /// What was read last is in force.
    pub(super) fn reload_applied(&self) {
        let mut reloads = self.reloads.get();
        reloads.ok += 1;
        reloads.last_success = Some(SystemTime::now());
        self.reloads.set(reloads);
        self.active_config.send_modify(|now| now.reload_errors.clear());
    }

    /// What was read last is not in force, for these faults.
    pub(super) fn reload_rejected(&self, errors: Vec<String>) {
        let mut reloads = self.reloads.get();
        reloads.refused += 1;
        self.reloads.set(reloads);
        self.active_config.send_modify(|now| now.reload_errors = errors);
    }
}

impl DaemonApi for DaemonState {
    fn core(&self) -> Result<Rc<dyn CoreApi>, String> {
        match self.core() {
            Some(core) => Ok(Rc::new(core)),
            None => {
                let store = self.settings().store;
                Err(waiting(&self.unavailable.borrow(), store, str::to_owned))
            }
        }
    }

    fn metrics_snapshot(&self) -> LocalBoxFuture<'static, MetricsSnapshot> {
        let core = self.core().map(|core| core.handle());
        let dns = self.standalone().map(Standalone::counts);
        let etcd = dns.is_none().then(|| Arc::clone(&self.etcd_requests));
        let docker = Arc::clone(&self.docker_requests);
        let reloads = self.reloads();
        Box::pin(async move {
            let etcd = etcd.as_deref();
            MetricsSnapshot {
                dns,
                ..MetricsSnapshot::take(core.as_ref(), &docker, etcd, reloads).await
            }
        })
    }
}
