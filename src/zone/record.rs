//! One record as DNS answers from it: key and value, read once when it is put.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;
use serde::Deserialize;

use super::lease_expiry::LeaseExpiry;

/// What a record without a priority counts as.
const DEFAULT_PRIORITY: i64 = 10;

/// The TTL where neither the record nor a lease says one, in seconds.
pub(crate) const DEFAULT_TTL: u32 = 300;

/// Between what a lease's rest is kept as a TTL, in seconds: shorter, and resolvers
/// would ask all the time; longer than a day serves nobody.
const LEASE_TTL_BOUNDS: (u64, u64) = (30, 86_400);

/// A record's value as SkyDNS 2 and CoreDNS write it down. What is left out, or
/// null, is empty or 0.
#[derive(Deserialize)]
struct SkydnsValue {
    host: Option<String>,
    port: Option<i64>,
    priority: Option<i64>,
    weight: Option<i64>,
    text: Option<String>,
    ttl: Option<u32>,
    targetstrip: Option<usize>,
    group: Option<String>,
}

/// What sort of record it is to a question, as CoreDNS sorts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind<'a> {
    /// Its host is an address.
    Address(IpAddr),
    /// Its host is a name, and it has no text.
    Alias(&'a Name),
    /// It has a text, and its host is no address.
    Text,
    /// It has neither host nor text.
    Empty,
}

/// A record that can be answered.
#[derive(Debug)]
pub(crate) struct DnsRecord {
    /// Where it is kept, without a leading slash.
    pub(crate) key: Arc<str>,
    /// The address, where its host is one.
    pub(crate) address: Option<IpAddr>,
    /// The name, where its host is one.
    pub(crate) alias: Option<Name>,
    /// The name that its own key spells.
    pub(crate) name: Name,
    /// What an SRV or NS record of it names: its host's name, else its own, as
    /// many labels of it taken off as the record says.
    pub(crate) target: Name,
    /// SRV port; -1: none, so that no SRV record is made of it.
    pub(crate) port: i64,
    /// SRV priority.
    pub(crate) priority: i64,
    /// SRV weight as it is written; 0 counts as 100.
    pub(crate) weight: i64,
    /// The text of a TXT record, or empty.
    pub(crate) text: String,
    /// The group, or empty.
    pub(crate) group: String,
    ttl: u32,
    expiry: Option<LeaseExpiry>,
}

impl DnsRecord {
    /// Reads what is put at a key.
    ///
    /// # Errors
    /// Why it is no record, in words.
    pub(crate) fn parse(
        key: &str,
        value: &str,
        expiry: Option<LeaseExpiry>,
    ) -> Result<Self, String> {
        let parse: SkydnsValue =
            serde_json::from_str(value).map_err(|reason| reason.to_string())?;
        let name = name_of_key(key)?;
        let host = parse.host.unwrap_or_default();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let alias = match address {
            None if !host.is_empty() => Some(name_of_host(&host)?),
            _ => None,
        };
        let target = strip_labels(alias.as_ref().unwrap_or(&name), parse.targetstrip.unwrap_or(0));
        Ok(Self {
            key: Arc::from(key),
            address,
            alias,
            target,
            name,
            port: parse.port.unwrap_or(0),
            priority: parse.priority.filter(|it| *it != 0).unwrap_or(DEFAULT_PRIORITY),
            weight: parse.weight.unwrap_or(0),
            text: parse.text.unwrap_or_default(),
            group: parse.group.unwrap_or_default(),
            ttl: parse.ttl.unwrap_or(0),
            expiry,
        })
    }

    /// Whether its lease, if it has one, goes on.
    pub(crate) fn is_live(&self) -> bool {
        self.expiry.as_ref().is_none_or(|expiry| expiry.remaining() > Duration::ZERO)
    }

    /// The seconds that a resolver may keep it: the smaller of its own TTL and its
    /// lease's rest.
    pub(crate) fn ttl(&self) -> u32 {
        let remaining = self
            .expiry
            .as_ref()
            .map(|expiry| expiry.remaining().as_secs())
            .filter(|remaining| *remaining > 0);
        let lease_ttl = remaining.and_then(|remaining| {
            remaining.clamp(LEASE_TTL_BOUNDS.0, LEASE_TTL_BOUNDS.1).try_into().ok()
        });
        match (self.ttl, lease_ttl) {
            (0, None) => DEFAULT_TTL,
            (own, None) => own,
            (0, Some(lease_ttl)) => lease_ttl,
            (own, Some(lease_ttl)) => own.min(lease_ttl),
        }
    }

