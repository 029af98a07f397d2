//! The cores of a daemon's life: the one that runs now, and those of domains that were
//! left, until the new one's records are there.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use highhock_actors::{Memory, RecordKey, Stopped};
use slog::warn;

use super::startup::{Settled, Told};
use super::{DaemonCore, Life};
use crate::etcd::Api;
use crate::metrics::instrumented::Observed;
use crate::settings::{OnExit, Settings, StoreKind};

/// What a clean stop may take at most (SPEC 7).
const GRACE: Duration = Duration::from_secs(5);
/// How long a core may finish what it writes before another follows on it: that one does
/// whatever is left.
const HANDOVER: Duration = Duration::from_millis(500);
/// After so long without the new domain's records an operator is told that the old ones stay.
const LATE: Duration = Duration::from_secs(30);

/// Where records lie: two cores with one place between them have the same records. Without an
/// API of etcd's: in this process.
type Place = (Option<Api>, RecordKey);

struct Running {
    core: Rc<DaemonCore>,
    place: Place,
}

pub(super) struct Cores<'a> {
    life: &'a Life,
    current: Option<Running>,
    told: Option<Told>,
    /// Of places that were left.
    leaving: Vec<Running>,
}

impl<'a> Cores<'a> {
    pub fn new(life: &'a Life) -> Self {
        Self { life, current: None, told: None, leaving: Vec::new() }
    }

    /// What Docker and etcd told for the core that runs; `None`: none runs yet.
    pub fn told(&self) -> Option<&Told> {
        self.told.as_ref()
    }

    /// Has a new core take over. Under the same place it does so where the old one leaves
    /// off; else beside it, until [`Self::see_off`].
    pub async fn succeed(&mut self, settled: Settled) {
        let core_settings = settled.core_settings();
        let Settled { settings, told, rules, docker, store } = settled;
        let root = RecordKey::of_domain(&rules.prefix, &rules.domain);
        let place = (told.store.api(), root);
        self.leaving.extend(self.current.take());
        let memory = self.end_at(&place).await;
        let docker = Observed::new(docker, &self.life.asked_docker);
        let store = Observed::new(store, &self.life.asked_etcd);
        let core = DaemonCore::resume(core_settings, docker, store, memory, &self.life.log);
        let core = Rc::new(core);
        self.life.put_in_force(settings);
        self.life.take_core(&core);
        self.current = Some(Running { core, place });
        self.told = Some(told);
    }

    /// Ends the core of this place, where there is one, and leaves its records where they
    /// are.
    async fn end_at(&mut self, place: &Place) -> Memory {
        let Some(at) = self.leaving.iter().position(|one| one.place == *place) else {
            let beside = self.leaving.last().map(|one| one.core.memory().for_another_place());
            return beside.unwrap_or_default();
        };
        let before = self.leaving.remove(at);
        before.core.stop(false, HANDOVER).await;
        before.core.memory()
    }

    /// Waits until an actor of any core fails again and again.
    pub async fn exhausted(&self) -> &'static str {
        let all: Vec<_> = self.all().map(|one| Box::pin(one.core.exhausted())).collect();
        if all.is_empty() {
            return std::future::pending().await;
        }
        select_all(all).await.0
    }

    /// Withdraws the records of the places that were left, once those of the new one are
    /// there. Can be given up while it waits, and asked for again; never returns where there
    /// is nothing to do.
    pub async fn see_off(&self) {
        let (Some(current), false) = (&self.current, self.leaving.is_empty()) else {
            return std::future::pending().await;
        };
        let caught_up = current.core.caught_up();
        tokio::pin!(caught_up);
        if tokio::time::timeout(LATE, &mut caught_up).await.is_err() {
            warn!(
                self.life.log,
                "the records of the new domain are not all there yet; those of \
                the old one stay until they are"
            );
            caught_up.await;
        }
        let withdrawn = self.leaving.iter().map(|one| one.core.stop(true, GRACE));
        for (one, stopped) in self.leaving.iter().zip(join_all(withdrawn).await) {
            let place = one.place.1.to_string();
            match stopped {
                Stopped::Clean => {
                    notice!(self.life.log, "the old records are withdrawn"; "below" => place);
                }
                Stopped::Unfinished(unwritten) => {
                    warn!(self.life.log, "not all old records could be withdrawn; they end with \
                        their TTL"; "below" => place, "left" => count(unwritten));
                }
            }
        }
    }

    /// Waits until the records of the first listing are written, and has DNS answered as from
    /// all there are. Can be given up while it waits, and asked for again; never returns where
    /// there is nothing to do.
    pub async fn complete_dns(&self) {
        let (Some(current), Some(standalone)) = (&self.current, self.life.standalone()) else {
            return std::future::pending().await;
        };
        if standalone.is_complete() {
            return std::future::pending().await;
        }
        current.core.caught_up().await;
        standalone.complete();
    }

    /// Forgets the cores that [`Self::see_off`] has ended.
    pub fn forget_left(&mut self) {
        self.leaving.clear();
    }

    /// Stops all.
    pub async fn stop(self, settings: &Settings) {
        let log = &self.life.log;
        if self.current.is_none() {
            notice!(log, "stopped before {} had answered", settings.store.whom_to_ask());
            return;
        }
        let (records, withdraw) = match settings.store {
            StoreKind::Etcd => {
                (settings.etcd.on_exit.as_str(), settings.etcd.on_exit == OnExit::Remove)
            }
            StoreKind::Standalone => ("end with it", false),
        };
        notice!(log, "stopping"; "records" => records);
        for stopped in join_all(self.all().map(|one| one.core.stop(withdraw, GRACE))).await {
            if let Stopped::Unfinished(unwritten) = stopped {
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

    fn all(&self) -> impl Iterator<Item = &Running> {
        self.current.iter().chain(&self.leaving)
    }
}

fn count(unwritten: Option<usize>) -> String {
    unwritten.map_or("unknown".into(), |count| count.to_string())
}
