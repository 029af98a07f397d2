//! The trait through which the core asks what runs.

use std::fmt;
use std::future::Future;

use futures_util::stream::LocalBoxStream;

use crate::model::container::{Container, ContainerSummary, EngineTime};
use crate::model::event::Event;

/// What an engine tells as it happens. It ends only with an error, or where the engine
/// closes it.
pub type EventStream = LocalBoxStream<'static, Result<Event, SourceError>>;

/// Where containers come from: a Docker engine, or a test's script of one.
///
/// Every call is one try with a time-out of its own; trying again is the core's
/// business. A source may be asked several things at a time.
pub trait ContainerSource: 'static {
    /// All running containers (paused ones too), in any order.
    ///
    /// # Errors
    /// Where the engine did not answer, or not with a listing; never an empty
    /// list in place of an error.
    fn list(&self) -> impl Future<Output = Result<Vec<ContainerSummary>, SourceError>>;

    /// One container, in whatever state; `None` where the engine knows no such
    /// container. `target` is an id, or a name (a `--network container:` target
    /// may be written so).
    ///
    /// # Errors
    /// Where the engine did not answer, or not with a container.
    fn inspect(&self, target: &str)
    -> impl Future<Output = Result<Option<Container>, SourceError>>;

    /// Follows what happens to containers from now on; and what happened from `since` on, as
    /// far as the engine remembers. Some of that may be told a second time.
    ///
    /// # Errors
    /// Where the engine did not answer, or doesn't tell.
    fn events(
        &self,
        since: Option<EngineTime>,
    ) -> impl Future<Output = Result<EventStream, SourceError>>;

    /// Which engine it is that answers now.
    ///
    /// # Errors
    /// Where the engine did not answer, or not with that.
    fn identity(&self) -> impl Future<Output = Result<EngineIdentity, SourceError>>;
}

/// Tells one engine from another. Opaque: the core compares it, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineIdentity(pub String);

/// Why a question to the engine has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// Nobody answers: no such socket, connection refused or lost, time-out, or
    /// an error of the engine's own (5xx). Worth trying again.
    Unreachable,
    /// The engine, or the way to it, says no: permission denied, TLS wanted, an
    /// API version that it doesn't speak. Needs an operator.
    Refused,
    /// What answers doesn't speak as a Docker engine does.
    Malformed,
}

impl SourceErrorKind {
    /// The kind's name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
        }
    }
}

/// A question to the engine that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What sort of failure.
    pub kind: SourceErrorKind,
    /// One line: what was asked of whom, what came of it, what to try.
    pub message: String,
}

impl SourceError {
    /// Makes an error of this kind.
    pub fn new(kind: SourceErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }
}
