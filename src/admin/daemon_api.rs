//! What the endpoints ask of the daemon, so that a test can answer in its place.

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use highhock_actors::status::{ContainerReport, CoreStatus, RecentChange};
use highhock_actors::{ContainerSource, Core, RecordReport, RecordStore};

use crate::metrics::MetricsSnapshot;

/// The daemon, on the actors' thread.
pub trait DaemonApi {
    /// The core that runs now.
    ///
    /// # Errors
    /// Why none does, in words for the operator.
    fn core(&self) -> Result<Rc<dyn CoreApi>, String>;
    /// All that is measured, whether or not a core runs.
    fn metrics_snapshot(&self) -> LocalBoxFuture<'static, MetricsSnapshot>;
}

/// A running core, seen from outside. `None`: the actor doesn't tell, as it is being
/// rebuilt, or too busy.
pub trait CoreApi {
    /// Returns when all actors of which there is one have answered.
    fn ping_actors(&self) -> LocalBoxFuture<'static, Option<()>>;
    /// Every container under watch.
    fn containers(&self) -> LocalBoxFuture<'static, Option<Vec<ContainerReport>>>;
    /// Every wanted record.
    fn records(&self) -> LocalBoxFuture<'static, Option<Vec<RecordReport>>>;
    /// How the core stands.
    fn status(&self) -> LocalBoxFuture<'static, Option<CoreStatus>>;
    /// The last changes, the oldest first.
    fn changes(&self) -> Vec<RecentChange>;
}

impl<S: ContainerSource, R: RecordStore> CoreApi for Rc<Core<S, R>> {
    fn ping_actors(&self) -> LocalBoxFuture<'static, Option<()>> {
        let core = Self::clone(self);
        Box::pin(async move {
            core.ping().await;
            Some(())
        })
    }

    fn containers(&self) -> LocalBoxFuture<'static, Option<Vec<ContainerReport>>> {
        let handle = self.handle();
        Box::pin(async move { handle.containers().await })
    }

    fn records(&self) -> LocalBoxFuture<'static, Option<Vec<RecordReport>>> {
        let handle = self.handle();
        Box::pin(async move { handle.records().await })
    }

    fn status(&self) -> LocalBoxFuture<'static, Option<CoreStatus>> {
        let handle = self.handle();
        Box::pin(async move { Some(handle.status().await) })
    }

    fn changes(&self) -> Vec<RecentChange> {
        self.handle().changes()
    }
}
