//! Containers as the Docker engine reports them: the rows of a listing, and inspections.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::port_request::PortRequest;
pub use super::protocol::Protocol;

/// The length of a short container id, as in `docker ps`.
const SHORT_ID_LENGTH: usize = 12;

/// The full id of a container (64 hexadecimal digits). It is displayed as the short id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Creates an id from the text that the engine sent.
    pub fn new(id: &str) -> Self {
        Self(Arc::from(id))
    }

    /// Returns the whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first twelve characters, as in `docker ps`.
    pub fn short(&self) -> &str {
        self.0.get(..SHORT_ID_LENGTH).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// The network mode of a container (Docker API: `HostConfig.NetworkMode`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetworkMode {
    /// A network of the engine, with published ports.
    Own,
    /// The host's own network (`host`).
    Host,
    /// The network of another container (`container:<id or name>`).
    Container(String),
    /// No network at all (`none`).
    None,
}

impl NetworkMode {
    /// Returns the id or name of the container whose network is shared.
    pub fn target(&self) -> Option<String> {
        match self {
            Self::Container(target) => Some(target.clone()),
            _ => None,
        }
    }

    /// Parses Docker's name of the mode. An unknown name is a network of the engine.
    pub fn parse(mode: &str) -> Self {
        match mode.split_once(':') {
            Some(("container", target)) => Self::Container(target.to_owned()),
            _ if mode == "host" => Self::Host,
            _ if mode == "none" => Self::None,
            _ => Self::Own,
        }
    }
}

/// One row of the engine's listing of running containers (`/containers/json`).
#[derive(Clone, Debug)]
pub struct ContainerSummary {
    /// The id.
    pub id: ContainerId,
    /// The name, without Docker's leading slash.
    pub name: String,
    /// The network mode. A container in the network of another container has no changes of that
    /// container in its own row.
    pub network: NetworkMode,
    /// The condition of the container, or `None` if the row's text was not recognised.
    pub condition: Option<Condition>,
    /// A digest of the row without the text of the uptime. Two rows of one container with the
    /// same fingerprint are equal, and agree with an inspection of the same
    /// [`Container::fingerprint`].
    pub fingerprint: u64,
    /// The uptime, as coarse as the engine reports it, or `None` if the text was not recognised.
    pub uptime: Option<Duration>,
}

impl ContainerSummary {
    /// Returns `true` if this newer row shows a change since the older one. A restart may change
    /// only the uptime.
    pub fn differs_from(&self, older: &Self) -> bool {
        self.fingerprint != older.fingerprint || self.is_younger_than(older)
    }

    /// Returns `true` if the uptime shows that the container was started between the two rows.
    pub fn is_younger_than(&self, older: &Self) -> bool {
        matches!((self.uptime, older.uptime), (Some(new), Some(old)) if new < old)
    }
}

/// The state of a container (Docker API: `State.Status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Created, never started.
    Created,
    /// Running.
    Running,
    /// Running, but paused.
    Paused,
    /// Ended, and about to be restarted by its restart policy.
    Restarting,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Ended, and its removal failed.
    Dead,
}

impl ContainerState {
    /// Returns Docker's name of the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

impl FromStr for ContainerState {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "created" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            _ => return Err(()),
        })
    }
}

/// The result of a container's health check (Docker API: `State.Health.Status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The container has no health check.
    Unchecked,
    /// No result yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// The configured number of checks in a row failed.
    Unhealthy,
}

/// The condition of a container in a listing, which decides if the container is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Running, with the result of its health check.
    Running(Health),
    /// Paused. A listing does not report the health of a paused container.
    Paused,
}

/// A time by the engine's own clock, in nanoseconds since 1970: the start of a container, or the
/// time of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineTime(pub i128);

/// A published port, which the engine forwards to the container (Docker API: an entry of
/// `NetworkSettings.Ports`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortBinding {
    /// The container's own port.
    pub port: u16,
    /// The protocol.
    pub proto: Protocol,
    /// The address that the engine listens on. An unspecified address (`0.0.0.0`, `::`) means
    /// all addresses of the host.
    pub host_address: IpAddr,
    /// The port that the engine listens on.
    pub host_port: u16,
}

/// The attachment of a container to a network (Docker API: an entry of
/// `NetworkSettings.Networks`). It has no addresses unless the container is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkAttachment {
    /// The IPv4 address in this network.
    pub address4: Option<Ipv4Addr>,
    /// The global IPv6 address in this network.
    pub address6: Option<Ipv6Addr>,
}

