//! What Podman says otherwise than Docker, behind the API that they have in common
//! (found by trying Podman 4.3).
//!
//! Its listing leaves paused containers out unless they are asked for, and tells neither
//! health nor network modes. The health is had from a listing in Podman's own API, the
//! mode from the container's last inspection: it never changes. And a container in
//! another's network shows the other's place there as its own.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use highhock_actors::{Container, ContainerId, ContainerRow, NetworkMode, SourceError};
use serde::Deserialize;

use super::wire::{Networks, Row, or_default};
use super::{Docker, percent_encoded, status_text};

/// Those that a listing of Docker's shows without being asked for.
const LISTED: &str = r#"{"status":["running","paused"]}"#;

/// In the oldest version that every Podman of today speaks.
const OWN_LISTING: &str = "/v4.0.0/libpod/containers/json";

/// A row of Podman's own listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OwnRow {
    id: String,
    /// The health; empty where there is no health check.
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

/// What is remembered of Podman's containers.
#[derive(Default)]
pub(super) struct Podman {
    modes: RefCell<HashMap<ContainerId, NetworkMode>>,
}

impl Podman {
    pub fn inspected(&self, container: &Container) {
        self.modes.borrow_mut().insert(container.id.clone(), container.network.clone());
    }

    /// Those that were inspected so far.
    fn known(&self) -> HashSet<ContainerId> {
        self.modes.borrow().keys().cloned().collect()
    }

    fn shares_network(&self, id: &str) -> bool {
        let modes = self.modes.borrow();
        matches!(modes.get(&ContainerId::new(id)), Some(NetworkMode::Container(_)))
    }

    /// Adds the modes that are known to a whole listing. Forgets what is not in it and
    /// was known before it was asked for.
    fn complete(&self, rows: &mut [ContainerRow], before: &HashSet<ContainerId>) {
        let listed: HashSet<_> = rows.iter().map(|row| row.id.clone()).collect();
        let mut modes = self.modes.borrow_mut();
        modes.retain(|id, _| listed.contains(id) || !before.contains(id));
        for row in rows {
            if let Some(mode) = modes.get(&row.id) {
                row.network.clone_from(mode);
            }
        }
    }
}

impl Docker {
    pub(super) async fn list_podman(&self) -> Result<Vec<ContainerRow>, SourceError> {
        let path = format!("/containers/json?filters={}", percent_encoded(LISTED));
        let known = self.podman.known();
        // One after the other, so that one kept connection serves both.
        let rows = self.rows(&path).await?;
        let healths = self.healths().await?;
        let rows = rows.into_iter().map(|mut row| {
            row.note_health(healths.get(&row.id).map(String::as_str));
            if self.podman.shares_network(&row.id) {
                row.network_settings = Networks::default();
            }
            ContainerRow::from(row)
        });
        let mut rows: Vec<_> = rows.collect();
        self.podman.complete(&mut rows, &known);
        Ok(rows)
    }

    /// The health of each running container, by its id.
    async fn healths(&self) -> Result<HashMap<String, String>, SourceError> {
        let answer = self.get(OWN_LISTING).await?;
        let question = self.question(OWN_LISTING);
        let rows: Vec<OwnRow> = answer.json(question, "a listing of Podman's own")?;
        Ok(rows.into_iter().map(|row| (row.id, row.status)).collect())
    }
}

impl Row {
    /// Adds the health to the status, as Docker does. `None`: it isn't known.
    fn note_health(&mut self, health: Option<&str>) {
        let note = match health {
            // A pause, or a Podman that tells it by itself.
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
    fn row(id: &str, status: &str) -> Row {
        serde_json::from_value(json!({
            "Id": id, "Names": ["/web"], "State": "running", "Status": status, "Labels": {},
            "Ports": [{"PrivatePort": 81, "PublicPort": 28082, "Type": "tcp"}],
            "NetworkSettings": {"Networks": null}
        }))
        .unwrap()
    }

    #[test]
    fn health_is_added_where_the_row_lacks_it() {
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
            row.note_health(health);
            let row = ContainerRow::from(row);
            assert_eq!(row.condition, expected, "{status} {health:?}");
            assert_eq!(row.uptime, Some(std::time::Duration::from_secs(2)));
        }
    }

    #[test]
    fn a_mode_is_known_from_the_inspection_on_and_forgotten_with_the_container() {
        let podman = Podman::default();
        let list = |ids: &[&str], before: &HashSet<ContainerId>| {
            let mut rows: Vec<ContainerRow> =
                ids.iter().map(|id| row(id, "Up 2 seconds").into()).collect();
            podman.complete(&mut rows, before);
            rows.into_iter().map(|row| row.network).collect::<Vec<_>>()
        };
        podman.modes.borrow_mut().insert(ContainerId::new("a"), NetworkMode::Host);
        assert_eq!(list(&["b"], &HashSet::new()), [NetworkMode::Own]);
        let known = podman.known();
        assert_eq!(list(&["a", "b"], &known), [NetworkMode::Host, NetworkMode::Own]);
        assert_eq!(list(&["b"], &known), [NetworkMode::Own]);
        assert_eq!(list(&["a"], &known), [NetworkMode::Own]);
    }
}
