//! What would be published now, worked out without writing anything.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use slog::{Discard, Logger, o};
use tokio::time::Instant;

use crate::container_watcher::{Found, inspect};
use crate::messages::Domain;
use crate::model::container::{ContainerId, Life};
use crate::model::publish_config::Rules;
use crate::model::service::Skipped;
use crate::ports::container_source::{ContainerSource, SourceError};
use crate::ports::record_store::Upkeep;
use crate::publish::explain::{Explanation, explain};
use crate::publish::offer;
use crate::reconciler::{Deeds, Ledger, Terms};
use crate::status::{Chronicle, RecordReport};

/// How many inspections are under way at a time.
const INSPECTIONS: usize = 8;

/// What the containers that run now would have published.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The records, by key. One that another container of this host has stands by.
    pub records: Vec<RecordReport>,
    /// The containers, by name: what is left out of what each says, and how it all came.
    pub containers: Vec<PreviewedContainer>,
}

/// A container in a [`Preview`].
#[derive(Clone, Debug)]
pub struct PreviewedContainer {
    /// Which.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub life: Life,
    /// Why it is left out as a whole.
    pub withheld: Option<String>,
    /// What is left out, and why.
    pub skipped: Vec<Skipped>,
    /// How its words come to its records.
    pub explanation: Explanation,
}

/// Lists and inspects what runs, once.
///
/// # Errors
/// Where the engine does not answer one of the questions.
pub async fn preview<S: ContainerSource>(
    source: &S,
    rules: &Rules,
) -> Result<Preview, SourceError> {
    let rows = source.list().await?;
    let inspected: Vec<_> = stream::iter(rows)
        .map(|row| async move { inspect(source, &row.id).await })
        .buffered(INSPECTIONS)
        .try_collect()
        .await?;

    let terms =
        Terms { upkeep: Upkeep::Each, ttl: Duration::from_secs(60), host: rules.host.clone() };
    let now = Instant::now();
    let (chronicle, log) = (Chronicle::default(), Logger::root(Discard, o!()));
    let mut ledger = Ledger::new(terms, Deeds::default(), chronicle, now, log);
    let mut containers = Vec::new();
    for Found { container, reach, .. } in inspected.into_iter().flatten() {
        let offer = offer(&container, &reach, rules);
        let explanation = explain(&container, &reach, rules);
        ledger.tell(
            Domain {
                container: container.id.clone(),
                name: Arc::from(container.name.as_str()),
                started: container.started,
                wanted: Arc::from(offer.wanted),
                since: None,
            },
            now,
        );
        containers.push(PreviewedContainer {
            id: container.id,
            name: container.name,
            life: container.life,
            withheld: offer.withheld,
            skipped: offer.skipped,
            explanation,
        });
    }
    containers.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Preview { records: ledger.report(), containers })
}