    /// What sort of record it is.
    pub(crate) fn kind(&self) -> RecordKind<'_> {
        match (self.address, &self.alias) {
            (Some(address), _) => RecordKind::Address(address),
            (None, _) if !self.text.is_empty() => RecordKind::Text,
            (None, Some(alias)) => RecordKind::Alias(alias),
            (None, None) => RecordKind::Empty,
        }
    }

    /// Whether it has a host.
    pub(crate) fn has_host(&self) -> bool {
        self.address.is_some() || self.alias.is_some()
    }
}

/// The name that a key spells: its parts behind the prefix, from the last.
fn name_of_key(key: &str) -> Result<Name, String> {
    let labels = key.split('/').skip(1).collect::<Vec<_>>();
    let name = Name::from_labels(labels.into_iter().rev().map(str::as_bytes));
    name.map_err(|reason| format!("its key spells no name: {reason}"))
}

fn name_of_host(host: &str) -> Result<Name, String> {
    let labels = host.strip_suffix('.').unwrap_or(host).split('.').map(str::as_bytes);
    Name::from_labels(labels).map_err(|reason| format!("its host is no name: {reason}"))
}

/// The name without its first labels; the whole of it where none would be left.
fn strip_labels(name: &Name, labels: usize) -> Name {
    let all = name.iter().len();
    if labels == 0 || labels >= all { name.clone() } else { name.trim_to(all - labels) }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const KEY: &str = "skydns/local/skydns/httpd/a";

    fn dns_record(value: &str) -> DnsRecord {
        DnsRecord::parse(KEY, value, None).expect("a record")
    }

    fn leased(value: &str, seconds: u64) -> DnsRecord {
        let expiry = LeaseExpiry::at(Instant::now() + Duration::from_secs(seconds));
        DnsRecord::parse(KEY, value, Some(expiry)).expect("a record")
    }

    #[tokio::test(start_paused = true)]
    async fn ttl_is_the_smaller_of_record_and_lease() {
        assert_eq!(leased(r#"{"host":"10.0.0.1","ttl":60}"#, 600).ttl(), 60);
        assert_eq!(leased(r#"{"host":"10.0.0.1","ttl":600}"#, 60).ttl(), 60);
        assert_eq!(leased(r#"{"host":"10.0.0.1"}"#, 60).ttl(), 60);
        assert_eq!(dns_record(r#"{"host":"10.0.0.1","ttl":60}"#).ttl(), 60);
        assert_eq!(dns_record(r#"{"host":"10.0.0.1"}"#).ttl(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn lease_ttl_is_clamped() {
        assert_eq!(leased(r#"{"host":"10.0.0.1"}"#, 5).ttl(), 30);
        assert_eq!(leased(r#"{"host":"10.0.0.1","ttl":20}"#, 5).ttl(), 20);
        assert_eq!(leased(r#"{"host":"10.0.0.1"}"#, 1_000_000).ttl(), 86_400);
    }

    #[test]
    fn mapped_ipv6_addresses_are_ipv4() {
        let mapped = dns_record(r#"{"host":"::ffff:10.0.0.1"}"#);
        assert_eq!(mapped.address, Some(IpAddr::from([10, 0, 0, 1])));
    }

    #[test]
    fn targetstrip_removes_labels_from_the_target() {
        let name = |value| dns_record(value).target.to_ascii();
        assert_eq!(name(r#"{"host":"10.0.0.1"}"#), "a.httpd.skydns.local.");
        assert_eq!(name(r#"{"host":"10.0.0.1","targetstrip":1}"#), "httpd.skydns.local.");
        assert_eq!(name(r#"{"host":"db.example.org","targetstrip":1}"#), "example.org.");
        assert_eq!(name(r#"{"host":"10.0.0.1","targetstrip":4}"#), "a.httpd.skydns.local.");
    }

    #[test]
    fn rejects_invalid_records_with_the_reason() {
        for value in ["", "x", "[]", r#"{"host":7}"#, r#"{"host":"a..b"}"#, r#"{"port":"80"}"#] {
            assert!(DnsRecord::parse(KEY, value, None).is_err(), "{value}");
        }
        let label = "x".repeat(64);
        let host = format!(r#"{{"host":"{label}"}}"#);
        assert!(DnsRecord::parse(KEY, &host, None).is_err());
        let key = format!("skydns/local/skydns/{label}");
        assert!(DnsRecord::parse(&key, r#"{"host":"10.0.0.1"}"#, None).is_err());
    }
}
