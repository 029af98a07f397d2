//! What the engine sends, as far as it is read, and how it becomes the core's
//! words (field names: Docker Engine API, `ContainerSummary`,
//! `ContainerInspectResponse`, `SystemInfo`, `SystemVersion`, `Network`).
//!
//! Fields that are not read are ignored, so that a newer engine may say more;
//! where an engine may write `null` for "none", `null` is read as that.

mod inspection;
mod row;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Deserializer};

pub(super) use inspection::Inspection;
pub(super) use row::ListingRow;

/// Reads `null` as the empty value.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `GET /version`.
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
}

impl VersionResponse {
    /// Podman names itself among its components.
    pub fn is_podman(&self) -> bool {
        self.components.iter().any(|component| component.name == "Podman Engine")
    }
}

/// `GET /info`.
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

/// A container's place in a network (`EndpointSettings`).
#[derive(Debug, Deserialize, Hash)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EndpointSettings {
    #[serde(rename = "NetworkID", default, deserialize_with = "or_default")]
    network: String,
    /// Another each time that the container is started; Podman has none.
    #[serde(rename = "EndpointID", default, deserialize_with = "or_default")]
    endpoint: String,
    /// With Podman another each time that the container is started.
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

pub(super) fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// No address means all of the host's; `None`: it is none.
fn host_address(text: &str) -> Option<IpAddr> {
    match text {
        "" => Some(Ipv4Addr::UNSPECIFIED.into()),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
