//! The cores of a daemon's life: the one that runs now, and those of domains that were
//! left, until the new one's records are there.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use highhock_actors::{CarriedState, RecordKey, Shutdown};
use slog::warn;

use super::startup::{ProbeResults, ResolvedConfig};
use super::{DaemonCore, DaemonState};
use crate::etcd::Api;
use crate::metrics::instrumented::Instrumented;
use crate::settings::{OnExit, Settings, StoreKind};

/// What a clean stop may take at most (SPEC 7).
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a core may finish what it writes before another follows on it: that one does
/// whatever is left.
const HANDOVER_TIMEOUT: Duration = Duration::from_millis(500);
/// After so long without the new domain's records an operator is told that the old ones stay.
const WITHDRAW_WARNING_AFTER: Duration = Duration::from_secs(30);

/// Where records lie: two cores with one place between them have the same records. Without an
/// API of etcd's: in this process.
type RecordRoot = (Option<Api>, RecordKey);

struct RunningCore {
    core: Rc<DaemonCore>,
    record_root: RecordRoot,
}

pub(super) struct Cores<'a> {
    daemon: &'a DaemonState,
    current: Option<RunningCore>,
    probe_results: Option<ProbeResults>,
    /// Of places that were left.
    draining: Vec<RunningCore>,
}

impl<'a> Cores<'a> {
    pub fn new(daemon: &'a DaemonState) -> Self {
        Self { daemon, current: None, probe_results: None, draining: Vec::new() }
    }

    /// What Docker and etcd told for the core that runs; `None`: none runs yet.
    pub fn probe_results(&self) -> Option<&ProbeResults> {
        self.probe_results.as_ref()
    }

    /// Has a new core take over. Under the same place it does so where the old one leaves
    /// off; else beside it, until [`Self::withdraw_old`].
    pub async fn hand_over(&mut self, resolved: ResolvedConfig) {
        let core_settings = resolved.core_settings();
        let ResolvedConfig { settings, probe_results, rules, docker, store } = resolved;
        let root = RecordKey::domain_directory(&rules.prefix, &rules.domain);
        let record_root = (probe_results.store.api(), root);
        self.draining.extend(self.current.take());
        let memory = self.stop_at(&record_root).await;
        let docker = Instrumented::new(docker, &self.daemon.docker_requests);
        let store = Instrumented::new(store, &self.daemon.etcd_requests);
        let core = DaemonCore::resume(core_settings, docker, store, memory, &self.daemon.log);
        let core = Rc::new(core);
        self.daemon.activate(settings);
        self.daemon.set_core(&core);
        self.current = Some(RunningCore { core, record_root });
        self.probe_results = Some(probe_results);
    }

    /// Ends the core of this place, where there is one, and leaves its records where they
    /// are.
    async fn stop_at(&mut self, record_root: &RecordRoot) -> CarriedState {
        let Some(at) = self.draining.iter().position(|one| one.record_root == *record_root) else {
            let memory =
                self.draining.last().map(|one| one.core.carried_state().for_other_record_root());
            return memory.unwrap_or_default();
        };
        let previous = self.draining.remove(at);
        previous.core.stop(false, HANDOVER_TIMEOUT).await;
        previous.core.carried_state()
    }

    /// Waits until an actor of any core fails again and again.
    pub async fn exhausted(&self) -> &'static str {
        let all: Vec<_> =
            self.running_cores().map(|one| Box::pin(one.core.restarts_exhausted())).collect();
        if all.is_empty() {
            return std::future::pending().await;
        }
        select_all(all).await.0
    }

    /// Withdraws the records of the places that were left, once those of the new one are
    /// there. Can be given up while it waits, and asked for again; never returns where there
    /// is nothing to do.
    pub async fn withdraw_old(&self) {
        let (Some(current), false) = (&self.current, self.draining.is_empty()) else {
            return std::future::pending().await;
        };
        let caught_up = current.core.wait_until_caught_up();
        tokio::pin!(caught_up);
        if tokio::time::timeout(WITHDRAW_WARNING_AFTER, &mut caught_up).await.is_err() {
            warn!(
                self.daemon.log,
                "the records of the new domain are not all there yet; those of \
                the old one stay until they are"
            );
            caught_up.await;
        }
        let withdrawn = self.draining.iter().map(|one| one.core.stop(true, STOP_TIMEOUT));
        for (one, stopped) in self.draining.iter().zip(join_all(withdrawn).await) {
            let record_root = one.record_root.1.to_string();
            match stopped {
                Shutdown::Clean => {
                    notice!(self.daemon.log, "the old records are withdrawn"; "below" => record_root);
                }
                Shutdown::TimedOut(unwritten) => {
                    warn!(self.daemon.log, "not all old records could be withdrawn; they end with \
                        their TTL"; "below" => record_root, "left" => count(unwritten));
                }
            }
        }
    }

    /// Waits until the records of the first listing are written, and has DNS answered as from
    /// all there are. Can be given up while it waits, and asked for again; never returns where
    /// there is nothing to do.
    pub async fn complete_dns(&self) {
        let (Some(current), Some(standalone)) = (&self.current, self.daemon.standalone()) else {
            return std::future::pending().await;
        };
        if standalone.is_complete() {
            return std::future::pending().await;
        }
        current.core.wait_until_caught_up().await;
        standalone.complete();
    }

    /// Forgets the cores that [`Self::withdraw_old`] has ended.
    pub fn forget_drained(&mut self) {
        self.draining.clear();
    }

    /// Stops all.
    pub async fn stop(self, settings: &Settings) {
        let log = &self.daemon.log;
        if self.current.is_none() {
            notice!(log, "stopped before {} had answered", settings.store.dependencies());
            return;
        }
        let (records, withdraw) = match settings.store {
            StoreKind::Etcd => {
                (settings.etcd.on_exit.as_str(), settings.etcd.on_exit == OnExit::Remove)
            }
            StoreKind::Standalone => ("end with it", false),
        };
        notice!(log, "stopping"; "records" => records);
        for stopped in
            join_all(self.running_cores().map(|one| one.core.stop(withdraw, STOP_TIMEOUT))).await
        {
            if let Shutdown::TimedOut(unwritten) = stopped {
                let unwritten = count(unwritten);
                match settings.store {
                    StoreKind::Etcd => warn!(log, "stopped before all was written; what is in \
                        etcd ends with its TTL"; "unwritten" => unwritten),
                    StoreKind::Standalone => {
                        warn!(log, "stopped before all was done"; "unwritten" => unwritten);
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
