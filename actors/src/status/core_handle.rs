//! [`CoreHandle`]: read access to a running core.

use std::rc::Rc;

use super::changes::RecentChange;
use super::readiness::NotReady;
use super::recorder::StatusRecorder;
use super::reports::{ContainerReport, RecordCounts, RecordReport};
use super::shared_request::SharedRequest;
use super::snapshot::{CoreStatus, RecordsStatus};
use crate::runtime::metrics::MailboxSnapshot;

/// Read access to a running core.
///
/// Clones read the same core, and may outlive it. A handle stays on the arbiter (the thread)
/// of the core. The returned values are plain data and may be sent to other threads.
#[derive(Clone)]
pub struct CoreHandle(Rc<Queries>);

/// The queries of a [`CoreHandle`], which the core provides.
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

    /// Returns all watched containers, ordered by id. Returns `None` if the registry does not
    /// reply within one second, because it is being restarted or overloaded.
    pub async fn containers(&self) -> Option<Vec<ContainerReport>> {
        self.0.containers.send().await
    }

    /// Returns all desired records with their states, ordered by key. Returns `None` if the
    /// inserter does not reply within one second.
    pub async fn records(&self) -> Option<Vec<RecordReport>> {
        self.0.records.send().await
    }

    /// Returns the status of the core. Waits up to one second for the part of the inserter.
    pub async fn status(&self) -> CoreStatus {
        let records = self.0.status.send().await;
        self.0.recorder.status(records)
    }

    /// Checks that the core is ready, as [`CoreStatus::ready`] defines it.
    ///
    /// # Errors
    /// Returns the first reason for which the core is not ready.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.status().await.ready()
    }

    /// Returns the counters of record events since the start.
    pub fn counts(&self) -> RecordCounts {
        self.0.recorder.counts()
    }

    /// Returns the mailbox metrics of each actor type, in the order of the flow.
    pub fn mailbox_snapshots(&self) -> [MailboxSnapshot; 4] {
        (self.0.mailbox_snapshots)()
    }

    /// Returns the latest 200 changes of containers and records, oldest first.
    pub fn changes(&self) -> Vec<RecentChange> {
        self.0.recorder.changes()
    }
}
