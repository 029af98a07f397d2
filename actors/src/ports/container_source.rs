//! [`ContainerSource`]: the trait through which the core reads containers from Docker.

use std::fmt;
use std::future::Future;

use futures_util::stream::LocalBoxStream;

use crate::model::container::{Container, ContainerId, ContainerSummary, EngineTime};
use crate::model::event::Event;

/// A stream of container events. An error of kind [`SourceErrorKind::Malformed`] stands for one
/// event that could not be read. Any other error ends the stream, and so does the engine.
pub type EventStream = LocalBoxStream<'static, Result<Event, SourceError>>;

/// The number of concurrent inspections: of all watchers, of a poll, and of a preview.
pub(crate) const INSPECTIONS_MAX: usize = 8;

/// The effect of an engine that opens no stream of events, for logs and `highhock check`.
pub const LOSS_WITHOUT_EVENTS: &str = "changes are seen at polls only, and stop signals are not \
    seen, so that the records of a draining container are withdrawn only when it ends";

/// A source of containers: a Docker engine, or the model of one in a test.
///
/// Every method makes one attempt, with a time-out of its own. The core decides about retries.
/// Several requests may be in flight at the same time.
pub trait ContainerSource: 'static {
    /// Lists all running and paused containers, in any order.
    ///
    /// # Errors
    /// Returns an error if the engine sends no listing. A failed request never returns an empty
    /// list.
    fn list(&self) -> impl Future<Output = Result<ContainerListing, SourceError>>;

    /// Inspects a container in any state. Returns `None` if the engine knows no such container.
    /// `target` is an id or a name, because `--network container:NAME` may contain a name.
    ///
    /// # Errors
    /// Returns an error if the engine sends no inspection.
    fn inspect(&self, target: &str)
    -> impl Future<Output = Result<Option<Container>, SourceError>>;

    /// Follows the events of containers. The stream starts with the events since `since` that the
    /// engine still has. Some of them may be repeated.
    ///
    /// # Errors
    /// Returns an error if the engine opens no stream of events.
    fn events(
        &self,
        since: Option<EngineTime>,
    ) -> impl Future<Output = Result<EventStream, SourceError>>;

    /// Returns the identity of the engine.
    ///
    /// # Errors
    /// Returns an error if the engine does not send its identity.
    fn identity(&self) -> impl Future<Output = Result<EngineIdentity, SourceError>>;
}

/// The containers of one listing.
#[derive(Clone, Debug, Default)]
pub struct ContainerListing {
    /// The listed containers. The row of a container in `unreadable` has only an id.
    pub containers: Vec<ContainerSummary>,
    /// The rows that could not be read.
    pub unreadable: Vec<UnreadableRow>,
}

impl ContainerListing {
    /// Returns the number of rows without a readable id. Each may show any container that the
    /// listing lacks.
    pub fn unnamed_rows(&self) -> usize {
        self.unreadable.iter().filter(|row| row.container.is_none()).count()
    }
}

impl From<Vec<ContainerSummary>> for ContainerListing {
    fn from(containers: Vec<ContainerSummary>) -> Self {
        Self { containers, unreadable: Vec::new() }
    }
}

/// A row of a listing that could not be read.
#[derive(Clone, Debug)]
pub struct UnreadableRow {
    /// The container, or `None` if not even its id could be read.
    pub container: Option<ContainerId>,
    /// The reason, in one line.
    pub reason: String,
}

/// The identity of an engine. The core compares identities, and never reads their content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineIdentity(pub String);

/// The kind of a failed request to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// The engine sends no response: no such socket, connection refused or lost, time-out, or an
    /// internal error of the engine (5xx). A retry may succeed.
    Unreachable,
    /// The request is rejected: permission denied, TLS required, or API version not supported.
    /// An operator must act.
    Refused,
    /// The response is not that of a Docker engine.
    Malformed,
}

impl SourceErrorKind {
    /// Returns the kind's name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
        }
    }
}

/// A failed request to the engine.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// The kind of failure.
    pub kind: SourceErrorKind,
    /// One line: the request, its failure, and a remedy.
    pub message: String,
}

impl SourceError {
    /// Creates an error.
    pub fn new(kind: SourceErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }
}
