//! From what a container is to the records that should stand for it.

pub mod endpoint;
pub mod explain;

use crate::discovery::find_services;
use crate::model::container::{Container, ContainerState, Health, Protocol};
use crate::model::names::check_name_length;
use crate::model::publish_config::{KeyLayout, PublishConfig};
use crate::model::record::{DesiredRecord, Host, RecordKey, RecordValue};
use crate::model::service::{Service, SkippedEntry};
use endpoint::{Endpoint, Endpoints, PortAccess};

/// The label by which a container opts out of being published by its health.
const HEALTH_LABEL: &str = "highhock.health";

/// The label by which a container opts out of being withdrawn at its stop signal.
const DRAIN_LABEL: &str = "highhock.drain";

/// What such a label says to opt out.
const IGNORE_VALUE: &str = "ignore";

/// What the key of an instance ends in that is reached by IPv6, beside the first.
const IPV6_SUFFIX: &str = "-6";

/// What a container offers, and what of it can't be published.
#[derive(Clone, Debug, Default)]
pub struct PublishPlan {
    /// The services found, whether or not each can be published.
    pub services: Vec<Service>,
    /// The records that should be, in the container's own order. Empty while the
    /// container is to be left out as a whole.
    pub desired: Vec<DesiredRecord>,
    /// What was left out, and why.
    pub skipped: Vec<SkippedEntry>,
    /// Why the container as a whole is left out for now (paused, unhealthy …).
    pub withheld: Option<String>,
}

/// Works out what a container offers. `reach` says how its ports can be reached.
///
/// Two services that come to one key are both wanted, the first named first: who
/// holds a key is for the keeper of keys to say.
pub fn plan(container: &Container, access: &PortAccess, config: &PublishConfig) -> PublishPlan {
    let (services, mut skipped) = find_services(container, config);

    if let Some(reason) = withhold_reason(container, config.health) {
        // Its ports tell nothing now: the engine unbinds those of one that ended.
        return PublishPlan { services, desired: Vec::new(), skipped, withheld: Some(reason) };
    }

    let mut desired = Vec::new();
    for service in &services {
        let mut records = records_for(container, service, access, config);
        desired.append(&mut records.desired);
        skipped.append(&mut records.skipped);
    }
    PublishPlan { services, desired, skipped, withheld: None }
}

/// What comes of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceRecords {
    /// Its records.
    pub desired: Vec<DesiredRecord>,
    /// What of it was left out, and why.
    pub skipped: Vec<SkippedEntry>,
}

/// Works out the records of one service.
pub(crate) fn records_for(
    container: &Container,
    service: &Service,
    access: &PortAccess,
    config: &PublishConfig,
) -> ServiceRecords {
    let mut records = ServiceRecords::default();
    for record in desired_records(container, service, access, config) {
        match record {
            Ok(mut record) => {
                records.skipped.extend(strip_hiding_text(service, &mut record.value, config));
                records.desired.push(record);
            }
            Err(reason) => records.skipped.push(SkippedEntry::new(&service.to_string(), reason)),
        }
    }
    records
}

/// Why a container as a whole is to be left out by what its inspection says.
pub(crate) fn withhold_reason(container: &Container, by_health: bool) -> Option<String> {
    let reason = match container.state {
        ContainerState::Running => return health_withhold_reason(container, by_health),
        ContainerState::Created => "is created, but not started",
        ContainerState::Paused if planted!(PausedPublished) => return None,
        ContainerState::Paused => "is paused",
        ContainerState::Restarting => return Some(restarting_reason(container)),
        ContainerState::Removing => "is being removed",
        ContainerState::Exited => "has exited",
        ContainerState::Dead => "is dead",
    };
    Some(reason.into())
}

/// Of a container that is about to be started again: why it ended, as far as the engine
/// tells.
fn restarting_reason(container: &Container) -> String {
    let Container { restarts, exit_code, .. } = container;
    let times = if *restarts == 1 { "once" } else { &format!("{restarts} times") };
    format!("is restarting ({times} so far): it ended with exit code {exit_code}, see docker logs")
}

