//! The discovery method `env`: services in the environment variables `DISCOVER` and
//! `DISCOVERY`.

use super::grammar::read_entries;
use super::{Discoverer, DiscoveryResult};
use crate::model::container::Container;
use crate::model::names::DomainName;

/// The variables that are read, in order.
const VARIABLES: [&str; 2] = ["DISCOVER", "DISCOVERY"];

/// The discovery method `env`. If both variables are set, both are read.
pub struct Env;

impl Discoverer for Env {
    fn discover(&self, container: &Container, domain: &DomainName) -> DiscoveryResult {
        let mut findings = DiscoveryResult::default();
        for variable in VARIABLES {
            if let Some(text) = container.env.get(variable) {
                findings.append(read_entries(variable, text, "env", domain));
            }
        }
        findings
    }

    fn none_reason(&self, _: &Container) -> &'static str {
        "neither DISCOVER nor DISCOVERY is set"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_variables() {
        for (variables, services, skipped) in [
            (&[][..], &[][..], &[][..]),
            (&[("DISCOVER", "httpd:80")], &["httpd:80"], &[]),
            (&[("DISCOVERY", "httpd:80,api:81")], &["httpd:80", "api:81"], &[]),
            (&[("DISCOVERY", "a:1"), ("DISCOVER", "b:2")], &["b:2", "a:1"], &[]),
            (&[("DISCOVER", ""), ("DISCOVERY", "a:1")], &["a:1"], &["DISCOVER="]),
            (&[("DISCOVERY", " ")], &[], &["DISCOVERY= "]),
            (&[("DISCOVER", "a:1,b")], &["a:1"], &["b"]),
            (&[("discover", "a:1"), ("DISCOVERED", "b:2"), ("PATH", "c:3")], &[], &[]),
        ] {
            let container = variables
                .iter()
                .fold(Container::sample(), |container, (key, value)| container.env(key, value))
                .label("highhock.discover", "label:1");
            let found = Env.discover(&container, &DomainName::parse("highhock.local").unwrap());
            let names: Vec<_> = found.services.iter().map(|one| one.service.to_string()).collect();
            assert_eq!(names, services, "{variables:?}");
            let entries: Vec<_> = found.skipped.iter().map(|s| s.entry.as_str()).collect();
            assert_eq!(entries, skipped, "{variables:?}");
            assert!(found.services.iter().all(|one| one.service.method == "env"));
        }
    }

    #[test]
    fn reason_names_the_variable() {
        let container = Container::sample().env("DISCOVERY", "httpd");
        let found = Env.discover(&container, &DomainName::parse("highhock.local").unwrap());
        assert!(found.skipped[0].reason.contains("DISCOVERY takes"), "{:?}", found.skipped);
    }
}
