//! [`Publisher`]: the source of the records in etcd, as the scenarios use it.

use std::fmt::Write as _;

use super::support::etcd_v3::V3Client;

/// The domain of all records, which is the daemon's default.
pub const DOMAIN: &str = "skydns.local";

/// The TTL of records and of their lease, in seconds.
pub const TTL: u64 = 60;

/// A service of one container.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// The name without the domain.
    pub name: String,
    /// The number of the replica. `None` for the layout `flat`.
    pub replica: Option<u32>,
    pub priority: Option<u16>,
    pub weight: Option<u16>,
    pub text: Option<String>,
    pub group: Option<String>,
    /// The host to publish. `None` for the publisher's default.
    pub host: Option<String>,
}

impl Service {
    /// Creates a service in the layout `flat`.
    pub fn flat(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Creates a replica in the layout `instance`.
    pub fn replica(name: &str, number: u32) -> Self {
        Self { replica: Some(number), ..Self::flat(name) }
    }

    /// Returns the name to query.
    pub fn query_name(&self) -> String {
        format!("{}.{DOMAIN}", self.name)
    }
}

/// A published record.
#[derive(Clone, Debug)]
pub struct Published {
    pub host: String,
    pub port: u16,
    /// The name of this record alone.
    pub own_name: String,
}

/// Publishes and withdraws records.
pub trait Publisher {
    /// Returns when the record is in etcd.
    fn publish(&mut self, service: &Service) -> Published;

    /// Returns when the record is no longer in etcd.
    fn withdraw(&mut self, published: &Published);
}

/// Writes records directly, in the format of the daemon.
pub struct DirectPublisher {
    etcd: V3Client,
    lease: i64,
    count: u16,
}

impl DirectPublisher {
    pub fn new(etcd: V3Client) -> Self {
        let lease = etcd.grant(TTL, None);
        Self { etcd, lease, count: 0 }
    }
}

impl Publisher for DirectPublisher {
    fn publish(&mut self, service: &Service) -> Published {
        self.count += 1;
        let host = service.host.clone().unwrap_or_else(|| format!("10.0.0.{}", self.count));
        let port = 8000 + self.count;
        let own_name = match service.replica {
            None => service.query_name(),
            Some(number) => format!("web1-{number:012x}-80.{}", service.query_name()),
        };
        self.etcd.put(&key(&own_name), &value(service, &host, port), Some(self.lease));
        Published { host, port, own_name }
    }

    fn withdraw(&mut self, published: &Published) {
        assert!(self.etcd.delete(&key(&published.own_name)), "{published:?} was not published");
    }
}

/// Returns the key of a name.
pub fn key(name: &str) -> String {
    name.rsplit('.').fold("/skydns".into(), |path, label| path + "/" + label)
}

fn value(service: &Service, host: &str, port: u16) -> String {
    let mut value = format!(r#"{{"host":"{host}","port":{port},"ttl":{TTL}"#);
    if let Some(priority) = service.priority {
        write!(value, r#","priority":{priority}"#).unwrap();
    }
    if let Some(weight) = service.weight {
        write!(value, r#","weight":{weight}"#).unwrap();
    }
    if let Some(text) = &service.text {
        write!(value, r#","text":"{text}""#).unwrap();
    }
    if let Some(group) = &service.group {
        write!(value, r#","group":"{group}""#).unwrap();
    }
    value + "}"
}
