//! The interface between the endpoints and the daemon, so that a test can replace the daemon.

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use highhock_actors::status::{ContainerReport, CoreStatus, RecentChange};
use highhock_actors::{ContainerSource, Core, RecordReport, RecordStore};

use crate::metrics::MetricsSnapshot;

/// The daemon, on the thread of the actors.
pub trait DaemonApi {
    /// Returns the running core.
    ///
    /// # Errors
    /// Returns the reason, for the operator, if no core runs.
    fn core(&self) -> Result<Rc<dyn CoreApi>, String>;
    /// Reads all metrics. No core is needed.
    fn metrics_snapshot(&self) -> LocalBoxFuture<'static, MetricsSnapshot>;
}

/// A running core.
///
/// A method returns `None` if the actor cannot reply because it is being restarted or too busy.
pub trait CoreApi {
    /// Returns when the poller, the registry and the inserter have replied.
    fn ping_actors(&self) -> LocalBoxFuture<'static, Option<()>>;
    /// Returns all watched containers.
    fn containers(&self) -> LocalBoxFuture<'static, Option<Vec<ContainerReport>>>;
    /// Returns all desired records with their state.
    fn records(&self) -> LocalBoxFuture<'static, Option<Vec<RecordReport>>>;
    /// Returns the status of the core.
    fn status(&self) -> LocalBoxFuture<'static, Option<CoreStatus>>;
    /// Returns the recent changes, oldest first.
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
