//! One look at a container through the engine's eyes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Newest;
use crate::container::{Container, ContainerId, ContainerRow, NetworkMode};
use crate::endpoint::Reach;
use crate::source::{ContainerSource, SourceError};

/// How many containers may stand between one and the network that it shares.
const LONGEST_CHAIN: usize = 8;

/// What was known when the engine was asked, and its answer.
pub(super) struct Inspection {
    pub asked: Instant,
    pub row: Option<Arc<ContainerRow>>,
    pub stirs: u64,
    pub answer: Result<Option<(Container, Reach)>, SourceError>,
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
) -> Result<Option<(Container, Reach)>, SourceError> {
    let Some(container) = source.inspect(id.as_str()).await? else { return Ok(None) };
    let mut reach = Reach::of(&container);
    let mut network = container.network.clone();
    for _ in 0..LONGEST_CHAIN {
        let NetworkMode::Container(target) = &network else { break };
        let Some(target) = source.inspect(target).await? else { break };
        reach = Reach::of(&target);
        network = target.network;
    }
    Ok(Some((container, reach)))
}
