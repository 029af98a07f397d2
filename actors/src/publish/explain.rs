//! How a container's words come to its records, step by step, for those who wonder why
//! something is published or is not.
//!
//! It runs the same steps as [`crate::publish::plan`] does, and keeps what that drops.

use std::collections::BTreeMap;

use super::endpoint::PortAccess;
use super::{records_for, withhold_reason};
use crate::discovery::{FirstClaims, attributes, discoverer};
use crate::model::container::Container;
use crate::model::publish_config::{DiscoveryMethod, PublishConfig};
use crate::model::record::DesiredRecord;
use crate::model::service::{Service, SkippedEntry};

/// All that there is to say of one container.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What each extractor that ran said, in their order.
    pub methods: Vec<MethodFindings>,
    /// What became of the services that stayed.
    pub services: Vec<ExplainedService>,
    /// The labels for attributes that count for nothing, and why.
    pub skipped: Vec<SkippedEntry>,
}

/// What one extractor said.
#[derive(Clone, Debug)]
pub struct MethodFindings {
    /// Which.
    pub method: DiscoveryMethod,
    /// The services that it named.
    pub named: Vec<NamedService>,
    /// What it did not understand, or was asked to ignore.
    pub skipped: Vec<SkippedEntry>,
    /// Why it said nothing at all, where it didn't.
    pub none_reason: Option<&'static str>,
}

/// A service that an extractor named.
#[derive(Clone, Debug)]
pub struct NamedService {
    /// The words that it was found in: `DISCOVER=httpd:80`.
    pub entry: String,
    /// The service.
    pub service: Service,
    /// The method that named it before, where it was dropped for that.
    pub claimed_by: Option<&'static str>,
}

/// A service that stayed, and what became of it.
#[derive(Clone, Debug)]
pub struct ExplainedService {
    /// The service, with its attributes.
    pub service: Service,
    /// The labels that say its attributes, each by the attribute's name.
    pub labels: BTreeMap<String, String>,
    /// Its records. Empty where it can't be reached, or where the container as a whole is
    /// left out.
    pub records: Vec<DesiredRecord>,
    /// What of it was left out, and why.
    pub skipped: Vec<SkippedEntry>,
}

