//! Inspects a container, and the containers whose network it uses.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::shared_ports::shared_ports;
use crate::discovery::is_compose_service;
use crate::messages::Observation;
use crate::model::container::{Container, ContainerId, ContainerSummary};
use crate::model::network_path::NetworkChain;
use crate::model::publish_config::{DiscoveryMethod, PublishConfig};
use crate::ports::container_source::{ContainerSource, SourceError};
use crate::publish::endpoint::PortAccess;

/// The largest number of containers that are followed in a network chain.
const CHAIN_LENGTH_MAX: usize = 8;

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
    config: &PublishConfig,
) -> Inspection {
    // The semaphore is never closed. If it were, an excess inspection would do no harm.
    let _permit = permits.acquire().await;
    let requested_at = Instant::now();
    let Observation { summary, refresh_generation, .. } = observation.borrow().clone();
    let result = inspect(source, id, config).await;
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
    config: &PublishConfig,
) -> Result<Option<InspectionResult>, SourceError> {
    let Some(mut container) = inspect_one(source, id).await? else { return Ok(None) };
    let mut access = PortAccess::from_container(&container);
    let mut chain = NetworkChain { target: container.network.target(), ..NetworkChain::default() };
    for _ in 0..CHAIN_LENGTH_MAX {
        let Some(target) = &chain.target else { break };
        let Some(target) = source.inspect(target).await? else { break };
        access = PortAccess::from_container(&target);
        chain.target = target.network.target();
        chain.hops.push(target.id);
    }
    if !chain.hops.is_empty() && is_named_by_shared_ports(&container, config) {
        let shared = shared_ports(source, &container, &chain, &access).await?;
        container.shared_ports = Some(shared);
    }
    if mutated!(NetworkChainNotFollowed) {
        chain.hops.truncate(1);
    }
    Ok(Some(InspectionResult { container, access, chain }))
}

/// Returns `true` if the names of the container depend on the ports of its peers in a shared
/// network.
fn is_named_by_shared_ports(container: &Container, config: &PublishConfig) -> bool {
    config.methods.contains(&DiscoveryMethod::Compose) && is_compose_service(container)
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
