//! The Docker edge: a client of the Docker Engine API, as far as HighHock needs it.
//!
//! Every question is one try with a time-out; when to ask again is the core's
//! business. Written after the Docker Engine API's reference.

mod api_version;
mod endpoint;
mod error;
mod event;
mod event_stream;
mod fingerprint;
mod podman;
mod request;
mod response;
mod signal;
mod status_text;
mod transport;
mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use awc::Client;
use highhock_actors::{
    Container, ContainerSource, ContainerSummary, EngineIdentity, EngineTime, EventStream,
    SourceError,
};
use slog::Logger;

pub use api_version::{
    ApiVersion, BadVersion, NEWEST as NEWEST_API, NoCommonVersion, OLDEST as OLDEST_API,
    SupportedVersions, VersionChoice,
};
pub use endpoint::{BadEndpoint, Endpoint};

use podman::Podman;

use crate::tls::{Tls, TlsFileError, TlsFiles};

/// How long an engine may take for a whole answer, by default. A busy engine
/// takes its time, and nothing but a later notice is lost by waiting.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct DockerOptions {
    /// Where the engine listens.
    pub endpoint: Endpoint,
    /// The API version to speak.
    pub version: VersionChoice,
    /// Whom to trust and who to be, where the endpoint is one with TLS.
    pub tls: TlsFiles,
    /// For a whole request, from connecting to the last byte of the answer.
    pub timeout: Duration,
}

/// A client of one Docker engine. It belongs to one arbiter's thread.
pub struct DockerClient {
    options: DockerOptions,
    http: Client,
    /// What was negotiated, until something hints at another engine there.
    negotiated: Cell<Option<ApiDialect>>,
    /// What only inspections tell of Podman's containers.
    podman: Podman,
    log: Logger,
}

/// How an engine is spoken to.
#[derive(Clone, Copy, Debug)]
struct ApiDialect {
    version: ApiVersion,
    is_podman: bool,
}

/// The engine itself (`GET /info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// Its identity; empty for Podman, which has none. Two engines of one host may share
    /// it, and differ in `root_dir`.
    pub id: String,
    /// The name that it has for its host; may be empty.
    pub name: String,
    /// The directory that it keeps its state in; may be empty.
    pub root_dir: String,
    /// Its own version, such as `20.10.24`; may be empty.
    pub version: String,
    /// The API version that it is spoken to in.
    pub api: ApiVersion,
}

/// A network of the engine's (`GET /networks`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineNetwork {
    /// Its name, such as `bridge`.
    pub name: String,
    /// Its driver: `bridge`, `host`, `null`, `overlay`, `macvlan`, …
    pub driver: String,
    /// Its address ranges: none for `host` and `none`.
    pub subnets: Vec<Subnet>,
}

/// An address range of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// In CIDR notation, as the engine gives it: `172.17.0.0/16`.
    pub subnet: String,
    /// The host's own address in it; the engine doesn't always tell.
    pub gateway: Option<String>,
}

impl DockerClient {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// Where a file for TLS can't be used.
    pub fn new(options: DockerOptions, log: Logger) -> Result<Self, TlsFileError> {
        let tls = match &options.endpoint {
            Endpoint::Tls(_) => {
                Some(Rc::new(Tls::new(options.tls.clone(), "docker", log.clone())?))
            }
            Endpoint::Unix(_) | Endpoint::Tcp(_) => None,
        };
        let http = transport::client(&options.endpoint, tls, options.timeout);
        Ok(Self { options, http, negotiated: Cell::new(None), podman: Podman::default(), log })
    }

    /// Where the engine is looked for.
    pub fn endpoint(&self) -> &Endpoint {
        &self.options.endpoint
    }

    /// The API version to speak: asked of the engine once, and again after it
    /// was away.
    ///
    /// # Errors
    /// Where the engine doesn't answer, or there is no version in common.
    pub async fn api_version(&self) -> Result<ApiVersion, SourceError> {
        Ok(self.dialect().await?.version)
    }

    async fn dialect(&self) -> Result<ApiDialect, SourceError> {
        if let Some(dialect) = self.negotiated.get() {
            return Ok(dialect);
        }
        let path = "/version";
        let context = self.request_context(path);
        let response = self.get(path).await?;
        let version_info: wire::VersionResponse = response.json(context, "the version")?;
        let parse = |text: &str| {
            text.parse::<ApiVersion>().map_err(|error| context.malformed(&error.to_string()))
        };
        let oldest = match version_info.min_api_version.as_str() {
            "" => None,
            text => Some(parse(text)?),
        };
        let supported = SupportedVersions { oldest, newest: parse(&version_info.api_version)? };
        let version = api_version::choose(self.options.version, supported)
            .map_err(|error| context.refused(&error.to_string()))?;
        let dialect = ApiDialect { version, is_podman: version_info.is_podman() };
        debug!(self.log, "docker API version chosen";
            "chosen" => %version, "engine" => %supported, "podman" => dialect.is_podman,
            "endpoint" => %self.options.endpoint);
        self.negotiated.set(Some(dialect));
        Ok(dialect)
    }

