//! The grammar of declarations: entries `name:port[/proto]`, separated by commas.
//!
//! The rules are in `config/README.md`, "Declaring services".

use std::num::NonZeroU16;

use super::digits::read_digits;
use super::quotes::quotes_hint;
use super::{DiscoveredService, DiscoveryResult};
use crate::model::container::Protocol;
use crate::model::names::{DomainName, ServiceName, quote};
use crate::model::service::{Attributes, Service, SkippedEntry};

/// Reads a list of entries. `place` is the name of the variable or label that contains the
/// list, and appears in the reasons. Blanks are ignored. Empty entries, such as after a final
/// comma, are ignored if the list has another entry.
pub fn read_entries(
    place: &str,
    text: &str,
    method: &'static str,
    domain: &DomainName,
) -> DiscoveryResult {
    let mut findings = DiscoveryResult::default();
    if let Some(hint) = quotes_hint(text) {
        findings.skipped.push(SkippedEntry::new(&format!("{place}={text}"), hint));
        return findings;
    }
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    for entry in entries {
        match read_entry(entry, method, domain) {
            Ok(service) => {
                findings
                    .services
                    .push(DiscoveredService { entry: format!("{place}={entry}"), service });
            }
            Err(cause) => findings.skipped.push(SkippedEntry::new(entry, reason(&cause, place))),
        }
    }
    if findings == DiscoveryResult::default() {
        let entry = format!("{place}={text}");
        findings.skipped.push(SkippedEntry::new(&entry, reason("it names no service", place)));
    }
    findings
}

fn reason(cause: &str, place: &str) -> String {
    format!("{cause}; {place} takes `name:port` or `name:port/proto`, separated by commas")
}

fn read_entry(entry: &str, method: &'static str, domain: &DomainName) -> Result<Service, String> {
    let Some((name, port_and_proto)) = entry.split_once(':') else {
        return Err("there is no port".into());
    };
    let (port, proto) = match port_and_proto.split_once('/') {
        Some((port, proto)) => (port, Some(read_proto(proto.trim())?)),
        None => (port_and_proto, None),
    };
    Ok(Service {
        name: ServiceName::parse(name.trim(), domain)?,
        port: read_port(port.trim())?,
        proto,
        method,
        attributes: Attributes::default(),
    })
}

fn read_port(port: &str) -> Result<NonZeroU16, String> {
    read_digits(port)
        .ok_or_else(|| format!("{} is not a port (a number from 1 to 65535)", quote(port)))
}

fn read_proto(proto: &str) -> Result<Protocol, String> {
    proto
        .parse()
        .map_err(|()| format!("{} is not a protocol (`tcp`, `udp` or `sctp`)", quote(proto)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> DiscoveryResult {
        let domain = DomainName::parse("highhock.local").unwrap();
        read_entries("DISCOVER", text, "env", &domain)
    }

    #[test]
    fn reads_entries_in_order() {
        for (text, expected) in [
            ("httpd:80", &["httpd:80"][..]),
            ("httpd:80,api.httpd:81/tcp", &["httpd:80", "api.httpd:81/tcp"]),
            ("HTTPD:80/TCP", &["httpd:80/tcp"]),
            ("a:53/udp,b:1/sctp", &["a:53/udp", "b:1/sctp"]),
            (" httpd : 80 / tcp\t,\n api:81 ", &["httpd:80/tcp", "api:81"]),
            ("httpd:80,", &["httpd:80"]),
            (",, httpd:80, ,api:81", &["httpd:80", "api:81"]),
            ("a:1,a:65535", &["a:1", "a:65535"]),
            ("httpd:080", &["httpd:80"]),
        ] {
            let findings = read(text);
            assert_eq!(findings.skipped, [], "{text:?}");
            let services: Vec<_> =
                findings.services.iter().map(|found| found.service.to_string()).collect();
            assert_eq!(services, expected, "{text:?}");
        }
    }

    #[test]
    fn skips_malformed_entry_with_reason() {
        for (entry, reason) in [
            ("httpd", "there is no port"),
            ("80", "there is no port"),
            ("httpd/tcp", "there is no port"),
            ("httpd:", "\"\" is not a port"),
            (":80", "is empty"),
            (":", "is empty"),
            ("httpd:http", "\"http\" is not a port"),
            ("httpd:0", "\"0\" is not a port"),
            ("httpd:65536", "\"65536\" is not a port"),
            ("httpd:-80", "\"-80\" is not a port"),
            ("httpd:+80", "\"+80\" is not a port"),
            ("httpd:80:81", "\"80:81\" is not a port"),
            ("httpd:80 api:81", "\"80 api:81\" is not a port"),
            ("httpd:80/", "\"\" is not a protocol"),
            ("httpd:80/http", "\"http\" is not a protocol"),
            ("httpd:80/tcp/udp", "\"tcp/udp\" is not a protocol"),
            ("a..b:80", "is empty"),
            ("ht tpd:80", "' ' is not allowed in"),
            ("\"httpd:80\"", "'\"' is not allowed in"),
            ("any:80", "wildcard"),
            ("*.httpd:80", "wildcard"),
            ("DNS:53", "name servers"),
        ] {
            let findings = read(&format!("first:1,{entry},last:9"));
            let services: Vec<_> =
                findings.services.iter().map(|found| found.service.to_string()).collect();
            assert_eq!(services, ["first:1", "last:9"], "{entry:?}");
            assert_eq!(findings.skipped.len(), 1, "{entry:?}");
            let skipped = &findings.skipped[0];
            assert_eq!(skipped.entry, entry);
            assert!(skipped.reason.contains(reason), "{entry:?}: {}", skipped.reason);
            assert!(skipped.reason.contains("DISCOVER takes `name:port`"), "{}", skipped.reason);
        }
    }

    #[test]
    fn reports_list_without_entries() {
        for text in ["", "  ", ",", " , ,"] {
            let findings = read(text);
            assert_eq!(findings.services, []);
            assert_eq!(findings.skipped.len(), 1, "{text:?}");
            assert_eq!(findings.skipped[0].entry, format!("DISCOVER={text}"));
            assert!(findings.skipped[0].reason.contains("names no service"));
        }
    }

    #[test]
    fn reports_list_in_quotes() {
        for text in ["\"httpd:80\"", "'httpd:80,api:81'", " \"httpd:80\""] {
            let findings = read(text);
            assert_eq!(findings.services, []);
            let [skipped] = findings.skipped.as_slice() else { panic!("{findings:?}") };
            assert_eq!(skipped.entry, format!("DISCOVER={text}"));
            let cause = "Docker does not remove quotes in an `--env-file`";
            assert!(skipped.reason.contains(cause), "{}", skipped.reason);
        }
    }

    #[test]
    fn truncates_long_entry_and_reason() {
        let findings = read(&format!("httpd:{}", "9".repeat(100_000)));
        assert_eq!(findings.skipped[0].entry.chars().count(), 201);
        assert!(findings.skipped[0].reason.len() < 300, "{}", findings.skipped[0].reason);
    }
}
