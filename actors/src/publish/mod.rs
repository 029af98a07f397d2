//! The desired records of a container, derived from its inspection.
//!
//! [`plan`] runs three steps: the discovery methods find the services, `withholding` decides
//! whether the container may be published, and `record_builder` turns each service into
//! records. The module [`explain`](mod@explain) runs the same steps and keeps the intermediate
//! results.

pub mod endpoint;
pub mod explain;
mod key_layout;
mod record_builder;
mod withholding;

use crate::discovery::find_services;
use crate::model::container::Container;
use crate::model::publish_config::PublishConfig;
use crate::model::record::DesiredRecord;
use crate::model::service::{Service, SkippedEntry};
use endpoint::PortAccess;
use record_builder::RecordBuilder;
use withholding::withhold_reason;

pub(crate) use withholding::ignores_drain;

/// The services of a container, its desired records, and the reasons for everything that is
/// not published.
#[derive(Clone, Debug, Default)]
pub struct PublishPlan {
    /// All services found, including services that cannot be published.
    pub services: Vec<Service>,
    /// The desired records, in the order of the container's entries. Empty while the whole
    /// container is withheld.
    pub desired: Vec<DesiredRecord>,
    /// The entries that were skipped, each with its reason.
    pub skipped: Vec<SkippedEntry>,
    /// The reason to withhold the whole container for now, such as "is paused".
    pub withheld: Option<String>,
}

/// Derives the services and desired records of an inspected container.
///
/// `access` is the way to the container's ports, which may be another container's network.
/// Two services with the same key both yield desired records, in their order. Key conflicts
/// are resolved by the reconciler.
pub fn plan(container: &Container, access: &PortAccess, config: &PublishConfig) -> PublishPlan {
    let (services, mut skipped) = find_services(container, config);

    if let Some(reason) = withhold_reason(container, config.health) {
        // The engine removes the bindings of a container that ended, so its services would be
        // reported as unreachable.
        return PublishPlan { services, desired: Vec::new(), skipped, withheld: Some(reason) };
    }

    let builder = RecordBuilder { container, access, config };
    let mut desired = Vec::new();
    for service in &services {
        let mut records = builder.records(service);
        desired.append(&mut records.desired);
        skipped.append(&mut records.skipped);
    }
    PublishPlan { services, desired, skipped, withheld: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::ContainerState;

    pub(super) fn config() -> PublishConfig {
        PublishConfig::sample()
    }

    /// A container with one published service.
    pub(super) fn httpd() -> Container {
        Container::sample().env("DISCOVER", "httpd:80").bind("80/tcp -> 0.0.0.0:8080")
    }

    pub(super) fn offered(container: &Container, config: &PublishConfig) -> PublishPlan {
        plan(container, &PortAccess::from_container(container), config)
    }

    /// Formats each desired record as `key = value`.
    pub(super) fn desired(plan: &PublishPlan) -> Vec<String> {
        plan.desired.iter().map(|r| format!("{} = {}", r.key, r.value.to_json())).collect()
    }

    #[test]
    fn published_port_becomes_a_record() {
        let plan = offered(&httpd(), &config());
        assert_eq!(
            desired(&plan),
            [r#"skydns/local/highhock/httpd = {"host":"10.77.66.0","port":8080,"ttl":60}"#],
        );
        assert!(plan.desired[0].own_host);
        assert_eq!(plan.skipped, []);
        assert_eq!(plan.withheld, None);
        assert_eq!(plan.services.len(), 1);
    }

    #[test]
    fn services_with_one_key_are_all_desired_in_order() {
        let container = httpd().env("DISCOVER", "httpd:81,httpd:80").bind("81/tcp -> 0.0.0.0:8081");
        assert_eq!(
            desired(&offered(&container, &config())),
            [
                r#"skydns/local/highhock/httpd = {"host":"10.77.66.0","port":8081,"ttl":60}"#,
                r#"skydns/local/highhock/httpd = {"host":"10.77.66.0","port":8080,"ttl":60}"#,
            ],
        );
    }

    #[test]
    fn skips_unreachable_service_and_keeps_others() {
        let container = httpd().env("DISCOVER", "Api:81/udp,httpd:80,bad");
        let plan = offered(&container, &config());
        assert_eq!(plan.desired.len(), 1);
        assert_eq!(plan.services.len(), 2);
        let entries: Vec<_> = plan.skipped.iter().map(|s| s.entry.as_str()).collect();
        assert_eq!(entries, ["bad", "api:81/udp"]);
    }

    #[test]
    fn withheld_container_reports_malformed_entries_only() {
        let container = Container { state: ContainerState::Exited, ..Container::sample() }
            .env("DISCOVER", "httpd:80,bad");
        let plan = offered(&container, &config());
        let entries: Vec<_> = plan.skipped.iter().map(|s| s.entry.as_str()).collect();
        assert_eq!(entries, ["bad"]);
    }

    #[test]
    fn plan_uses_the_given_port_access() {
        let plan = plan(&httpd(), &PortAccess::HostNetwork, &config());
        assert_eq!(
            desired(&plan),
            [r#"skydns/local/highhock/httpd = {"host":"10.77.66.0","port":80,"ttl":60}"#],
        );
    }
}
