//! [`DnsRecord`]: a key and value of the store, parsed for DNS responses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::Name;
use serde::Deserialize;

use super::lease_expiry::LeaseExpiry;

/// The priority of a record without a priority.
const DEFAULT_PRIORITY: i64 = 10;

/// The TTL in seconds of a record without a TTL and without a lease.
pub(crate) const DEFAULT_TTL: u32 = 300;

/// The shortest TTL in seconds that is derived from the remaining time of a lease. A shorter TTL
/// would cause constant queries.
const LEASE_TTL_SECONDS_MIN: u64 = 30;

/// The longest TTL in seconds that is derived from the remaining time of a lease: one day.
const LEASE_TTL_SECONDS_MAX: u64 = 86_400;

/// The value of a record in the format of SkyDNS 2 and CoreDNS. A missing or null field is empty
/// or 0.
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

/// The kind of a record, as CoreDNS classifies records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind<'a> {
    /// A record whose host is an address.
    Address(IpAddr),
    /// A record whose host is a name, and which has no text.
    Alias(&'a Name),
    /// A record with a text, whose host is not an address.
    Text,
    /// A record without host and text.
    Empty,
}

/// A record that the DNS server can answer with.
#[derive(Debug)]
pub(crate) struct DnsRecord {
    /// The key without a leading slash.
    pub(crate) key: Arc<str>,
    /// The host, if it is an address.
    pub(crate) address: Option<IpAddr>,
    /// The host, if it is a name.
    pub(crate) alias: Option<Name>,
    /// The name that corresponds to the key.
    pub(crate) name: Name,
    /// The target of SRV and NS records: the host name if there is one, otherwise the record's
    /// own name. The first `targetstrip` labels are removed.
    pub(crate) target: Name,
    /// The SRV port. A record with port -1 has no SRV record.
    pub(crate) port: i64,
    /// The SRV priority.
    pub(crate) priority: i64,
    /// The SRV weight as stored. 0 counts as 100.
    pub(crate) weight: i64,
    /// The text of the TXT record. Empty if there is none.
    pub(crate) text: String,
    /// The group. Empty if there is none.
    pub(crate) group: String,
    ttl: u32,
    expiry: Option<LeaseExpiry>,
}

impl DnsRecord {
    /// Parses the key and value of a record.
    ///
    /// # Errors
    /// Returns the reason if the value is not a valid record.
    pub(crate) fn parse(
        key: &str,
        value: &str,
        expiry: Option<LeaseExpiry>,
    ) -> Result<Self, String> {
        let fields: SkydnsValue = serde_json::from_str(value).map_err(|error| error.to_string())?;
        let name = name_of_key(key)?;
        let host = fields.host.unwrap_or_default();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let alias = match address {
            None if !host.is_empty() => Some(name_of_host(&host)?),
            _ => None,
        };
        let target = strip_labels(alias.as_ref().unwrap_or(&name), fields.targetstrip.unwrap_or(0));
        Ok(Self {
            key: Arc::from(key),
            address,
            alias,
            target,
            name,
            port: fields.port.unwrap_or(0),
            priority: fields.priority.filter(|priority| *priority != 0).unwrap_or(DEFAULT_PRIORITY),
            weight: fields.weight.unwrap_or(0),
            text: fields.text.unwrap_or_default(),
            group: fields.group.unwrap_or_default(),
            ttl: fields.ttl.unwrap_or(0),
            expiry,
        })
    }

    /// Returns `true` if the record has no lease, or if its lease has not ended.
    pub(crate) fn is_live(&self) -> bool {
        self.expiry.as_ref().is_none_or(|expiry| expiry.remaining() > Duration::ZERO)
    }

    /// Returns the TTL in seconds: the smaller of the record's TTL and the remaining time of its
    /// lease.
    pub(crate) fn ttl(&self) -> u32 {
        let remaining = self
            .expiry
            .as_ref()
            .map(|expiry| expiry.remaining().as_secs())
            .filter(|remaining| *remaining > 0);
        let lease_ttl = remaining.and_then(|remaining| {
            remaining.clamp(LEASE_TTL_SECONDS_MIN, LEASE_TTL_SECONDS_MAX).try_into().ok()
        });
        match (self.ttl, lease_ttl) {
            (0, None) => DEFAULT_TTL,
            (own, None) => own,
            (0, Some(lease_ttl)) => lease_ttl,
            (own, Some(lease_ttl)) => own.min(lease_ttl),
        }
    }

    /// Returns the kind of the record.
    pub(crate) fn kind(&self) -> RecordKind<'_> {
        match (self.address, &self.alias) {
            (Some(address), _) => RecordKind::Address(address),
            (None, _) if !self.text.is_empty() => RecordKind::Text,
            (None, Some(alias)) => RecordKind::Alias(alias),
            (None, None) => RecordKind::Empty,
        }
    }

    /// Returns `true` if the record has a host.
    pub(crate) fn has_host(&self) -> bool {
        self.address.is_some() || self.alias.is_some()
    }
}

/// Returns the name of a key: its parts after the prefix, in reverse order.
fn name_of_key(key: &str) -> Result<Name, String> {
    let labels = key.split('/').skip(1).collect::<Vec<_>>();
    let name = Name::from_labels(labels.into_iter().rev().map(str::as_bytes));
    name.map_err(|reason| format!("its key is not a valid name: {reason}"))
}

fn name_of_host(host: &str) -> Result<Name, String> {
    let labels = host.strip_suffix('.').unwrap_or(host).split('.').map(str::as_bytes);
    Name::from_labels(labels).map_err(|reason| format!("its host is not a valid name: {reason}"))
}

/// Removes the first labels of a name. Returns the complete name if no label would remain.
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
        DnsRecord::parse(KEY, value, None).expect("valid record")
    }

    fn leased(value: &str, seconds: u64) -> DnsRecord {
        let expiry = LeaseExpiry::at(Instant::now() + Duration::from_secs(seconds));
        DnsRecord::parse(KEY, value, Some(expiry)).expect("valid record")
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
