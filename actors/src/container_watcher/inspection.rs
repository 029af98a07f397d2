//! One look at a container through the engine's eyes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::messages::Observation;
use crate::model::container::{Container, ContainerId, ContainerSummary};
use crate::model::network_path::NetworkChain;
use crate::ports::container_source::{ContainerSource, SourceError};
use crate::publish::endpoint::PortAccess;

/// How many containers may stand between one and the network that it shares.
const CHAIN_LENGTH_MAX: usize = 8;

/// What was known when the engine was asked, and its answer.
pub(super) struct Inspection {
    pub requested_at: Instant,
    pub summary: Option<Arc<ContainerSummary>>,
    pub refresh_generation: u64,
    pub result: Result<Option<InspectionResult>, SourceError>,
}

/// What an inspection found.
pub(crate) struct InspectionResult {
    pub container: Container,
    /// How it is reached from outside.
    pub access: PortAccess,
    pub chain: NetworkChain,
}

/// Inspects a container once there is a permit. What is told of it while it waits needs
/// no further inspection, so what is known is taken note of only then.
pub(super) async fn inspect_with_permit<S: ContainerSource>(
    source: &S,
    permits: &Semaphore,
    id: &ContainerId,
    newest: Rc<RefCell<Observation>>,
) -> Inspection {
    // Never closed; if it were, one inspection more would do no harm.
    let _permit = permits.acquire().await;
    let requested_at = Instant::now();
    let Observation { summary, refresh_generation, .. } = newest.borrow().clone();
    let result = inspect(source, id).await;
    Inspection { requested_at, summary, refresh_generation, result }
}

/// Inspects a container, and where it shares another's network that other too.
pub(crate) async fn inspect<S: ContainerSource>(
    source: &S,
    id: &ContainerId,
) -> Result<Option<InspectionResult>, SourceError> {
    let Some(container) = source.inspect(id.as_str()).await? else { return Ok(None) };
    let mut access = PortAccess::from_container(&container);
    let mut chain = NetworkChain { target: container.network.target(), ..NetworkChain::default() };
    for _ in 0..CHAIN_LENGTH_MAX {
        let Some(target) = &chain.target else { break };
        let Some(target) = source.inspect(target).await? else { break };
        access = PortAccess::from_container(&target);
        chain.target = target.network.target();
        chain.hops.push(target.id);
    }
    if planted!(ChainNotFollowed) {
        chain.hops.truncate(1);
    }
    Ok(Some(InspectionResult { container, access, chain }))
}
