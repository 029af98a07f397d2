//! What a Docker engine tells of a container, as far as HighHock looks at it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How many characters of a container's id people read and write.
const SHORT_ID_LENGTH: usize = 12;

/// A container's full id, as the engine gives it (64 hexadecimal digits).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Takes an id as the engine gave it.
    pub fn new(id: &str) -> Self {
        Self(Arc::from(id))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve characters, as `docker ps` shows them.
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

/// The transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The name that Docker writes behind a port: `tcp`, `udp` or `sctp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(()),
        }
    }
}

/// How a container is tied to the network (Docker API: `HostConfig.NetworkMode`).
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
    /// The container whose network it shares, by id or name as it was written.
    pub fn target(&self) -> Option<String> {
        match self {
            Self::Container(target) => Some(target.clone()),
            _ => None,
        }
    }

    /// Reads the mode as Docker writes it.
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
    /// Which container.
    pub id: ContainerId,
    /// Its name, without Docker's leading slash.
    pub name: String,
    /// How it is tied to the network: a container that lives in another's
    /// network shows no change of that other in its own row.
    pub network: NetworkMode,
    /// What the row says that the container is doing; `None` where it wasn't understood.
    pub condition: Option<Condition>,
    /// A digest of what the row says of the container, but for the uptime's text: two
    /// rows of one container with one likeness say the same, and so does an inspection
    /// ([`Container::fingerprint`]).
    pub fingerprint: u64,
    /// How long it has been up, as coarse as the engine tells it; `None` where
    /// the text was not understood.
    pub uptime: Option<Duration>,
}

impl ContainerSummary {
    /// Whether this newer row tells of a change since the older one. A restart
    /// may show in nothing but a smaller uptime.
    pub fn differs_from(&self, older: &Self) -> bool {
        self.fingerprint != older.fingerprint || self.is_younger_than(older)
    }

    /// Whether the container was started anew between the two rows, by its uptime.
    pub fn is_younger_than(&self, older: &Self) -> bool {
        matches!((self.uptime, older.uptime), (Some(new), Some(old)) if new < old)
    }
}

/// What a container is doing (Docker API: `State.Status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Running, but frozen.
    Paused,
    /// Ended, about to be started again by its restart policy.
    Restarting,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Ended, and could not be removed.
    Dead,
}

impl ContainerState {
    /// The word that Docker uses.
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

/// What a container's health check says (Docker API: `State.Health.Status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has no health check.
    Unchecked,
    /// Not known yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// As many checks in a row as its image says have failed.
    Unhealthy,
}

/// What a container in a listing is doing: what decides whether it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Running; and what its health check says.
    Running(Health),
    /// Frozen. A listing doesn't tell the health of such.
    Paused,
}

/// A moment by the engine's own clock, in nanoseconds since 1970: when a container was
/// started, or when something happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineTime(pub i128);

/// A published port: what the engine forwards to the container
/// (Docker API: an entry of `NetworkSettings.Ports`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortBinding {
    /// The container's own port.
    pub port: u16,
    /// Its protocol.
    pub proto: Protocol,
    /// The address that the engine listens on; unspecified (`0.0.0.0`, `::`)
    /// stands for all of the host's.
    pub host_address: IpAddr,
    /// The port that the engine listens on.
    pub host_port: u16,
}

/// A container's place in a network (Docker API: an entry of
/// `NetworkSettings.Networks`). It has no addresses while the container doesn't run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkAttachment {
    /// Its IPv4 address there.
    pub address4: Option<Ipv4Addr>,
    /// Its global IPv6 address there.
    pub address6: Option<Ipv6Addr>,
}

/// A container as an inspection shows it (`/containers/<id>/json`).
#[derive(Clone, Debug)]
pub struct Container {
    /// Which container.
    pub id: ContainerId,
    /// Its name, without Docker's leading slash.
    pub name: String,
    /// What it is doing.
    pub state: ContainerState,
    /// What its health check says.
    pub health: Health,
    /// When it was last started.
    pub started: EngineTime,
    /// How often its restart policy has started it again since somebody started it
    /// (Docker API: `RestartCount`).
    pub restarts: u64,
    /// What its first process ended with, the last time; 0 while it runs (Docker API:
    /// `State.ExitCode`).
    pub exit_code: i64,
    /// Its environment. Of a variable given twice, the last.
    pub env: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How it is tied to the network.
    pub network: NetworkMode,
    /// Its published ports.
    pub bindings: Vec<PortBinding>,
    /// The ports that it says it listens on, published or not, in order
    /// (Docker API: `Config.ExposedPorts`, and the keys of `NetworkSettings.Ports`).
    pub exposed: Vec<(u16, Protocol)>,
    /// The networks that it is in, by name.
    pub networks: BTreeMap<String, NetworkAttachment>,
    /// The image that it was made from, as it was named then (Docker API: `Config.Image`).
    pub image: String,
    /// The number of the signal that asks it to stop (Docker API: `Config.StopSignal`).
    pub stop_signal: u8,
    /// A digest of what a listing would say of it: see [`ContainerSummary::fingerprint`].
    pub fingerprint: u64,
}

/// The number of SIGTERM, which asks a container to stop that names no other signal.
pub const SIGTERM: u8 = 15;

impl Container {
    /// What a listing of this moment would say that it is doing; `None`: it would not be
    /// in it.
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
    /// A running container that offers nothing, for tests to build on.
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
            networks: BTreeMap::new(),
            image: "nginx:1.27".into(),
            stop_signal: SIGTERM,
            fingerprint: 0,
        }
    }

    /// The same with one more label.
    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The same with one more environment variable.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// The same with one more published port, as `docker port` shows it:
    /// `80/tcp -> 0.0.0.0:8080`.
    pub(crate) fn bind(mut self, shown: &str) -> Self {
        self.bindings.push(PortBinding::sample(shown));
        self
    }
}

#[cfg(test)]
impl PortBinding {
    /// Reads what `docker port` shows: `80/tcp -> 0.0.0.0:8080`.
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
