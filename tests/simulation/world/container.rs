//! [`SimContainer`]: a simulated container, its rows and inspections, and its expected records.
//!
//! Expected records are derived here independently of the core, to check the core.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use highhock_actors::model::publish_config::KeyLayout;
use highhock_actors::{
    Container, ContainerId, ContainerState, ContainerSummary, EngineTime, Health,
    NetworkAttachment, NetworkMode, PortBinding, Protocol,
};
use std::time::Duration;
use tokio::time::Instant;

use super::HOST;
use super::docker::EVENT_DELAY_MAX;

/// The network of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NetworkSetup {
    /// An own network with published ports.
    Own,
    /// The network of the host.
    Host,
    /// The network of another container, named by its name or by its id.
    SharedWith { number: usize, by_name: bool },
}

/// A simulated container.
#[derive(Clone, Debug)]
pub struct SimContainer {
    pub number: usize,
    pub name: String,
    /// The name and the container port of each service, in the order of the container's variable.
    pub services: Vec<(String, u16)>,
    pub net: NetworkSetup,
    /// The host port of each container port.
    pub ports: BTreeMap<u16, u16>,
    pub life: ContainerState,
    pub health: Health,
    pub ignores_health: bool,
    pub ignores_drain: bool,
    pub priority: Option<u16>,
    pub stop_signal: u8,
    /// The last start, by the engine's clock.
    pub started: i128,
    /// The last start, by simulated time.
    pub up_since: Instant,
    /// The network endpoint, which is new at every start.
    pub endpoint: u64,
    /// The time of the stop signal since the last start.
    pub stop_signal_at: Option<Instant>,
    /// `true` if the core may not apply the stop signal. Its event may be lost, or the signal was
    /// earlier than the last start by the engine's clock, which was set back in between.
    pub is_signal_unknown: bool,
    /// The time of the last change or of its last event, whichever is later.
    pub last_changed: Instant,
    /// The time of the last end or signal, or of a late event of one of them. Other events withdraw
    /// no record that stays right.
    pub last_interrupted: Option<Instant>,
    /// The times of the latest starts, the newest last.
    pub starts: Vec<Instant>,
}

/// The order of claims to a key: the lowest rank holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimRank {
    /// The start of the container, by the engine's clock.
    pub started: i128,
    pub container: String,
    /// The position of the service in the container's list.
    pub place: usize,
}

/// A record that must or may be published.
#[derive(Clone, Debug)]
pub struct ExpectedRecord {
    pub key: String,
    pub value: String,
    pub rank: ClaimRank,
    /// `true` if the record must be published, `false` if it may be missing.
    pub is_certain: bool,
    /// `true` if the container received its stop signal and drains.
    pub is_draining: bool,
    /// `true` if the core may delay the publication, because the container restarts repeatedly.
    pub is_limited: bool,
    /// The time of the last change that affects the record.
    pub last_changed: Instant,
    /// The time of the last change that may withdraw the record. See
    /// [`SimContainer::last_interrupted`].
    pub last_interrupted: Option<Instant>,
}

/// Returns the id of container number `n`.
pub fn container_id(n: usize) -> String {
    format!("{n:012x}{n:052x}")
}

/// The restarts within [`RESTART_WINDOW`] from which the core delays publications.
const RESTARTS_LIMIT: usize = 3;
/// The time during which the core counts restarts, and the delay of an inspection.
const RESTART_WINDOW: Duration = Duration::from_secs(61);

impl SimContainer {
    /// Sets the time of the last change, which may withdraw a record, to now.
    pub fn mark_interrupted(&mut self) {
        (self.last_changed, self.last_interrupted) = (Instant::now(), Some(Instant::now()));
    }

    /// Adds a start.
    pub fn mark_started(&mut self) {
        self.last_changed = Instant::now();
        self.starts.push(Instant::now());
        if self.starts.len() > RESTARTS_LIMIT + 1 {
            self.starts.remove(0);
        }
    }

    fn is_limited(&self) -> bool {
        let restarts = self.starts.get(1..).unwrap_or_default();
        restarts.iter().filter(|at| at.elapsed() < RESTART_WINDOW).count() >= RESTARTS_LIMIT
    }

    pub fn is_listed(&self) -> bool {
        matches!(self.life, ContainerState::Running | ContainerState::Paused)
    }

    fn bindings(&self) -> Vec<PortBinding> {
        if !self.is_listed() || self.net != NetworkSetup::Own {
            return Vec::new();
        }
        let bind = |(port, host_port): (&u16, &u16)| PortBinding {
            port: *port,
            proto: Protocol::Tcp,
            host_address: std::net::Ipv4Addr::UNSPECIFIED.into(),
            host_port: *host_port,
        };
        self.ports.iter().map(bind).collect()
    }

    fn network(&self, names: &dyn Fn(usize) -> String) -> NetworkMode {
        match &self.net {
            NetworkSetup::Own => NetworkMode::Own,
            NetworkSetup::Host => NetworkMode::Host,
            NetworkSetup::SharedWith { number, by_name: true } => {
                NetworkMode::Container(names(*number))
            }
            NetworkSetup::SharedWith { number, by_name: false } => {
                NetworkMode::Container(container_id(*number))
            }
        }
    }

    /// Returns a hash of a listing's row without the uptime. An inspection shows the endpoint only
    /// if the container has a network of its own.
    fn fingerprint(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        let endpoint =
            (!matches!(self.net, NetworkSetup::SharedWith { .. })).then_some(self.endpoint);
        // A listing does not show the health of a paused container.
        let health = (self.life == ContainerState::Running).then_some(self.health);
        format!("{} {:?} {:?} {health:?} {endpoint:?}", self.name, self.bindings(), self.life)
            .hash(&mut digest);
        digest.finish()
    }

