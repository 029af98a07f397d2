//! Questions to the Docker engine, counted.

use highhock_actors::{
    Container, ContainerRow, ContainerSource, EngineIdentity, EngineTime, Events, SourceError,
    SourceErrorKind,
};

use super::{OK, Observed, Requests};

const LIST: &str = "list";
const INSPECT: &str = "inspect";
const EVENTS: &str = "events";
const IDENTITY: &str = "identity";

impl Requests {
    /// For questions to a Docker engine.
    pub fn of_docker() -> Self {
        use SourceErrorKind::{Malformed, Refused, Unreachable};
        let failures = [Unreachable, Refused, Malformed].map(SourceErrorKind::as_str);
        Self::new(&[LIST, INSPECT, EVENTS, IDENTITY], &failures)
    }
}

fn result<T>(answer: &Result<T, SourceError>) -> &'static str {
    answer.as_ref().map_or_else(|error| error.kind.as_str(), |_| OK)
}

impl<S: ContainerSource> ContainerSource for Observed<S> {
    async fn list(&self) -> Result<Vec<ContainerRow>, SourceError> {
        self.requests.observe(LIST, self.edge.list(), result).await
    }

    async fn inspect(&self, target: &str) -> Result<Option<Container>, SourceError> {
        self.requests.observe(INSPECT, self.edge.inspect(target), result).await
    }

    /// Timed until the stream is open.
    async fn events(&self, since: Option<EngineTime>) -> Result<Events, SourceError> {
        self.requests.observe(EVENTS, self.edge.events(since), result).await
    }

    async fn identity(&self) -> Result<EngineIdentity, SourceError> {
        self.requests.observe(IDENTITY, self.edge.identity(), result).await
    }
}
