//! One look at a container through the engine's eyes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::messages::Look;
use crate::model::container::{Container, ContainerId, ContainerRow};
use crate::model::network_path::NetworkPath;
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

/// Inspects a container once there is a permit. What is told of it while it waits needs
/// no further inspection, so what is known is taken note of only then.
pub(super) async fn inspect_in_turn<S: ContainerSource>(
    source: &S,
    turns: &Semaphore,
    id: &ContainerId,
    newest: Rc<RefCell<Look>>,
) -> Inspection {
    // Never closed; if it were, one inspection more would do no harm.
    let _permit = turns.acquire().await;
    let asked = Instant::now();
    let Look { row, stirs, .. } = newest.borrow().clone();
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
