//! The extractors: which services a container says it offers.
//!
//! One file an extractor; what they share (the grammar of an entry, the published
//! ports, the attributes that hold whichever extractor found a service) has files of
//! its own.

pub(crate) mod attributes;
mod compose;
mod digits;
mod env;
mod first_claim;
mod grammar;
mod label;
mod ports;
mod registrator;

use crate::model::container::Container;
use crate::model::names::DomainName;
use crate::model::publish_config::{Method, Rules};
use crate::model::service::{Service, Skipped};

pub(crate) use first_claim::Named;

/// A way to find the services that a container says it offers.
pub trait Extractor {
    /// What the container says in this extractor's language, in its own order;
    /// attributes are left at their default.
    fn extract(&self, container: &Container, domain: &DomainName) -> Findings;

    /// Why there was nothing to find in such a container, nor to skip; for those who
    /// wonder.
    fn silence(&self, container: &Container) -> &'static str;
}

/// What one extractor found in a container's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The services that it offers.
    pub found: Vec<Found>,
    /// What was not understood, and why.
    pub skipped: Vec<Skipped>,
}

/// A service, and the words that it was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What the container says, and where: `DISCOVER=httpd:80`.
    pub entry: String,
    /// What that means.
    pub service: Service,
}

impl Findings {
    fn append(&mut self, mut later: Self) {
        self.found.append(&mut later.found);
        self.skipped.append(&mut later.skipped);
    }
}

/// Runs the extractors in their order and gives each service its attributes. Of
/// services named twice, the first stays. Answers what was not understood, too.
pub fn find_services(container: &Container, rules: &Rules) -> (Vec<Service>, Vec<Skipped>) {
    let mut named = Named::default();
    let (mut services, mut skipped) = (Vec::new(), Vec::new());
    for method in &rules.methods {
        let mut findings = extractor(*method, rules).extract(container, &rules.domain);
        let found = findings.found.into_iter().map(|found| found.service);
        services.extend(found.filter(|service| named.claim(service).is_ok()));
        skipped.append(&mut findings.skipped);
    }
    skipped.append(&mut attributes::apply(&container.labels, &mut services));
    (services, skipped)
}

/// The extractor of this method, under these rules.
pub(crate) fn extractor(method: Method, rules: &Rules) -> &'static dyn Extractor {
    match method {
        Method::Env => &env::Env,
        Method::Label => &label::Label,
        Method::Registrator => &registrator::Registrator,
        Method::Compose if rules.compose_project => &compose::Compose { under_project: true },
        Method::Compose => &compose::Compose { under_project: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Method; 2] = [Method::Env, Method::Label];

    fn rules(methods: &[Method]) -> Rules {
        Rules { methods: methods.to_vec(), ..Rules::sample() }
    }

    fn found(container: &Container, methods: &[Method]) -> Vec<String> {
        let (services, skipped) = find_services(container, &rules(methods));
        assert_eq!(skipped, []);
        services.iter().map(|s| format!("{} {s}", s.method)).collect()
    }

    #[test]
    fn the_first_method_to_name_a_service_wins() {
        let container = Container::sample()
            .env("DISCOVER", "httpd:80,api:81")
            .label("highhock.discover", "api:81,HTTPD:80,httpd:8080");
        for (methods, expected) in [
            (&BOTH[..], &["env httpd:80", "env api:81", "label httpd:8080"][..]),
            (
                &[Method::Label, Method::Env],
                &["label api:81", "label httpd:80", "label httpd:8080"],
            ),
            (&[Method::Env], &["env httpd:80", "env api:81"]),
            (&[], &[]),
        ] {
            assert_eq!(found(&container, methods), expected);
        }
    }

    #[test]
    fn methods_that_name_every_port_give_way_to_those_before_them_for_one() {
        let container = Container::sample()
            .env("DISCOVER", "web:80")
            .label("com.docker.compose.service", "web")
            .label("com.docker.compose.project", "shop")
            .env("SERVICE_NAME", "web")
            .bind("80/tcp -> 0.0.0.0:8080");
        let all = [Method::Env, Method::Label, Method::Registrator, Method::Compose];
        assert_eq!(found(&container, &all), ["env web:80"]);
        let reversed = [Method::Compose, Method::Registrator, Method::Env];
        assert_eq!(found(&container, &reversed), ["compose web:80/tcp"]);
        let under_project = Rules { compose_project: true, ..rules(&all) };
        let (services, _) = find_services(&container, &under_project);
        let services: Vec<_> = services.iter().map(ToString::to_string).collect();
        assert_eq!(services, ["web:80", "web.shop:80/tcp"]);
    }

    #[test]
    fn a_service_named_twice_is_one_unless_its_protocols_differ() {
        for (entries, expected) in [
            ("named:53,named:53", &["env named:53"][..]),
            ("named:53/tcp,named:53/udp", &["env named:53/tcp", "env named:53/udp"]),
            ("named:53/udp,named:53/tcp,named:53/udp", &["env named:53/udp", "env named:53/tcp"]),
            ("named:53,named:53/udp", &["env named:53"]),
            ("named:53/udp,named:53", &["env named:53/udp"]),
            ("named:53/udp,named:53,named:53/tcp", &["env named:53/udp", "env named:53/tcp"]),
            ("named:53,named:54,ns:53", &["env named:53", "env named:54", "env ns:53"]),
        ] {
            assert_eq!(found(&Container::sample().env("DISCOVER", entries), &BOTH), expected);
        }
    }

    #[test]
    fn attributes_hold_whichever_method_found_the_service() {
        let container = Container::sample()
            .env("DISCOVER", "httpd:80")
            .label("highhock.discover", "api:81")
            .label("highhock.priority", "7");
        let (services, _) = find_services(&container, &rules(&BOTH));
        let priorities: Vec<_> = services.iter().map(|s| s.attributes.priority).collect();
        assert_eq!(priorities, [Some(7), Some(7)]);
    }

    #[test]
    fn what_each_step_skips_is_told() {
        let container = Container::sample()
            .env("DISCOVER", "httpd")
            .label("highhock.discover", "api:0,web:80")
            .label("highhock.weight", "heavy");
        let (services, skipped) = find_services(&container, &rules(&BOTH));
        assert_eq!(services.len(), 1);
        let entries: Vec<_> = skipped.iter().map(|s| s.entry.as_str()).collect();
        assert_eq!(entries, ["httpd", "api:0", "highhock.weight=heavy"]);
    }
}
