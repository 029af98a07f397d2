//! The negotiation of the API version with the engine.
//!
//! `GET /version` reports all versions that the engine supports. If a proxy refuses that endpoint,
//! the headers of `GET /_ping` report the newest one.

use highhock_actors::SourceError;
use slog::warn;

use super::api_version;
use super::error::RequestContext;
use super::refusal::OptionalEndpoint;
use super::wire::Ipv4Wildcard;
use super::{ApiDialect, ApiVersion, DockerClient, SupportedVersions, VersionChoice, wire};

const VERSION_PATH: &str = "/version";
const PING_PATH: &str = "/_ping";

/// The versions and the kind of an engine.
struct EngineOffer {
    supported: SupportedVersions,
    is_podman: bool,
    ipv4_wildcard: Ipv4Wildcard,
}

impl DockerClient {
    /// Returns the API version and the kind of engine, and negotiates them if necessary.
    pub(super) async fn dialect(&self) -> Result<ApiDialect, SourceError> {
        if let Some(dialect) = self.negotiated.get() {
            return Ok(dialect);
        }
        let EngineOffer { supported, is_podman, ipv4_wildcard } = self.engine_offer().await?;
        let version = api_version::choose(self.version_choice.get(), supported)
            .map_err(|error| self.request_context(VERSION_PATH).refused(&error.to_string()))?;
        debug!(self.log, "docker API version chosen";
            "chosen" => %version, "engine" => %supported, "podman" => is_podman,
            "endpoint" => %self.options.endpoint);
        let dialect = ApiDialect { version, is_podman, ipv4_wildcard };
        self.negotiated.set(Some(dialect));
        if let Some(pinned) = self.replaced_version() {
            self.warn_replaced(pinned, version);
        }
        Ok(dialect)
    }

    /// Returns the configured API version if a negotiated one replaces it.
    pub fn replaced_version(&self) -> Option<ApiVersion> {
        match (self.options.version, self.negotiated.get()) {
            (VersionChoice::Exactly(pinned), Some(dialect)) if pinned != dialect.version => {
                Some(pinned)
            }
            _ => None,
        }
    }

    /// Forgets the negotiated version after the engine rejected it. A configured version that the
    /// engine rejects is not offered again.
    pub(super) fn renegotiate(&self, rejected: ApiVersion) {
        self.negotiated.set(None);
        if self.version_choice.get() == VersionChoice::Exactly(rejected) {
            self.version_choice.set(VersionChoice::Auto);
        }
    }

    /// Forgets the negotiated version after a failed request, because the engine may be in the
    /// middle of an upgrade.
    pub(super) fn forget_negotiation(&self) {
        self.negotiated.set(None);
        self.version_choice.set(self.options.version);
    }

    /// Logs once that `chosen` replaces the configured version.
    fn warn_replaced(&self, pinned: ApiVersion, chosen: ApiVersion) {
        if self.warned_version.replace(Some(chosen)) != Some(chosen) {
            warn!(self.log, "docker.version is not supported; using the negotiated version";
                "configured" => %pinned, "negotiated" => %chosen);
        }
    }

    async fn engine_offer(&self) -> Result<EngineOffer, SourceError> {
        let response = self.get(VERSION_PATH).await?;
        let context = self.request_context(VERSION_PATH);
        if response.is_refusal() {
            let offer = self.offer_of_ping().await?;
            self.record_refusal(OptionalEndpoint::Version, response.to_refusal(context));
            return Ok(offer);
        }
        let version_info: wire::VersionResponse = response.json(context, "the version")?;
        let oldest = match version_info.min_api_version.as_str() {
            "" => None,
            text => Some(parse_version(text, context)?),
        };
        let newest = parse_version(&version_info.api_version, context)?;
        Ok(EngineOffer {
            supported: SupportedVersions { oldest, newest },
            is_podman: version_info.is_podman(),
            ipv4_wildcard: version_info.ipv4_wildcard(),
        })
    }

    async fn offer_of_ping(&self) -> Result<EngineOffer, SourceError> {
        let response = self.get(PING_PATH).await?;
        let context = self.request_context(PING_PATH);
        if !response.status.is_success() {
            return Err(response.to_error(context));
        }
        let newest = parse_version(&response.api_version, context)?;
        Ok(EngineOffer {
            supported: SupportedVersions { oldest: None, newest },
            is_podman: !response.podman_version.is_empty(),
            ipv4_wildcard: Ipv4Wildcard::of_podman(&response.podman_version),
        })
    }
}

fn parse_version(text: &str, context: RequestContext<'_>) -> Result<ApiVersion, SourceError> {
    text.parse().map_err(|error: super::BadVersion| context.malformed(&error.to_string()))
}
