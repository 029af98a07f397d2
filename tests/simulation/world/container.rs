//! A simulated container: what it is, what an engine says of it, and what should be
//! published for it, worked out by rules of the simulation's own.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use highhock_actors::model::publish_config::Layout;
use highhock_actors::{
    Attachment, Binding, Container, ContainerId, ContainerRow, EngineTime, Health, Life,
    NetworkMode, Proto,
};
use std::time::Duration;
use tokio::time::Instant;

use super::HOST;

/// How a container is tied to the network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Net {
    /// With published ports.
    Own,
    /// It has the host's.
    Host,
    /// It has that of the container of this number; named by its name, not its id, where
    /// so written.
    Of { number: usize, by_name: bool },
}

/// A simulated container.
#[derive(Clone, Debug)]
pub struct Made {
    pub number: usize,
    pub name: String,
    /// Each a name and the port inside, in the container's own order.
    pub services: Vec<(String, u16)>,
    pub net: Net,
    /// The port outside of each port inside.
    pub ports: BTreeMap<u16, u16>,
    pub life: Life,
    pub health: Health,
    pub ignores_health: bool,
    pub ignores_drain: bool,
    pub priority: Option<u16>,
    pub stop_signal: u8,
    /// When it was last started, by the engine's clock and by ours.
    pub started: i128,
    pub up_since: Instant,
    /// Changes with every start.
    pub endpoint: u64,
    /// When it last got its stop signal in this run.
    pub signalled: Option<Instant>,
    /// When anything last happened to it, or was told of it.
    pub touched: Instant,
}

/// A record that the rules ask for.
#[derive(Clone, Debug)]
pub struct Due {
    pub key: String,
    pub value: String,
    /// Who started first holds a key; of one container's, the first listed.
    pub rank: (i128, String, usize),
    /// Whether it must be there, or only may be.
    pub is_sure: bool,
    /// When something last happened that bears on it.
    pub touched: Instant,
}

/// The id of the container number `n`.
pub fn id(n: usize) -> String {
    format!("{n:012x}{n:052x}")
}

impl Made {
    pub fn is_listed(&self) -> bool {
        matches!(self.life, Life::Running | Life::Paused)
    }

    fn bindings(&self) -> Vec<Binding> {
        if !self.is_listed() || self.net != Net::Own {
            return Vec::new();
        }
        let bind = |(port, host_port): (&u16, &u16)| Binding {
            port: *port,
            proto: Proto::Tcp,
            host_address: std::net::Ipv4Addr::UNSPECIFIED.into(),
            host_port: *host_port,
        };
        self.ports.iter().map(bind).collect()
    }

    fn network(&self, names: &dyn Fn(usize) -> String) -> NetworkMode {
        match &self.net {
            Net::Own => NetworkMode::Own,
            Net::Host => NetworkMode::Host,
            Net::Of { number, by_name: true } => NetworkMode::Container(names(*number)),
            Net::Of { number, by_name: false } => NetworkMode::Container(id(*number)),
        }
    }

    /// What a listing says but for the uptime. An inspection shows an endpoint only where
    /// the container has a network of its own.
    fn likeness(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        let endpoint = (!matches!(self.net, Net::Of { .. })).then_some(self.endpoint);
        // A listing doesn't tell the health of what is paused.
        let health = (self.life == Life::Running).then_some(self.health);
        format!("{} {:?} {:?} {health:?} {endpoint:?}", self.name, self.bindings(), self.life)
            .hash(&mut digest);
        digest.finish()
    }

    pub fn row(&self, names: &dyn Fn(usize) -> String) -> ContainerRow {
        let container = self.shown(names);
        ContainerRow {
            id: ContainerId::new(&id(self.number)),
            name: self.name.clone(),
            network: self.network(names),
            condition: container.condition(),
            likeness: self.likeness(),
            uptime: Some(coarse(self.up_since.elapsed())),
        }
    }

    pub fn shown(&self, names: &dyn Fn(usize) -> String) -> Container {
        let said: Vec<_> =
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
            id: ContainerId::new(&id(self.number)),
            name: self.name.clone(),
            life: self.life,
            health: self.health,
            started: EngineTime(self.started),
            restarts: 0,
            exit_code: 0,
            env: BTreeMap::from([("DISCOVER".to_owned(), said.join(","))]),
            labels,
            network: self.network(names),
            bindings: self.bindings(),
            exposed: self.services.iter().map(|(_, port)| (*port, Proto::Tcp)).collect(),
            networks: BTreeMap::from([("bridge".to_owned(), Attachment::default())]),
            image: "simulated".to_owned(),
            stop_signal: self.stop_signal,
            likeness: self.likeness(),
        }
    }

    /// The records that should be there for it. `drain`: after its stop signal it may be
    /// left out for so long (whether it is depends on whether the event came through).
    pub fn due(
        &self,
        all: &BTreeMap<usize, Made>,
        layout: Layout,
        drain: Option<Duration>,
    ) -> Vec<Due> {
        let fit = matches!(self.health, Health::Unchecked | Health::Healthy) || self.ignores_health;
        if self.life != Life::Running || !fit {
            return Vec::new();
        }
        let drains = drain.filter(|_| !self.ignores_drain);
        let left_out = |at: Instant| drains.is_some_and(|drain| at.elapsed() < drain);
        let is_sure = !self.signalled.is_some_and(left_out);
        // Who has another's network is reached where that one is.
        let (mut touched, mut bearer, mut hops) = (self.touched, self, 0);
        while let Net::Of { number, .. } = bearer.net {
            hops += 1;
            match all.get(&number) {
                Some(target) if hops <= 8 => bearer = target,
                _ => return Vec::new(),
            }
            touched = touched.max(bearer.touched);
        }
        // Whose network is that of one that doesn't run has none; what is between the two need
        // not run.
        if !bearer.is_listed() {
            return Vec::new();
        }
        let mut due = Vec::new();
        for (place, (name, inside)) in self.services.iter().enumerate() {
            let outside = match bearer.net {
                Net::Host => Some(*inside),
                _ if bearer.is_listed() => bearer.ports.get(inside).copied(),
                _ => None,
            };
            let Some(port) = outside else { continue };
            let priority = self.priority.map(|it| format!(r#""priority":{it},"#));
            let priority = priority.unwrap_or_default();
            due.push(Due {
                key: self.key(name, *inside, layout),
                value: format!(r#"{{"host":"{HOST}","port":{port},{priority}"ttl":60}}"#),
                rank: (self.started, id(self.number), place),
                is_sure,
                touched,
            });
        }
        due
    }

    fn key(&self, name: &str, inside: u16, layout: Layout) -> String {
        let key = key_of(name);
        match layout {
            Layout::Flat => key,
            Layout::Instance => format!("{key}/node1-{}-{inside}", &id(self.number)[..12]),
        }
    }
}

/// The key of a name in the flat layout.
pub fn key_of(name: &str) -> String {
    let labels: Vec<_> = name.split('.').rev().collect();
    format!("skydns/local/skydns/{}", labels.join("/"))
}

/// An uptime as coarse as the engine's words for it.
fn coarse(up: Duration) -> Duration {
    let seconds = up.as_secs();
    Duration::from_secs(match seconds {
        0..60 => seconds,
        60..3600 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    })
}
