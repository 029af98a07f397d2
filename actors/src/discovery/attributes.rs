//! The attributes of a container's records, from its labels.
//!
//! `highhock.priority` applies to all services of the container, and
//! `highhock.<name>.priority` to one service. The rules are in `config/README.md`,
//! "Attributes".

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;

use super::digits::read_digits;
use super::quotes::quotes_hint;
use super::suggestion::{CONTAINER_LABELS, nearest, nearest_label};
use crate::model::names::{check_label, quote};
use crate::model::record::Host;
use crate::model::service::{Attributes, Service, SkippedEntry};

/// The prefix of all labels of HighHock.
const PREFIX: &str = "highhock.";

/// The longest TTL of a record in seconds: one day, as for `etcd.ttl`.
const TTL_MAX: u32 = 86_400;

/// The longest text in bytes. DNS allows more, but a text is part of every answer for its
/// name, and the store rejects records with a huge text.
const TEXT_MAX: usize = 2048;

/// Attributes with the labels that set them.
#[derive(Clone, Default)]
struct LabelledAttributes<'a> {
    attributes: Attributes,
    /// The label that set each attribute, by the name of the attribute.
    labels: BTreeMap<&'a str, &'a str>,
}

/// The attributes in all labels of one container.
#[derive(Default)]
struct ParsedLabels<'a> {
    /// The attributes that apply to every service.
    shared: LabelledAttributes<'a>,
    /// The attributes that apply to one service, by the name of the service.
    by_service: HashMap<String, LabelledAttributes<'a>>,
    skipped: Vec<SkippedEntry>,
}

/// Sets the attributes of each service from the labels. A label for one service wins over a
/// label for all services.
///
/// Returns the malformed labels, each with its reason. The services are published without
/// these attributes.
pub fn apply(labels: &BTreeMap<String, String>, services: &mut [Service]) -> Vec<SkippedEntry> {
    let mut parsed = parse_labels(labels, services);
    for service in services {
        let own = parsed.by_service.get(service.name.as_str()).cloned().unwrap_or_default();
        service.attributes = merge(own.attributes, &parsed.shared.attributes);
    }
    std::mem::take(&mut parsed.skipped)
}

/// Returns, for each service, the label that set each attribute, by the name of the attribute.
pub fn labels_by_attribute(
    labels: &BTreeMap<String, String>,
    services: &[Service],
) -> Vec<BTreeMap<String, String>> {
    let parsed = parse_labels(labels, services);
    let labels_of = |service: &Service| {
        let own = parsed.by_service.get(service.name.as_str()).map(|own| &own.labels);
        let weaker_first = parsed.shared.labels.iter().chain(own.into_iter().flatten());
        weaker_first.map(|(&attribute, &label)| (attribute.to_owned(), label.to_owned())).collect()
    };
    services.iter().map(labels_of).collect()
}

fn parse_labels<'a>(
    labels: &'a BTreeMap<String, String>,
    services: &[Service],
) -> ParsedLabels<'a> {
    let mut parsed = ParsedLabels::default();
    let declared: HashSet<&str> = services.iter().map(|service| service.name.as_str()).collect();

    let ours = labels.iter().filter_map(|(label, value)| {
        Some((label.as_str(), label.strip_prefix(PREFIX)?, value.as_str()))
    });
    for (label, key, value) in ours {
        if CONTAINER_LABELS.contains(&key) {
            continue;
        }
        let outcome = match key.rsplit_once('.') {
            None => parsed.shared.add(key, value, label),
            Some((name, attribute)) => {
                let name = name.to_ascii_lowercase();
                if declared.contains(name.as_str()) {
                    parsed.by_service.entry(name).or_default().add(attribute, value, label)
                } else {
                    Err(unknown_service(&name, attribute, &declared))
                }
            }
        };
        if let Err(reason) = outcome {
            let reason = match quotes_hint(value) {
                Some(hint) => format!("{reason}; {hint}"),
                None => reason,
            };
            parsed.skipped.push(SkippedEntry::new(&format!("{label}={value}"), reason));
        }
    }
    parsed.skipped.extend(misspelt_prefixes(labels));
    parsed
}

