//! Who brings records into etcd, as the scenarios see it.

use std::fmt::Write as _;

use super::support::etcd_v3::V3Client;

/// The domain that all of it is under: the daemon's default.
pub const DOMAIN: &str = "skydns.local";

/// The seconds that a record and its lease live.
pub const TTL: u64 = 60;

/// A service that is to be published: one container's, in the daemon's terms.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Without the domain.
    pub name: String,
    /// Which of its replicas; `None`: one key a name.
    pub replica: Option<u32>,
    pub priority: Option<u16>,
    pub weight: Option<u16>,
    pub text: Option<String>,
    pub group: Option<String>,
    /// Where it is to be said to be reached, if not at the publisher's choice.
    pub host: Option<String>,
}

impl Service {
    /// In the layout `flat`.
    pub fn flat(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// In the layout `instance`.
    pub fn replica(name: &str, number: u32) -> Self {
        Self { replica: Some(number), ..Self::flat(name) }
    }

    /// The name to ask a DNS server for.
    pub fn query_name(&self) -> String {
        format!("{}.{DOMAIN}", self.name)
    }
}

/// A record that stands for a service.
#[derive(Clone, Debug)]
pub struct Published {
    pub host: String,
    pub port: u16,
    /// The name that answers with this record alone.
    pub own_name: String,
}

/// Brings records into etcd, and takes them away.
pub trait Publisher {
    /// Over when the record is in etcd.
    fn publish(&mut self, service: &Service) -> Published;

    /// Over when the record is no longer in etcd.
    fn withdraw(&mut self, published: &Published);
}

/// The suite itself, in just the format that the daemon keeps to.
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
        assert!(self.etcd.delete(&key(&published.own_name)), "{published:?} was not there");
    }
}

/// Where a name's record is.
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
