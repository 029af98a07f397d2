//! How a container's words come to its records, step by step, for those who wonder why
//! something is published or is not.
//!
//! It runs the same steps as [`crate::publish::offer`] does, and keeps what that drops.

use std::collections::BTreeMap;

use super::endpoint::Reach;
use super::{reason_to_withhold, records_for};
use crate::discovery::{Named, attributes, extractor};
use crate::model::container::Container;
use crate::model::publish_config::{Method, Rules};
use crate::model::record::WantedRecord;
use crate::model::service::{Service, Skipped};

/// All that there is to say of one container.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What each extractor that ran said, in their order.
    pub methods: Vec<MethodFindings>,
    /// What became of the services that stayed.
    pub services: Vec<ExplainedService>,
    /// The labels for attributes that count for nothing, and why.
    pub skipped: Vec<Skipped>,
}

/// What one extractor said.
#[derive(Clone, Debug)]
pub struct MethodFindings {
    /// Which.
    pub method: Method,
    /// The services that it named.
    pub named: Vec<NamedService>,
    /// What it did not understand, or was asked to ignore.
    pub skipped: Vec<Skipped>,
    /// Why it said nothing at all, where it didn't.
    pub silence: Option<&'static str>,
}

/// A service that an extractor named.
#[derive(Clone, Debug)]
pub struct NamedService {
    /// The words that it was found in: `DISCOVER=httpd:80`.
    pub entry: String,
    /// The service.
    pub service: Service,
    /// The method that named it before, where it was dropped for that.
    pub named_before_by: Option<&'static str>,
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
    pub records: Vec<WantedRecord>,
    /// What of it was left out, and why.
    pub skipped: Vec<Skipped>,
}

/// Explains a container. `reach` says how its ports can be reached.
pub fn explain(container: &Container, reach: &Reach, rules: &Rules) -> Explanation {
    let mut named = Named::default();
    let mut services = Vec::new();
    let mut methods = Vec::new();
    for &method in &rules.methods {
        let extractor = extractor(method, rules);
        let findings = extractor.extract(container, &rules.domain);
        let silent = findings.found.is_empty() && findings.skipped.is_empty();
        let mut of_method = MethodFindings {
            method,
            named: Vec::new(),
            skipped: findings.skipped,
            silence: silent.then(|| extractor.silence(container)),
        };
        for found in findings.found {
            let named_before_by = named.claim(&found.service).err();
            if named_before_by.is_none() {
                services.push(found.service.clone());
            }
            let (entry, service) = (found.entry, found.service);
            of_method.named.push(NamedService { entry, service, named_before_by });
        }
        methods.push(of_method);
    }

    let skipped = attributes::apply(&container.labels, &mut services);
    let labels = attributes::labels_behind(&container.labels, &services);
    let withheld = reason_to_withhold(container, rules.health).is_some();
    let explained = |(service, labels): (Service, _)| {
        let records = match withheld {
            true => Default::default(),
            false => records_for(container, &service, reach, rules),
        };
        ExplainedService { service, labels, records: records.wanted, skipped: records.skipped }
    };
    let services = services.into_iter().zip(labels).map(explained).collect();
    Explanation { methods, services, skipped }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::{Life, NetworkMode};
    use crate::model::publish_config::Layout;
    use crate::publish::offer;

    const ALL: [Method; 4] = [Method::Env, Method::Label, Method::Registrator, Method::Compose];

    fn rules() -> Rules {
        Rules { methods: ALL.to_vec(), ..Rules::sample() }
    }

    fn explained(container: &Container) -> Explanation {
        explain(container, &Reach::of(container), &rules())
    }

    fn of(explanation: &Explanation, method: Method) -> &MethodFindings {
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
    fn it_tells_who_said_what_and_what_was_dropped() {
        let explanation = explained(&busy());
        let told: Vec<_> = explanation
            .methods
            .iter()
            .flat_map(|one| &one.named)
            .map(|one| format!("{} -> {} {:?}", one.entry, one.service, one.named_before_by))
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
        assert_eq!(entry(Method::Env), "bad");
        assert_eq!(entry(Method::Registrator), "SERVICE_443_IGNORE=yes");
        assert_eq!(explanation.skipped[0].entry, "highhock.api.weight=heavy");
        for (method, silent) in
            [(Method::Env, false), (Method::Registrator, false), (Method::Compose, true)]
        {
            assert_eq!(of(&explanation, method).silence.is_some(), silent, "{method:?}");
        }
    }

    #[test]
    fn it_tells_what_became_of_each_service_and_by_which_labels() {
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
    fn one_that_says_nothing_is_explained_too() {
        let explanation = explained(&Container::sample());
        let silences: Vec<_> = explanation.methods.iter().map(|one| one.silence.unwrap()).collect();
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
    fn it_comes_to_what_is_published() {
        let compose = Container::sample()
            .label("com.docker.compose.service", "ns")
            .label("com.docker.compose.project", "infra")
            .bind("53/tcp -> 0.0.0.0:53")
            .bind("53/udp -> 0.0.0.0:53");
        for container in [
            busy(),
            compose,
            Container::sample(),
            Container { life: Life::Paused, ..busy() },
            Container { network: NetworkMode::None, ..busy() },
        ] {
            for layout in [Layout::Flat, Layout::Instance] {
                let rules = Rules { layout, compose_project: true, ..rules() };
                let reach = Reach::of(&container);
                let offer = offer(&container, &reach, &rules);
                let explanation = explain(&container, &reach, &rules);
                let services: Vec<_> =
                    explanation.services.iter().map(|one| one.service.clone()).collect();
                assert_eq!(services, offer.services);
                let of_services = || explanation.services.iter();
                let wanted: Vec<_> = of_services().flat_map(|one| one.records.clone()).collect();
                assert_eq!(wanted, offer.wanted);
                let skipped: Vec<_> = explanation
                    .methods
                    .iter()
                    .flat_map(|one| &one.skipped)
                    .chain(&explanation.skipped)
                    .chain(of_services().flat_map(|one| &one.skipped))
                    .collect();
                assert_eq!(skipped, offer.skipped.iter().collect::<Vec<_>>());
            }
        }
    }
}