/// Returns the labels that lack [`PREFIX`] because of a typing error. The values are not shown:
/// such a label may belong to any program, and its value may be secret.
fn misspelt_prefixes(labels: &BTreeMap<String, String>) -> Vec<SkippedEntry> {
    let foreign = labels.keys().filter(|label| !label.starts_with(PREFIX));
    let misspelt = foreign.filter_map(|label| {
        let reason = format!("it is not a label of HighHock; {}", did_you_mean(label)?);
        Some(SkippedEntry::new(label, reason))
    });
    misspelt.collect()
}

fn did_you_mean(label: &str) -> Option<String> {
    nearest_label(label).map(|known| format!("did you mean `{known}`?"))
}

fn unknown_service(name: &str, attribute: &str, declared: &HashSet<&str>) -> String {
    let remedy = match nearest(name, declared.iter().copied()) {
        Some(near) => format!("did you mean `{PREFIX}{near}.{attribute}`?"),
        None => "use the name of one of its services".to_owned(),
    };
    format!("the container declares no service {}; {remedy}", quote(name))
}

impl<'a> LabelledAttributes<'a> {
    fn add(&mut self, attribute: &'a str, value: &str, label: &'a str) -> Result<(), String> {
        set_attribute(&mut self.attributes, attribute, value, label)?;
        self.labels.insert(attribute, label);
        Ok(())
    }
}

/// Combines the attributes of one service with the attributes of all services, which apply if
/// the service has none of its own.
fn merge(own: Attributes, shared: &Attributes) -> Attributes {
    Attributes {
        priority: own.priority.or(shared.priority),
        weight: own.weight.or(shared.weight),
        ttl: own.ttl.or(shared.ttl),
        text: own.text.or_else(|| shared.text.clone()),
        group: own.group.or_else(|| shared.group.clone()),
        host: own.host.or_else(|| shared.host.clone()),
    }
}

fn set_attribute(
    attributes: &mut Attributes,
    attribute: &str,
    value: &str,
    label: &str,
) -> Result<(), String> {
    match attribute {
        "priority" => attributes.priority = Some(read_u16(value)?),
        "weight" => attributes.weight = Some(read_u16(value)?),
        "ttl" => attributes.ttl = Some(read_ttl(value)?),
        "text" => attributes.text = Some(read_text(value)?),
        "group" => attributes.group = Some(read_group(value)?),
        "host" => attributes.host = Some(Host::parse(value)?),
        _ => return Err(unknown_attribute(attribute, label)),
    }
    Ok(())
}

fn unknown_attribute(attribute: &str, label: &str) -> String {
    let remedy = did_you_mean(label)
        .unwrap_or_else(|| "use `priority`, `weight`, `ttl`, `text`, `group` or `host`".to_owned());
    format!("{} is not an attribute; {remedy}", quote(attribute))
}

fn read_u16(value: &str) -> Result<u16, String> {
    read_digits(value.trim())
        .ok_or_else(|| format!("{} is not a whole number from 0 to 65535", quote(value)))
}

fn read_ttl(value: &str) -> Result<NonZeroU32, String> {
    read_digits(value.trim())
        .filter(|ttl: &NonZeroU32| ttl.get() <= TTL_MAX)
        .ok_or_else(|| format!("{} is not a number of seconds from 1 to {TTL_MAX}", quote(value)))
}

fn read_text(value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Err("the text is empty; set a text, or remove the label".into());
    }
    if value.len() > TEXT_MAX {
        return Err(format!(
            "the text is {} bytes long; shorten it to at most {TEXT_MAX} bytes",
            value.len(),
        ));
    }
    Ok(value.to_owned())
}

