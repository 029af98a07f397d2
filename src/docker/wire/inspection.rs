//! An inspection of a container (`GET /containers/ID/json`).
//!
//! An inspection with a value that no engine writes is rejected as a whole. Half a container would
//! withdraw services that run.

use std::collections::BTreeMap;
use std::str::FromStr;

use highhock_actors::model::container::SIGTERM;
use highhock_actors::{
    Container, ContainerId, ContainerState, EngineTime, Health, NetworkAttachment, NetworkMode,
    PortBinding, PortRequest, Protocol,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::ports::{self, AddressNotation, Ipv4Wildcard, PortMap};
use super::unexpected_field::UnexpectedField;
use super::{EndpointSettings, or_default, without_slash};
use crate::docker::fingerprint::{FingerprintInput, PortMapping, joined_networks};
use crate::docker::{signal, status_text};

/// The engine's network for containers that have none.
const NO_NETWORK: &str = "none";

/// The response to `GET /containers/ID/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct Inspection {
    id: String,
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    restart_count: i64,
    state: State,
    config: ContainerConfig,
    #[serde(default, deserialize_with = "or_default")]
    host_config: RunConfig,
    #[serde(default, deserialize_with = "or_default")]
    network_settings: NetworkSettings,
}

/// The options with which the container was created (`HostConfig`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    #[serde(default, deserialize_with = "or_default")]
    network_mode: String,
    #[serde(default, deserialize_with = "or_default")]
    port_bindings: PortMap,
    #[serde(default, deserialize_with = "or_default")]
    publish_all_ports: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    started_at: String,
    #[serde(default, deserialize_with = "or_default")]
    exit_code: i64,
    health: Option<HealthState>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthState {
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig {
    #[serde(default, deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    image: String,
    #[serde(default, deserialize_with = "or_default")]
    exposed_ports: BTreeMap<String, IgnoredAny>,
    #[serde(default, deserialize_with = "or_default")]
    stop_signal: StopSignal,
}

/// The stop signal: a name with Docker, a number with Podman.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum StopSignal {
    Name(String),
    Number(i64),
}

impl Default for StopSignal {
    fn default() -> Self {
        Self::Name(String::new())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default, deserialize_with = "or_default")]
    ports: PortMap,
    #[serde(default, deserialize_with = "or_default")]
    networks: BTreeMap<String, Option<EndpointSettings>>,
}

impl Inspection {
    /// Returns the container, as an engine with this meaning of `0.0.0.0` reports it.
    ///
    /// # Errors
    /// Returns an error if a field has a value that no engine writes.
    pub fn into_container(self, wildcard: Ipv4Wildcard) -> Result<Container, UnexpectedField> {
        let Self { state, config, network_settings: settings, .. } = &self;
        let container_state = parse_state(&state.status)?;
        let health = parse_health(state.health.as_ref())?;
        let networks = attachments(&settings.networks)?;
        let bound = ports::bindings(&settings.ports, AddressNotation::literal())?;
        let notation = AddressNotation {
            wildcard,
            has_ipv6: networks.values().any(|attachment| attachment.address6.is_some()),
        };
        let exposed = ports::exposed(config.exposed_ports.keys().chain(settings.ports.keys()));
        Ok(Container {
            id: ContainerId::new(&self.id),
            name: without_slash(&self.name).to_owned(),
            state: container_state,
            health,
            started: parse_start_time(&state.started_at)?,
            restarts: u64::try_from(self.restart_count).unwrap_or(0),
            exit_code: state.exit_code,
            env: parse_env(&config.env),
            network: network_mode(&self.host_config.network_mode, &networks),
            requested: self.requested(&exposed, wildcard),
            shared_ports: None,
            exposed,
            networks,
            stop_signal: stop_signal(&config.stop_signal),
            fingerprint: self.fingerprint(container_state, health, &bound),
            bindings: ports::bindings(&settings.ports, notation)?,
            image: self.config.image,
            labels: self.config.labels,
        })
    }

    /// Returns the ports that the container was created to publish.
    fn requested(&self, exposed: &[(u16, Protocol)], wildcard: Ipv4Wildcard) -> Vec<PortRequest> {
        let all = exposed.iter().filter(|_| self.host_config.publish_all_ports);
        let all = all.map(|&(port, proto)| PortRequest { port, proto, host_address: None });
        let mut requested = ports::requests(&self.host_config.port_bindings, wildcard);
        requested.extend(all);
        requested
    }

