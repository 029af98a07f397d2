//! A DNS record as SkyDNS 2 and CoreDNS's `etcd` plugin read it: key and value.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::names::{DomainName, ServiceName, quote};

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

    /// The directory that holds all of a domain's keys: `skydns/local/skydns`.
    pub fn domain_directory(prefix: &str, domain: &DomainName) -> Self {
        let path = std::iter::once(prefix).chain(domain.labels().rev()).collect::<Vec<_>>();
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

    /// Whether it lies below the other, as a file in a folder.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether one of the two lies below the other, so that no store can show
    /// both as records.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.is_below(other) || other.is_below(self)
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

impl Host {
    /// Reads an IP address or a host name, blanks around it ignored.
    ///
    /// Refused is what nobody can connect to: `0.0.0.0`, `::`, multicast and
    /// broadcast addresses, and IPv6 link-local ones, whose zone DNS can't tell. A
    /// loopback address is taken: whoever writes it down means this one host.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            return match unreachable_kind(address) {
                Some(kind) => Err(format!("{address} is {kind}: nobody can connect to it")),
                None => Ok(Self::Address(address)),
            };
        }
        if text.contains(':') {
            return Err(format!(
                "{} is no IP address (a port, brackets and a zone don't belong here)",
                quote(text),
            ));
        }
        if text.split('.').all(|label| label.bytes().all(|b| b.is_ascii_digit())) {
            return Err(format!("{} is neither an IP address nor a host name", quote(text)));
        }
        DomainName::parse(text).map(Self::Name).map_err(|reason| {
            format!("{} is neither an IP address nor a host name: {reason}", quote(text))
        })
    }
}

/// What sort of address it is, where none of that sort can be connected to from
/// what a DNS answer says.
fn unreachable_kind(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("the unspecified address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    }
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
    /// SRV priority: the lowest is tried first.
    pub priority: Option<u16>,
    /// SRV weight: the share among equals in priority; DNS servers count 0 as 100.
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
    #[expect(clippy::expect_used, reason = "strings and integers always serialise")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and integers always serialise")
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
pub fn host_of_value(value: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct HostOnly {
        host: String,
    }
    serde_json::from_str::<HostOnly>(value).ok().map(|record| record.host)
}

/// A record that should stand for a container's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRecord {
    /// Where.
    pub key: RecordKey,
    /// What.
    pub value: RecordValue,
    /// Whether `value.host` is an address of this host's or the container's own (not one
    /// that the container's attributes name): an earlier record of it is known by that.
    pub own_host: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, domain: &str, instance: Option<&str>) -> RecordKey {
        let domain = DomainName::parse(domain).unwrap();
        let name = ServiceName::parse(name, &domain).unwrap();
        RecordKey::new("skydns", &domain, &name, instance)
    }

    fn value(host: &str) -> RecordValue {
        RecordValue {
            host: Host::parse(host).unwrap(),
            port: NonZeroU16::new(8080).unwrap(),
            priority: None,
            weight: None,
            text: None,
            ttl: NonZeroU32::new(60).unwrap(),
            group: None,
        }
    }

    #[test]
    fn key_has_reversed_labels_below_the_prefix() {
        for (name, domain, instance, expected) in [
            ("httpd", "highhock.local", None, "skydns/local/highhock/httpd"),
            ("api.httpd", "highhock.local", None, "skydns/local/highhock/httpd/api"),
            ("HTTPD", "Local.", None, "skydns/local/httpd"),
            ("a.b.c", "x.y.z", Some("h1-0-80"), "skydns/z/y/x/c/b/a/h1-0-80"),
        ] {
            assert_eq!(key(name, domain, instance).as_str(), expected);
        }
    }

    #[test]
    fn strips_leading_slash_of_stored_key() {
        let ours = key("httpd", "highhock.local", None);
        assert_eq!(RecordKey::from_path("/skydns/local/highhock/httpd"), ours);
        assert_eq!(RecordKey::from_path("skydns/local/highhock/httpd"), ours);
    }

    #[test]
    fn parent_and_child_keys_overlap() {
        let httpd = key("httpd", "highhock.local", None);
        let api = key("api.httpd", "highhock.local", None);
        assert!(httpd.overlaps(&api));
        assert!(api.overlaps(&httpd));
        assert!(!httpd.overlaps(&httpd));
        for neighbour in ["httpd2", "http", "httpd-api", "api"] {
            let neighbour = key(neighbour, "highhock.local", None);
            assert!(!httpd.overlaps(&neighbour), "{neighbour}");
            assert!(!neighbour.overlaps(&httpd), "{neighbour}");
        }
    }

    #[test]
    fn value_is_json_in_a_fixed_order() {
        assert_eq!(value("10.77.66.0").to_json(), r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#);
        let all = RecordValue {
            priority: Some(0),
            weight: Some(65535),
            text: Some("say \"hi\"\n".into()),
            group: Some("g1".into()),
            ..value("Web.Example.com")
        };
        assert_eq!(
            all.to_json(),
            r#"{"host":"web.example.com","port":8080,"priority":0,"weight":65535,"text":"say \"hi\"\n","ttl":60,"group":"g1"}"#,
        );
    }

    #[test]
    fn host_is_an_address_or_a_name() {
        for (text, expected) in [
            ("10.77.66.0", "10.77.66.0"),
            (" 10.0.0.1 ", "10.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("2001:DB8::0:1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            let host = Host::parse(text).unwrap();
            assert!(matches!(host, Host::Address(_)), "{text}");
            assert_eq!(host.to_string(), expected);
        }
        for (text, expected) in
            [("Web.Example.com.", "web.example.com"), ("web", "web"), ("1.2.3.4a", "1.2.3.4a")]
        {
            let host = Host::parse(text).unwrap();
            assert!(matches!(host, Host::Name(_)), "{text}");
            assert_eq!(host.to_string(), expected);
        }
    }

    #[test]
    fn rejects_unreachable_hosts() {
        for (text, reason) in [
            ("0.0.0.0", "unspecified"),
            ("::", "unspecified"),
            ("::ffff:0.0.0.0", "unspecified"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
            ("fe80::1", "link-local"),
            ("fe80::1%eth0", "zone"),
            ("10.0.0.1:80", "port"),
            ("[2001:db8::1]", "brackets"),
            ("", "neither"),
            ("300.1.1.1", "neither"),
            ("10.0.0", "neither"),
            ("10.0.0.1.2", "neither"),
            ("8080", "neither"),
            ("web server", "' ' can't stand in"),
            ("http//web", "'/' can't stand in"),
            ("web..example", "empty"),
        ] {
            let refusal = Host::parse(text).unwrap_err();
            assert!(refusal.contains(reason), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn reads_host_of_any_record_value() {
        assert_eq!(host_of_value(&value("10.0.0.1").to_json()).as_deref(), Some("10.0.0.1"));
        assert_eq!(host_of_value(r#"{"ttl":5,"x":[],"host":"h"}"#).as_deref(), Some("h"));
        for value in ["", "{}", "null", r#"{"host":1}"#, r#""host""#, "<html>"] {
            assert_eq!(host_of_value(value), None, "{value}");
        }
    }
}
