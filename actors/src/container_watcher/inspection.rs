//! One look at a container through the engine's eyes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Newest;
use crate::model::container::{Container, ContainerId, ContainerRow};
use crate::ports::container_source::{ContainerSource, SourceError};
use crate::publish::endpoint::Reach;

/// How many containers may stand between one and the network that it shares.
const LONGEST_CHAIN: usize = 8;

/// What was known when the engine was asked, and its answer.
pub(super) struct Inspection {
    pub asked: Instant,
    pub row: Option<Arc<ContainerRow>>,
    pub stirs: u64,
    pub answer: Result<Option<Found>, SourceError>,
}

/// What an inspection found.
pub(crate) struct Found {
    pub container: Container,
    /// How it is reached from outside.
    pub reach: Reach,
    pub path: NetworkPath,
}

/// Through which others a container has its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkPath {
    /// Those that were found, the nearest first.
    pub through: Vec<ContainerId>,
    /// The one behind them that was not looked at or not found: its id or its name.
    pub to: Option<String>,
}

impl NetworkPath {
    /// Whether a container of this id and name is on the path.
    pub fn leads_by(&self, id: &ContainerId, name: Option<&str>) -> bool {
        let is_it = |target: &String| target == id.as_str() || Some(target.as_str()) == name;
        self.through.contains(id) || self.to.as_ref().is_some_and(is_it)
    }
}

/// Inspects a container once there is a permit. What is told of it while it waits needs
/// no further inspection, so what is known is taken note of only then.
pub(super) async fn inspect_in_turn<S: ContainerSource>(
    source: &S,
    turns: &Semaphore,
    id: &ContainerId,
    newest: Rc<RefCell<Newest>>,
) -> Inspection {
    // Never closed; if it were, one inspection more would do no harm.
    let _permit = turns.acquire().await;
    let asked = Instant::now();
    let Newest { row, stirs, .. } = newest.borrow().clone();
    let answer = inspect(source, id).await;
    Inspection { asked, row, stirs, answer }
}

/// Inspects a container, and where it shares another's network that other too.
pub(crate) async fn inspect<S: ContainerSource>(
    source: &S,
    id: &ContainerId,
) -> Result<Option<Found>, SourceError> {
    let Some(container) = source.inspect(id.as_str()).await? else { return Ok(None) };
    let mut reach = Reach::of(&container);
    let mut path = NetworkPath { to: container.network.target(), ..NetworkPath::default() };
    for _ in 0..LONGEST_CHAIN {
        let Some(target) = &path.to else { break };
        let Some(target) = source.inspect(target).await? else { break };
        reach = Reach::of(&target);
        path.to = target.network.target();
        path.through.push(target.id);
    }
    if planted!(ChainNotFollowed) {
        path.through.truncate(1);
    }
    Ok(Some(Found { container, reach, path }))
}
