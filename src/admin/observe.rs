//! What the endpoints ask of the core, so that a test can answer in its place.

use futures_util::future::LocalBoxFuture;
use highhock_actors::{ContainerReport, ContainerSource, Observer, RecordReport, RecordStore};

/// What an actor tells; `None`: it is being rebuilt, or is no more.
pub type Told<T> = LocalBoxFuture<'static, Option<T>>;

/// A running core, seen from outside.
pub trait Observe {
    /// Whether the actors answer at all.
    fn answers(&self) -> Told<()>;
    /// Every container under watch.
    fn containers(&self) -> Told<Vec<ContainerReport>>;
    /// Every wanted record.
    fn records(&self) -> Told<Vec<RecordReport>>;
}

impl<S: ContainerSource, R: RecordStore> Observe for Observer<S, R> {
    fn answers(&self) -> Told<()> {
        let observer = self.clone();
        Box::pin(async move { observer.counts().await.map(drop) })
    }

    fn containers(&self) -> Told<Vec<ContainerReport>> {
        let observer = self.clone();
        Box::pin(async move { observer.containers().await })
    }

    fn records(&self) -> Told<Vec<RecordReport>> {
        let observer = self.clone();
        Box::pin(async move { observer.records().await })
    }
}