/// Reads a group. DNS servers compare groups with regard to case, so the case is kept.
fn read_group(value: &str) -> Result<String, String> {
    let group = value.trim();
    check_label(group).map_err(|reason| format!("a group is one label without dots: {reason}"))?;
    Ok(group.to_owned())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::model::names::{DomainName, ServiceName};

    fn service(name: &str) -> Service {
        let domain = DomainName::parse("highhock.local").unwrap();
        Service {
            name: ServiceName::parse(name, &domain).unwrap(),
            port: NonZeroU16::MIN,
            proto: None,
            method: "env",
            attributes: Attributes::default(),
        }
    }

    /// The attributes of the services `httpd` and `api.httpd`.
    struct Applied {
        httpd: Attributes,
        api: Attributes,
        skipped: Vec<SkippedEntry>,
    }

    fn applied(labels: &[(&str, &str)]) -> Applied {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut services = [service("httpd"), service("api.httpd")];
        let skipped = apply(&labels, &mut services);
        let [httpd, api] = services;
        Applied { httpd: httpd.attributes, api: api.attributes, skipped }
    }

    #[test]
    fn reads_every_attribute() {
        let Applied { httpd, api, skipped } = applied(&[
            ("highhock.priority", "0"),
            ("highhock.weight", " 65535 "),
            ("highhock.ttl", "86400"),
            ("highhock.text", " two words, v=1 "),
            ("highhock.group", "Blue_1"),
            ("highhock.host", "Web.Example.com."),
        ]);
        let expected = Attributes {
            priority: Some(0),
            weight: Some(65535),
            ttl: NonZeroU32::new(86_400),
            text: Some(" two words, v=1 ".into()),
            group: Some("Blue_1".into()),
            host: Some(Host::parse("web.example.com").unwrap()),
        };
        assert_eq!(skipped, []);
        assert_eq!(httpd, expected);
        assert_eq!(api, expected);
    }

    #[test]
    fn service_attribute_overrides_shared_attribute() {
        for (labels, httpd, api) in [
            (&[][..], None, None),
            (&[("highhock.priority", "1")], Some(1), Some(1)),
            (&[("highhock.httpd.priority", "2")], Some(2), None),
            (&[("highhock.api.httpd.priority", "3")], None, Some(3)),
            (&[("highhock.API.httpd.priority", "3")], None, Some(3)),
            (&[("highhock.priority", "1"), ("highhock.api.httpd.priority", "3")], Some(1), Some(3)),
            (
                &[
                    ("highhock.priority", "1"),
                    ("highhock.httpd.priority", "2"),
                    ("highhock.api.httpd.priority", "3"),
                ],
                Some(2),
                Some(3),
            ),
        ] {
            let applied = applied(labels);
            assert_eq!(applied.httpd.priority, httpd, "{labels:?}");
            assert_eq!(applied.api.priority, api, "{labels:?}");
            assert_eq!(applied.skipped, [], "{labels:?}");
        }
    }

    #[test]
    fn service_attribute_overrides_each_shared_attribute() {
        let own = [
            ("highhock.httpd.priority", "2"),
            ("highhock.httpd.weight", "6"),
            ("highhock.httpd.ttl", "31"),
            ("highhock.httpd.text", "own"),
            ("highhock.httpd.group", "own"),
            ("highhock.httpd.host", "10.0.0.2"),
        ];
        let shared = [
            ("highhock.priority", "1"),
            ("highhock.weight", "5"),
            ("highhock.ttl", "30"),
            ("highhock.text", "shared"),
            ("highhock.group", "shared"),
            ("highhock.host", "10.0.0.1"),
        ];
        let own_alone = applied(&own).httpd;
        let shared_alone = applied(&shared).api;
        let Applied { httpd, api, skipped } = applied(&[own, shared].concat());
        assert_eq!(skipped, []);
        assert_eq!(httpd, own_alone);
        assert_eq!(api, shared_alone);
        assert_ne!(httpd, api);
    }

    #[test]
    fn shared_attributes_fill_unset_service_attributes() {
        let Applied { httpd, api, skipped } = applied(&[
            ("highhock.priority", "1"),
            ("highhock.weight", "5"),
            ("highhock.ttl", "30"),
            ("highhock.text", "shared"),
            ("highhock.group", "shared"),
            ("highhock.host", "10.0.0.1"),
            ("highhock.httpd.weight", "9"),
        ]);
        assert_eq!(skipped, []);
        assert_eq!(httpd, Attributes { weight: Some(9), ..api.clone() });
        assert_eq!(api.weight, Some(5));
        assert_eq!(api.host, Some(Host::parse("10.0.0.1").unwrap()));
    }

    #[test]
    fn traces_each_attribute_to_its_label() {
        let labels = [
            ("highhock.priority", "1"),
            ("highhock.weight", "5"),
            ("highhock.API.httpd.weight", "9"),
            ("highhock.httpd.ttl", "soon"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let sources = labels_by_attribute(&labels, &[service("httpd"), service("api.httpd")]);
        let expected = |pairs: [(&str, &str); 2]| {
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        };
        let shared = ("priority", "highhock.priority");
        assert_eq!(
            sources,
            [
                expected([shared, ("weight", "highhock.weight")]),
                expected([shared, ("weight", "highhock.API.httpd.weight")]),
            ]
        );
    }

    #[test]
    fn skips_malformed_attribute_with_reason() {
        let long_text = "x".repeat(2049);
        for (key, value, reason) in [
            ("highhock.priority", "high", "\"high\" is not a whole number from 0 to 65535"),
            ("highhock.priority", "65536", "from 0 to 65535"),
            ("highhock.priority", "-1", "from 0 to 65535"),
            ("highhock.priority", "", "from 0 to 65535"),
            ("highhock.weight", "1.5", "from 0 to 65535"),
            ("highhock.weight", "+1", "from 0 to 65535"),
            ("highhock.ttl", "0", "from 1 to 86400"),
            ("highhock.ttl", "86401", "from 1 to 86400"),
            ("highhock.ttl", "60s", "from 1 to 86400"),
            ("highhock.text", "", "empty"),
            ("highhock.text", &long_text, "2049 bytes long"),
            ("highhock.group", "", "a group is one label without dots"),
            ("highhock.group", "a.b", "a group is one label without dots"),
            ("highhock.host", "0.0.0.0", "unspecified"),
            ("highhock.host", "10.0.0.300", "neither an IP address nor a host name"),
            ("highhock.host", "10.0.0.1:80", "remove the port"),
            ("highhock.httpd.priority", "x", "from 0 to 65535"),
            ("highhock.priorty", "1", "\"priorty\" is not an attribute"),
            ("highhock.Priority", "1", "\"Priority\" is not an attribute"),
            ("highhock.httpd.colour", "red", "\"colour\" is not an attribute"),
            ("highhock.", "1", "\"\" is not an attribute"),
            ("highhock.discovery", "httpd:80", "did you mean `highhock.discover`?"),
            ("highhock.httpd.priorty", "1", "did you mean `highhock.httpd.priority`?"),
            ("higghock.discover", "httpd:80", "it is not a label of HighHock; did you mean"),
            ("highhocks.priority", "1", "did you mean `highhock.priority`?"),
            ("highhock.weight", "\"7\"", "from 0 to 65535; the quotes are part of the value"),
            ("highhock.weight", "seven", "from 0 to 65535"),
            ("highhock.htpd.priority", "1", "declares no service \"htpd\""),
            ("highhock.htpd.priority", "1", "did you mean `highhock.httpd.priority`?"),
            ("highhock.other.priority", "1", "use the name of one of its services"),
            ("highhock..priority", "1", "declares no service \"\""),
        ] {
            let Applied { httpd, api, skipped } = applied(&[(key, value)]);
            assert_eq!(httpd, Attributes::default(), "{key}={value}");
            assert_eq!(api, Attributes::default(), "{key}={value}");
            assert_eq!(skipped.len(), 1, "{key}={value}");
            // The value of a foreign label may be secret.
            let is_ours = key.starts_with(PREFIX);
            let entry = if is_ours { format!("{key}={value}") } else { key.to_owned() };
            assert!(entry.starts_with(skipped[0].entry.trim_end_matches('…')), "{skipped:?}");
            assert!(skipped[0].reason.contains(reason), "{key}={value}: {}", skipped[0].reason);
        }
    }

    #[test]
    fn malformed_service_attribute_falls_back_to_shared() {
        let Applied { httpd, skipped, .. } =
            applied(&[("highhock.ttl", "30"), ("highhock.httpd.ttl", "soon")]);
        assert_eq!(httpd.ttl, NonZeroU32::new(30));
        assert_eq!(skipped.len(), 1);
    }

    #[test]
    fn ignores_labels_that_are_no_attributes() {
        let Applied { httpd, skipped, .. } = applied(&[
            ("highhock.discover", "httpd:80"),
            ("highhock.health", "ignore"),
            ("highhock.drain", "ignore"),
            ("highhock", "1"),
            ("highrise.priority", "1"),
            ("priority", "1"),
            ("com.docker.compose.service", "web"),
        ]);
        assert_eq!(httpd, Attributes::default());
        assert_eq!(skipped, []);
    }
}
