//! [`preview`]: the records that would be published now, computed without writing anything.
//!
//! `highhock records` uses this module without a running daemon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use slog::{Discard, Logger, o};
use tokio::time::Instant;

use crate::container_watcher::{InspectionResult, inspect, shared_network, shared_ports};
use crate::messages::Domain;
use crate::model::container::{ContainerId, ContainerState};
use crate::model::network_path::NetworkGuests;
use crate::model::publish_config::PublishConfig;
use crate::model::service::SkippedEntry;
use crate::ports::container_source::{ContainerSource, INSPECTIONS_MAX, SourceError};
use crate::ports::record_store::KeepAliveMode;
use crate::publish::explain::{Explanation, explain};
use crate::publish::plan;
use crate::reconciler::{Reconciler, RecordPolicy, WriteLog};
use crate::status::{RecordReport, StatusRecorder};

/// The records of all containers that run now.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The desired records, by key. If two containers want one key, the second record is on
    /// standby. Records of other hosts are unknown here, because the store is not read.
    pub records: Vec<RecordReport>,
    /// The containers, by name, with their skipped entries and explanations.
    pub containers: Vec<PreviewContainer>,
}

/// A container in a [`Preview`].
#[derive(Clone, Debug)]
pub struct PreviewContainer {
    /// The id of the container.
    pub id: ContainerId,
    /// The name of the container.
    pub name: String,
    /// The state that the engine reports.
    pub state: ContainerState,
    /// The reason to withhold the whole container.
    pub withheld: Option<String>,
    /// The entries that were skipped, each with its reason.
    pub skipped: Vec<SkippedEntry>,
    /// The steps from the container's labels and variables to its records.
    pub explanation: Explanation,
}

/// Lists and inspects the running containers once, and derives their records.
///
/// # Errors
/// Returns an error if the engine does not answer one of the requests.
pub async fn preview<S: ContainerSource>(
    source: &S,
    config: &PublishConfig,
) -> Result<Preview, SourceError> {
    let summaries = source.list().await?.containers;
    let inspected: Vec<Option<InspectionResult>> = stream::iter(summaries)
        .map(|summary| async move { inspect(source, &summary.id).await })
        .buffered(INSPECTIONS_MAX)
        .try_collect()
        .await?;
    let mut inspected: Vec<_> = inspected.into_iter().flatten().collect();
    set_shared_ports(&mut inspected, config);

    let policy = RecordPolicy {
        keep_alive_mode: KeepAliveMode::PerRecord,
        ttl: Duration::from_secs(60),
        host: config.host.clone(),
        exclusive_keys: true,
    };
    let now = Instant::now();
    let (recorder, log) = (StatusRecorder::default(), Logger::root(Discard, o!()));
    let mut reconciler = Reconciler::new(policy, WriteLog::default(), recorder, now, log);
    let mut containers = Vec::new();
    for InspectionResult { container, access, .. } in inspected {
        let plan = plan(&container, &access, config);
        let explanation = explain(&container, &access, config);
        reconciler.set_desired(
            Domain {
                container: container.id.clone(),
                name: Arc::from(container.name.as_str()),
                started: container.started,
                desired: Arc::from(plan.desired),
                since: None,
            },
            now,
        );
        containers.push(PreviewContainer {
            id: container.id,
            name: container.name,
            state: container.state,
            withheld: plan.withheld,
            skipped: plan.skipped,
            explanation,
        });
    }
    containers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Preview { records: reconciler.report(now), containers })
}

/// Sets the ports of each container that shares the network of another one.
fn set_shared_ports(inspected: &mut [InspectionResult], config: &PublishConfig) {
    let mut networks = BTreeMap::<ContainerId, NetworkGuests>::new();
    for InspectionResult { container, chain, .. } in inspected.iter() {
        if let Some(owner) = chain.hops.last() {
            let exposed = Some(Arc::from(container.exposed.as_slice()));
            networks.entry(owner.clone()).or_default().insert(container.id.clone(), exposed);
        }
    }
    for InspectionResult { container, access, chain } in inspected {
        let guests = chain.hops.last().and_then(|owner| networks.get(owner));
        let network = shared_network(container, access, config);
        container.shared_ports =
            network.zip(guests).map(|(network, guests)| shared_ports(container, network, guests));
    }
}
