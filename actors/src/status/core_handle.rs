//! Looks at a running core from outside.

use std::rc::Rc;

use super::changes::RecentChange;
use super::readiness::NotReady;
use super::recorder::Chronicle;
use super::reports::{ContainerReport, Counts, RecordReport};
use super::shared_request::Question;
use super::snapshot::{RecordsStanding, Standing};
use crate::runtime::metrics::MeterReading;

/// Looks at a running core from outside. A handle: clones look at the same core, and may
/// outlive it. It stays on the core's arbiter; what it gives may go anywhere.
#[derive(Clone)]
pub struct Observer(Rc<Questions>);

/// What can be asked.
pub(crate) struct Questions {
    pub containers: Question<Vec<ContainerReport>>,
    pub records: Question<Vec<RecordReport>>,
    pub standing: Question<RecordsStanding>,
    pub meters: fn() -> [MeterReading; 4],
    pub chronicle: Chronicle,
}

impl Observer {
    pub(crate) fn new(questions: Questions) -> Self {
        Self(Rc::new(questions))
    }

    /// Every container under watch, by its id; `None` where the registry doesn't tell
    /// within a second: it is being rebuilt, or too busy to answer.
    pub async fn containers(&self) -> Option<Vec<ContainerReport>> {
        self.0.containers.ask().await
    }

    /// Every wanted record, by its key, and how it stands; `None` where the inserter doesn't
    /// tell within a second.
    pub async fn records(&self) -> Option<Vec<RecordReport>> {
        self.0.records.ask().await
    }

    /// How the core stands. Waits up to a second for the inserter's part.
    pub async fn standing(&self) -> Standing {
        let records = self.0.standing.ask().await;
        self.0.chronicle.standing(records)
    }

    /// Whether all is as it should be (SPEC 7, `/readyz`).
    ///
    /// # Errors
    /// The first reason against it.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.standing().await.ready()
    }

    /// What happened to records so far.
    pub fn counts(&self) -> Counts {
        self.0.chronicle.counts()
    }

    /// The actors' mailboxes, in the order of the flow.
    pub fn meters(&self) -> [MeterReading; 4] {
        (self.0.meters)()
    }

    /// The last 200 changes of containers and records, the oldest first.
    pub fn changes(&self) -> Vec<RecentChange> {
        self.0.chronicle.changes()
    }
}
