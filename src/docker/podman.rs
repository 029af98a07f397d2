//! Differences of Podman behind the common API (measured with Podman 4.3).
//!
//! - Its listing omits paused containers unless the filter names them.
//! - Its listing contains neither health nor network modes. The health is read from a listing in
//!   Podman's own API. The network mode is taken from the container's last inspection, because it
//!   never changes.
//! - A container that uses the network of another container shows the networks of the other one as
//!   its own.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use highhock_actors::{
    Container, ContainerId, ContainerListing, ContainerSummary, NetworkMode, SourceError,
};
use serde::Deserialize;

use super::error::RequestContext;
use super::listing::read_elements;
use super::refusal::OptionalEndpoint;
use super::response::ApiResponse;
use super::wire::{ListingRow, SummaryNetworkSettings, or_default};
use super::{DockerClient, LISTING_PATH, percent_encoded, status_text};
use crate::text::json_array::ArrayElement;

/// The filter for the containers that Docker lists by default.
const LIST_FILTERS: &str = r#"{"status":["running","paused"]}"#;

/// The listing of Podman's own API, in the oldest version that every current Podman supports.
const LIBPOD_LIST_PATH: &str = "/v4.0.0/libpod/containers/json";

/// A row of the listing in Podman's own API.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PodmanRow {
    id: String,
    /// The health. Empty for a container without a health check.
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

/// Facts about Podman's containers from earlier inspections.
#[derive(Default)]
pub(super) struct Podman {
    network_modes: RefCell<HashMap<ContainerId, NetworkMode>>,
}

impl Podman {
    /// Remembers the facts that listings of Podman do not contain.
    pub fn record_inspection(&self, container: &Container) {
        self.network_modes.borrow_mut().insert(container.id.clone(), container.network.clone());
    }

    /// Returns the ids of all inspected containers.
    fn known_ids(&self) -> HashSet<ContainerId> {
        self.network_modes.borrow().keys().cloned().collect()
    }

    /// Returns `true` if the container is known to use the network of another container.
    fn shares_network(&self, id: &str) -> bool {
        let network_modes = self.network_modes.borrow();
        matches!(network_modes.get(&ContainerId::new(id)), Some(NetworkMode::Container(_)))
    }

    /// Sets the known network modes in a complete listing. Forgets each container of `ids_before`
    /// that is not listed. `ids_before` are the ids that were known before the listing was
    /// requested.
    fn fill_network_modes(&self, rows: &mut [ContainerSummary], ids_before: &HashSet<ContainerId>) {
        let listed: HashSet<_> = rows.iter().map(|row| row.id.clone()).collect();
        let mut network_modes = self.network_modes.borrow_mut();
        network_modes.retain(|id, _| listed.contains(id) || !ids_before.contains(id));
        for row in rows {
            if let Some(mode) = network_modes.get(&row.id) {
                row.network.clone_from(mode);
            }
        }
    }
}

impl DockerClient {
    /// Lists Podman's containers, completed to the content of a listing by Docker.
    pub(super) async fn list_podman(&self) -> Result<ContainerListing, SourceError> {
        let path = format!("{LISTING_PATH}?filters={}", percent_encoded(LIST_FILTERS));
        let known_ids = self.podman.known_ids();
        // The requests are sequential, so that both use one kept-alive connection.
        let rows = self.rows(&path).await?;
        let health_by_id = self.health_by_id().await?;
        let mut listing = self.to_listing(rows, |mut row| {
            row.append_health(health_by_id.get(&row.id).map(String::as_str));
            if self.podman.shares_network(&row.id) {
                row.network_settings = SummaryNetworkSettings::default();
            }
            ContainerSummary::from(row)
        })?;
        self.podman.fill_network_modes(&mut listing.containers, &known_ids);
        Ok(listing)
    }

    /// Returns the health of each running container by its id. A container whose row is unreadable
    /// is missing, and so are all containers if the listing is refused.
    async fn health_by_id(&self) -> Result<HashMap<String, String>, SourceError> {
        let context = self.request_context(LIBPOD_LIST_PATH);
        let stream = match self.open_exactly(LIBPOD_LIST_PATH).await? {
            Ok(stream) => stream,
            Err(response) => {
                self.handle_missing_health(&response, context)?;
                return Ok(HashMap::new());
            }
        };
        let mut health_by_id = HashMap::new();
        let rows =
            read_elements(context, stream.response, "a listing of Podman's own API", |element| {
                if let ArrayElement::Complete(row) = element
                    && let Ok(PodmanRow { id, status }) = serde_json::from_slice(&row)
                {
                    health_by_id.insert(id, status);
                }
            });
        self.read_body(&stream.path, stream.requested_at, rows).await?;
        Ok(health_by_id)
    }