    /// Which engine it is.
    ///
    /// # Errors
    /// Where the engine doesn't answer, or not with that.
    pub async fn engine(&self) -> Result<EngineInfo, SourceError> {
        let reply = self.request("/info").await?;
        let info: wire::InfoResponse =
            reply.response.json(self.request_context(&reply.path), "the state")?;
        Ok(EngineInfo {
            // Podman makes one up for each answer.
            id: if reply.dialect.is_podman { String::new() } else { info.id },
            name: info.name,
            root_dir: info.docker_root_dir,
            version: info.server_version,
            api: reply.dialect.version,
        })
    }

    /// The rows of a listing.
    async fn rows(&self, path: &str) -> Result<Vec<wire::ListingRow>, SourceError> {
        let reply = self.request(path).await?;
        // One row that can't be read spoils the listing: leaving it out would
        // say that its container is gone.
        reply.response.json(self.request_context(&reply.path), "the listing of containers")
    }

    /// The engine's networks, in any order.
    ///
    /// # Errors
    /// Where the engine doesn't answer, or not with that.
    pub async fn networks(&self) -> Result<Vec<EngineNetwork>, SourceError> {
        let reply = self.request("/networks").await?;
        let networks: Vec<wire::NetworkResource> =
            reply.response.json(self.request_context(&reply.path), "the networks")?;
        Ok(networks.into_iter().map(EngineNetwork::from).collect())
    }
}

impl ContainerSource for DockerClient {
    async fn list(&self) -> Result<Vec<ContainerSummary>, SourceError> {
        if self.dialect().await?.is_podman {
            return self.list_podman().await;
        }
        let rows = self.rows("/containers/json").await?;
        Ok(rows.into_iter().map(ContainerSummary::from).collect())
    }

    async fn inspect(&self, target: &str) -> Result<Option<Container>, SourceError> {
        let reply = self.request(&format!("/containers/{}/json", percent_encoded(target))).await?;
        if reply.response.is_no_such_container(target) {
            return Ok(None);
        }
        let context = self.request_context(&reply.path);
        let inspection: wire::Inspection = reply.response.json(context, "a container")?;
        let container = Container::try_from(inspection)
            .map_err(|field| context.malformed(&format!("no Docker engine answers so: {field}")))?;
        if reply.dialect.is_podman {
            self.podman.record_inspection(&container);
        }
        Ok(Some(container))
    }

    async fn events(&self, since: Option<EngineTime>) -> Result<EventStream, SourceError> {
        let dialect = self.dialect().await?;
        let mut path = format!("/events?filters={}", percent_encoded(event::EVENT_FILTERS));
        // Podman would read all of its log for that, and has no signals in it.
        if let Some(since) = since.filter(|_| !dialect.is_podman) {
            path.push_str(&format!("&since={}", event::timestamp(since)));
        }
        let (path, body) = self.open(&path).await?;
        Ok(event_stream::read_events(self.options.endpoint.clone(), path, body))
    }

    async fn identity(&self) -> Result<EngineIdentity, SourceError> {
        let engine = self.engine().await?;
        Ok(EngineIdentity(format!("{} {}", engine.id, engine.root_dir)))
    }
}

/// A name or id as one segment of a path, or a value in a query (RFC 3986: what is not
/// unreserved is encoded).
fn percent_encoded(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl From<wire::NetworkResource> for EngineNetwork {
    fn from(network: wire::NetworkResource) -> Self {
        let configured = network.ipam.config.into_iter().filter(|it| !it.subnet.is_empty());
        let subnets = configured.map(|it| Subnet {
            subnet: it.subnet,
            gateway: (!it.gateway.is_empty()).then_some(it.gateway),
        });
        Self { name: network.name, driver: network.driver, subnets: subnets.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn percent_encoding_keeps_one_path_segment() {
        assert_eq!(percent_encoded("web-1.a_b~"), "web-1.a_b~");
        assert_eq!(percent_encoded("a/../b?c#d%é "), "a%2F..%2Fb%3Fc%23d%25%C3%A9%20");
    }
}