    pub fn row(&self, names: &dyn Fn(usize) -> String) -> ContainerSummary {
        let container = self.inspection(names);
        ContainerSummary {
            id: ContainerId::new(&container_id(self.number)),
            name: self.name.clone(),
            network: self.network(names),
            condition: container.condition(),
            fingerprint: self.fingerprint(),
            uptime: Some(round_uptime(self.up_since.elapsed())),
        }
    }

    pub fn inspection(&self, names: &dyn Fn(usize) -> String) -> Container {
        let entries: Vec<_> =
            self.services.iter().map(|(name, port)| format!("{name}:{port}")).collect();
        let mut labels = BTreeMap::new();
        for (ignored, label) in
            [(self.ignores_health, "highhock.health"), (self.ignores_drain, "highhock.drain")]
        {
            if ignored {
                labels.insert(label.to_owned(), "ignore".to_owned());
            }
        }
        if let Some(priority) = self.priority {
            labels.insert("highhock.priority".to_owned(), priority.to_string());
        }
        Container {
            id: ContainerId::new(&container_id(self.number)),
            name: self.name.clone(),
            state: self.life,
            health: self.health,
            started: EngineTime(self.started),
            restarts: 0,
            exit_code: 0,
            env: BTreeMap::from([("DISCOVER".to_owned(), entries.join(","))]),
            labels,
            network: self.network(names),
            bindings: self.bindings(),
            exposed: self.services.iter().map(|(_, port)| (*port, Protocol::Tcp)).collect(),
            requested: Vec::new(),
            shared_ports: None,
            networks: BTreeMap::from([("bridge".to_owned(), NetworkAttachment::default())]),
            image: "simulated".to_owned(),
            stop_signal: self.stop_signal,
            fingerprint: self.fingerprint(),
        }
    }

    /// Returns the records that must or may be published for the container.
    ///
    /// For the time `drain` after a stop signal, the records may be missing: the core withdraws
    /// them if the event was delivered. The event may be late by [`EVENT_DELAY_MAX`]. A stop signal
    /// from before the start by the engine's clock looks like a late event of an earlier run, so
    /// the core may keep the records.
    pub fn expected_records(
        &self,
        all: &BTreeMap<usize, SimContainer>,
        layout: KeyLayout,
        drain: Option<Duration>,
    ) -> Vec<ExpectedRecord> {
        let is_healthy =
            matches!(self.health, Health::Unchecked | Health::Healthy) || self.ignores_health;
        if self.life != ContainerState::Running || !is_healthy {
            return Vec::new();
        }
        let drains = drain.filter(|_| !self.ignores_drain);
        let is_signalled_within = |time: Duration| {
            let drain = drains.map(|drain| drain + time);
            self.stop_signal_at.zip(drain).is_some_and(|(at, drain)| at.elapsed() < drain)
        };
        let is_draining = is_signalled_within(Duration::ZERO) && !self.is_signal_unknown;
        let is_certain = !is_signalled_within(EVENT_DELAY_MAX);
        // A guest is reached through the network owner at the end of the chain.
        let (mut last_changed, mut network_owner) = (self.last_changed, self);
        let mut last_interrupted = self.last_interrupted;
        let mut depth = 0;
        while let NetworkSetup::SharedWith { number, .. } = network_owner.net {
            depth += 1;
            match all.get(&number) {
                Some(target) if depth <= 8 => network_owner = target,
                _ => return Vec::new(),
            }
            last_changed = last_changed.max(network_owner.last_changed);
            last_interrupted = last_interrupted.max(network_owner.last_interrupted);
        }
        // The network owner must run. Containers between guest and network owner need not run.
        if !network_owner.is_listed() {
            return Vec::new();
        }
        let mut expected = Vec::new();
        for (place, (name, port)) in self.services.iter().enumerate() {
            let host_port = match network_owner.net {
                NetworkSetup::Host => Some(*port),
                _ if network_owner.is_listed() => network_owner.ports.get(port).copied(),
                _ => None,
            };
            let Some(host_port) = host_port else { continue };
            let priority = self.priority.map(|it| format!(r#""priority":{it},"#));
            let priority = priority.unwrap_or_default();
            expected.push(ExpectedRecord {
                key: self.key(name, *port, layout),
                value: format!(r#"{{"host":"{HOST}","port":{host_port},{priority}"ttl":60}}"#),
                rank: ClaimRank {
                    started: self.started,
                    container: container_id(self.number),
                    place,
                },
                is_certain,
                is_draining,
                is_limited: self.is_limited(),
                last_changed,
                last_interrupted,
            });
        }
        expected
    }

    fn key(&self, name: &str, port: u16, layout: KeyLayout) -> String {
        let key = key_for_name(name);
        match layout {
            KeyLayout::Flat => key,
            KeyLayout::Instance => {
                format!("{key}/node1-{}-{port}", &container_id(self.number)[..12])
            }
        }
    }
}

/// Returns the key of a name in the flat layout.
pub fn key_for_name(name: &str) -> String {
    let labels: Vec<_> = name.split('.').rev().collect();
    format!("skydns/local/skydns/{}", labels.join("/"))
}

/// Rounds an uptime as Docker does ("2 hours").
fn round_uptime(up: Duration) -> Duration {
    let seconds = up.as_secs();
    Duration::from_secs(match seconds {
        0..60 => seconds,
        60..3600 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    })
}
