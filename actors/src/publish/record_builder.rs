//! [`RecordBuilder`]: the desired records of one service of a container.

use std::sync::Arc;

use super::endpoint::{Endpoint, Endpoints, PortAccess};
use super::key_layout::{ServiceInstance, record_key};
use crate::discovery::compose_project;
use crate::model::container::Container;
use crate::model::publish_config::{DiscoveryMethod, KeyLayout, PublishConfig};
use crate::model::record::{DesiredRecord, Host, RecordValue};
use crate::model::service::{Service, SkippedEntry};

/// The desired records of one service, and the reasons for everything that is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceRecords {
    /// The records to publish. Empty if the service is unreachable or its name is unusable.
    pub desired: Vec<DesiredRecord>,
    /// The entries that were skipped, each with its reason.
    pub skipped: Vec<SkippedEntry>,
}

/// Builds the records of a container's services, one service at a time.
pub(crate) struct RecordBuilder<'a> {
    /// The container that declares the services.
    pub container: &'a Container,
    /// The way to the ports of the container.
    pub access: &'a PortAccess,
    /// The operator's settings.
    pub config: &'a PublishConfig,
}

impl RecordBuilder<'_> {
    /// Returns the records of one service of the container.
    pub fn records(&self, service: &Service) -> ServiceRecords {
        let mut records = ServiceRecords::default();
        for result in self.desired_records(service) {
            match result {
                Ok(mut record) => {
                    records.skipped.extend(self.strip_hiding_text(service, &mut record.value));
                    records.desired.push(record);
                }
                Err(reason) => {
                    records.skipped.push(SkippedEntry::new(&service.to_string(), reason));
                }
            }
        }
        records
    }

    /// Returns the record of the first endpoint, followed by the record of the second, IPv6
    /// endpoint. Without a key for each of them, there is one record.
    fn desired_records(&self, service: &Service) -> Vec<Result<DesiredRecord, String>> {
        let Endpoints { first, ipv6 } =
            match self.access.endpoints(self.container, service, self.config) {
                Ok(endpoints) => endpoints,
                Err(reason) => return vec![Err(reason)],
            };
        // `highhock.host` replaces every address of the service, so there is only one record.
        let has_two_keys =
            self.config.layout == KeyLayout::Instance && service.attributes.host.is_none();
        let (first, second) = if has_two_keys { (first, ipv6) } else { (first.or(ipv6), None) };
        let first = first.map(|endpoint| self.desired_record(service, endpoint, false));
        let second = second.map(|endpoint| self.desired_record(service, endpoint, true));
        first.into_iter().chain(second).collect()
    }

    fn desired_record(
        &self,
        service: &Service,
        endpoint: Endpoint,
        second_address: bool,
    ) -> Result<DesiredRecord, String> {
        let Self { container, config, .. } = self;
        let attributes = &service.attributes;
        let host = attributes.host.clone().unwrap_or(endpoint.host);
        self.check_no_alias_loop(service, &host)?;
        let value = RecordValue {
            host,
            port: endpoint.port,
            priority: attributes.priority,
            weight: attributes.weight,
            text: attributes.text.clone(),
            ttl: attributes.ttl.unwrap_or(config.ttl),
            group: attributes.group.clone(),
        };
        let instance =
            ServiceInstance { container: &container.id, proto: endpoint.proto, second_address };
        let key = record_key(service, &instance, config)?;
        let own_host = attributes.host.is_none();
        Ok(DesiredRecord { key, value, own_host, compose_project: self.omitted_project(service) })
    }

    /// Returns the Compose project, if the name of the service should contain it and does not.
    fn omitted_project(&self, service: &Service) -> Option<Arc<str>> {
        let is_omitted =
            service.method == DiscoveryMethod::Compose.as_str() && !self.config.compose_project;
        compose_project(self.container).filter(|_| is_omitted).map(Arc::from)
    }

    /// Rejects a host name that resolves to the record itself. DNS servers do not follow such
    /// a loop of aliases.
    fn check_no_alias_loop(&self, service: &Service, host: &Host) -> Result<(), String> {
        let Host::Name(host) = host else { return Ok(()) };
        let (host, domain) = (host.as_str(), self.config.domain.as_str());
        let own = format!("{}.{domain}", service.name);
        if is_at_or_below(&own, host) && is_at_or_below(host, domain) {
            return Err(format!(
                "its host {host} is the name of the record or a name above it, so the alias would \
                 lead to itself; set `highhock.host` to another name or to an address"
            ));
        }
        Ok(())
    }

    /// Handles a text that would hide its record.
    ///
    /// CoreDNS answers the text of a record only if the host is a name, and then answers
    /// neither host nor port. If the container itself named the host, the container gets the
    /// text and a warning. If the operator set the host, the container cannot know, so the
    /// text is removed. See `config/README.md`, "Attributes".
    fn strip_hiding_text(
        &self,
        service: &Service,
        value: &mut RecordValue,
    ) -> Option<SkippedEntry> {
        let Host::Name(host) = &value.host else { return None };
        if self.config.text_beside_name {
            return None;
        }
        let text = value.text.take()?;
        if service.attributes.host.is_some() {
            value.text = Some(text);
            let reason = "its text hides its host: if the host is a name, CoreDNS answers only \
                          the text; remove `highhock.text`, or set `highhock.host` to an address";
            return Some(SkippedEntry::new(&service.to_string(), reason));
        }
        let reason = format!(
            "published without its text: the host {host} is a name, for which CoreDNS would answer \
             only the text; set discovery.host to an address to publish the text"
        );
        Some(SkippedEntry::new(&format!("highhock.{}.text={text}", service.name), reason))
    }
}

