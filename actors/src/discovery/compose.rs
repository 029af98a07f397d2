//! The discovery method `compose`: publishes every published port of a container that Docker
//! Compose created, under the name of the Compose service.

use std::collections::HashSet;

use super::ports::compose_ports;
use super::{DiscoveredService, Discoverer, DiscoveryResult};
use crate::model::container::{Container, NetworkMode};
use crate::model::names::{DomainName, ServiceName};
use crate::model::service::{Attributes, Service, SkippedEntry};

/// The labels that Compose sets on its containers, since version 1.
const SERVICE_LABEL: &str = "com.docker.compose.service";
const PROJECT_LABEL: &str = "com.docker.compose.project";
const ONE_OFF_LABEL: &str = "com.docker.compose.oneoff";

/// Returns `true` if Compose created the container.
pub(crate) fn is_compose_service(container: &Container) -> bool {
    container.labels.contains_key(SERVICE_LABEL)
}

/// Returns the Compose project of a container.
pub(crate) fn compose_project(container: &Container) -> Option<&str> {
    let project = container.labels.get(PROJECT_LABEL).map(String::as_str);
    project.filter(|project| !project.is_empty())
}

/// The discovery method `compose`.
pub struct Compose {
    /// `true` if the name is `<service>.<project>` (the setting `discovery.composeProject`).
    pub under_project: bool,
}

impl Discoverer for Compose {
    fn discover(&self, container: &Container, domain: &DomainName) -> DiscoveryResult {
        let mut findings = DiscoveryResult::default();
        let ports = compose_ports(container);
        let Some(service) = container.labels.get(SERVICE_LABEL).filter(|_| !ports.is_empty())
        else {
            return findings;
        };
        let entry = format!("{SERVICE_LABEL}={service}");
        let suffix = match self.project_suffix(container) {
            Ok(suffix) => suffix,
            Err(skipped) => {
                findings.skipped.push(skipped);
                return findings;
            }
        };
        // A port with two protocols counts once, and has one name.
        let several = ports.iter().map(|(port, _)| port).collect::<HashSet<_>>().len() > 1;
        for (port, proto) in ports {
            let name = if several {
                format!("{service}-{port}{suffix}")
            } else {
                format!("{service}{suffix}")
            };
            match ServiceName::parse(&name, domain) {
                Ok(name) => findings.services.push(DiscoveredService {
                    entry: entry.clone(),
                    service: Service {
                        name,
                        port,
                        proto: Some(proto),
                        method: "compose",
                        attributes: Attributes::default(),
                    },
                }),
                Err(reason) => {
                    let entry = format!("{name}:{port}/{proto}");
                    findings.skipped.push(SkippedEntry::new(&entry, reason));
                }
            }
        }
        findings
    }

    fn none_reason(&self, container: &Container) -> &'static str {
        let is_guest = matches!(container.network, NetworkMode::Container(_));
        if is_compose_service(container) && is_guest && container.shared_ports.is_none() {
            "it exposes no port; declare the port in the label highhock.discover"
        } else if is_compose_service(container) && is_guest {
            "the container whose network it shares publishes no port that this container alone \
             claims; declare the port in the label highhock.discover"
        } else if is_compose_service(container) {
            "no port is published"
        } else {
            "there is no label com.docker.compose.service"
        }
    }
}

