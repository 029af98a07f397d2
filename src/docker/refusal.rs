//! Endpoints that a socket proxy may refuse, and the effect of each refusal.

use highhock_actors::{LOSS_WITHOUT_EVENTS, SourceError};
use slog::warn;

use super::DockerClient;

/// An endpoint without which HighHock works with less information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OptionalEndpoint {
    /// `GET /version`, if `GET /_ping` is answered.
    Version,
    /// `GET /info`.
    Info,
    /// `GET /networks`.
    Networks,
    /// `GET /events`.
    Events,
    /// The listing of Podman's own API.
    PodmanListing,
}

impl OptionalEndpoint {
    /// Returns the path of the endpoint without an API version.
    pub fn path(self) -> &'static str {
        match self {
            Self::Version => "/version",
            Self::Info => "/info",
            Self::Networks => "/networks",
            Self::Events => "/events",
            Self::PodmanListing => "/libpod/containers/json",
        }
    }

    /// Returns the effect of a refusal.
    pub fn loss(self) -> &'static str {
        match self {
            Self::Version => "the oldest API version of the engine is unknown",
            Self::Info => {
                "the engine is identified by this machine's host name and docker.url, and a \
                 replaced engine is not recognised"
            }
            Self::Networks => "the published address is not compared with the engine's networks",
            Self::Events => LOSS_WITHOUT_EVENTS,
            Self::PodmanListing => "the health of containers is seen at inspections only",
        }
    }
}

/// The refusal of an optional endpoint.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The refused endpoint.
    pub endpoint: OptionalEndpoint,
    /// The response of the engine or proxy.
    pub error: SourceError,
}

impl DockerClient {
    /// Returns the endpoints that were refused so far.
    pub fn refusals(&self) -> Vec<Refusal> {
        self.refusals.borrow().values().cloned().collect()
    }

    /// Returns `true` if the endpoint was refused with the same response before.
    pub(super) fn is_repeated_refusal(
        &self,
        endpoint: OptionalEndpoint,
        error: &SourceError,
    ) -> bool {
        let refusals = self.refusals.borrow();
        refusals.get(&endpoint).is_some_and(|known| known.error.message == error.message)
    }

    /// Remembers a refusal, and logs the first one of each endpoint.
    pub(super) fn record_refusal(&self, endpoint: OptionalEndpoint, error: SourceError) {
        let refusal = Refusal { endpoint, error };
        let error = refusal.error.to_string();
        if self.refusals.borrow_mut().insert(endpoint, refusal).is_some() {
            return;
        }
        // The poller logs the refusal of the event stream, with its loss.
        if endpoint != OptionalEndpoint::Events {
            warn!(self.log, "docker endpoint refused; continuing without it";
                "endpoint" => endpoint.path(), "lost" => endpoint.loss(), "error" => error);
        }
    }
}
