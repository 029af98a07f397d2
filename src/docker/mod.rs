//! The Docker edge: a client of the Docker Engine API, behind the core's [`ContainerSource`].
//!
//! Written after the reference of the Docker Engine API. The client uses these endpoints, all with
//! `GET`:
//!
//! | Endpoint | Use |
//! | --- | --- |
//! | `/version`, else `/_ping` | negotiates the API version and recognises Podman |
//! | `/containers/json` | lists the running containers |
//! | `/containers/ID/json` | inspects one container |
//! | `/info` | identifies the engine; may be refused |
//! | `/events` | follows changes as a stream; may be refused |
//! | `/networks` | finds the host's address in the engine's networks; may be refused |
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
mod listing;
mod negotiation;
mod partial_json;
mod podman;
mod refusal;
mod request;
mod response;
mod signal;
mod status_text;
mod transport;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use awc::Client;
use highhock_actors::{
    Container, ContainerListing, ContainerSource, ContainerSummary, EngineIdentity, EngineTime,
    EventStream, SourceError,
};
use slog::{Logger, warn};

pub use api_version::{
    ApiVersion, BadVersion, NEWEST as NEWEST_API, NoCommonVersion, OLDEST as OLDEST_API,
    SupportedVersions, VersionChoice,
};
pub use endpoint::{BadEndpoint, Endpoint};
pub use refusal::{OptionalEndpoint, Refusal};

use listing::ReadRow;
use podman::Podman;
use request::{ApiReply, OpenedStream};
use wire::{Ipv4Wildcard, ListingRow};

use crate::tls::{Tls, TlsFileError, TlsFiles};

/// The default of `docker.timeout`. A busy engine needs many seconds for a listing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The path of a listing, without the API version.
const LISTING_PATH: &str = "/containers/json";
/// The longest time for connecting to the engine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// The version to negotiate: the configured one, unless the engine rejected it.
    version_choice: Cell<VersionChoice>,
    /// The version for which the log names the configured version that it replaces.
    warned_version: Cell<Option<ApiVersion>>,
    /// The refused endpoints.
    refusals: RefCell<BTreeMap<OptionalEndpoint, Refusal>>,
    /// The number of networks that could not be read.
    unreadable_networks: Cell<usize>,
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
    /// differ in `root_dir`. The URL of an engine that refuses its identity.
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

impl EngineInfo {
    /// Returns the identity of an engine that refuses `GET /info`: its URL.
    pub fn unidentified(endpoint: &Endpoint, api: ApiVersion) -> Self {
        let id = endpoint.to_string();
        Self { id, name: String::new(), root_dir: String::new(), version: "unknown".into(), api }
    }
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
        let http = transport::client(&options.endpoint, tls, options.timeout.min(CONNECT_TIMEOUT));
        Ok(Self {
            http,
            negotiated: Cell::new(None),
            version_choice: Cell::new(options.version),
            warned_version: Cell::new(None),
            refusals: RefCell::default(),
            unreadable_networks: Cell::default(),
            podman: Podman::default(),
            log,
            options,
        })
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

    /// Returns the identity of the engine, or `None` if it is refused.
    ///
    /// # Errors
    /// Returns an error if the request fails, or if the response is not the one of an engine.
    pub async fn engine(&self) -> Result<Option<EngineInfo>, SourceError> {
        let Some(reply) = self.request_optional(OptionalEndpoint::Info).await? else {
            return Ok(None);
        };
        let info: wire::InfoResponse =
            reply.response.json(self.request_context(&reply.path), "the system information")?;
        Ok(Some(EngineInfo {
            // Podman invents another id for each response.
            id: if reply.dialect.is_podman { String::new() } else { info.id },
            name: info.name,
            root_dir: info.docker_root_dir,
            version: info.server_version,
            api: reply.dialect.version,
        }))
    }

