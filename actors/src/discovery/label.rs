//! The discovery method `label`: services in the label `highhock.discover`.

use super::grammar::read_entries;
use super::{Discoverer, DiscoveryResult};
use crate::model::container::Container;
use crate::model::names::DomainName;

const LABEL: &str = "highhock.discover";

/// The discovery method `label`.
pub struct Label;

impl Discoverer for Label {
    fn discover(&self, container: &Container, domain: &DomainName) -> DiscoveryResult {
        match container.labels.get(LABEL) {
            Some(text) => read_entries(LABEL, text, "label", domain),
            None => DiscoveryResult::default(),
        }
    }

    fn none_reason(&self, _: &Container) -> &'static str {
        "there is no label highhock.discover"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_label() {
        for (labels, services, skipped) in [
            (&[][..], &[][..], &[][..]),
            (&[("highhock.discover", "httpd:80")], &["httpd:80"], &[]),
            (&[("highhock.discover", "b:2/udp, a:1")], &["b:2/udp", "a:1"], &[]),
            (&[("highhock.discover", "a:1,b:0")], &["a:1"], &["b:0"]),
            (&[("highhock.discover", "")], &[], &["highhock.discover="]),
            (&[("highhock", "a:1"), ("discover", "b:2"), ("DISCOVER", "c:3")], &[], &[]),
        ] {
            let container = labels
                .iter()
                .fold(Container::sample(), |container, (key, value)| container.label(key, value))
                .env("DISCOVER", "env:1");
            let found = Label.discover(&container, &DomainName::parse("highhock.local").unwrap());
            let names: Vec<_> = found.services.iter().map(|one| one.service.to_string()).collect();
            assert_eq!(names, services, "{labels:?}");
            let entries: Vec<_> = found.skipped.iter().map(|s| s.entry.as_str()).collect();
            assert_eq!(entries, skipped, "{labels:?}");
            assert!(found.services.iter().all(|one| one.service.method == "label"));
        }
    }

    #[test]
    fn reason_names_the_label() {
        let container = Container::sample().label("highhock.discover", "httpd");
        let found = Label.discover(&container, &DomainName::parse("highhock.local").unwrap());
        assert!(found.skipped[0].reason.contains("highhock.discover takes"), "{:?}", found.skipped);
    }
}
