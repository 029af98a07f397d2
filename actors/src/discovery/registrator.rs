//! The discovery method `registrator`: publishes every published port under the names that
//! gliderlabs' Registrator uses, from `SERVICE_…` variables and labels, or else from the image.
//!
//! The rules equal those of Registrator 7.4 (`bridge/bridge.go`, `bridge/util.go`), so that a
//! host can move to HighHock without changes to its containers. An older release counts exposed
//! ports too.

use std::num::NonZeroU16;

use super::ignored_settings::ignored_settings;
use super::ports::published_ports;
use super::quotes::quotes_hint;
use super::{DiscoveredService, Discoverer, DiscoveryResult};
use crate::model::container::{Container, Protocol};
use crate::model::names::{DomainName, ServiceName, quote};
use crate::model::service::{Attributes, Service, SkippedEntry};

/// The prefix of Registrator's variables and labels. The prefix is case-sensitive, and the
/// rest of the key is not.
const PREFIX: &str = "SERVICE_";

const NAME_FIELD: &str = "NAME";
const IGNORE_FIELD: &str = "IGNORE";

/// The discovery method `registrator`.
pub struct Registrator;

impl Discoverer for Registrator {
    fn discover(&self, container: &Container, domain: &DomainName) -> DiscoveryResult {
        let ports = published_ports(container);
        let mut findings = DiscoveryResult::default();
        if ports.is_empty() {
            return findings;
        }
        let variables = Variables::from_container(container);
        // Registrator counts 53/tcp and 53/udp as two ports, and counts ignored ports as well.
        let several = ports.len() > 1;
        findings.ignored = variables.ignored(&ports);
        for (port, proto) in ports {
            if let Some(variable) =
                variables.find(IGNORE_FIELD, port).filter(|variable| !variable.value.is_empty())
            {
                let reason = "it excludes ports, as in Registrator; remove it to publish the ports";
                let skipped = SkippedEntry::new(&variable.to_string(), reason);
                // One variable may exclude several ports, but is reported once.
                if !findings.skipped.contains(&skipped) {
                    findings.skipped.push(skipped);
                }
                continue;
            }
            let PortName { name, entry } = port_name(&variables, port, &container.image, several);
            match ServiceName::parse(&name, domain) {
                Ok(name) => findings.services.push(DiscoveredService {
                    entry,
                    service: Service {
                        name,
                        port,
                        proto: Some(proto),
                        method: "registrator",
                        attributes: Attributes::default(),
                    },
                }),
                Err(reason) => {
                    let remedy = quotes_hint(&name).map_or_else(
                        || format!("set another name in SERVICE_NAME or SERVICE_{port}_NAME"),
                        str::to_owned,
                    );
                    let reason =
                        format!("{reason}; the name comes from {}; {remedy}", quote(&entry));
                    findings
                        .skipped
                        .push(SkippedEntry::new(&format!("{name}:{port}/{proto}"), reason));
                }
            }
        }
        findings
    }

    fn none_reason(&self, _: &Container) -> &'static str {
        "no port is published"
    }
}

/// The name of a port and its source.
struct PortName {
    /// The name of the service.
    name: String,
    /// The variable, label or image that supplied the name, such as `SERVICE_NAME=web`.
    entry: String,
}

/// Returns the name of a port.
///
/// A name for this port is used unchanged. If the container has several ports, every other
/// name is followed by the port. If the configured name is empty, the image supplies the name,
/// but the setting still decides whether the port is appended.
fn port_name(variables: &Variables<'_>, port: NonZeroU16, image: &str, several: bool) -> PortName {
    let configured = variables.find(NAME_FIELD, port);
    let (base, entry) = match configured.filter(|variable| !variable.value.is_empty()) {
        Some(variable) => (variable.value.trim(), variable.to_string()),
        None => (image_base_name(image), format!("image {image}")),
    };
    let name = if several && !configured.is_some_and(|variable| variable.port_specific) {
        format!("{base}-{port}")
    } else {
        base.to_owned()
    };
    PortName { name, entry }
}

/// Returns the last part of an image's name: `nginx` for
/// `registry.example.com:5000/library/nginx:1.27`. Registrator would keep a digest, which is
/// not valid in a DNS name.
fn image_base_name(image: &str) -> &str {
    let base = image.rsplit('/').next().unwrap_or(image);
    base.split([':', '@']).next().unwrap_or(base)
}

