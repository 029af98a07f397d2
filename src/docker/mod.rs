//! The Docker edge: a client of the Docker Engine API, behind the core's [`ContainerSource`].
//!
//! Written after the reference of the Docker Engine API. The client uses these endpoints, all with
//! `GET`:
//!
//! | Endpoint | Use |
//! | --- | --- |
//! | `/version` | negotiates the API version and recognises Podman |
//! | `/info` | identifies the engine |
//! | `/containers/json` | lists the running containers |
//! | `/containers/ID/json` | inspects one container |
//! | `/events` | follows changes as a stream |
//! | `/networks` | finds the host's address in the engine's networks |
//!
//! A request is sent once, with a time-out. The core decides about retries. The only exception is
//! an engine that was upgraded between two requests: it rejects the old API version, and the
//! request is repeated in a new one.
//!
//! Podman implements the same API with some differences, which `podman.rs` and `event.rs` describe.

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
use wire::Ipv4Wildcard;

use crate::tls::{Tls, TlsFileError, TlsFiles};

/// The default time limit for a complete response. A busy engine is slow, and a longer wait only
/// delays changes.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of an engine, and how to connect to it.
#[derive(Clone, Debug)]
pub struct DockerOptions {
    /// The address of the engine.
    pub endpoint: Endpoint,
    /// The API version for requests.
    pub version: VersionChoice,
    /// The certificates for an endpoint with TLS.
    pub tls: TlsFiles,
    /// The time limit of a whole request, from connecting to the last byte of the response.
    pub timeout: Duration,
}

/// A client of one Docker engine. It belongs to the thread of one arbiter.
pub struct DockerClient {
    options: DockerOptions,
    http: Client,
    /// The negotiated API, until a failure suggests that the engine was replaced.
    negotiated: Cell<Option<ApiDialect>>,
    /// Facts about Podman's containers that only inspections contain.
    podman: Podman,
    log: Logger,
}

/// The API version and the kind of engine.
#[derive(Clone, Copy, Debug)]
struct ApiDialect {
    version: ApiVersion,
    is_podman: bool,
    ipv4_wildcard: Ipv4Wildcard,
}

/// The identity of an engine (`GET /info`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// The id. Podman has none, so it is empty. Two engines of one host may share an id, and then
    /// differ in `root_dir`.
    pub id: String,
    /// The engine's name for its host. May be empty.
    pub name: String,
    /// The directory of the engine's state. May be empty.
    pub root_dir: String,
    /// The engine's version, such as `20.10.24`. May be empty.
    pub version: String,
    /// The API version of requests to this engine.
    pub api: ApiVersion,
}

/// A network of the engine (`GET /networks`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineNetwork {
    /// The name, such as `bridge`.
    pub name: String,
    /// The driver: `bridge`, `host`, `null`, `overlay`, `macvlan`, …
    pub driver: String,
    /// The address ranges. The networks `host` and `none` have none.
    pub subnets: Vec<Subnet>,
}

/// An address range of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The range in CIDR notation, as the engine reports it: `172.17.0.0/16`.
    pub subnet: String,
    /// The host's own address in the range. Not every engine reports it.
    pub gateway: Option<String>,
}

impl DockerClient {
    /// Returns a client. No request is sent yet.
    ///
    /// # Errors
    /// Returns an error if a TLS file is missing or invalid.
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

    /// Returns the configured address of the engine.
    pub fn endpoint(&self) -> &Endpoint {
        &self.options.endpoint
    }

    /// Returns the API version for requests. It is negotiated once, and again after a failed
    /// request.
    ///
    /// # Errors
    /// Returns an error if the engine is unreachable, or if there is no common version.
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
        let dialect = ApiDialect {
            version,
            is_podman: version_info.is_podman(),
            ipv4_wildcard: version_info.ipv4_wildcard(),
        };
        debug!(self.log, "docker API version chosen";
            "chosen" => %version, "engine" => %supported, "podman" => dialect.is_podman,
            "endpoint" => %self.options.endpoint);
        self.negotiated.set(Some(dialect));
        Ok(dialect)
    }

    /// Returns the identity of the engine.
    ///
    /// # Errors
    /// Returns an error if the request fails, or if the response is not the one of an engine.
    pub async fn engine(&self) -> Result<EngineInfo, SourceError> {
        let reply = self.request("/info").await?;
        let info: wire::InfoResponse =
            reply.response.json(self.request_context(&reply.path), "the system information")?;
        Ok(EngineInfo {
            // Podman invents another id for each response.
            id: if reply.dialect.is_podman { String::new() } else { info.id },
            name: info.name,
            root_dir: info.docker_root_dir,
            version: info.server_version,
            api: reply.dialect.version,
        })
    }

    /// Returns the rows of a listing.
    async fn rows(&self, path: &str) -> Result<Vec<wire::ListingRow>, SourceError> {
        let reply = self.request(path).await?;
        // One invalid row fails the whole listing: a skipped row would mean that its container is
        // gone.
        reply.response.json(self.request_context(&reply.path), "the listing of containers")
    }

    /// Returns the engine's networks in any order.
    ///
    /// # Errors
    /// Returns an error if the request fails, or if the response is not the one of an engine.
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
        let container = inspection
            .into_container(reply.dialect.ipv4_wildcard)
            .map_err(|field| context.malformed(&format!("unexpected value: {field}")))?;
        if reply.dialect.is_podman {
            self.podman.record_inspection(&container);
        }
        Ok(Some(container))
    }

    async fn events(&self, since: Option<EngineTime>) -> Result<EventStream, SourceError> {
        let dialect = self.dialect().await?;
        let mut path = format!("/events?filters={}", percent_encoded(event::EVENT_FILTERS));
        // Podman would read its whole log for past events, and its log contains no signals.
        if let Some(since) = since.filter(|_| !dialect.is_podman) {
            path.push_str(&format!("&since={}", event::timestamp(since)));
        }
        let stream = self.open(&path).await?;
        Ok(event_stream::read_events(self.options.endpoint.clone(), stream.path, stream.response))
    }

    async fn identity(&self) -> Result<EngineIdentity, SourceError> {
        let engine = self.engine().await?;
        Ok(EngineIdentity(format!("{} {}", engine.id, engine.root_dir)))
    }
}

/// Encodes a name or id for one segment of a path or one value of a query. All characters except
/// the unreserved ones of RFC 3986 are encoded.
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
