//! [`Cores`]: the running core, and the cores of an abandoned domain, prefix or API, which keep
//! their records until the running core has published all of its own.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use highhock_actors::{CarriedState, RecordKey, Shutdown};
use slog::{Logger, warn};

use super::startup::{ProbeResults, ResolvedConfig};
use super::state::{DaemonCore, PortMetrics};
use crate::etcd::Api;
use crate::metrics::instrumented::Instrumented;
use crate::settings::{OnExit, Settings, StoreKind};
use crate::zone::Zone;

/// The longest duration of a clean stop (deploy/README.md, "Clean stop").
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// The time in which a core may finish its writes before another core takes over its records. The
/// next core performs the remaining writes.
const HANDOVER_TIMEOUT: Duration = Duration::from_millis(500);
/// The time after which the log names old records that wait for the new ones.
const WITHDRAW_WARNING_AFTER: Duration = Duration::from_secs(30);

/// The place of all records of a core. Two cores with the same place have the same records.
#[derive(PartialEq, Eq)]
struct RecordRoot {
    /// `None` in standalone mode.
    api: Option<Api>,
    directory: RecordKey,
}

struct RunningCore {
    core: Rc<DaemonCore>,
    record_root: RecordRoot,
}

/// All cores of the daemon. At most one of them follows the active settings.
pub(super) struct Cores {
    log: Logger,
    metrics: PortMetrics,
    current: Option<RunningCore>,
    probe_results: Option<ProbeResults>,
    /// The cores of abandoned record roots.
    draining: Vec<RunningCore>,
}

impl Cores {
    /// Creates an empty set of cores. `metrics` counts the requests of all of them.
    pub fn new(log: Logger, metrics: PortMetrics) -> Self {
        Self { log, metrics, current: None, probe_results: None, draining: Vec::new() }
    }

    /// Returns the core that follows the active settings.
    pub fn current(&self) -> Option<Rc<DaemonCore>> {
        self.current.as_ref().map(|running| Rc::clone(&running.core))
    }

    /// Returns the answers of Docker and etcd for the current core, or `None` if no core runs yet.
    pub fn probe_results(&self) -> Option<&ProbeResults> {
        self.probe_results.as_ref()
    }

    /// Starts a core, and makes it the current one.
    ///
    /// With the same record root the new core takes over the records of the old one. With another
    /// root both cores run until [`Self::withdraw_old`].
    pub async fn hand_over(&mut self, resolved: ResolvedConfig) {
        let ResolvedConfig { core_settings, probe_results, docker, store } = resolved;
        let config = &core_settings.publish_config;
        let directory = RecordKey::domain_directory(&config.prefix, &config.domain);
        let record_root = RecordRoot { api: probe_results.store.api(), directory };
        self.draining.extend(self.current.take());
        let carried_state = self.stop_at(&record_root).await;
        let docker = Instrumented::new(docker, &self.metrics.docker);
        let store = Instrumented::new(store, &self.metrics.etcd);
        let core = DaemonCore::resume(core_settings, docker, store, carried_state, &self.log);
        self.current = Some(RunningCore { core: Rc::new(core), record_root });
        self.probe_results = Some(probe_results);
    }

    /// Stops the core with this record root, if there is one, and keeps its records in the store.
    /// Returns the state for the next core.
    async fn stop_at(&mut self, record_root: &RecordRoot) -> CarriedState {
        let position = self.draining.iter().position(|running| running.record_root == *record_root);
        let Some(position) = position else {
            let last = self.draining.last();
            let carried_state =
                last.map(|running| running.core.carried_state().for_other_record_root());
            return carried_state.unwrap_or_default();
        };
        let previous = self.draining.remove(position);
        previous.core.stop(false, HANDOVER_TIMEOUT).await;
        previous.core.carried_state()
    }

    /// Waits until an actor of any core has used up its restarts, and returns its name.
    pub async fn exhausted(&self) -> &'static str {
        let all: Vec<_> = self
            .running_cores()
            .map(|running| Box::pin(running.core.restarts_exhausted()))
            .collect();
        if all.is_empty() {
            return std::future::pending().await;
        }
        select_all(all).await.0
    }

    /// Withdraws the records of the abandoned record roots when all new records are published.
    ///
    /// Never returns if there is nothing to withdraw. Safe to cancel and to call again.
    pub async fn withdraw_old(&self) {
        let (Some(current), false) = (&self.current, self.draining.is_empty()) else {
            return std::future::pending().await;
        };
        let caught_up = current.core.wait_until_caught_up();
        tokio::pin!(caught_up);
        if tokio::time::timeout(WITHDRAW_WARNING_AFTER, &mut caught_up).await.is_err() {
            warn!(
                self.log,
                "new records are not all published yet; keeping the old \
                records until then"
            );
            caught_up.await;
        }
        let withdrawn = self.draining.iter().map(|old| old.core.stop(true, STOP_TIMEOUT));
        for (old, stopped) in self.draining.iter().zip(join_all(withdrawn).await) {
            let directory = old.record_root.directory.to_string();
            match stopped {
                Shutdown::Clean => {
                    notice!(self.log, "old records withdrawn"; "below" => directory);
                }
                Shutdown::TimedOut(unwritten) => {
                    warn!(self.log, "cannot withdraw all old records; they end with their TTL";
                        "below" => directory, "unwritten" => count(unwritten));
                }
            }
        }
    }

    /// Marks the zone of standalone mode as complete when the records of the first listing are
    /// published. From then on the DNS server denies the existence of other names.
    ///
    /// Never returns if there is nothing to do. Safe to cancel and to call again.
    pub async fn complete_zone(&self, zone: Option<&Zone>) {
        match (&self.current, zone) {
            (Some(current), Some(zone)) if !zone.is_complete() => {
                current.core.wait_until_caught_up().await;
                zone.mark_complete();
            }
            _ => std::future::pending().await,
        }
    }

    /// Drops the cores that [`Self::withdraw_old`] has stopped.
    pub fn forget_drained(&mut self) {
        self.draining.clear();
    }

    /// Stops all cores, and withdraws their records if the settings require it.
    pub async fn stop(self, settings: &Settings) {
        let log = &self.log;
        if self.current.is_none() {
            notice!(log, "stopped before {} answered", settings.store.dependencies());
            return;
        }
        let (records, withdraw) = match settings.store {
            StoreKind::Etcd => {
                (settings.etcd.on_exit.as_str(), settings.etcd.on_exit == OnExit::Remove)
            }
            StoreKind::Standalone => ("end with it", false),
        };
        notice!(log, "stopping"; "records" => records);
        let stopping =
            self.running_cores().map(|running| running.core.stop(withdraw, STOP_TIMEOUT));
        for stopped in join_all(stopping).await {
            if let Shutdown::TimedOut(unwritten) = stopped {
                let unwritten = count(unwritten);
                match settings.store {
                    StoreKind::Etcd => warn!(log, "stopped with unfinished writes; records in \
                        etcd end with their TTL"; "unwritten" => unwritten),
                    StoreKind::Standalone => {
                        warn!(log, "stopped with unfinished writes"; "unwritten" => unwritten);
                    }
                }
                return;
            }
        }
        notice!(log, "stopped");
    }

    fn running_cores(&self) -> impl Iterator<Item = &RunningCore> {
        self.current.iter().chain(&self.draining)
    }
}

fn count(unwritten: Option<usize>) -> String {
    unwritten.map_or("unknown".into(), |count| count.to_string())
}
