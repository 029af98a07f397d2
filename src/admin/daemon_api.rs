//! What the endpoints ask of the daemon, so that a test can answer in its place.

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use highhock_actors::status::{ContainerReport, RecentChange, Standing};
use highhock_actors::{ContainerSource, Core, RecordReport, RecordStore};

use crate::metrics::Reading;

/// What is told of the actors, when they have told it.
pub type Told<T> = LocalBoxFuture<'static, T>;

/// The daemon, on the actors' thread.
pub trait Daemon {
    /// The core that runs now.
    ///
    /// # Errors
    /// Why none does, in words for the operator.
    fn core(&self) -> Result<Rc<dyn Observe>, String>;
    /// All that is measured, whether or not a core runs.
    fn reading(&self) -> Told<Reading>;
}

/// A running core, seen from outside. `None`: the actor doesn't tell, as it is being
/// rebuilt, or too busy.
pub trait Observe {
    /// Returns when all actors of which there is one have answered.
    fn answers(&self) -> Told<Option<()>>;
    /// Every container under watch.
    fn containers(&self) -> Told<Option<Vec<ContainerReport>>>;
    /// Every wanted record.
    fn records(&self) -> Told<Option<Vec<RecordReport>>>;
    /// How the core stands.
    fn standing(&self) -> Told<Option<Standing>>;
    /// The last changes, the oldest first.
    fn changes(&self) -> Vec<RecentChange>;
}

impl<S: ContainerSource, R: RecordStore> Observe for Rc<Core<S, R>> {
    fn answers(&self) -> Told<Option<()>> {
        let core = Self::clone(self);
        Box::pin(async move {
            core.pulse().await;
            Some(())
        })
    }

    fn containers(&self) -> Told<Option<Vec<ContainerReport>>> {
        let observer = self.observer();
        Box::pin(async move { observer.containers().await })
    }

    fn records(&self) -> Told<Option<Vec<RecordReport>>> {
        let observer = self.observer();
        Box::pin(async move { observer.records().await })
    }

    fn standing(&self) -> Told<Option<Standing>> {
        let observer = self.observer();
        Box::pin(async move { Some(observer.standing().await) })
    }

    fn changes(&self) -> Vec<RecentChange> {
        self.observer().changes()
    }
}