/// The keys and values of a container's variables and labels for Registrator, without the
/// prefix. Variables come first, because a label wins over a variable.
struct Variables<'a>(Vec<(&'a str, &'a str)>);

/// One variable or label for Registrator.
#[derive(Clone, Copy)]
struct Variable<'a> {
    key: &'a str,
    value: &'a str,
    /// `true` if the key applies to one port only.
    port_specific: bool,
}

impl std::fmt::Display for Variable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}{}={}", self.key, self.value)
    }
}

impl<'a> Variables<'a> {
    fn from_container(container: &'a Container) -> Self {
        let all = container.env.iter().chain(&container.labels);
        Self(
            all.filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
                .collect(),
        )
    }

    /// Returns the variables that no published port uses.
    fn ignored(&self, ports: &[(NonZeroU16, Protocol)]) -> Vec<SkippedEntry> {
        let fields = [NAME_FIELD, IGNORE_FIELD];
        let used = ports.iter().flat_map(|(port, _)| fields.map(|field| self.find(field, *port)));
        let used = used.flatten().map(|variable| variable.key).collect();
        ignored_settings(PREFIX, self.0.iter().map(|(key, _)| *key), &used, ports)
    }

    /// Returns the variable of a field for this port, else the variable for all ports. The
    /// value may be empty.
    fn find(&self, field: &str, port: NonZeroU16) -> Option<Variable<'a>> {
        let last = |name: &str, port_specific| {
            let mut labels_first = self.0.iter().rev();
            let &(key, value) = labels_first.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(Variable { key, value, port_specific })
        };
        last(&format!("{port}_{field}"), true).or_else(|| last(field, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::NetworkMode;

    /// Returns a container with these published ports, variables (`KEY=value`) and labels
    /// (`label KEY=value`).
    fn container(ports: &[&str], variables: &[&str]) -> Container {
        let mut container = Container::sample();
        for port in ports {
            container = container.bind(&format!("{port} -> 0.0.0.0:8080"));
        }
        for variable in variables {
            let (key, value) = variable.trim_start_matches("label ").split_once('=').unwrap();
            container = if variable.starts_with("label ") {
                container.label(key, value)
            } else {
                container.env(key, value)
            };
        }
        container
    }

    fn discover(container: &Container) -> DiscoveryResult {
        Registrator.discover(container, &DomainName::parse("highhock.local").unwrap())
    }

    fn services(findings: &DiscoveryResult) -> Vec<String> {
        findings.services.iter().map(|found| found.service.to_string()).collect()
    }

    fn entries(findings: &DiscoveryResult) -> Vec<&str> {
        findings.skipped.iter().map(|skipped| skipped.entry.as_str()).collect()
    }

    const WEB: &[&str] = &["80/tcp"];
    const TWO: &[&str] = &["443/tcp", "80/tcp"];
    const DNS: &[&str] = &["53/udp", "53/tcp"];

    #[test]
    fn published_ports_are_named_as_registrator_does() {
        for (ports, variables, expected) in [
            (&[][..], &["SERVICE_NAME=web"][..], &[][..]),
            // The name of the image, followed by the port if there are several.
            (WEB, &[], &["nginx:80/tcp"]),
            (TWO, &[], &["nginx-80:80/tcp", "nginx-443:443/tcp"]),
            (DNS, &[], &["nginx-53:53/tcp", "nginx-53:53/udp"]),
            (&["53/udp"], &[], &["nginx:53/udp"]),
            // A name for all ports, or for one.
            (WEB, &["SERVICE_NAME=web"], &["web:80/tcp"]),
            (WEB, &["SERVICE_NAME= Api.Web "], &["api.web:80/tcp"]),
            (TWO, &["SERVICE_NAME=web"], &["web-80:80/tcp", "web-443:443/tcp"]),
            (TWO, &["SERVICE_443_NAME=tls"], &["nginx-80:80/tcp", "tls:443/tcp"]),
            (TWO, &["SERVICE_80_NAME=a", "SERVICE_443_NAME=b"], &["a:80/tcp", "b:443/tcp"]),
            (TWO, &["SERVICE_80_NAME=a", "SERVICE_443_NAME=a"], &["a:80/tcp", "a:443/tcp"]),
            (DNS, &["SERVICE_53_NAME=ns"], &["ns:53/tcp", "ns:53/udp"]),
            (TWO, &["SERVICE_443_NAME=tls", "SERVICE_NAME=web"], &["web-80:80/tcp", "tls:443/tcp"]),
            // A label wins over a variable, and a setting for one port over a setting for all.
            (WEB, &["SERVICE_NAME=env", "label SERVICE_NAME=label"], &["label:80/tcp"]),
            (WEB, &["SERVICE_80_NAME=env", "label SERVICE_80_NAME=label"], &["label:80/tcp"]),
            (WEB, &["SERVICE_80_NAME=env", "label SERVICE_NAME=label"], &["env:80/tcp"]),
            // Only the prefix is case-sensitive.
            (WEB, &["SERVICE_name=web"], &["web:80/tcp"]),
            (WEB, &["SERVICE_80_Name=web"], &["web:80/tcp"]),
            (WEB, &["service_NAME=web"], &["nginx:80/tcp"]),
            // An empty name counts as a setting, but supplies no name.
            (WEB, &["SERVICE_NAME="], &["nginx:80/tcp"]),
            (WEB, &["SERVICE_NAME=env", "label SERVICE_NAME="], &["nginx:80/tcp"]),
            (TWO, &["SERVICE_NAME="], &["nginx-80:80/tcp", "nginx-443:443/tcp"]),
            (TWO, &["SERVICE_80_NAME=", "SERVICE_NAME=web"], &["nginx:80/tcp", "web-443:443/tcp"]),
            // Registrator knows neither protocols nor leading zeros in keys. Its settings for
            // other stores have no effect.
            (WEB, &["SERVICE_80_TCP_NAME=a", "SERVICE_080_NAME=b"], &["nginx:80/tcp"]),
            (WEB, &["SERVICE_81_NAME=a"], &["nginx:80/tcp"]),
            (WEB, &["SERVICE_TAGS=a,b", "SERVICE_ID=x", "SERVICE_REGION=y"], &["nginx:80/tcp"]),
            // An empty SERVICE_IGNORE has no effect, and cancels a setting for all ports.
            (WEB, &["SERVICE_IGNORE="], &["nginx:80/tcp"]),
            (WEB, &["SERVICE_IGNORE=1", "SERVICE_80_IGNORE="], &["nginx:80/tcp"]),
            (WEB, &["SERVICE_IGNORE=1", "label SERVICE_IGNORE="], &["nginx:80/tcp"]),
        ] {
            let findings = discover(&container(ports, variables));
            assert_eq!(services(&findings), expected, "{ports:?} {variables:?}");
            assert_eq!(findings.skipped, [], "{ports:?} {variables:?}");
        }
    }

    #[test]
    fn skips_ignored_ports() {
        for (ports, variables, kept, skipped) in [
            (WEB, &["SERVICE_IGNORE=true"][..], &[][..], &["SERVICE_IGNORE=true"][..]),
            (WEB, &["SERVICE_IGNORE=false"], &[], &["SERVICE_IGNORE=false"]),
            (WEB, &["label SERVICE_ignore= "], &[], &["SERVICE_ignore= "]),
            (TWO, &["SERVICE_IGNORE=1", "SERVICE_NAME=web"], &[], &["SERVICE_IGNORE=1"]),
            // Ignored ports count among several ports.
            (TWO, &["SERVICE_80_IGNORE=1"], &["nginx-443:443/tcp"], &["SERVICE_80_IGNORE=1"]),
            (
                TWO,
                &["SERVICE_IGNORE=1", "SERVICE_80_IGNORE="],
                &["nginx-80:80/tcp"],
                &["SERVICE_IGNORE=1"],
            ),
            (DNS, &["SERVICE_53_IGNORE=1"], &[], &["SERVICE_53_IGNORE=1"]),
        ] {
            let findings = discover(&container(ports, variables));
            assert_eq!(services(&findings), kept, "{ports:?} {variables:?}");
            assert_eq!(entries(&findings), skipped, "{ports:?} {variables:?}");
        }
    }

    #[test]
    fn lists_settings_without_effect() {
        let no_place = "has no place in a DNS record";
        for (ports, variables, expected) in [
            (WEB, &["SERVICE_TAGS=a,b"][..], &[("SERVICE_TAGS", no_place)][..]),
            (WEB, &["label SERVICE_ID=x"], &[("SERVICE_ID", no_place)]),
            (WEB, &["SERVICE_80_CHECK_HTTP=/up"], &[("SERVICE_80_CHECK_HTTP", no_place)]),
            (WEB, &["SERVICE_CHECK_INTERVAL=15s"], &[("SERVICE_CHECK_INTERVAL", no_place)]),
            (DNS, &["SERVICE_53_UDP_NAME=ns"], &[("SERVICE_53_UDP_NAME", no_place)]),
            (DNS, &["SERVICE_53_UDP_NAME=ns"], &[("SERVICE_53_UDP_NAME", "set SERVICE_53_NAME")]),
            (DNS, &["SERVICE_53_tcp_ignore=1"], &[("SERVICE_53_tcp_ignore", "SERVICE_53_IGNORE")]),
            (WEB, &["SERVICE_81_NAME=a"], &[("SERVICE_81_NAME", "no port 81 is published")]),
            (WEB, &["SERVICE_080_NAME=a"], &[("SERVICE_080_NAME", "no port 080 is published")]),
            (
                WEB,
                &["SERVICE_NAME=a", "SERVICE_80_NAME=b"],
                &[("SERVICE_NAME", "another setting applies to every published port")],
            ),
            (TWO, &["SERVICE_NAME=a", "SERVICE_80_NAME=b", "SERVICE_IGNORE="], &[]),
            // The container publishes nothing at all.
            (&[], &["SERVICE_TAGS=a"], &[]),
        ] {
            let ignored = discover(&container(ports, variables)).ignored;
            assert_eq!(ignored.len(), expected.len(), "{variables:?}: {ignored:?}");
            for (ignored, (entry, reason)) in ignored.iter().zip(expected) {
                assert_eq!(ignored.entry, *entry);
                assert!(ignored.reason.contains(reason), "{entry}: {}", ignored.reason);
            }
        }
    }

    #[test]
    fn explains_quotes_in_a_name() {
        let findings = discover(&container(WEB, &["SERVICE_NAME=\"web\""]));
        assert_eq!(findings.services, []);
        let reason = &findings.skipped[0].reason;
        assert!(reason.contains("Docker does not remove quotes"), "{reason}");
    }

    #[test]
    fn image_name_is_last_part_without_tag() {
        for (image, expected) in [
            ("nginx", "nginx"),
            ("nginx:1.27", "nginx"),
            ("library/nginx", "nginx"),
            ("registry.example.com:5000/team/web_1:v2", "web_1"),
            ("registry.example.com:5000/web", "web"),
            ("nginx@sha256:0123456789abcdef", "nginx"),
            ("team/nginx:1@sha256:0123456789abcdef", "nginx"),
        ] {
            let container = Container { image: image.into(), ..container(WEB, &[]) };
            assert_eq!(services(&discover(&container)), [format!("{expected}:80/tcp")], "{image}");
        }
    }

    #[test]
    fn skips_invalid_names_and_keeps_others() {
        for (variables, image, entry, reason) in [
            (&["SERVICE_80_NAME=my web"][..], "nginx", "my web:80/tcp", "SERVICE_80_NAME=my web"),
            (&["SERVICE_80_NAME=any"], "nginx", "any:80/tcp", "wildcard"),
            (&["SERVICE_80_NAME=", "SERVICE_443_NAME=tls"], "", ":80/tcp", "\"image \""),
        ] {
            let container = Container { image: image.into(), ..container(TWO, variables) };
            let findings = discover(&container);
            assert_eq!(findings.services.len(), 1, "{variables:?}");
            assert_eq!(entries(&findings), [entry]);
            let actual = &findings.skipped[0].reason;
            assert!(actual.contains(reason), "{actual}");
            assert!(actual.contains("set another name in SERVICE_NAME or SERVICE_80_NAME"));
        }
    }

    #[test]
    fn host_network_publishes_exposed_ports() {
        let container = Container {
            network: NetworkMode::Host,
            exposed: vec![(80, Protocol::Tcp), (443, Protocol::Tcp)],
            ..container(&[], &["SERVICE_443_NAME=tls"])
        };
        assert_eq!(services(&discover(&container)), ["nginx-80:80/tcp", "tls:443/tcp"]);
    }

    #[test]
    fn entry_names_source_of_the_name() {
        for (variables, expected) in [
            (&[][..], "image nginx:1.27"),
            (&["SERVICE_NAME="], "image nginx:1.27"),
            (&["SERVICE_NAME=web"], "SERVICE_NAME=web"),
            (&["SERVICE_NAME=web", "label SERVICE_80_name=api"], "SERVICE_80_name=api"),
        ] {
            let findings = discover(&container(WEB, variables));
            assert_eq!(findings.services[0].entry, expected);
            assert_eq!(findings.services[0].service.method, "registrator");
        }
    }
}
