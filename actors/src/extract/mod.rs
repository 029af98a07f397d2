//! The extractors: which services a container says it offers.
//!
//! One file an extractor; what they share (the grammar of an entry, the attributes
//! that hold whichever extractor found a service) has files of its own.

mod attributes;
mod digits;
mod env;
mod grammar;
mod label;

use std::collections::HashMap;
use std::num::NonZeroU16;

use crate::container::{Container, Proto};
use crate::publish::Method;
use crate::service::{DomainName, Service, ServiceName, Skipped};

/// A way to find the services that a container says it offers.
pub trait Extractor {
    /// What the container says in this extractor's language, in its own order;
    /// attributes are left at their default.
    fn extract(&self, container: &Container, domain: &DomainName) -> Findings;
}

/// What was found in a container's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The services that it offers.
    pub services: Vec<Service>,
    /// What was not understood, and why.
    pub skipped: Vec<Skipped>,
}

impl Findings {
    fn append(&mut self, mut later: Self) {
        self.services.append(&mut later.services);
        self.skipped.append(&mut later.skipped);
    }
}

/// Runs the extractors in this order and gives each service its attributes. Of
/// services named twice, the first stays.
pub fn find_services(container: &Container, methods: &[Method], domain: &DomainName) -> Findings {
    let mut findings = Findings::default();
    for method in methods {
        findings.append(extractor(*method).extract(container, domain));
    }
    keep_first_of_each(&mut findings.services);
    findings.skipped.append(&mut attributes::apply(&container.labels, &mut findings.services));
    findings
}

fn extractor(method: Method) -> &'static dyn Extractor {
    match method {
        Method::Env => &env::Env,
        Method::Label => &label::Label,
    }
}

/// Two entries name the same service where name and port are the same, unless each
/// gives a protocol and they differ: `named:53/tcp,named:53/udp` are two services,
/// since an instance of either has a key of its own. An entry without a protocol
/// stands for whichever is published, so it is the same as any.
fn keep_first_of_each(services: &mut Vec<Service>) {
    let mut named: HashMap<(ServiceName, NonZeroU16), Vec<Option<Proto>>> = HashMap::new();
    services.retain(|service| {
        let protos = named.entry((service.name.clone(), service.port)).or_default();
        let first = protos.iter().all(|earlier| differ(*earlier, service.proto));
        if first {
            protos.push(service.proto);
        }
        first
    });
}

fn differ(one: Option<Proto>, other: Option<Proto>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Method; 2] = [Method::Env, Method::Label];

    fn domain() -> DomainName {
        DomainName::parse("highhock.local").unwrap()
    }

    fn found(container: &Container, methods: &[Method]) -> Vec<String> {
        let findings = find_services(container, methods, &domain());
        assert_eq!(findings.skipped, []);
        findings.services.iter().map(|s| format!("{} {s}", s.method)).collect()
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
        let services = find_services(&container, &BOTH, &domain()).services;
        let priorities: Vec<_> = services.iter().map(|s| s.attributes.priority).collect();
        assert_eq!(priorities, [Some(7), Some(7)]);
    }

    #[test]
    fn what_each_step_skips_is_told() {
        let container = Container::sample()
            .env("DISCOVER", "httpd")
            .label("highhock.discover", "api:0,web:80")
            .label("highhock.weight", "heavy");
        let findings = find_services(&container, &BOTH, &domain());
        assert_eq!(findings.services.len(), 1);
        let entries: Vec<_> = findings.skipped.iter().map(|s| s.entry.as_str()).collect();
        assert_eq!(entries, ["httpd", "api:0", "highhock.weight=heavy"]);
    }
}