    /// Returns the fingerprint that the row of this container has in a listing.
    fn fingerprint(
        &self,
        container_state: ContainerState,
        health: Health,
        bindings: &[PortBinding],
    ) -> u64 {
        let bound = |it: &PortBinding| PortMapping {
            host_address: Ok(it.host_address),
            host_port: it.host_port,
            port: it.port,
            proto: it.proto.as_str(),
        };
        // A container in another's network has no networks of its own, although Podman shows the
        // other's.
        let networks = match NetworkMode::parse(&self.host_config.network_mode) {
            NetworkMode::Container(_) => BTreeMap::new(),
            _ => joined_networks(&self.network_settings.networks),
        };
        let input = FingerprintInput {
            id: &self.id,
            name: without_slash(&self.name),
            state: &self.state.status,
            note: note(container_state, health),
            ports: bindings.iter().map(bound).collect(),
            labels: &self.config.labels,
            networks,
        };
        input.fingerprint()
    }
}

/// Parses a state of Docker or Podman. A container that is `stopping` has received its stop signal
/// and ends in any case. Podman's listings omit it too.
fn parse_state(text: &str) -> Result<ContainerState, UnexpectedField> {
    match text {
        "configured" | "initialized" => Ok(ContainerState::Created),
        "stopping" | "stopped" => Ok(ContainerState::Exited),
        _ => text.parse().map_err(|()| UnexpectedField::new("State.Status", text)),
    }
}

fn parse_health(state: Option<&HealthState>) -> Result<Health, UnexpectedField> {
    match state.map_or("none", |state| &state.status) {
        "" | "none" => Ok(Health::Unchecked),
        "starting" => Ok(Health::Starting),
        "healthy" => Ok(Health::Healthy),
        "unhealthy" => Ok(Health::Unhealthy),
        other => Err(UnexpectedField::new("State.Health.Status", other)),
    }
}

/// Returns the text in parentheses that the row of such a container has.
fn note(container_state: ContainerState, health: Health) -> Option<&'static str> {
    match (container_state, health) {
        (ContainerState::Paused, _) => Some(status_text::PAUSED),
        (ContainerState::Running, Health::Starting) => Some(status_text::STARTING),
        (ContainerState::Running, Health::Healthy) => Some(status_text::HEALTHY),
        (ContainerState::Running, Health::Unhealthy) => Some(status_text::UNHEALTHY),
        _ => None,
    }
}

/// Parses the time of the last start. A container that never ran has the first second of year 1.
fn parse_start_time(text: &str) -> Result<EngineTime, UnexpectedField> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(|time| EngineTime(time.unix_timestamp_nanos()))
        .map_err(|_| UnexpectedField::new("State.StartedAt", text))
}

/// Parses entries of the form `NAME=VALUE`. An entry without `=` unsets a variable of the image and
/// is skipped.
fn parse_env(entries: &[String]) -> BTreeMap<String, String> {
    let pairs = entries.iter().filter_map(|entry| entry.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Returns the network that a container has now.
///
/// The network mode is the one of the container's creation. A container that was created without
/// a network may have been connected to one since, and is then like any other.
fn network_mode(created: &str, networks: &BTreeMap<String, NetworkAttachment>) -> NetworkMode {
    let is_connected = || networks.keys().any(|name| name != NO_NETWORK);
    let has_only_none = || networks.contains_key(NO_NETWORK) && !is_connected();
    match NetworkMode::parse(created) {
        NetworkMode::None if is_connected() => NetworkMode::Own,
        NetworkMode::Own if has_only_none() => NetworkMode::None,
        mode => mode,
    }
}

fn attachments(
    networks: &BTreeMap<String, Option<EndpointSettings>>,
) -> Result<BTreeMap<String, NetworkAttachment>, UnexpectedField> {
    let attachments = joined_networks(networks).into_iter().map(|(name, attachment)| {
        let address4 = parse_address("IPAddress", &attachment.address)?;
        let address6 = parse_address("GlobalIPv6Address", &attachment.address6)?;
        Ok((name.to_owned(), NetworkAttachment { address4, address6 }))
    });
    attachments.collect()
}

/// Parses an address. It is empty if the container does not run, or lacks the address family.
fn parse_address<A: FromStr>(
    field: &'static str,
    text: &str,
) -> Result<Option<A>, UnexpectedField> {
    match text {
        "" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| UnexpectedField::new(field, text)),
    }
}

/// Returns the stop signal, or SIGTERM, the engine's default, if the setting is invalid. A wrong
/// signal only costs a drain.
fn stop_signal(configured: &StopSignal) -> u8 {
    let number = match configured {
        StopSignal::Name(text) => signal::number(text),
        StopSignal::Number(number) => signal::number(&number.to_string()),
    };
    number.unwrap_or(SIGTERM)
}
