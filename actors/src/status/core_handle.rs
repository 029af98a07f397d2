//! Looks at a running core from outside.

use std::rc::Rc;

use super::changes::RecentChange;
use super::readiness::NotReady;
use super::recorder::StatusRecorder;
use super::reports::{ContainerReport, RecordCounts, RecordReport};
use super::shared_request::SharedRequest;
use super::snapshot::{CoreStatus, RecordsStatus};
use crate::runtime::metrics::MailboxSnapshot;

/// Looks at a running core from outside. A handle: clones look at the same core, and may
/// outlive it. It stays on the core's arbiter; what it gives may go anywhere.
#[derive(Clone)]
pub struct CoreHandle(Rc<Queries>);

/// What can be asked.
pub(crate) struct Queries {
    pub containers: SharedRequest<Vec<ContainerReport>>,
    pub records: SharedRequest<Vec<RecordReport>>,
    pub status: SharedRequest<RecordsStatus>,
    pub mailbox_snapshots: fn() -> [MailboxSnapshot; 4],
    pub recorder: StatusRecorder,
}

impl CoreHandle {
    pub(crate) fn new(queries: Queries) -> Self {
        Self(Rc::new(queries))
    }

    /// Every container under watch, by its id; `None` where the registry doesn't tell
    /// within a second: it is being rebuilt, or too busy to answer.
    pub async fn containers(&self) -> Option<Vec<ContainerReport>> {
        self.0.containers.send().await
    }

    /// Every wanted record, by its key, and how it stands; `None` where the inserter doesn't
    /// tell within a second.
    pub async fn records(&self) -> Option<Vec<RecordReport>> {
        self.0.records.send().await
    }

    /// How the core stands. Waits up to a second for the inserter's part.
    pub async fn status(&self) -> CoreStatus {
        let records = self.0.status.send().await;
        self.0.recorder.status(records)
    }

    /// Whether all is as it should be (SPEC 7, `/readyz`).
    ///
    /// # Errors
    /// The first reason against it.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.status().await.ready()
    }

    /// What happened to records so far.
    pub fn counts(&self) -> RecordCounts {
        self.0.recorder.counts()
    }

    /// The actors' mailboxes, in the order of the flow.
    pub fn mailbox_snapshots(&self) -> [MailboxSnapshot; 4] {
        (self.0.mailbox_snapshots)()
    }

    /// The last 200 changes of containers and records, the oldest first.
    pub fn changes(&self) -> Vec<RecentChange> {
        self.0.recorder.changes()
    }
}
