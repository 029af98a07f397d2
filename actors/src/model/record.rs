//! A DNS record in the format of SkyDNS 2 and of CoreDNS's `etcd` plugin: key and value.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::names::{DomainName, ServiceName, quote};

/// The key of a record in the store, without a leading slash. The key of `httpd.skydns.local` is
/// `skydns/local/skydns/httpd`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey(Arc<str>);

impl RecordKey {
    /// Creates the key of `name` in `domain`: `prefix`, the labels in reverse order, and the
    /// label of the instance, if there is one.
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

    /// Returns the directory of all keys of a domain, for example `skydns/local/skydns`.
    pub fn domain_directory(prefix: &str, domain: &DomainName) -> Self {
        let path = std::iter::once(prefix).chain(domain.labels().rev()).collect::<Vec<_>>();
        Self(Arc::from(path.join("/")))
    }

    /// Creates a key from a path of the store, with or without a leading slash.
    pub fn from_path(path: &str) -> Self {
        Self(Arc::from(path.trim_start_matches('/')))
    }

    /// Returns the key, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns `true` if `other` is a parent directory of this key.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Returns `true` if one of the two keys is below the other, so that DNS cannot return both as
    /// records.
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

/// The target of a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address, returned as an A or AAAA record.
    Address(IpAddr),
    /// A host name, returned as a CNAME record.
    Name(DomainName),
}

impl Host {
    /// Parses an IP address or a host name. Blanks around it are ignored.
    ///
    /// A loopback address is accepted, because its author means this host only.
    ///
    /// # Errors
    /// Returns the reason if `text` is neither an address nor a host name, or if clients cannot
    /// connect to the address: `0.0.0.0`, `::`, multicast and broadcast addresses, and IPv6
    /// link-local addresses, whose zone DNS cannot transport.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            return match unreachable_kind(address) {
                Some(kind) => Err(format!("{address} is {kind}: clients cannot connect to it")),
                None => Ok(Self::Address(address)),
            };
        }
        if text.contains(':') {
            return Err(format!(
                "{} is not an IP address: remove the port, the brackets or the zone",
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

/// Returns the kind of an address to which clients cannot connect, or `None` if they can.
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

/// The value of a record. Its types exclude the values that DNS servers reject: a port or TTL of
/// 0, a number out of range, or an empty host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordValue {
    /// The target of the record.
    pub host: Host,
    /// The port that a client connects to.
    pub port: NonZeroU16,
    /// SRV priority: the lowest is tried first.
    pub priority: Option<u16>,
    /// SRV weight: the share among equals in priority; DNS servers count 0 as 100.
    pub weight: Option<u16>,
    /// The text of a TXT record.
    pub text: Option<String>,
    /// The time for which a resolver may cache the answer, in seconds.
    pub ttl: NonZeroU32,
    /// SkyDNS: records of different groups don't appear in one answer.
    pub group: Option<String>,
}

impl RecordValue {
    /// Returns the value in the format of the store: JSON with its keys in a fixed order.
    #[expect(clippy::expect_used, reason = "strings and integers always serialise")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and integers always serialise")
    }
}

impl Serialize for RecordValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The number of fields is a hint that JSON ignores.
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

/// Returns the `host` of a record's value, or `None` if the value is not a record.
pub fn host_of_value(value: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct HostOnly {
        host: String,
    }
    serde_json::from_str::<HostOnly>(value).ok().map(|record| record.host)
}

/// Returns `true` if the values of two records have the same host and the same port.
pub fn has_same_endpoint(one: &str, other: &str) -> bool {
    #[derive(PartialEq, serde::Deserialize)]
    struct EndpointFields {
        host: String,
        port: Option<u16>,
    }
    let endpoint = |value| serde_json::from_str::<EndpointFields>(value).ok();
    endpoint(one).is_some_and(|endpoint_of_one| Some(endpoint_of_one) == endpoint(other))
}

/// A record that a container should have in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRecord {
    /// The key.
    pub key: RecordKey,
    /// The value.
    pub value: RecordValue,
    /// `true` if `value.host` is an address of this host or of the container, rather than the
    /// `host` attribute. A record of an earlier run is recognised by this address.
    pub own_host: bool,
    /// The Compose project, if the name is the one of a Compose service without its project.
    pub compose_project: Option<Arc<str>>,
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
            ("web server", "' ' is not allowed in"),
            ("http//web", "'/' is not allowed in"),
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

    #[test]
    fn same_endpoint_is_same_host_and_port() {
        let json = value("10.0.0.1").to_json();
        assert!(has_same_endpoint(&json, r#"{"host":"10.0.0.1","port":8080,"ttl":9}"#));
        for other in [
            r#"{"host":"10.0.0.1","port":8081,"ttl":60}"#,
            r#"{"host":"10.0.0.2","port":8080,"ttl":60}"#,
            r#"{"host":"10.0.0.1","ttl":60}"#,
            "",
        ] {
            assert!(!has_same_endpoint(&json, other), "{other}");
        }
        assert!(!has_same_endpoint("", ""));
    }
}