/// Returns `true` if `name` equals `ancestor` or is a name below it.
fn is_at_or_below(name: &str, ancestor: &str) -> bool {
    name.strip_suffix(ancestor).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::model::container::{NetworkAttachment, NetworkMode, Protocol};
    use crate::model::publish_config::AddressOwner;
    use crate::publish::tests::{config, desired, httpd, offered};

    #[test]
    fn attributes_go_into_the_record() {
        let container = httpd()
            .label("highhock.priority", "10")
            .label("highhock.weight", "20")
            .label("highhock.text", "hello")
            .label("highhock.ttl", "30")
            .label("highhock.group", "g1")
            .label("highhock.httpd.host", "web.example.com");
        let plan = offered(&container, &config());
        assert_eq!(
            desired(&plan),
            [concat!(
                r#"skydns/local/highhock/httpd = {"host":"web.example.com","port":8080,"#,
                r#""priority":10,"weight":20,"text":"hello","ttl":30,"group":"g1"}"#,
            )],
        );
        assert!(!plan.desired[0].own_host);
    }

    #[test]
    fn strips_text_that_would_hide_the_record() {
        let container = httpd().label("highhock.text", "hello");
        let name = Host::parse("node1.example.com").unwrap();
        for (host, text_beside_name, kept) in
            [(name.clone(), false, false), (name, true, true), (config().host, false, true)]
        {
            let plan = offered(&container, &PublishConfig { host, text_beside_name, ..config() });
            assert_eq!(plan.desired[0].value.text.is_some(), kept);
            assert_eq!(plan.skipped.is_empty(), kept, "{:?}", plan.skipped);
            for skipped in plan.skipped {
                assert_eq!(skipped.entry, "highhock.httpd.text=hello");
                assert!(skipped.reason.contains("node1.example.com"), "{}", skipped.reason);
            }
        }
    }

    #[test]
    fn warns_about_text_beside_host_attribute() {
        let container =
            httpd().label("highhock.text", "hello").label("highhock.httpd.host", "example.com");
        let plan = offered(&container, &PublishConfig { text_beside_name: false, ..config() });
        assert_eq!(plan.desired[0].value.text.as_deref(), Some("hello"));
        assert_eq!(plan.skipped.len(), 1);
        assert_eq!(plan.skipped[0].entry, "httpd:80");
        assert!(plan.skipped[0].reason.contains("CoreDNS"), "{:?}", plan.skipped);
    }

    #[test]
    fn skips_record_that_points_to_itself() {
        for (host, loops) in [
            ("api.httpd.highhock.local", true),
            ("httpd.highhock.local", true),
            ("highhock.local", true),
            ("local", false),
            ("xapi.httpd.highhock.local", false),
            ("a.api.httpd.highhock.local", false),
            ("node1.highhock.local", false),
            ("api.httpd", false),
        ] {
            let container = Container::sample()
                .env("DISCOVER", "api.httpd:80")
                .bind("80/tcp -> 0.0.0.0:8080")
                .label("highhock.host", host);
            for layout in [KeyLayout::Flat, KeyLayout::Instance] {
                let plan = offered(&container, &PublishConfig { layout, ..config() });
                assert_eq!(plan.desired.is_empty(), loops, "{host}");
                assert_eq!(plan.skipped.len(), usize::from(loops), "{:?}", plan.skipped);
            }
        }
    }

    #[test]
    fn binding_to_one_address_is_an_own_host() {
        let container =
            Container::sample().env("DISCOVER", "httpd:80").bind("80/tcp -> 192.0.2.7:8080");
        let plan = offered(&container, &config());
        assert_eq!(plan.desired[0].value.host.to_string(), "192.0.2.7");
        assert!(plan.desired[0].own_host);
    }

    #[test]
    fn host_attribute_does_not_replace_a_published_port() {
        for container in [
            Container::sample(),
            Container::sample().bind("80/tcp -> 127.0.0.1:8080"),
            Container { network: NetworkMode::None, ..Container::sample() },
        ] {
            let container =
                container.env("DISCOVER", "httpd:80").label("highhock.host", "10.0.0.1");
            let plan = offered(&container, &config());
            assert_eq!(plan.desired, []);
            assert_eq!(plan.skipped.len(), 1);
        }
    }

    #[test]
    fn publishes_second_record_for_ipv6() {
        let host6 = Some("2001:db8::6".parse().unwrap());
        let config = PublishConfig { layout: KeyLayout::Instance, host6, ..config() };
        let container = Container::sample()
            .env("DISCOVER", "httpd:80,ns:53/udp,v4:81,one:82,named:83")
            .label("highhock.priority", "10")
            .label("highhock.named.host", "web.example.com")
            .bind("80/tcp -> 0.0.0.0:8080")
            .bind("80/tcp -> [::]:8081")
            .bind("53/udp -> 0.0.0.0:1053")
            .bind("53/udp -> [::]:1053")
            .bind("81/tcp -> 0.0.0.0:81")
            .bind("82/tcp -> 192.0.2.7:82")
            .bind("83/tcp -> 0.0.0.0:83")
            .bind("83/tcp -> [::]:83");
        let plan = offered(&container, &config);
        let (below, id) = ("skydns/local/highhock", "node1-0123456789ab");
        let record = |end: &str, host: &str, port: u16| {
            let name = end.split('/').next().unwrap();
            let end = end.split('/').nth(1).unwrap();
            let host = format!(r#"{{"host":"{host}","port":{port},"priority":10,"ttl":60}}"#);
            format!("{below}/{name}/{id}-{end} = {host}")
        };
        assert_eq!(
            desired(&plan),
            [
                record("httpd/80", "10.77.66.0", 8080),
                record("httpd/80-6", "2001:db8::6", 8081),
                record("ns/53-udp", "10.77.66.0", 1053),
                record("ns/53-udp-6", "2001:db8::6", 1053),
                record("v4/81", "10.77.66.0", 81),
                record("one/82", "192.0.2.7", 82),
                record("named/83", "web.example.com", 83),
            ],
        );
        assert_eq!(plan.desired.iter().filter(|record| !record.own_host).count(), 1);
        assert_eq!(plan.skipped, []);

        let without = offered(&container, &PublishConfig { host6: None, ..config.clone() });
        assert_eq!(without.desired.len(), 5);
        // In the flat layout a name has one record.
        let flat = offered(&container, &PublishConfig { layout: KeyLayout::Flat, ..config });
        assert_eq!(flat.desired.len(), 5);
    }

    #[test]
    fn container_address_needs_no_published_port() {
        let attachment = NetworkAttachment {
            address4: Some([172, 18, 0, 2].into()),
            address6: Some("fd00::2".parse().unwrap()),
        };
        let container = Container {
            networks: [("web".to_owned(), attachment)].into(),
            exposed: vec![(53, Protocol::Udp)],
            ..Container::sample().env("DISCOVER", "httpd:80,ns:53")
        };
        let config = PublishConfig {
            address: AddressOwner::Container,
            layout: KeyLayout::Instance,
            ..config()
        };
        let below = "skydns/local/highhock";
        let (httpd, ns) = ("httpd/node1-0123456789ab-80", "ns/node1-0123456789ab-53-udp");
        assert_eq!(
            desired(&offered(&container, &config)),
            [
                format!(r#"{below}/{httpd} = {{"host":"172.18.0.2","port":80,"ttl":60}}"#),
                format!(r#"{below}/{ns} = {{"host":"172.18.0.2","port":53,"ttl":60}}"#),
            ],
        );
        let with_ipv6 = offered(
            &container,
            &PublishConfig { host6: Some(Ipv6Addr::LOCALHOST), ..config.clone() },
        );
        assert_eq!(with_ipv6.desired.len(), 4);
        let expected = format!(r#"{below}/{ns}-6 = {{"host":"fd00::2","port":53,"ttl":60}}"#);
        assert_eq!(desired(&with_ipv6)[3], expected);

        let unknown_network = offered(&container.label("highhock.network", "wep"), &config);
        assert_eq!((unknown_network.desired.len(), unknown_network.skipped.len()), (0, 2));
        assert!(unknown_network.skipped[0].reason.contains("\"web\""), "{unknown_network:?}");
    }
}
