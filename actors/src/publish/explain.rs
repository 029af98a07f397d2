//! The explanation of a container's records, step by step, for `highhock records --explain`.
//!
//! [`explain`] runs the same steps as [`crate::publish::plan`], and keeps the intermediate
//! results that `plan` drops.

use std::collections::BTreeMap;

use super::endpoint::PortAccess;
use super::record_builder::{RecordBuilder, ServiceRecords};
use super::withholding::withhold_reason;
use crate::discovery::{FirstClaims, attributes, discoverer};
use crate::model::container::Container;
use crate::model::publish_config::{DiscoveryMethod, PublishConfig};
use crate::model::record::DesiredRecord;
use crate::model::service::{Service, SkippedEntry};

/// The steps from the labels and variables of one container to its records.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The findings of each active discovery method, in the order of the setting
    /// `discovery.methods`.
    pub methods: Vec<MethodFindings>,
    /// The services that remain after duplicates are removed, with their records.
    pub services: Vec<ExplainedService>,
    /// The attribute labels that have no effect, each with its reason.
    pub skipped: Vec<SkippedEntry>,
}

/// The findings of one discovery method.
#[derive(Clone, Debug)]
pub struct MethodFindings {
    /// The discovery method.
    pub method: DiscoveryMethod,
    /// The services that the method found, including services that an earlier method claimed.
    pub named: Vec<NamedService>,
    /// The entries that are malformed, or that exclude ports on purpose.
    pub skipped: Vec<SkippedEntry>,
    /// The settings of another program that concern no record, each with its reason.
    pub ignored: Vec<SkippedEntry>,
    /// The reason for a method without any finding. `None` if the method found or skipped
    /// something.
    pub none_reason: Option<&'static str>,
}

/// A service that a discovery method found.
#[derive(Clone, Debug)]
pub struct NamedService {
    /// The source of the service, such as `DISCOVER=httpd:80`.
    pub entry: String,
    /// The service, without its attributes.
    pub service: Service,
    /// The method that claimed the same service earlier, if this one is a duplicate.
    pub claimed_by: Option<&'static str>,
}

/// A service that remains after duplicates are removed, and its records.
#[derive(Clone, Debug)]
pub struct ExplainedService {
    /// The service, with its attributes.
    pub service: Service,
    /// The label that set each attribute, by the name of the attribute.
    pub labels: BTreeMap<String, String>,
    /// The desired records. Empty if the service is unreachable, or if the whole container is
    /// withheld.
    pub records: Vec<DesiredRecord>,
    /// The parts of the service that were skipped, each with its reason.
    pub skipped: Vec<SkippedEntry>,
}

/// Explains the records of an inspected container. `access` is the way to its ports.
pub fn explain(container: &Container, access: &PortAccess, config: &PublishConfig) -> Explanation {
    let mut claims = FirstClaims::default();
    let mut services = Vec::new();
    let mut methods = Vec::new();
    for &method in &config.methods {
        let discoverer = discoverer(method, config);
        let findings = discoverer.discover(container, &config.domain);
        let is_empty = findings.services.is_empty() && findings.skipped.is_empty();
        let mut result = MethodFindings {
            method,
            named: Vec::new(),
            skipped: findings.skipped,
            ignored: findings.ignored,
            none_reason: is_empty.then(|| discoverer.none_reason(container)),
        };
        for found in findings.services {
            let claimed_by = claims.claim(&found.service).err();
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
    let builder = RecordBuilder { container, access, config };
    let explain_service = |(service, labels): (Service, _)| {
        let records = if withheld { ServiceRecords::default() } else { builder.records(&service) };
        ExplainedService { service, labels, records: records.desired, skipped: records.skipped }
    };
    let services = services.into_iter().zip(labels).map(explain_service).collect();
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

    fn explain_sample(container: &Container) -> Explanation {
        explain(container, &PortAccess::from_container(container), &config())
    }

    fn findings(explanation: &Explanation, method: DiscoveryMethod) -> &MethodFindings {
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
        let explanation = explain_sample(&busy());
        let named: Vec<_> = explanation
            .methods
            .iter()
            .flat_map(|one| &one.named)
            .map(|one| format!("{} -> {} {:?}", one.entry, one.service, one.claimed_by))
            .collect();
        assert_eq!(
            named,
            [
                "DISCOVER=web:80 -> web:80 None",
                "DISCOVER=api:81 -> api:81 None",
                "highhock.discover=web:80 -> web:80 Some(\"env\")",
                "highhock.discover=web:443 -> web:443 None",
                "SERVICE_NAME=web -> web-80:80/tcp None",
            ]
        );
        let entry = |method| findings(&explanation, method).skipped[0].entry.as_str();
        assert_eq!(entry(DiscoveryMethod::Env), "bad");
        assert_eq!(entry(DiscoveryMethod::Registrator), "SERVICE_443_IGNORE=yes");
        assert_eq!(explanation.skipped[0].entry, "highhock.api.weight=heavy");
        for (method, is_empty) in [
            (DiscoveryMethod::Env, false),
            (DiscoveryMethod::Registrator, false),
            (DiscoveryMethod::Compose, true),
        ] {
            assert_eq!(
                findings(&explanation, method).none_reason.is_some(),
                is_empty,
                "{method:?}"
            );
        }
    }

    #[test]
    fn explains_result_and_labels_of_each_service() {
        let explanation = explain_sample(&busy());
        let results: Vec<_> = explanation
            .services
            .iter()
            .map(|one| {
                let port = one.records.first().map(|record| record.value.port);
                format!("{} at {port:?}, {} skipped", one.service, one.skipped.len())
            })
            .collect();
        assert_eq!(
            results,
            [
                "web:80 at Some(8080), 0 skipped",
                "api:81 at None, 1 skipped",
                "web:443 at None, 1 skipped",
                "web-80:80/tcp at Some(8080), 0 skipped",
            ]
        );
        for service in &explanation.services {
            assert_eq!(service.labels["priority"], "highhock.priority");
            assert_eq!(service.service.attributes.priority, Some(7));
        }
    }

    #[test]
    fn explains_container_without_services() {
        let explanation = explain_sample(&Container::sample());
        let reasons: Vec<_> =
            explanation.methods.iter().map(|one| one.none_reason.unwrap()).collect();
        assert_eq!(
            reasons,
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
