//! The daemon: start, reload, recovery from suspends, clean stop, and reports to systemd.
//!
//! [`Daemon::run`] starts the DNS server of standalone mode and then enters the run loop, which
//! owns the settings and the cores. The run loop publishes its state as a [`DaemonState`] for the
//! admin interface and for systemd. They read this state and never change it.

mod address_monitor;
mod config;
mod cores;
mod error;
mod reload;
mod run_loop;
pub mod signals;
mod standalone;
mod startup;
mod state;
mod status_line;
pub mod suspend;
pub mod systemd;
pub(crate) mod systemd_status;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::Stream;
use slog::Logger;
use tokio::sync::watch;

use crate::admin::ActiveConfig;
use crate::host::PublicAddress;
use crate::metrics::Reloads;
use crate::resolve::docker_client;
use crate::settings::{Settings, StoreKind};
use crate::version;
use address_monitor::AddressMonitor;
use config::{EffectiveSettings, file_errors};
use run_loop::RunLoop;
use standalone::Standalone;
use startup::Resolver;
use state::{PortMetrics, StatePublisher};
use status_line::UnavailableServers;

pub use config::{ConfigLoader, DaemonConfig};
pub use error::RunError;
pub use state::{DaemonCore, DaemonState};

/// systemd is notified of a finished start when the actors run, and at the latest after this
/// time, so that an absent Docker or etcd does not block the boot.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// A daemon that has not started yet.
pub struct Daemon {
    config: DaemonConfig,
    metrics: PortMetrics,
    publisher: StatePublisher,
    state: Rc<DaemonState>,
}

impl Daemon {
    /// Creates a daemon without any side effect.
    pub fn new(config: DaemonConfig) -> Self {
        let metrics = PortMetrics::new();
        let active_config =
            ActiveConfig::new(config.settings.admin.clone(), config.effective.clone());
        let (publisher, state) =
            DaemonState::channel(config.settings.store, active_config, metrics.clone());
        Self { config, metrics, publisher, state }
    }

    /// Returns the state of the daemon, which is updated while the daemon runs.
    pub fn state(&self) -> Rc<DaemonState> {
        Rc::clone(&self.state)
    }

    /// Runs the daemon until `shutdown` is ready, and then stops it in order.
    ///
    /// Docker and etcd may be unavailable at the start and at any later time. In standalone mode
    /// the DNS server answers from the start, and denies the existence of a name only after the
    /// first listing is published. Each item of `reloads` starts a reload of the configuration.
    ///
    /// # Errors
    /// Returns an error if the daemon cannot continue. An unavailable Docker or etcd is no such
    /// error.
    pub async fn run(
        self,
        reloads: impl Stream<Item = ()>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let Self { config, metrics, publisher, state } = self;
        let DaemonConfig {
            settings,
            effective,
            public_address,
            interfaces,
            log,
            log_control,
            notifier,
            load_config,
        } = config;
        let store = settings.store;
        let standalone = start(&settings, &public_address, &log)?;
        let monitor = AddressMonitor::new(interfaces, public_address.clone());
        let resolver = Resolver {
            log: log.clone(),
            public_address: RefCell::new(public_address.clone()),
            memory_store: standalone.as_ref().map(Standalone::store),
            unavailable: watch::Sender::new(UnavailableServers::new()),
        };
        let run_loop = RunLoop {
            log: log.clone(),
            log_control,
            notifier: &notifier,
            load_config,
            resolver: &resolver,
            monitor: &monitor,
            published_address: public_address,
            address_warning: None,
            standalone,
            publisher,
            active: EffectiveSettings { settings: Rc::new(settings), keys: effective },
            metrics,
            reloads: Reloads::default(),
            reload_errors: Vec::new(),
        };
        let on_resume = |slept: Duration| {
            notice!(log, "the machine was suspended; checking {} now", store.dependencies();
                "seconds" => slept.as_secs());
            monitor.check_now();
            if let Some(core) = state.core() {
                core.check_now();
            }
        };
        let report_to_systemd = async {
            let _ = tokio::time::timeout(READY_TIMEOUT, state.core_started()).await;
            notifier.ready();
            systemd_status::report(&notifier, async || state.status_line().await).await;
        };
        tokio::select! {
            result = run_loop.run(reloads, shutdown) => result,
            () = suspend::watch_suspends(suspend::total_suspended, on_resume) => Ok(()),
            () = report_to_systemd => Ok(()),
        }
    }
}

/// Checks the files of the settings, logs the start, and starts the DNS server of standalone mode.
fn start(
    settings: &Settings,
    public_address: &PublicAddress,
    log: &Logger,
) -> Result<Option<Standalone>, RunError> {
    if let Some(error) = file_errors(settings).into_iter().next() {
        return Err(error);
    }
    let etcd = match settings.store {
        StoreKind::Etcd => settings.etcd.members(),
        StoreKind::Standalone => "none: standalone".into(),
    };
    notice!(log, "starting"; "version" => version::with_commit(),
        "publishes" => public_address.to_string(),
        "docker" => docker_client(&settings.docker, log)?.endpoint().to_string(), "etcd" => etcd);
    Ok(Standalone::start(settings, log)?)
}