/// An inspected container (`/containers/<id>/json`).
#[derive(Clone, Debug)]
pub struct Container {
    /// The id.
    pub id: ContainerId,
    /// The name, without Docker's leading slash.
    pub name: String,
    /// The state.
    pub state: ContainerState,
    /// The result of the health check.
    pub health: Health,
    /// The time of the last start.
    pub started: EngineTime,
    /// The number of restarts by the restart policy since the last manual start (Docker API:
    /// `RestartCount`).
    pub restarts: u64,
    /// The exit code of the last run, or 0 while the container runs (Docker API:
    /// `State.ExitCode`).
    pub exit_code: i64,
    /// The environment. If a variable is set twice, the last value counts.
    pub env: BTreeMap<String, String>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The network that the container has now. It may differ from the network mode with which the
    /// container was created.
    pub network: NetworkMode,
    /// The published ports.
    pub bindings: Vec<PortBinding>,
    /// The exposed ports, published or not, in ascending order (Docker API:
    /// `Config.ExposedPorts`, and the keys of `NetworkSettings.Ports`).
    pub exposed: Vec<(u16, Protocol)>,
    /// The ports that the container was created to publish, also if they are not published.
    pub requested: Vec<PortRequest>,
    /// In the network of another container: the ports that the other one publishes, and that
    /// only this container claims. `None` if they were not determined.
    pub shared_ports: Option<Vec<(u16, Protocol)>>,
    /// The networks of the container, by name.
    pub networks: BTreeMap<String, NetworkAttachment>,
    /// The name of the image when the container was created (Docker API: `Config.Image`).
    pub image: String,
    /// The number of the stop signal (Docker API: `Config.StopSignal`).
    pub stop_signal: u8,
    /// A digest of the row that a listing would have: see [`ContainerSummary::fingerprint`].
    pub fingerprint: u64,
}

/// The number of SIGTERM, the default stop signal.
pub const SIGTERM: u8 = 15;

impl Container {
    /// Returns the condition that a listing at the same time would report, or `None` if the
    /// container would not be listed.
    pub fn condition(&self) -> Option<Condition> {
        match self.state {
            ContainerState::Running => Some(Condition::Running(self.health)),
            ContainerState::Paused => Some(Condition::Paused),
            _ => None,
        }
    }
}

#[cfg(test)]
impl Container {
    /// A running container without services, as the basis of tests.
    pub(crate) fn sample() -> Self {
        Self {
            id: ContainerId::new(&"0123456789abcdef".repeat(4)),
            name: "web".into(),
            state: ContainerState::Running,
            health: Health::Unchecked,
            started: EngineTime(0),
            restarts: 0,
            exit_code: 0,
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            network: NetworkMode::Own,
            bindings: Vec::new(),
            exposed: Vec::new(),
            requested: Vec::new(),
            shared_ports: None,
            networks: BTreeMap::new(),
            image: "nginx:1.27".into(),
            stop_signal: SIGTERM,
            fingerprint: 0,
        }
    }

    /// Adds a label.
    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Adds an environment variable.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Adds a network without an address.
    pub(crate) fn join(mut self, network: &str) -> Self {
        self.networks.insert(network.into(), NetworkAttachment::default());
        self
    }

    /// Adds a port that the container was created to publish: `80/tcp`, or
    /// `80/tcp -> 127.0.0.1`.
    pub(crate) fn request(mut self, shown: &str) -> Self {
        self.requested.push(PortRequest::sample(shown));
        self
    }

    /// Adds a published port in the format of `docker port`: `80/tcp -> 0.0.0.0:8080`.
    pub(crate) fn bind(mut self, shown: &str) -> Self {
        self.bindings.push(PortBinding::sample(shown));
        self
    }
}

#[cfg(test)]
impl PortBinding {
    /// Parses the format of `docker port`: `80/tcp -> 0.0.0.0:8080`.
    pub(crate) fn sample(shown: &str) -> Self {
        let (inside, outside) = shown.split_once(" -> ").unwrap();
        let (port, proto) = inside.split_once('/').unwrap();
        let outside: std::net::SocketAddr = outside.parse().unwrap();
        Self {
            port: port.parse().unwrap(),
            proto: proto.parse().unwrap(),
            host_address: outside.ip(),
            host_port: outside.port(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(fingerprint: u64, uptime: Option<u64>) -> ContainerSummary {
        ContainerSummary {
            id: ContainerId::new("0123456789abcdef"),
            name: "web".into(),
            network: NetworkMode::Own,
            condition: None,
            fingerprint,
            uptime: uptime.map(Duration::from_secs),
        }
    }

    #[test]
    fn summary_differs_by_fingerprint_or_smaller_uptime() {
        let old = summary(1, Some(60));
        assert!(!summary(1, Some(60)).differs_from(&old));
        assert!(!summary(1, Some(61)).differs_from(&old));
        assert!(!summary(1, None).differs_from(&old));
        assert!(summary(1, Some(59)).differs_from(&old));
        assert!(summary(2, Some(61)).differs_from(&old));
    }

    #[test]
    fn parses_docker_network_modes() {
        assert_eq!(NetworkMode::parse("default"), NetworkMode::Own);
        assert_eq!(NetworkMode::parse("bridge"), NetworkMode::Own);
        assert_eq!(NetworkMode::parse("my-net"), NetworkMode::Own);
        assert_eq!(NetworkMode::parse("host"), NetworkMode::Host);
        assert_eq!(NetworkMode::parse("none"), NetworkMode::None);
        assert_eq!(NetworkMode::parse("container:abc"), NetworkMode::Container("abc".into()));
    }

    #[test]
    fn shows_short_ids_whole() {
        assert_eq!(ContainerId::new("abc").to_string(), "abc");
        assert_eq!(ContainerId::new("0123456789abcdef").to_string(), "0123456789ab");
    }
}
