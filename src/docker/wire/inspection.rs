//! An inspection of a container.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::str::FromStr;

use highhock_actors::model::container::SIGTERM;
use highhock_actors::{
    Attachment, Binding, Container, ContainerId, EngineTime, Health, Life, NetworkMode, Proto,
};
use serde::Deserialize;
use serde::de::IgnoredAny;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Endpoint, HostConfig, host_address, or_default, without_slash};
use crate::docker::fingerprint::{BoundPort, Facts, joined};
use crate::docker::{signal, status_text};

/// `GET /containers/<id>/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct Inspection {
    id: String,
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    restart_count: i64,
    state: State,
    config: Config,
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
struct Config {
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

/// As Docker writes it, or as Podman does.
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
    networks: BTreeMap<String, Option<Endpoint>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostPort {
    #[serde(default, deserialize_with = "or_default")]
    host_ip: String,
    #[serde(default, deserialize_with = "or_default")]
    host_port: String,
}

/// A value in an inspection that no engine writes. It is an error rather than
/// left out: half a container would withdraw services that run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found:?}")]
pub(in crate::docker) struct Odd {
    field: &'static str,
    found: String,
}

impl Odd {
    fn new(field: &'static str, found: &str) -> Self {
        Self { field, found: found.to_owned() }
    }
}

impl TryFrom<Inspection> for Container {
    type Error = Odd;

    fn try_from(inspection: Inspection) -> Result<Self, Odd> {
        let Inspection { state, config, network_settings: settings, .. } = &inspection;
        let life = life(&state.status)?;
        let health = health(state.health.as_ref())?;
        let networks = attachments(&settings.networks)?;
        let bound = bindings(&settings.ports, false)?;
        let has_ipv6 = networks.values().any(|place| place.address6.is_some());
        Ok(Self {
            id: ContainerId::new(&inspection.id),
            name: without_slash(&inspection.name).to_owned(),
            life,
            health,
            started: started(&state.started_at)?,
            restarts: u64::try_from(inspection.restart_count).unwrap_or(0),
            exit_code: state.exit_code,
            env: variables(&config.env),
            network: NetworkMode::parse(&inspection.host_config.network_mode),
            exposed: exposed(config, settings),
            networks,
            stop_signal: stop_signal(&config.stop_signal),
            likeness: inspection.likeness(life, health, &bound),
            bindings: bindings(&settings.ports, has_ipv6)?,
            image: inspection.config.image,
            labels: inspection.config.labels,
        })
    }
}

impl Inspection {
    /// That of the row that a listing would have of it.
    fn likeness(&self, life: Life, health: Health, bindings: &[Binding]) -> u64 {
        let bound = |it: &Binding| BoundPort {
            host_address: Ok(it.host_address),
            host_port: it.host_port,
            port: it.port,
            proto: it.proto.as_str(),
        };
        // In another's network it has no place of its own, though Podman shows the other's.
        let networks = match NetworkMode::parse(&self.host_config.network_mode) {
            NetworkMode::Container(_) => BTreeMap::new(),
            _ => joined(&self.network_settings.networks),
        };
        let facts = Facts {
            id: &self.id,
            name: without_slash(&self.name),
            state: &self.state.status,
            note: note(life, health),
            ports: bindings.iter().map(bound).collect(),
            labels: &self.config.labels,
            networks,
        };
        facts.likeness()
    }
}

/// Docker's words, or Podman's own. What is `stopping` got its stop signal, and ends in
/// any case; its listings leave it out, too.
fn life(word: &str) -> Result<Life, Odd> {
    match word {
        "configured" | "initialized" => Ok(Life::Created),
        "stopping" | "stopped" => Ok(Life::Exited),
        _ => word.parse().map_err(|()| Odd::new("State.Status", word)),
    }
}

fn health(state: Option<&HealthState>) -> Result<Health, Odd> {
    match state.map_or("none", |state| &state.status) {
        "" | "none" => Ok(Health::Unchecked),
        "starting" => Ok(Health::Starting),
        "healthy" => Ok(Health::Healthy),
        "unhealthy" => Ok(Health::Unhealthy),
        other => Err(Odd::new("State.Health.Status", other)),
    }
}

/// What a row has in brackets for this.
fn note(life: Life, health: Health) -> Option<&'static str> {
    match (life, health) {
        (Life::Paused, _) => Some(status_text::PAUSED),
        (Life::Running, Health::Starting) => Some(status_text::STARTING),
        (Life::Running, Health::Healthy) => Some(status_text::HEALTHY),
        (Life::Running, Health::Unhealthy) => Some(status_text::UNHEALTHY),
        _ => None,
    }
}