fn health_withhold_reason(container: &Container, by_health: bool) -> Option<String> {
    if !by_health || has_ignore_label(container, HEALTH_LABEL) {
        return None;
    }
    let reason = match container.health {
        Health::Unchecked | Health::Healthy => return None,
        _ if planted!(HealthForgotten) => return None,
        Health::Starting => "is starting: no health check has passed yet",
        Health::Unhealthy => "is unhealthy, says its health check",
    };
    Some(format!("{reason} (the label `{HEALTH_LABEL}={IGNORE_VALUE}` publishes it all the same)"))
}

/// Whether a container stays published although it got its stop signal.
pub(crate) fn ignores_drain(container: &Container) -> bool {
    has_ignore_label(container, DRAIN_LABEL)
}

fn has_ignore_label(container: &Container, label: &str) -> bool {
    let label = container.labels.get(label);
    label.is_some_and(|value| value.trim().eq_ignore_ascii_case(IGNORE_VALUE))
}

/// The record of where a service can be reached, and the one of its IPv6 address beside it.
fn desired_records(
    container: &Container,
    service: &Service,
    access: &PortAccess,
    config: &PublishConfig,
) -> Vec<Result<DesiredRecord, String>> {
    let Endpoints { first, by_ipv6 } = match access.endpoints(container, service, config) {
        Ok(endpoints) => endpoints,
        Err(reason) => return vec![Err(reason)],
    };
    let record = |endpoint, suffix| desired_record(container, service, endpoint, suffix, config);
    // A host that the container names stands for all addresses.
    let has_own_key = config.layout == KeyLayout::Instance && service.attributes.host.is_none();
    let by_ipv6 = by_ipv6.filter(|_| has_own_key).map(|endpoint| record(endpoint, IPV6_SUFFIX));
    std::iter::once(record(first, "")).chain(by_ipv6).collect()
}

fn desired_record(
    container: &Container,
    service: &Service,
    endpoint: Endpoint,
    suffix: &str,
    config: &PublishConfig,
) -> Result<DesiredRecord, String> {
    let attributes = &service.attributes;
    let host = attributes.host.clone().unwrap_or(endpoint.host);
    check_no_alias_loop(service, &host, config)?;
    let value = RecordValue {
        host,
        port: endpoint.port,
        priority: attributes.priority,
        weight: attributes.weight,
        text: attributes.text.clone(),
        ttl: attributes.ttl.unwrap_or(config.ttl),
        group: attributes.group.clone(),
    };
    let key = match config.layout {
        KeyLayout::Flat => RecordKey::new(&config.prefix, &config.domain, &service.name, None),
        KeyLayout::Instance => instance_key(container, service, endpoint.proto, suffix, config)?,
    };
    Ok(DesiredRecord { key, value, own_host: attributes.host.is_none() })
}

/// Refuses a host's name under which the record itself would be found: a loop, which
/// no DNS server follows.
fn check_no_alias_loop(
    service: &Service,
    host: &Host,
    config: &PublishConfig,
) -> Result<(), String> {
    let Host::Name(host) = host else { return Ok(()) };
    let (host, domain) = (host.as_str(), config.domain.as_str());
    let own = format!("{}.{domain}", service.name);
    if is_at_or_below(&own, host) && is_at_or_below(host, domain) {
        return Err(format!(
            "it would lead to {host}, which leads to itself: no DNS server answers that"
        ));
    }
    Ok(())
}

fn is_at_or_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Sees to a text that would hide its record. Where the container names the host as
/// well, it gets what it asks for; else it can't know, and the text is taken off.
fn strip_hiding_text(
    service: &Service,
    value: &mut RecordValue,
    config: &PublishConfig,
) -> Option<SkippedEntry> {
    let Host::Name(host) = &value.host else { return None };
    if config.text_beside_name {
        return None;
    }
    let text = value.text.take()?;
    if service.attributes.host.is_some() {
        value.text = Some(text);
        let reason = "it has a text beside a host's name: CoreDNS answers the text, and neither \
                      the host nor the port";
        return Some(SkippedEntry::new(&service.to_string(), reason));
    }
    let reason = format!(
        "the record leads to a host's name, {host}, and CoreDNS would answer the text and neither \
         host nor port: it is published without the text"
    );
    Some(SkippedEntry::new(&format!("highhock.{}.text={text}", service.name), reason))
}