    /// Returns the rows of a listing.
    async fn rows(&self, path: &str) -> Result<Vec<ReadRow>, SourceError> {
        let opened = self.open(path).await?.map_err(|reply| self.to_error(&reply));
        let OpenedStream { path, requested_at, response } = opened?;
        let rows = listing::read_rows(self.request_context(&path), response);
        self.read_body(&path, requested_at, rows).await
    }

    fn to_error(&self, reply: &ApiReply) -> SourceError {
        reply.response.to_error(self.request_context(&reply.path))
    }

    /// Builds a listing from its rows. `complete` may change a row that was read.
    fn to_listing(
        &self,
        rows: Vec<ReadRow>,
        complete: impl FnMut(ListingRow) -> ContainerSummary,
    ) -> Result<ContainerListing, SourceError> {
        listing::to_listing(rows, complete).map_err(|reason| {
            self.request_context(LISTING_PATH)
                .malformed(&format!("the response is not the listing of a Docker engine: {reason}"))
        })
    }

    /// Returns the engine's networks in any order, or `None` if they are refused.
    ///
    /// # Errors
    /// Returns an error if the request fails, or if the response is not the one of an engine.
    pub async fn networks(&self) -> Result<Option<Vec<EngineNetwork>>, SourceError> {
        let Some(reply) = self.request_optional(OptionalEndpoint::Networks).await? else {
            return Ok(None);
        };
        let networks: Vec<serde_json::Value> =
            reply.response.json(self.request_context(&reply.path), "the networks")?;
        // One unreadable network costs only that network.
        let (mut readable, mut errors) = (Vec::new(), Vec::new());
        for network in networks {
            match serde_json::from_value::<wire::NetworkResource>(network) {
                Ok(network) => readable.push(EngineNetwork::from(network)),
                Err(error) => errors.push(error),
            }
        }
        self.warn_unreadable_networks(&errors);
        Ok(Some(readable))
    }

    /// Returns the number of networks that the latest listing of networks left out.
    pub fn unreadable_networks(&self) -> usize {
        self.unreadable_networks.get()
    }

    /// Logs the first unreadable networks of this client.
    fn warn_unreadable_networks(&self, errors: &[serde_json::Error]) {
        let before = self.unreadable_networks.replace(errors.len());
        if let (0, Some(first)) = (before, errors.first()) {
            warn!(self.log, "docker networks unreadable; the published address is not compared \
                with them"; "networks" => errors.len(), "error" => error::one_line(&first.to_string()));
        }
    }

    /// Sends a request for an optional endpoint. Returns `None` if it is refused.
    async fn request_optional(
        &self,
        endpoint: OptionalEndpoint,
    ) -> Result<Option<ApiReply>, SourceError> {
        let reply = self.request(endpoint.path()).await?;
        if reply.response.is_refusal() {
            let error = reply.response.to_refusal(self.request_context(&reply.path));
            self.record_refusal(endpoint, error);
            return Ok(None);
        }
        Ok(Some(reply))
    }
}

impl ContainerSource for DockerClient {
    async fn list(&self) -> Result<ContainerListing, SourceError> {
        if self.dialect().await?.is_podman {
            return self.list_podman().await;
        }
        self.to_listing(self.rows(LISTING_PATH).await?, ContainerSummary::from)
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
        let stream = self.open(&path).await?.map_err(|reply| {
            if !reply.response.is_refusal() {
                return self.to_error(&reply);
            }
            let error = reply.response.to_refusal(self.request_context(&reply.path));
            self.record_refusal(OptionalEndpoint::Events, error.clone());
            error
        })?;
        Ok(event_stream::read_events(self.options.endpoint.clone(), stream.path, stream.response))
    }

    async fn identity(&self) -> Result<EngineIdentity, SourceError> {
        Ok(EngineIdentity(match self.engine().await? {
            Some(engine) => format!("{} {}", engine.id, engine.root_dir),
            None => self.options.endpoint.to_string(),
        }))
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