impl Compose {
    /// Returns the suffix of the service's name: nothing, or a dot and the project. Returns a
    /// skipped entry if the container is not an instance of its service.
    fn project_suffix(&self, container: &Container) -> Result<String, SkippedEntry> {
        let label = |key: &str| container.labels.get(key).map(String::as_str);
        if let Some(one_off) =
            label(ONE_OFF_LABEL).filter(|value| value.eq_ignore_ascii_case("true"))
        {
            let reason = "it was made for one task (`docker compose run`), and clients of the \
                          service do not expect it; use `docker compose up` to publish it";
            return Err(SkippedEntry::new(&format!("{ONE_OFF_LABEL}={one_off}"), reason));
        }
        if !self.under_project {
            return Ok(String::new());
        }
        match compose_project(container) {
            Some(project) => Ok(format!(".{project}")),
            None => {
                let service = label(SERVICE_LABEL).unwrap_or_default();
                let reason = format!(
                    "there is no label {PROJECT_LABEL}, which discovery.composeProject needs; \
                     set the label, or turn the setting off"
                );
                Err(SkippedEntry::new(&format!("{SERVICE_LABEL}={service}"), reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the method on a container with these published ports and labels of Compose.
    fn discover(ports: &[&str], labels: &[(&str, &str)], under_project: bool) -> DiscoveryResult {
        let mut container = Container::sample();
        for port in ports {
            container = container.bind(&format!("{port} -> 0.0.0.0:8080"));
        }
        for (key, value) in labels {
            container = container.label(&format!("com.docker.compose.{key}"), value);
        }
        let domain = DomainName::parse("highhock.local").unwrap();
        Compose { under_project }.discover(&container, &domain)
    }

    const WEB: &[(&str, &str)] = &[("service", "web"), ("project", "shop"), ("oneoff", "False")];

    #[test]
    fn published_ports_are_named_by_the_service() {
        for (ports, labels, plain, under_project) in [
            (&[][..], WEB, &[][..], &[][..]),
            (&["80/tcp"], WEB, &["web:80/tcp"], &["web.shop:80/tcp"]),
            (&["53/udp"], WEB, &["web:53/udp"], &["web.shop:53/udp"]),
            (
                &["443/tcp", "80/tcp"],
                WEB,
                &["web-80:80/tcp", "web-443:443/tcp"],
                &["web-80.shop:80/tcp", "web-443.shop:443/tcp"],
            ),
            // A port with two protocols counts once.
            (
                &["53/udp", "53/tcp"],
                WEB,
                &["web:53/tcp", "web:53/udp"],
                &["web.shop:53/tcp", "web.shop:53/udp"],
            ),
            (
                &["53/udp", "53/tcp", "9153/tcp"],
                WEB,
                &["web-53:53/tcp", "web-53:53/udp", "web-9153:9153/tcp"],
                &["web-53.shop:53/tcp", "web-53.shop:53/udp", "web-9153.shop:9153/tcp"],
            ),
            (
                &["80/tcp"],
                &[("service", "Api.Web_1"), ("project", "my-shop")],
                &["api.web_1:80/tcp"],
                &["api.web_1.my-shop:80/tcp"],
            ),
            (&["80/tcp"], &[("project", "shop")], &[], &[]),
            (&["80/tcp"], &[], &[], &[]),
        ] {
            for (is_under_project, expected) in [(false, plain), (true, under_project)] {
                let findings = discover(ports, labels, is_under_project);
                let services: Vec<_> =
                    findings.services.iter().map(|found| found.service.to_string()).collect();
                assert_eq!(services, expected, "{ports:?} {labels:?}");
                assert_eq!(findings.skipped, [], "{ports:?} {labels:?}");
                for found in findings.services {
                    let service = labels.iter().find(|(key, _)| *key == "service").unwrap().1;
                    assert_eq!(found.entry, format!("com.docker.compose.service={service}"));
                    assert_eq!(found.service.method, "compose");
                }
            }
        }
    }

    #[test]
    fn skipped_services_have_a_reason() {
        for (labels, under_project, entry, reason) in [
            (
                &[("service", "web"), ("oneoff", "True")][..],
                false,
                "com.docker.compose.oneoff=True",
                "made for one task",
            ),
            (&[("service", "web shop")], false, "web shop:80/tcp", "' ' is not allowed in"),
            (&[("service", "")], false, ":80/tcp", "is empty"),
            (&[("service", "any")], false, "any:80/tcp", "wildcard"),
            (
                &[("service", "web")],
                true,
                "com.docker.compose.service=web",
                "there is no label com.docker.compose.project",
            ),
            (&[("service", "web"), ("project", "my shop")], true, "web.my shop:80/tcp", "' '"),
        ] {
            let findings = discover(&["80/tcp"], labels, under_project);
            assert_eq!(findings.services, [], "{labels:?}");
            assert_eq!(findings.skipped.len(), 1, "{labels:?}");
            assert_eq!(findings.skipped[0].entry, entry);
            assert!(findings.skipped[0].reason.contains(reason), "{:?}", findings.skipped);
        }
    }
}
