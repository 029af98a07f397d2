//! Service discovery: finds the services that a container declares.
//!
//! Each discovery method has a file with one implementation of [`Discoverer`]: `env`, `label`,
//! `registrator` and `compose`. The other files are shared: the grammar of an entry, the
//! published ports, the deduplication, and the attributes that apply to services of every
//! method. The rules are in `config/README.md`, "Declaring services", "Discovery methods" and
//! "Attributes".

pub(crate) mod attributes;
mod compose;
mod digits;
mod env;
mod first_claim;
mod grammar;
mod ignored_settings;
mod label;
mod ports;
mod quotes;
mod registrator;
mod suggestion;

use crate::model::container::Container;
use crate::model::names::DomainName;
use crate::model::publish_config::{DiscoveryMethod, PublishConfig};
use crate::model::service::{Service, SkippedEntry};

pub(crate) use compose::{compose_project, is_compose_service};
pub(crate) use first_claim::FirstClaims;

/// A discovery method.
pub trait Discoverer {
    /// Finds the services that the container declares for this method, in the order of their
    /// declaration. The attributes of the services are left at their default.
    fn discover(&self, container: &Container, domain: &DomainName) -> DiscoveryResult;

    /// Returns the reason for an empty [`DiscoveryResult`], for `highhock records --explain`.
    fn none_reason(&self, container: &Container) -> &'static str;
}

/// The findings of one discovery method in one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryResult {
    /// The services found.
    pub services: Vec<DiscoveredService>,
    /// The entries that are malformed or excluded, each with its reason.
    pub skipped: Vec<SkippedEntry>,
    /// The settings of another program that concern no record, each with its reason. They are
    /// shown by `highhock records --explain` only.
    pub ignored: Vec<SkippedEntry>,
}

/// A service and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredService {
    /// The place and text of the declaration, such as `DISCOVER=httpd:80`.
    pub entry: String,
    /// The declared service.
    pub service: Service,
}

impl DiscoveryResult {
    fn append(&mut self, mut later: Self) {
        self.services.append(&mut later.services);
        self.skipped.append(&mut later.skipped);
        self.ignored.append(&mut later.ignored);
    }
}

/// Runs the configured discovery methods in order and sets the attributes of each service.
///
/// If two declarations name the same service, the first one wins. The second part of the
/// result lists the entries that were skipped.
pub fn find_services(
    container: &Container,
    config: &PublishConfig,
) -> (Vec<Service>, Vec<SkippedEntry>) {
    let mut claims = FirstClaims::default();
    let (mut services, mut skipped) = (Vec::new(), Vec::new());
    for method in &config.methods {
        let mut findings = discoverer(*method, config).discover(container, &config.domain);
        let found = findings.services.into_iter().map(|found| found.service);
        services.extend(found.filter(|service| claims.claim(service).is_ok()));
        skipped.append(&mut findings.skipped);
    }
    skipped.append(&mut attributes::apply(&container.labels, &mut services));
    (services, skipped)
}

