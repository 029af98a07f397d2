//! An inspection of a container (`GET /containers/ID/json`).
//!
//! An inspection with a value that no engine writes is rejected as a whole. Half a container would
//! withdraw services that run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::str::FromStr;

use highhock_actors::model::container::SIGTERM;
use highhock_actors::{
    Container, ContainerId, ContainerState, EngineTime, Health, NetworkAttachment, NetworkMode,
    PortBinding, Protocol,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{EndpointSettings, HostConfig, host_address, or_default, without_slash};
use crate::docker::fingerprint::{FingerprintInput, PortMapping, joined_networks};
use crate::docker::{signal, status_text};

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
    host_config: HostConfig,
    #[serde(default, deserialize_with = "or_default")]
    network_settings: NetworkSettings,
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
    ports: BTreeMap<String, Option<Vec<HostPort>>>,
    #[serde(default, deserialize_with = "or_default")]
    networks: BTreeMap<String, Option<EndpointSettings>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostPort {
    #[serde(default, deserialize_with = "or_default")]
    host_ip: String,
    #[serde(default, deserialize_with = "or_default")]
    host_port: String,
}

/// The error for a field with a value that no engine writes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value:?}")]
pub(in crate::docker) struct UnexpectedField {
    pub(super) field: &'static str,
    pub(super) value: String,
}

impl UnexpectedField {
    fn new(field: &'static str, value: &str) -> Self {
        Self { field, value: value.to_owned() }
    }
}

impl TryFrom<Inspection> for Container {
    type Error = UnexpectedField;

    fn try_from(inspection: Inspection) -> Result<Self, UnexpectedField> {
        let Inspection { state, config, network_settings: settings, .. } = &inspection;
        let container_state = parse_state(&state.status)?;
        let health = parse_health(state.health.as_ref())?;
        let networks = attachments(&settings.networks)?;
        let bound = bindings(&settings.ports, false)?;
        let has_ipv6 = networks.values().any(|attachment| attachment.address6.is_some());
        Ok(Self {
            id: ContainerId::new(&inspection.id),
            name: without_slash(&inspection.name).to_owned(),
            state: container_state,
            health,
            started: parse_start_time(&state.started_at)?,
            restarts: u64::try_from(inspection.restart_count).unwrap_or(0),
            exit_code: state.exit_code,
            env: parse_env(&config.env),
            network: NetworkMode::parse(&inspection.host_config.network_mode),
            exposed: exposed_ports(config, settings),
            networks,
            stop_signal: stop_signal(&config.stop_signal),
            fingerprint: inspection.fingerprint(container_state, health, &bound),
            bindings: bindings(&settings.ports, has_ipv6)?,
            image: inspection.config.image,
            labels: inspection.config.labels,
        })
    }
}

impl Inspection {
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

/// Parses `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": null}`.
///
/// Podman writes an empty address for all addresses. They include those of IPv6 if the container
/// has an IPv6 address itself.
fn bindings(
    ports: &BTreeMap<String, Option<Vec<HostPort>>>,
    has_ipv6: bool,
) -> Result<Vec<PortBinding>, UnexpectedField> {
    let mut bindings = Vec::new();
    for (key, host_ports) in ports {
        let (port, proto) = port_and_proto(key);
        // An unknown protocol cannot be published.
        let Ok(proto) = proto.parse::<Protocol>() else { continue };
        let port = port
            .parse()
            .map_err(|_| UnexpectedField::new("a key of NetworkSettings.Ports", key))?;
        for host_port in host_ports.iter().flatten() {
            // No port, or port 0, means that the port was requested and is not bound.
            let number = match host_port.host_port.as_str() {
                "" => 0,
                text => text.parse().map_err(|_| UnexpectedField::new("HostPort", text))?,
            };
            if number != 0 {
                let host_address = host_address(&host_port.host_ip)
                    .ok_or_else(|| UnexpectedField::new("HostIp", &host_port.host_ip))?;
                let all_ipv6 = has_ipv6 && host_port.host_ip.is_empty();
                let more = all_ipv6.then_some(Ipv6Addr::UNSPECIFIED.into());
                let addresses = [Some(host_address), more].into_iter().flatten();
                bindings.extend(addresses.map(|host_address| PortBinding {
                    port,
                    proto,
                    host_address,
                    host_port: number,
                }));
            }
        }
    }
    Ok(bindings)
}

/// Splits `80/tcp`. The default protocol is TCP.
fn port_and_proto(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or((key, "tcp"))
}

/// Returns the exposed ports. Invalid entries are skipped, because no port can be bound to them.
fn exposed_ports(config: &ContainerConfig, settings: &NetworkSettings) -> Vec<(u16, Protocol)> {
    let published = settings.ports.keys();
    let keys = config.exposed_ports.keys().chain(published);
    let ports = keys.filter_map(|key| {
        let (port, proto) = port_and_proto(key);
        Some((port.parse().ok()?, proto.parse().ok()?))
    });
    ports.collect::<BTreeSet<_>>().into_iter().collect()
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
