//! A look at the actors from outside: what a status page shows.

use crate::inserter::{EtcdInserter, ReportCounts, ReportRecords};
use crate::ledger::{Counts, RecordReport};
use crate::meter::MeterReading;
use crate::metered::Metered;
use crate::poller::DockerPoller;
use crate::registry::{Registry, ReportContainers};
use crate::seat::Seat;
use crate::source::ContainerSource;
use crate::store::RecordStore;
use crate::watcher::{ContainerReport, ContainerWatcher};

/// Asks a core's actors how things stand. It may outlive the core: nobody answers then.
pub struct Observer<S: ContainerSource, R: RecordStore> {
    registry: Seat<Registry<S, R>>,
    inserter: Seat<EtcdInserter<R>>,
}

impl<S: ContainerSource, R: RecordStore> Clone for Observer<S, R> {
    fn clone(&self) -> Self {
        Self { registry: self.registry.clone(), inserter: self.inserter.clone() }
    }
}

impl<S: ContainerSource, R: RecordStore> Observer<S, R> {
    pub(crate) fn new(registry: Seat<Registry<S, R>>, inserter: Seat<EtcdInserter<R>>) -> Self {
        Self { registry, inserter }
    }

    /// The actors' mailboxes, in the order of the flow.
    pub fn meters() -> [MeterReading; 4] {
        [
            DockerPoller::<S, R>::meter().read(),
            Registry::<S, R>::meter().read(),
            ContainerWatcher::<S, R>::meter().read(),
            EtcdInserter::<R>::meter().read(),
        ]
    }

    /// Every wanted record, and how it stands; `None` where the inserter is being
    /// rebuilt, or is no more.
    pub async fn records(&self) -> Option<Vec<RecordReport>> {
        self.inserter.ask(ReportRecords).await
    }

    /// What happened to records since the inserter was last built; `None` as for
    /// [`Observer::records`].
    pub async fn counts(&self) -> Option<Counts> {
        self.inserter.ask(ReportCounts).await
    }

    /// Every container under watch; `None` where the registry is being rebuilt, or is no
    /// more.
    pub async fn containers(&self) -> Option<Vec<ContainerReport>> {
        self.registry.ask(ReportContainers).await
    }
}
