//! What would be published now, worked out without writing anything.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use slog::{Discard, Logger, o};
use tokio::time::Instant;

use crate::container_watcher::{InspectionResult, inspect};
use crate::messages::Domain;
use crate::model::container::{ContainerId, ContainerState};
use crate::model::publish_config::PublishConfig;
use crate::model::service::SkippedEntry;
use crate::ports::container_source::{ContainerSource, SourceError};
use crate::ports::record_store::KeepAliveMode;
use crate::publish::explain::{Explanation, explain};
use crate::publish::plan;
use crate::reconciler::{Reconciler, RecordPolicy, WriteLog};
use crate::status::{RecordReport, StatusRecorder};

/// How many inspections are under way at a time.
const INSPECTIONS_MAX: usize = 8;

/// What the containers that run now would have published.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The records, by key. One that another container of this host has stands by.
    pub records: Vec<RecordReport>,
    /// The containers, by name: what is left out of what each says, and how it all came.
    pub containers: Vec<PreviewContainer>,
}

/// A container in a [`Preview`].
#[derive(Clone, Debug)]
pub struct PreviewContainer {
    /// Which.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: ContainerState,
    /// Why it is left out as a whole.
    pub withheld: Option<String>,
    /// What is left out, and why.
    pub skipped: Vec<SkippedEntry>,
    /// How its words come to its records.
    pub explanation: Explanation,
}

/// Lists and inspects what runs, once.
///
/// # Errors
/// Where the engine does not answer one of the questions.
pub async fn preview<S: ContainerSource>(
    source: &S,
    config: &PublishConfig,
) -> Result<Preview, SourceError> {
    let summaries = source.list().await?;
    let inspected: Vec<_> = stream::iter(summaries)
        .map(|summary| async move { inspect(source, &summary.id).await })
        .buffered(INSPECTIONS_MAX)
        .try_collect()
        .await?;

    let policy = RecordPolicy {
        keep_alive_mode: KeepAliveMode::PerRecord,
        ttl: Duration::from_secs(60),
        host: config.host.clone(),
    };
    let now = Instant::now();
    let (recorder, log) = (StatusRecorder::default(), Logger::root(Discard, o!()));
    let mut reconciler = Reconciler::new(policy, WriteLog::default(), recorder, now, log);
    let mut containers = Vec::new();
    for InspectionResult { container, access, .. } in inspected.into_iter().flatten() {
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
    Ok(Preview { records: reconciler.report(), containers })
}
