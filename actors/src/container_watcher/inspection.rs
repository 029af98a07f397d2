//! Inspects a container, and the containers whose network it uses.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::messages::Observation;
use crate::model::container::{Container, ContainerId, ContainerSummary};
use crate::model::network_path::{CHAIN_LENGTH_MAX, NetworkChain};
use crate::ports::container_source::{ContainerSource, SourceError};
use crate::publish::endpoint::PortAccess;

/// The result of an inspection, and the observation on which it was based.
pub(super) struct Inspection {
    pub requested_at: Instant,
    pub summary: Option<Arc<ContainerSummary>>,
    pub refresh_generation: u64,
    pub result: Result<Option<InspectionResult>, SourceError>,
}

/// A container as the engine returned it.
pub(crate) struct InspectionResult {
    pub container: Container,
    /// The ports through which the container is reached. In a shared network these are the ports
    /// of the container at the end of the chain.
    pub access: PortAccess,
    pub chain: NetworkChain,
}

/// Inspects a container when a permit is free.
///
/// `observation` is read after the permit was acquired. The inspection therefore accounts for
/// every observation that arrives while it waits.
pub(super) async fn inspect_with_permit<S: ContainerSource>(
    source: &S,
    permits: &Semaphore,
    id: &ContainerId,
    observation: Rc<RefCell<Observation>>,
) -> Inspection {
    // The semaphore is never closed. If it were, an excess inspection would do no harm.
    let _permit = permits.acquire().await;
    let requested_at = Instant::now();
    let Observation { summary, refresh_generation, .. } = observation.borrow().clone();
    let result = inspect(source, id).await;
    Inspection { requested_at, summary, refresh_generation, result }
}

/// Inspects a container, and each container of its network chain.
///
/// Returns `None` if the engine does not know the container.
///
/// # Errors
/// Returns an error if one of the requests failed.
pub(crate) async fn inspect<S: ContainerSource>(
    source: &S,
    id: &ContainerId,
) -> Result<Option<InspectionResult>, SourceError> {
    let Some(container) = inspect_one(source, id).await? else { return Ok(None) };
    let mut access = PortAccess::from_container(&container);
    let mut chain = NetworkChain { target: container.network.target(), ..NetworkChain::default() };
    for _ in 0..CHAIN_LENGTH_MAX {
        let Some(target) = &chain.target else { break };
        let Some(target) = source.inspect(target).await? else { break };
        access = PortAccess::from_container(&target);
        chain.target = target.network.target();
        chain.hops.push(target.id);
    }
    if mutated!(NetworkChainNotFollowed) {
        chain.hops.truncate(1);
    }
    Ok(Some(InspectionResult { container, access, chain }))
}

async fn inspect_one<S: ContainerSource>(
    source: &S,
    id: &ContainerId,
) -> Result<Option<Container>, SourceError> {
    let found = source.inspect(id.as_str()).await;
    if mutated!(FailedInspectionReadAsGone) {
        return Ok(found.unwrap_or_default());
    }
    found
}
