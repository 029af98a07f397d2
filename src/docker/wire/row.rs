//! A row of the listing of containers (`GET /containers/json`).

use std::collections::BTreeMap;

use highhock_actors::{ContainerId, ContainerState, ContainerSummary, NetworkMode};
use serde::Deserialize;

use super::{HostConfig, SummaryNetworkSettings, host_address, or_default, without_slash};
use crate::docker::fingerprint::{FingerprintInput, PortMapping, joined_networks};
use crate::docker::status_text::StatusText;

/// A row of `GET /containers/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct ListingRow {
    pub id: String,
    #[serde(default, deserialize_with = "or_default")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    #[serde(default, deserialize_with = "or_default")]
    ports: Vec<ListingPort>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    host_config: HostConfig,
    #[serde(default, deserialize_with = "or_default")]
    pub network_settings: SummaryNetworkSettings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListingPort {
    #[serde(rename = "IP", default, deserialize_with = "or_default")]
    ip: String,
    private_port: u16,
    #[serde(default, deserialize_with = "or_default")]
    public_port: u16,
    #[serde(rename = "Type", default, deserialize_with = "or_default")]
    proto: String,
}

impl From<ListingRow> for ContainerSummary {
    fn from(row: ListingRow) -> Self {
        let status = StatusText::parse(&row.status);
        let id = ContainerId::new(&row.id);
        let name = row_name(&row.names).unwrap_or(id.short());
        let input = FingerprintInput {
            id: &row.id,
            name,
            state: &row.state,
            // The text of a restarting container is the exit code of its last run, which is
            // irrelevant here.
            note: status
                .note
                .as_deref()
                .filter(|_| row.state != ContainerState::Restarting.as_str()),
            ports: row.ports.iter().filter_map(ListingPort::mapping).collect(),
            labels: &row.labels,
            networks: joined_networks(&row.network_settings.networks),
        };
        Self {
            fingerprint: input.fingerprint(),
            name: name.to_owned(),
            network: NetworkMode::parse(&row.host_config.network_mode),
            condition: status.condition(),
            uptime: status.uptime,
            id,
        }
    }
}

impl ListingPort {
    /// Returns `None` if the port is exposed and not published.
    fn mapping(&self) -> Option<PortMapping<'_>> {
        (self.public_port != 0).then(|| PortMapping {
            host_address: host_address(&self.ip).ok_or(&*self.ip),
            host_port: self.public_port,
            port: self.private_port,
            proto: &self.proto,
        })
    }
}

/// Returns the container's own name among the names of a row. The links of other containers are
/// listed there too, as `/other/alias`.
fn row_name(names: &[String]) -> Option<&str> {
    names.iter().map(|name| without_slash(name)).find(|name| !name.contains('/'))
}