/// Explains a container. `reach` says how its ports can be reached.
pub fn explain(container: &Container, access: &PortAccess, config: &PublishConfig) -> Explanation {
    let mut named = FirstClaims::default();
    let mut services = Vec::new();
    let mut methods = Vec::new();
    for &method in &config.methods {
        let discoverer = discoverer(method, config);
        let findings = discoverer.discover(container, &config.domain);
        let silent = findings.services.is_empty() && findings.skipped.is_empty();
        let mut result = MethodFindings {
            method,
            named: Vec::new(),
            skipped: findings.skipped,
            none_reason: silent.then(|| discoverer.none_reason(container)),
        };
        for found in findings.services {
            let claimed_by = named.claim(&found.service).err();
            if claimed_by.is_none() {
                services.push(found.service.clone());
            }
            let (entry, service) = (found.entry, found.service);
            result.named.push(NamedService { entry, service, claimed_by });
        }
        methods.push(result);
    }

    let skipped = attributes::apply(&container.labels, &mut services);
    let labels = attributes::labels_by_attribute(&container.labels, &services);
    let withheld = withhold_reason(container, config.health).is_some();
    let explained = |(service, labels): (Service, _)| {
        let records = if withheld {
            Default::default()
        } else {
            records_for(container, &service, access, config)
        };
        ExplainedService { service, labels, records: records.desired, skipped: records.skipped }
    };
    let services = services.into_iter().zip(labels).map(explained).collect();
    Explanation { methods, services, skipped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::{ContainerState, NetworkMode};
    use crate::model::publish_config::KeyLayout;
    use crate::publish::plan;

    const ALL: [DiscoveryMethod; 4] = [
        DiscoveryMethod::Env,
        DiscoveryMethod::Label,
        DiscoveryMethod::Registrator,
        DiscoveryMethod::Compose,
    ];

    fn config() -> PublishConfig {
        PublishConfig { methods: ALL.to_vec(), ..PublishConfig::sample() }
    }

    fn explained(container: &Container) -> Explanation {
        explain(container, &PortAccess::from_container(container), &config())
    }

    fn of(explanation: &Explanation, method: DiscoveryMethod) -> &MethodFindings {
        explanation.methods.iter().find(|one| one.method == method).unwrap()
    }

    fn busy() -> Container {
        Container::sample()
            .env("DISCOVER", "web:80,api:81,bad")
            .label("highhock.discover", "web:80,web:443")
            .env("SERVICE_NAME", "web")
            .env("SERVICE_443_IGNORE", "yes")
            .label("highhock.priority", "7")
            .label("highhock.api.weight", "heavy")
            .bind("80/tcp -> 0.0.0.0:8080")
            .bind("443/tcp -> 127.0.0.1:8443")
    }

    #[test]
    fn explains_sources_and_dropped_services() {
        let explanation = explained(&busy());
        let told: Vec<_> = explanation
            .methods
            .iter()
            .flat_map(|one| &one.named)
            .map(|one| format!("{} -> {} {:?}", one.entry, one.service, one.claimed_by))
            .collect();
        assert_eq!(
            told,
            [
                "DISCOVER=web:80 -> web:80 None",
                "DISCOVER=api:81 -> api:81 None",
                "highhock.discover=web:80 -> web:80 Some(\"env\")",
                "highhock.discover=web:443 -> web:443 None",
                "SERVICE_NAME=web -> web-80:80/tcp None",
            ]
        );
        let entry = |method| of(&explanation, method).skipped[0].entry.as_str();
        assert_eq!(entry(DiscoveryMethod::Env), "bad");
        assert_eq!(entry(DiscoveryMethod::Registrator), "SERVICE_443_IGNORE=yes");
        assert_eq!(explanation.skipped[0].entry, "highhock.api.weight=heavy");
        for (method, silent) in [
            (DiscoveryMethod::Env, false),
            (DiscoveryMethod::Registrator, false),
            (DiscoveryMethod::Compose, true),
        ] {
            assert_eq!(of(&explanation, method).none_reason.is_some(), silent, "{method:?}");
        }
    }

    #[test]
    fn explains_result_and_labels_of_each_service() {
        let explanation = explained(&busy());
        let told: Vec<_> = explanation
            .services
            .iter()
            .map(|one| {
                let record = one.records.first().map(|record| record.value.port);
                (one.service.to_string(), record.map(u16::from), one.skipped.len())
            })
            .collect();
        let port = |name: &str, port, skipped| (name.to_owned(), port, skipped);
        assert_eq!(
            told,
            [
                port("web:80", Some(8080), 0),
                port("api:81", None, 1),
                port("web:443", None, 1),
                port("web-80:80/tcp", Some(8080), 0),
            ]
        );
        for service in &explanation.services {
            assert_eq!(service.labels["priority"], "highhock.priority");
            assert_eq!(service.service.attributes.priority, Some(7));
        }
    }

    #[test]
    fn explains_container_without_services() {
        let explanation = explained(&Container::sample());
        let silences: Vec<_> =
            explanation.methods.iter().map(|one| one.none_reason.unwrap()).collect();
        assert_eq!(
            silences,
            [
                "neither DISCOVER nor DISCOVERY is set",
                "there is no label highhock.discover",
                "no port is published",
                "there is no label com.docker.compose.service",
            ]
        );
        assert!(explanation.services.is_empty() && explanation.skipped.is_empty());
    }

    #[test]
    fn explanation_matches_plan() {
        let compose = Container::sample()
            .label("com.docker.compose.service", "ns")
            .label("com.docker.compose.project", "infra")
            .bind("53/tcp -> 0.0.0.0:53")
            .bind("53/udp -> 0.0.0.0:53");
        for container in [
            busy(),
            compose,
            Container::sample(),
            Container { state: ContainerState::Paused, ..busy() },
            Container { network: NetworkMode::None, ..busy() },
        ] {
            for layout in [KeyLayout::Flat, KeyLayout::Instance] {
                let config = PublishConfig { layout, compose_project: true, ..config() };
                let access = PortAccess::from_container(&container);
                let plan = plan(&container, &access, &config);
                let explanation = explain(&container, &access, &config);
                let services: Vec<_> =
                    explanation.services.iter().map(|one| one.service.clone()).collect();
                assert_eq!(services, plan.services);
                let of_services = || explanation.services.iter();
                let desired: Vec<_> = of_services().flat_map(|one| one.records.clone()).collect();
                assert_eq!(desired, plan.desired);
                let skipped: Vec<_> = explanation
                    .methods
                    .iter()
                    .flat_map(|one| &one.skipped)
                    .chain(&explanation.skipped)
                    .chain(of_services().flat_map(|one| &one.skipped))
                    .collect();
                assert_eq!(skipped, plan.skipped.iter().collect::<Vec<_>>());
            }
        }
    }
}
