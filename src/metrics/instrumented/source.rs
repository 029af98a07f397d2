//! Counts and times the requests to the Docker engine.

use highhock_actors::{
    Container, ContainerListing, ContainerSource, EngineIdentity, EngineTime, EventStream,
    SourceError, SourceErrorKind,
};

use super::{Instrumented, OK, RequestMetrics};

const LIST: &str = "list";
const INSPECT: &str = "inspect";
const EVENTS: &str = "events";
const IDENTITY: &str = "identity";

impl RequestMetrics {
    /// Creates the metrics of requests to a Docker engine.
    pub fn for_docker() -> Self {
        use SourceErrorKind::{Malformed, Refused, Unreachable};
        let failures = [Unreachable, Refused, Malformed].map(SourceErrorKind::as_str);
        Self::new(&[LIST, INSPECT, EVENTS, IDENTITY], &failures)
    }
}

fn result<T>(response: &Result<T, SourceError>) -> &'static str {
    response.as_ref().map_or_else(|error| error.kind.as_str(), |_| OK)
}

impl<S: ContainerSource> ContainerSource for Instrumented<S> {
    async fn list(&self) -> Result<ContainerListing, SourceError> {
        self.requests.measure(LIST, self.inner.list(), result).await
    }

    async fn inspect(&self, target: &str) -> Result<Option<Container>, SourceError> {
        self.requests.measure(INSPECT, self.inner.inspect(target), result).await
    }

    /// The duration ends when the stream is open.
    async fn events(&self, since: Option<EngineTime>) -> Result<EventStream, SourceError> {
        self.requests.measure(EVENTS, self.inner.events(since), result).await
    }

    async fn identity(&self) -> Result<EngineIdentity, SourceError> {
        self.requests.measure(IDENTITY, self.inner.identity(), result).await
    }
}