/// Of a container that never ran, the engine writes the first second of year 1.
fn started(text: &str) -> Result<EngineTime, Odd> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(|moment| EngineTime(moment.unix_timestamp_nanos()))
        .map_err(|_| Odd::new("State.StartedAt", text))
}

/// An entry without `=` unsets a variable of the image: there is nothing to read.
fn variables(entries: &[String]) -> BTreeMap<String, String> {
    let pairs = entries.iter().filter_map(|entry| entry.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Reads `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": null}`. Podman names
/// no address where all are meant: those of IPv6, too, if the container has one itself.
fn bindings(
    ports: &BTreeMap<String, Option<Vec<HostPort>>>,
    has_ipv6: bool,
) -> Result<Vec<Binding>, Odd> {
    let mut bindings = Vec::new();
    for (key, host_ports) in ports {
        let (port, proto) = port_and_proto(key);
        // A protocol that is not known here can't be published.
        let Ok(proto) = proto.parse::<Proto>() else { continue };
        let port = port.parse().map_err(|_| Odd::new("a key of NetworkSettings.Ports", key))?;
        for host_port in host_ports.iter().flatten() {
            // No port, or port 0: asked for, but not bound.
            let number = match host_port.host_port.as_str() {
                "" => 0,
                text => text.parse().map_err(|_| Odd::new("HostPort", text))?,
            };
            if number != 0 {
                let host_address = host_address(&host_port.host_ip)
                    .ok_or_else(|| Odd::new("HostIp", &host_port.host_ip))?;
                let all_ipv6 = has_ipv6 && host_port.host_ip.is_empty();
                let more = all_ipv6.then_some(Ipv6Addr::UNSPECIFIED.into());
                let addresses = [Some(host_address), more].into_iter().flatten();
                bindings.extend(addresses.map(|host_address| Binding {
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

/// `80/tcp`; no protocol means TCP.
fn port_and_proto(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or((key, "tcp"))
}

/// What can't be read is left out: nothing can be bound to it.
fn exposed(config: &Config, settings: &NetworkSettings) -> Vec<(u16, Proto)> {
    let published = settings.ports.keys();
    let keys = config.exposed_ports.keys().chain(published);
    let ports = keys.filter_map(|key| {
        let (port, proto) = port_and_proto(key);
        Some((port.parse().ok()?, proto.parse().ok()?))
    });
    ports.collect::<BTreeSet<_>>().into_iter().collect()
}

fn attachments(
    networks: &BTreeMap<String, Option<Endpoint>>,
) -> Result<BTreeMap<String, Attachment>, Odd> {
    let attachments = joined(networks).into_iter().map(|(name, place)| {
        let address4 = own_address("IPAddress", &place.address)?;
        let address6 = own_address("GlobalIPv6Address", &place.address6)?;
        Ok((name.to_owned(), Attachment { address4, address6 }))
    });
    attachments.collect()
}

/// A container that doesn't run, or lacks the family, has the empty address.
fn own_address<A: FromStr>(field: &'static str, text: &str) -> Result<Option<A>, Odd> {
    match text {
        "" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| Odd::new(field, text)),
    }
}

/// Where it isn't understood, the engine's own default: to take it for another signal
/// costs a drain at most.
fn stop_signal(configured: &StopSignal) -> u8 {
    let number = match configured {
        StopSignal::Name(text) => signal::number(text),
        StopSignal::Number(number) => signal::number(&number.to_string()),
    };
    number.unwrap_or(SIGTERM)
}