/// Returns the implementation of a discovery method, as `config` selects it.
pub(crate) fn discoverer(
    method: DiscoveryMethod,
    config: &PublishConfig,
) -> &'static dyn Discoverer {
    match method {
        DiscoveryMethod::Env => &env::Env,
        DiscoveryMethod::Label => &label::Label,
        DiscoveryMethod::Registrator => &registrator::Registrator,
        DiscoveryMethod::Compose if config.compose_project => {
            &compose::Compose { under_project: true }
        }
        DiscoveryMethod::Compose => &compose::Compose { under_project: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENV_AND_LABEL: [DiscoveryMethod; 2] = [DiscoveryMethod::Env, DiscoveryMethod::Label];

    fn config(methods: &[DiscoveryMethod]) -> PublishConfig {
        PublishConfig { methods: methods.to_vec(), ..PublishConfig::sample() }
    }

    fn found(container: &Container, methods: &[DiscoveryMethod]) -> Vec<String> {
        let (services, skipped) = find_services(container, &config(methods));
        assert_eq!(skipped, []);
        services.iter().map(|s| format!("{} {s}", s.method)).collect()
    }

    #[test]
    fn first_method_wins() {
        let container = Container::sample()
            .env("DISCOVER", "httpd:80,api:81")
            .label("highhock.discover", "api:81,HTTPD:80,httpd:8080");
        for (methods, expected) in [
            (&ENV_AND_LABEL[..], &["env httpd:80", "env api:81", "label httpd:8080"][..]),
            (
                &[DiscoveryMethod::Label, DiscoveryMethod::Env],
                &["label api:81", "label httpd:80", "label httpd:8080"],
            ),
            (&[DiscoveryMethod::Env], &["env httpd:80", "env api:81"]),
            (&[], &[]),
        ] {
            assert_eq!(found(&container, methods), expected);
        }
    }

    #[test]
    fn earlier_method_wins_over_methods_that_name_all_ports() {
        let container = Container::sample()
            .env("DISCOVER", "web:80")
            .label("com.docker.compose.service", "web")
            .label("com.docker.compose.project", "shop")
            .env("SERVICE_NAME", "web")
            .bind("80/tcp -> 0.0.0.0:8080");
        let all = [
            DiscoveryMethod::Env,
            DiscoveryMethod::Label,
            DiscoveryMethod::Registrator,
            DiscoveryMethod::Compose,
        ];
        assert_eq!(found(&container, &all), ["env web:80"]);
        let reversed =
            [DiscoveryMethod::Compose, DiscoveryMethod::Registrator, DiscoveryMethod::Env];
        assert_eq!(found(&container, &reversed), ["compose web:80/tcp"]);
        let under_project = PublishConfig { compose_project: true, ..config(&all) };
        let (services, _) = find_services(&container, &under_project);
        let services: Vec<_> = services.iter().map(ToString::to_string).collect();
        assert_eq!(services, ["web:80", "web.shop:80/tcp"]);
    }

    #[test]
    fn deduplicates_services_unless_protocols_differ() {
        for (entries, expected) in [
            ("named:53,named:53", &["env named:53"][..]),
            ("named:53/tcp,named:53/udp", &["env named:53/tcp", "env named:53/udp"]),
            ("named:53/udp,named:53/tcp,named:53/udp", &["env named:53/udp", "env named:53/tcp"]),
            ("named:53,named:53/udp", &["env named:53"]),
            ("named:53/udp,named:53", &["env named:53/udp"]),
            ("named:53/udp,named:53,named:53/tcp", &["env named:53/udp", "env named:53/tcp"]),
            ("named:53,named:54,ns:53", &["env named:53", "env named:54", "env ns:53"]),
        ] {
            assert_eq!(
                found(&Container::sample().env("DISCOVER", entries), &ENV_AND_LABEL),
                expected
            );
        }
    }

    #[test]
    fn attributes_apply_to_services_of_any_method() {
        let container = Container::sample()
            .env("DISCOVER", "httpd:80")
            .label("highhock.discover", "api:81")
            .label("highhock.priority", "7");
        let (services, _) = find_services(&container, &config(&ENV_AND_LABEL));
        let priorities: Vec<_> = services.iter().map(|s| s.attributes.priority).collect();
        assert_eq!(priorities, [Some(7), Some(7)]);
    }

    #[test]
    fn reports_skipped_entries_of_every_step() {
        let container = Container::sample()
            .env("DISCOVER", "httpd")
            .label("highhock.discover", "api:0,web:80")
            .label("highhock.weight", "heavy");
        let (services, skipped) = find_services(&container, &config(&ENV_AND_LABEL));
        assert_eq!(services.len(), 1);
        let entries: Vec<_> = skipped.iter().map(|s| s.entry.as_str()).collect();
        assert_eq!(entries, ["httpd", "api:0", "highhock.weight=heavy"]);
    }
}