/// The key of one instance. An instance's own part is at most 56 bytes long (a
/// host's name has 30 at most), so always a label; but it is part of the name that
/// an SRV answer gives, which has a limit as a whole.
fn instance_key(
    container: &Container,
    service: &Service,
    proto: Protocol,
    suffix: &str,
    config: &PublishConfig,
) -> Result<RecordKey, String> {
    let proto_suffix = match proto {
        Protocol::Tcp => "",
        Protocol::Udp => "-udp",
        Protocol::Sctp => "-sctp",
    };
    let (host, id) = (&config.hostname, container.id.short());
    let instance = format!("{host}-{id}-{}{proto_suffix}{suffix}", service.port);
    let name_length = service.name.as_str().len() + ".".len() + config.domain.as_str().len();
    check_name_length(instance.len() + ".".len() + name_length)
        .map_err(|reason| format!("{reason}, {instance:?} before it included"))?;
    Ok(RecordKey::new(&config.prefix, &config.domain, &service.name, Some(&instance)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::model::container::{NetworkAttachment, NetworkMode};
    use crate::model::names::DomainName;
    use crate::model::publish_config::AddressOwner;

    fn config() -> PublishConfig {
        PublishConfig::sample()
    }

    fn httpd() -> Container {
        Container::sample().env("DISCOVER", "httpd:80").bind("80/tcp -> 0.0.0.0:8080")
    }

    fn offered(container: &Container, config: &PublishConfig) -> PublishPlan {
        plan(container, &PortAccess::from_container(container), config)
    }

    /// Each wanted record as `key = value`.
    fn desired(plan: &PublishPlan) -> Vec<String> {
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
    fn instance_key_lies_below_the_name() {
        let config = PublishConfig { layout: KeyLayout::Instance, ..config() };
        let container = Container::sample()
            .env("DISCOVER", "api.httpd:80,ns:53/tcp,ns:53/udp,ns:54,sig:55")
            .bind("80/tcp -> 0.0.0.0:8080")
            .bind("53/tcp -> 0.0.0.0:53")
            .bind("53/udp -> 0.0.0.0:53")
            .bind("54/udp -> 0.0.0.0:1054")
            .bind("55/sctp -> 0.0.0.0:1055");
        let keys: Vec<_> = offered(&container, &config)
            .desired
            .iter()
            .map(|record| record.key.as_str().to_owned())
            .collect();
        assert_eq!(
            keys,
            [
                "skydns/local/highhock/httpd/api/node1-0123456789ab-80",
                "skydns/local/highhock/ns/node1-0123456789ab-53",
                "skydns/local/highhock/ns/node1-0123456789ab-53-udp",
                "skydns/local/highhock/ns/node1-0123456789ab-54-udp",
                "skydns/local/highhock/sig/node1-0123456789ab-55-sctp",
            ],
        );
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
        let six = offered(&container, &config);
        let (below, id) = ("skydns/local/highhock", "node1-0123456789ab");
        let record = |end: &str, host: &str, port: u16| {
            let name = end.split('/').next().unwrap();
            let end = end.split('/').nth(1).unwrap();
            let host = format!(r#"{{"host":"{host}","port":{port},"priority":10,"ttl":60}}"#);
            format!("{below}/{name}/{id}-{end} = {host}")
        };
        assert_eq!(
            desired(&six),
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
        assert_eq!(six.desired.iter().filter(|record| !record.own_host).count(), 1);
        assert_eq!(six.skipped, []);

        let without = offered(&container, &PublishConfig { host6: None, ..config.clone() });
        assert_eq!(without.desired.len(), 5);
        // A name has one record there.
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
        let six = offered(
            &container,
            &PublishConfig { host6: Some(Ipv6Addr::LOCALHOST), ..config.clone() },
        );
        assert_eq!(six.desired.len(), 4);
        let expected = format!(r#"{below}/{ns}-6 = {{"host":"fd00::2","port":53,"ttl":60}}"#);
        assert_eq!(desired(&six)[3], expected);

        let lost = offered(&container.label("highhock.network", "wep"), &config);
        assert_eq!((lost.desired.len(), lost.skipped.len()), (0, 2));
        assert!(lost.skipped[0].reason.contains("\"web\""), "{:?}", lost.skipped);
    }

    #[test]
    fn longest_instance_part_fits_a_label() {
        let config = PublishConfig {
            layout: KeyLayout::Instance,
            hostname: "h".repeat(30),
            host6: Some("2001:db8::6".parse().unwrap()),
            ..config()
        };
        let container = Container::sample().env("DISCOVER", "a:65535").bind("65535/sctp -> [::]:1");
        let plan = offered(&container, &config);
        let instance = plan.desired[1].key.as_str().rsplit('/').next().unwrap();
        assert_eq!(instance.len(), 56);
    }

    #[test]
    fn skips_name_too_long_for_an_instance() {
        let name = format!("{0}.{0}.{0}", "a".repeat(63));
        let container = Container::sample()
            .env("DISCOVER", &format!("{name}:80,b:80"))
            .bind("80/tcp -> 0.0.0.0:8080");
        assert_eq!(offered(&container, &config()).desired.len(), 2);

        // 46 bytes of instance, 191 of name, 14 of domain and two dots: the most there is.
        let instance =
            PublishConfig { layout: KeyLayout::Instance, hostname: "h".repeat(30), ..config() };
        assert_eq!(offered(&container, &instance).desired.len(), 2);
        let domain = DomainName::parse("a.highhock.local").unwrap();
        let plan = offered(&container, &PublishConfig { domain, ..instance });
        assert_eq!(plan.desired.len(), 1);
        assert!(plan.skipped[0].reason.contains("255 bytes long"), "{:?}", plan.skipped);
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
    fn publishes_only_running_containers() {
        for (state, reason) in [
            (ContainerState::Running, None),
            (ContainerState::Created, Some("is created, but not started")),
            (ContainerState::Paused, Some("is paused")),
            (
                ContainerState::Restarting,
                Some("is restarting (7 times so far): it ended with exit code 3, see docker logs"),
            ),
            (ContainerState::Removing, Some("is being removed")),
            (ContainerState::Exited, Some("has exited")),
            (ContainerState::Dead, Some("is dead")),
        ] {
            // Neither the label nor the setting is about life.
            let container = Container { state, restarts: 7, exit_code: 3, ..httpd() };
            let container = container.label("highhock.health", "ignore");
            let plan = offered(&container, &PublishConfig { health: false, ..config() });
            assert_eq!(plan.withheld.as_deref(), reason);
            assert_eq!(plan.desired.len(), usize::from(reason.is_none()), "{state:?}");
            assert_eq!(plan.services.len(), 1, "{state:?}");
        }
    }

    #[test]
    fn publishes_health_checked_container_while_healthy() {
        for (health, rule, label, published) in [
            (Health::Unchecked, true, None, true),
            (Health::Healthy, true, None, true),
            (Health::Starting, true, None, false),
            (Health::Unhealthy, true, None, false),
            (Health::Starting, false, None, true),
            (Health::Unhealthy, false, None, true),
            (Health::Unhealthy, true, Some("ignore"), true),
            (Health::Starting, true, Some(" Ignore"), true),
            (Health::Unhealthy, true, Some("yes"), false),
        ] {
            let mut container = Container { health, ..httpd() };
            if let Some(value) = label {
                container = container.label("highhock.health", value);
            }
            let plan = offered(&container, &PublishConfig { health: rule, ..config() });
            assert_eq!(plan.desired.len(), usize::from(published), "{health:?} {rule} {label:?}");
            assert_eq!(plan.withheld.is_none(), published, "{health:?} {rule} {label:?}");
        }
        let plan = offered(&Container { health: Health::Unhealthy, ..httpd() }, &config());
        assert!(plan.withheld.unwrap().starts_with("is unhealthy"));
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