    /// Remembers the refusal of Podman's own listing. Returns the error of any other response.
    ///
    /// Another engine may have replaced Podman. The negotiation is therefore repeated after a
    /// response that Podman, or the proxy before it, has not sent yet.
    fn handle_missing_health(
        &self,
        response: &ApiResponse,
        context: RequestContext<'_>,
    ) -> Result<(), SourceError> {
        if !response.is_refusal() {
            self.forget_negotiation();
            return Err(response.to_error(context));
        }
        let error = response.to_refusal(context);
        if !self.is_repeated_refusal(OptionalEndpoint::PodmanListing, &error) {
            self.forget_negotiation();
        }
        self.record_refusal(OptionalEndpoint::PodmanListing, error);
        Ok(())
    }
}

impl ListingRow {
    /// Appends the health to the status text, as Docker does. `None` means that the health is
    /// unknown.
    fn append_health(&mut self, health: Option<&str>) {
        let note = match health {
            // The status already contains a pause, or a newer Podman reports the health itself.
            _ if self.status.contains('(') => return,
            Some("" | "none") => return,
            Some("starting") => status_text::STARTING,
            Some(health) => health,
            None => "health unknown",
        };
        self.status = format!("{} ({note})", self.status);
    }
}

#[cfg(test)]
mod tests {
    use highhock_actors::{Condition, Health};
    use serde_json::json;

    use super::*;

    /// A row as Podman 4.3 gives it.
    fn row(id: &str, status: &str) -> ListingRow {
        serde_json::from_value(json!({
            "Id": id, "Names": ["/web"], "State": "running", "Status": status, "Labels": {},
            "Ports": [{"PrivatePort": 81, "PublicPort": 28082, "Type": "tcp"}],
            "NetworkSettings": {"Networks": null}
        }))
        .unwrap()
    }

    #[test]
    fn appends_health_to_rows_without_it() {
        let running = |health| Some(Condition::Running(health));
        for (status, health, expected) in [
            ("Up 2 seconds", Some(""), running(Health::Unchecked)),
            ("Up 2 seconds", Some("none"), running(Health::Unchecked)),
            ("Up 2 seconds", Some("starting"), running(Health::Starting)),
            ("Up 2 seconds", Some("healthy"), running(Health::Healthy)),
            ("Up 2 seconds", Some("unhealthy"), running(Health::Unhealthy)),
            ("Up 2 seconds", Some("poorly"), None),
            ("Up 2 seconds", None, None),
            ("Up 2 seconds (healthy)", Some("unhealthy"), running(Health::Healthy)),
            ("Up 2 seconds (Paused)", None, Some(Condition::Paused)),
        ] {
            let mut row = row("a", status);
            row.append_health(health);
            let row = ContainerSummary::from(row);
            assert_eq!(row.condition, expected, "{status} {health:?}");
            assert_eq!(row.uptime, Some(std::time::Duration::from_secs(2)));
        }
    }

    #[test]
    fn remembers_network_modes_while_listed() {
        let podman = Podman::default();
        let list = |ids: &[&str], ids_before: &HashSet<ContainerId>| {
            let mut rows: Vec<ContainerSummary> =
                ids.iter().map(|id| row(id, "Up 2 seconds").into()).collect();
            podman.fill_network_modes(&mut rows, ids_before);
            rows.into_iter().map(|row| row.network).collect::<Vec<_>>()
        };
        podman.network_modes.borrow_mut().insert(ContainerId::new("a"), NetworkMode::Host);
        assert_eq!(list(&["b"], &HashSet::new()), [NetworkMode::Own]);
        let known_ids = podman.known_ids();
        assert_eq!(list(&["a", "b"], &known_ids), [NetworkMode::Host, NetworkMode::Own]);
        assert_eq!(list(&["b"], &known_ids), [NetworkMode::Own]);
        assert_eq!(list(&["a"], &known_ids), [NetworkMode::Own]);
    }
}
