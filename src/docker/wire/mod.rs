//! The JSON of the engine's responses, and its translation into types of the core.
//!
//! Field names are those of the Docker Engine API: `ContainerSummary`, `ContainerInspectResponse`,
//! `SystemInfo`, `SystemVersion`, `Network`. Other fields are ignored, so that newer engines may
//! add some. If an engine may write `null` for an empty value, `null` is accepted.

mod inspection;
mod ports;
mod row;
mod unexpected_field;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Deserializer};

pub(super) use inspection::Inspection;
pub(super) use ports::Ipv4Wildcard;
pub(super) use row::ListingRow;

/// Deserializes `null` as the default value.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The response to `GET /version`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionResponse {
    pub api_version: String,
    #[serde(rename = "MinAPIVersion", default, deserialize_with = "or_default")]
    pub min_api_version: String,
    #[serde(default, deserialize_with = "or_default")]
    components: Vec<Component>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    version: String,
}

impl VersionResponse {
    /// Returns `true` if the engine is Podman, which lists itself as a component.
    pub fn is_podman(&self) -> bool {
        self.podman().is_some()
    }

    fn podman(&self) -> Option<&Component> {
        self.components.iter().find(|component| component.name == "Podman Engine")
    }

    /// Returns the meaning of the host address `0.0.0.0` in inspections of this engine.
    pub fn ipv4_wildcard(&self) -> Ipv4Wildcard {
        self.podman().map_or(Ipv4Wildcard::Ipv4, |podman| Ipv4Wildcard::of_podman(&podman.version))
    }
}

/// The response to `GET /info`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InfoResponse {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub docker_root_dir: String,
    #[serde(default, deserialize_with = "or_default")]
    pub server_version: String,
}

/// A row of `GET /networks`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkResource {
    pub name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub driver: String,
    #[serde(rename = "IPAM", default, deserialize_with = "or_default")]
    pub ipam: Ipam,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Ipam {
    #[serde(default, deserialize_with = "or_default")]
    pub config: Vec<IpamConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IpamConfig {
    #[serde(default, deserialize_with = "or_default")]
    pub subnet: String,
    #[serde(default, deserialize_with = "or_default")]
    pub gateway: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SummaryNetworkSettings {
    #[serde(default, deserialize_with = "or_default")]
    networks: BTreeMap<String, Option<EndpointSettings>>,
}

/// The attachment of a container to a network (`EndpointSettings`).
#[derive(Debug, Deserialize, Hash)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EndpointSettings {
    #[serde(rename = "NetworkID", default, deserialize_with = "or_default")]
    network: String,
    /// The engine assigns another id at each start of the container. Podman has none.
    #[serde(rename = "EndpointID", default, deserialize_with = "or_default")]
    endpoint: String,
    /// Podman assigns another address at each start of the container.
    #[serde(default, deserialize_with = "or_default")]
    mac_address: String,
    #[serde(rename = "IPAddress", default, deserialize_with = "or_default")]
    address: String,
    #[serde(rename = "GlobalIPv6Address", default, deserialize_with = "or_default")]
    address6: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default, deserialize_with = "or_default")]
    network_mode: String,
}

/// Returns a container's name without the slash that Docker puts before it.
pub(super) fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// Parses the host address of a published port. An empty text means all addresses. Returns `None`
/// if the text is not an address.
fn host_address(text: &str) -> Option<IpAddr> {
    match text {
        "" => Some(Ipv4Addr::UNSPECIFIED.into()),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
