//! A DNS record as SkyDNS 2 and CoreDNS's `etcd` plugin read it: key and value.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::service::{DomainName, ServiceName};

/// The place of a record in the store, without a leading slash:
/// `skydns/local/skydns/httpd` for `httpd.skydns.local`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey(Arc<str>);

impl RecordKey {
    /// The key of `name` in `domain`: the labels reversed, below `prefix`, and
    /// for an instance of the service its own part behind them.
    pub fn new(
        prefix: &str,
        domain: &DomainName,
        name: &ServiceName,
        instance: Option<&str>,
    ) -> Self {
        let labels = domain.labels().rev().chain(name.labels().rev());
        let path = std::iter::once(prefix).chain(labels).chain(instance).collect::<Vec<_>>();
        Self(Arc::from(path.join("/")))
    }

    /// Takes a key as the store wrote it, with or without its leading slash.
    pub fn from_path(path: &str) -> Self {
        Self(Arc::from(path.trim_start_matches('/')))
    }

    /// The key, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one of the two lies below the other, so that no store can show
    /// both as records.
    pub fn hides_or_is_hidden_by(&self, other: &Self) -> bool {
        let below = |long: &str, short: &str| {
            long.strip_prefix(short).is_some_and(|rest| rest.starts_with('/'))
        };
        below(&self.0, &other.0) || below(&other.0, &self.0)
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a record points.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address: DNS servers answer A or AAAA.
    Address(IpAddr),
    /// A host name: DNS servers answer CNAME.
    Name(DomainName),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The value of a record. Its types can't hold what DNS servers trip over: a
/// port or TTL of 0, a number out of range, an empty host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordValue {
    /// Where the record points.
    pub host: Host,
    /// The port that a client connects to.
    pub port: NonZeroU16,
    /// SRV priority.
    pub priority: Option<u16>,
    /// SRV weight; DNS servers count 0 as 100.
    pub weight: Option<u16>,
    /// The text of a TXT record.
    pub text: Option<String>,
    /// How many seconds a resolver may keep the answer.
    pub ttl: NonZeroU32,
    /// SkyDNS: records of different groups don't appear in one answer.
    pub group: Option<String>,
}

impl RecordValue {
    /// The value as the store holds it: JSON, keys in a fixed order.
    pub fn to_json(&self) -> String {
        // Strings and integers can't fail to serialise; there is no map here.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for RecordValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The count is a hint for formats that need one; JSON doesn't.
        let mut value = serializer.serialize_struct("RecordValue", 3)?;
        value.serialize_field("host", &self.host.to_string())?;
        value.serialize_field("port", &self.port)?;
        if let Some(priority) = &self.priority {
            value.serialize_field("priority", priority)?;
        }
        if let Some(weight) = &self.weight {
            value.serialize_field("weight", weight)?;
        }
        if let Some(text) = &self.text {
            value.serialize_field("text", text)?;
        }
        value.serialize_field("ttl", &self.ttl)?;
        if let Some(group) = &self.group {
            value.serialize_field("group", group)?;
        }
        value.end()
    }
}

/// The host that a record's value names, where the value is a record at all.
pub fn host_in(value: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct HostOnly {
        host: String,
    }
    serde_json::from_str::<HostOnly>(value).ok().map(|record| record.host)
}
