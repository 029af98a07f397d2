//! From what a container is to the records that should stand for it.

pub mod endpoint;
pub mod explain;

use crate::discovery::find_services;
use crate::model::container::{Container, Health, Life, Proto};
use crate::model::names::check_name_length;
use crate::model::publish_config::{Layout, Rules};
use crate::model::record::{Host, RecordKey, RecordValue, WantedRecord};
use crate::model::service::{Service, Skipped};
use endpoint::{Endpoint, Endpoints, Reach};

/// The label by which a container opts out of being published by its health.
const HEALTH_LABEL: &str = "highhock.health";

/// The label by which a container opts out of being withdrawn at its stop signal.
const DRAIN_LABEL: &str = "highhock.drain";

/// What such a label says to opt out.
const IGNORE: &str = "ignore";

/// What the key of an instance ends in that is reached by IPv6, beside the first.
const BY_IPV6: &str = "-6";

/// What a container offers, and what of it can't be published.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The services found, whether or not each can be published.
    pub services: Vec<Service>,
    /// The records that should be, in the container's own order. Empty while the
    /// container is to be left out as a whole.
    pub wanted: Vec<WantedRecord>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
    /// Why the container as a whole is left out for now (paused, unhealthy …).
    pub withheld: Option<String>,
}

/// Works out what a container offers. `reach` says how its ports can be reached.
///
/// Two services that come to one key are both wanted, the first named first: who
/// holds a key is for the keeper of keys to say.
pub fn offer(container: &Container, reach: &Reach, rules: &Rules) -> Offer {
    let (services, mut skipped) = find_services(container, rules);

    if let Some(reason) = reason_to_withhold(container, rules.health) {
        // Its ports tell nothing now: the engine unbinds those of one that ended.
        return Offer { services, wanted: Vec::new(), skipped, withheld: Some(reason) };
    }

    let mut wanted = Vec::new();
    for service in &services {
        let mut records = records_for(container, service, reach, rules);
        wanted.append(&mut records.wanted);
        skipped.append(&mut records.skipped);
    }
    Offer { services, wanted, skipped, withheld: None }
}

/// What comes of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceRecords {
    /// Its records.
    pub wanted: Vec<WantedRecord>,
    /// What of it was left out, and why.
    pub skipped: Vec<Skipped>,
}

/// Works out the records of one service.
pub(crate) fn records_for(
    container: &Container,
    service: &Service,
    reach: &Reach,
    rules: &Rules,
) -> ServiceRecords {
    let mut records = ServiceRecords::default();
    for record in wanted_records(container, service, reach, rules) {
        match record {
            Ok(mut record) => {
                records.skipped.extend(see_to_hiding_text(service, &mut record.value, rules));
                records.wanted.push(record);
            }
            Err(reason) => records.skipped.push(Skipped::new(&service.to_string(), reason)),
        }
    }
    records
}

/// Why a container as a whole is to be left out by what its inspection says.
pub(crate) fn reason_to_withhold(container: &Container, by_health: bool) -> Option<String> {
    let unfit = match container.life {
        Life::Running => return reason_of_health(container, by_health),
        Life::Created => "is created, but not started",
        Life::Paused if planted!(PausedPublished) => return None,
        Life::Paused => "is paused",
        Life::Restarting => return Some(why_restarting(container)),
        Life::Removing => "is being removed",
        Life::Exited => "has exited",
        Life::Dead => "is dead",
    };
    Some(unfit.into())
}

/// Of a container that is about to be started again: why it ended, as far as the engine
/// tells.
fn why_restarting(container: &Container) -> String {
    let Container { restarts, exit_code, .. } = container;
    let times = if *restarts == 1 { "once" } else { &format!("{restarts} times") };
    format!("is restarting ({times} so far): it ended with exit code {exit_code}, see docker logs")
}

fn reason_of_health(container: &Container, by_health: bool) -> Option<String> {
    if !by_health || ignores(container, HEALTH_LABEL) {
        return None;
    }
    let unfit = match container.health {
        Health::Unchecked | Health::Healthy => return None,
        _ if planted!(HealthForgotten) => return None,
        Health::Starting => "is starting: no health check has passed yet",
        Health::Unhealthy => "is unhealthy, says its health check",
    };
    Some(format!("{unfit} (the label `{HEALTH_LABEL}={IGNORE}` publishes it all the same)"))
}

/// Whether a container stays published although it got its stop signal.
pub(crate) fn ignores_drain(container: &Container) -> bool {
    ignores(container, DRAIN_LABEL)
}

fn ignores(container: &Container, label: &str) -> bool {
    let label = container.labels.get(label);
    label.is_some_and(|value| value.trim().eq_ignore_ascii_case(IGNORE))
}

/// The record of where a service can be reached, and the one of its IPv6 address beside it.
fn wanted_records(
    container: &Container,
    service: &Service,
    reach: &Reach,
    rules: &Rules,
) -> Vec<Result<WantedRecord, String>> {
    let Endpoints { first, by_ipv6 } = match reach.endpoints(container, service, rules) {
        Ok(endpoints) => endpoints,
        Err(reason) => return vec![Err(reason)],
    };
    let record = |endpoint, suffix| wanted_record(container, service, endpoint, suffix, rules);
    // A host that the container names stands for all addresses.
    let is_apart = rules.layout == Layout::Instance && service.attributes.host.is_none();
    let by_ipv6 = by_ipv6.filter(|_| is_apart).map(|endpoint| record(endpoint, BY_IPV6));
    std::iter::once(record(first, "")).chain(by_ipv6).collect()
}

fn wanted_record(
    container: &Container,
    service: &Service,
    endpoint: Endpoint,
    suffix: &str,
    rules: &Rules,
) -> Result<WantedRecord, String> {
    let attributes = &service.attributes;
    let host = attributes.host.clone().unwrap_or(endpoint.host);
    check_leads_elsewhere(service, &host, rules)?;
    let value = RecordValue {
        host,
        port: endpoint.port,
        priority: attributes.priority,
        weight: attributes.weight,
        text: attributes.text.clone(),
        ttl: attributes.ttl.unwrap_or(rules.ttl),
        group: attributes.group.clone(),
    };
    let key = match rules.layout {
        Layout::Flat => RecordKey::new(&rules.prefix, &rules.domain, &service.name, None),
        Layout::Instance => instance_key(container, service, endpoint.proto, suffix, rules)?,
    };
    Ok(WantedRecord { key, value, own_host: attributes.host.is_none() })
}

/// Refuses a host's name under which the record itself would be found: a loop, which
/// no DNS server follows.
fn check_leads_elsewhere(service: &Service, host: &Host, rules: &Rules) -> Result<(), String> {
    let Host::Name(host) = host else { return Ok(()) };
    let (host, domain) = (host.as_str(), rules.domain.as_str());
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
fn see_to_hiding_text(
    service: &Service,
    value: &mut RecordValue,
    rules: &Rules,
) -> Option<Skipped> {
    let Host::Name(host) = &value.host else { return None };
    if rules.text_beside_name {
        return None;
    }
    let text = value.text.take()?;
    if service.attributes.host.is_some() {
        value.text = Some(text);
        let reason = "it has a text beside a host's name: CoreDNS answers the text, and neither \
                      the host nor the port";
        return Some(Skipped::new(&service.to_string(), reason));
    }
    let reason = format!(
        "the record leads to a host's name, {host}, and CoreDNS would answer the text and neither \
         host nor port: it is published without the text"
    );
    Some(Skipped::new(&format!("highhock.{}.text={text}", service.name), reason))
}

/// The key of one instance. An instance's own part is at most 56 bytes long (a
/// host's name has 30 at most), so always a label; but it is part of the name that
/// an SRV answer gives, which has a limit as a whole.
fn instance_key(
    container: &Container,
    service: &Service,
    proto: Proto,
    suffix: &str,
    rules: &Rules,
) -> Result<RecordKey, String> {
    let of_proto = match proto {
        Proto::Tcp => "",
        Proto::Udp => "-udp",
        Proto::Sctp => "-sctp",
    };
    let (host, id) = (&rules.hostname, container.id.short());
    let instance = format!("{host}-{id}-{}{of_proto}{suffix}", service.port);
    let name_length = service.name.as_str().len() + ".".len() + rules.domain.as_str().len();
    check_name_length(instance.len() + ".".len() + name_length)
        .map_err(|reason| format!("{reason}, {instance:?} before it included"))?;
    Ok(RecordKey::new(&rules.prefix, &rules.domain, &service.name, Some(&instance)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::model::container::{Attachment, NetworkMode};
    use crate::model::names::DomainName;
    use crate::model::publish_config::AddressOf;

    fn rules() -> Rules {
        Rules::sample()
    }

    fn httpd() -> Container {
        Container::sample().env("DISCOVER", "httpd:80").bind("80/tcp -> 0.0.0.0:8080")
    }

    fn offered(container: &Container, rules: &Rules) -> Offer {
        offer(container, &Reach::of(container), rules)
    }

    /// Each wanted record as `key = value`.
    fn wanted(offer: &Offer) -> Vec<String> {
        offer.wanted.iter().map(|r| format!("{} = {}", r.key, r.value.to_json())).collect()
    }

    #[test]
    fn a_published_port_becomes_a_record() {
        let offer = offered(&httpd(), &rules());
        assert_eq!(
            wanted(&offer),
            [r#"skydns/local/highhock/httpd = {"host":"10.77.66.0","port":8080,"ttl":60}"#],
        );
        assert!(offer.wanted[0].own_host);
        assert_eq!(offer.skipped, []);
        assert_eq!(offer.withheld, None);
        assert_eq!(offer.services.len(), 1);
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
        let offer = offered(&container, &rules());
        assert_eq!(
            wanted(&offer),
            [concat!(
                r#"skydns/local/highhock/httpd = {"host":"web.example.com","port":8080,"#,
                r#""priority":10,"weight":20,"text":"hello","ttl":30,"group":"g1"}"#,
            )],
        );
        assert!(!offer.wanted[0].own_host);
    }

    #[test]
    fn a_text_that_would_hide_its_record_is_left_out() {
        let container = httpd().label("highhock.text", "hello");
        let name = Host::parse("node1.example.com").unwrap();
        for (host, text_beside_name, kept) in
            [(name.clone(), false, false), (name, true, true), (rules().host, false, true)]
        {
            let offer = offered(&container, &Rules { host, text_beside_name, ..rules() });
            assert_eq!(offer.wanted[0].value.text.is_some(), kept);
            assert_eq!(offer.skipped.is_empty(), kept, "{:?}", offer.skipped);
            for skipped in offer.skipped {
                assert_eq!(skipped.entry, "highhock.httpd.text=hello");
                assert!(skipped.reason.contains("node1.example.com"), "{}", skipped.reason);
            }
        }
    }

    #[test]
    fn a_container_that_names_text_and_host_gets_both_and_is_told() {
        let container =
            httpd().label("highhock.text", "hello").label("highhock.httpd.host", "example.com");
        let offer = offered(&container, &Rules { text_beside_name: false, ..rules() });
        assert_eq!(offer.wanted[0].value.text.as_deref(), Some("hello"));
        assert_eq!(offer.skipped.len(), 1);
        assert_eq!(offer.skipped[0].entry, "httpd:80");
        assert!(offer.skipped[0].reason.contains("CoreDNS"), "{:?}", offer.skipped);
    }

    #[test]
    fn a_record_that_would_lead_to_itself_is_skipped() {
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
            for layout in [Layout::Flat, Layout::Instance] {
                let offer = offered(&container, &Rules { layout, ..rules() });
                assert_eq!(offer.wanted.is_empty(), loops, "{host}");
                assert_eq!(offer.skipped.len(), usize::from(loops), "{:?}", offer.skipped);
            }
        }
    }

    #[test]
    fn a_binding_to_one_address_is_this_hosts_own() {
        let container =
            Container::sample().env("DISCOVER", "httpd:80").bind("80/tcp -> 192.0.2.7:8080");
        let offer = offered(&container, &rules());
        assert_eq!(offer.wanted[0].value.host.to_string(), "192.0.2.7");
        assert!(offer.wanted[0].own_host);
    }

    #[test]
    fn a_host_attribute_does_not_make_up_for_a_port_that_is_not_published() {
        for container in [
            Container::sample(),
            Container::sample().bind("80/tcp -> 127.0.0.1:8080"),
            Container { network: NetworkMode::None, ..Container::sample() },
        ] {
            let container =
                container.env("DISCOVER", "httpd:80").label("highhock.host", "10.0.0.1");
            let offer = offered(&container, &rules());
            assert_eq!(offer.wanted, []);
            assert_eq!(offer.skipped.len(), 1);
        }
    }

    #[test]
    fn an_instance_has_a_key_of_its_own_below_the_name() {
        let rules = Rules { layout: Layout::Instance, ..rules() };
        let container = Container::sample()
            .env("DISCOVER", "api.httpd:80,ns:53/tcp,ns:53/udp,ns:54,sig:55")
            .bind("80/tcp -> 0.0.0.0:8080")
            .bind("53/tcp -> 0.0.0.0:53")
            .bind("53/udp -> 0.0.0.0:53")
            .bind("54/udp -> 0.0.0.0:1054")
            .bind("55/sctp -> 0.0.0.0:1055");
        let keys: Vec<_> = offered(&container, &rules)
            .wanted
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
    fn an_ipv6_address_has_a_record_beside_the_first() {
        let host6 = Some("2001:db8::6".parse().unwrap());
        let rules = Rules { layout: Layout::Instance, host6, ..rules() };
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
        let six = offered(&container, &rules);
        let (below, id) = ("skydns/local/highhock", "node1-0123456789ab");
        let record = |end: &str, host: &str, port: u16| {
            let name = end.split('/').next().unwrap();
            let end = end.split('/').nth(1).unwrap();
            let host = format!(r#"{{"host":"{host}","port":{port},"priority":10,"ttl":60}}"#);
            format!("{below}/{name}/{id}-{end} = {host}")
        };
        assert_eq!(
            wanted(&six),
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
        assert_eq!(six.wanted.iter().filter(|record| !record.own_host).count(), 1);
        assert_eq!(six.skipped, []);

        let without = offered(&container, &Rules { host6: None, ..rules.clone() });
        assert_eq!(without.wanted.len(), 5);
        // A name has one record there.
        let flat = offered(&container, &Rules { layout: Layout::Flat, ..rules });
        assert_eq!(flat.wanted.len(), 5);
    }

    #[test]
    fn a_containers_own_address_takes_no_published_port() {
        let attachment = Attachment {
            address4: Some([172, 18, 0, 2].into()),
            address6: Some("fd00::2".parse().unwrap()),
        };
        let container = Container {
            networks: [("web".to_owned(), attachment)].into(),
            exposed: vec![(53, Proto::Udp)],
            ..Container::sample().env("DISCOVER", "httpd:80,ns:53")
        };
        let rules = Rules { address: AddressOf::Container, layout: Layout::Instance, ..rules() };
        let below = "skydns/local/highhock";
        let (httpd, ns) = ("httpd/node1-0123456789ab-80", "ns/node1-0123456789ab-53-udp");
        assert_eq!(
            wanted(&offered(&container, &rules)),
            [
                format!(r#"{below}/{httpd} = {{"host":"172.18.0.2","port":80,"ttl":60}}"#),
                format!(r#"{below}/{ns} = {{"host":"172.18.0.2","port":53,"ttl":60}}"#),
            ],
        );
        let six = offered(&container, &Rules { host6: Some(Ipv6Addr::LOCALHOST), ..rules.clone() });
        assert_eq!(six.wanted.len(), 4);
        let expected = format!(r#"{below}/{ns}-6 = {{"host":"fd00::2","port":53,"ttl":60}}"#);
        assert_eq!(wanted(&six)[3], expected);

        let lost = offered(&container.label("highhock.network", "wep"), &rules);
        assert_eq!((lost.wanted.len(), lost.skipped.len()), (0, 2));
        assert!(lost.skipped[0].reason.contains("\"web\""), "{:?}", lost.skipped);
    }

    #[test]
    fn the_longest_instance_part_is_a_label() {
        let rules = Rules {
            layout: Layout::Instance,
            hostname: "h".repeat(30),
            host6: Some("2001:db8::6".parse().unwrap()),
            ..rules()
        };
        let container = Container::sample().env("DISCOVER", "a:65535").bind("65535/sctp -> [::]:1");
        let offer = offered(&container, &rules);
        let instance = offer.wanted[1].key.as_str().rsplit('/').next().unwrap();
        assert_eq!(instance.len(), 56);
    }

    #[test]
    fn a_name_too_long_for_an_instance_is_skipped() {
        let name = format!("{0}.{0}.{0}", "a".repeat(63));
        let container = Container::sample()
            .env("DISCOVER", &format!("{name}:80,b:80"))
            .bind("80/tcp -> 0.0.0.0:8080");
        assert_eq!(offered(&container, &rules()).wanted.len(), 2);

        // 46 bytes of instance, 191 of name, 14 of domain and two dots: the most there is.
        let instance = Rules { layout: Layout::Instance, hostname: "h".repeat(30), ..rules() };
        assert_eq!(offered(&container, &instance).wanted.len(), 2);
        let domain = DomainName::parse("a.highhock.local").unwrap();
        let offer = offered(&container, &Rules { domain, ..instance });
        assert_eq!(offer.wanted.len(), 1);
        assert!(offer.skipped[0].reason.contains("255 bytes long"), "{:?}", offer.skipped);
    }

    #[test]
    fn services_that_come_to_one_key_are_all_wanted_in_their_order() {
        let container = httpd().env("DISCOVER", "httpd:81,httpd:80").bind("81/tcp -> 0.0.0.0:8081");
        assert_eq!(
            wanted(&offered(&container, &rules())),
            [
                r#"skydns/local/highhock/httpd = {"host":"10.77.66.0","port":8081,"ttl":60}"#,
                r#"skydns/local/highhock/httpd = {"host":"10.77.66.0","port":8080,"ttl":60}"#,
            ],
        );
    }

    #[test]
    fn a_service_that_cannot_be_reached_is_skipped_and_its_neighbours_kept() {
        let container = httpd().env("DISCOVER", "Api:81/udp,httpd:80,bad");
        let offer = offered(&container, &rules());
        assert_eq!(offer.wanted.len(), 1);
        assert_eq!(offer.services.len(), 2);
        let entries: Vec<_> = offer.skipped.iter().map(|s| s.entry.as_str()).collect();
        assert_eq!(entries, ["bad", "api:81/udp"]);
    }

    #[test]
    fn only_a_running_container_is_published() {
        for (life, reason) in [
            (Life::Running, None),
            (Life::Created, Some("is created, but not started")),
            (Life::Paused, Some("is paused")),
            (
                Life::Restarting,
                Some("is restarting (7 times so far): it ended with exit code 3, see docker logs"),
            ),
            (Life::Removing, Some("is being removed")),
            (Life::Exited, Some("has exited")),
            (Life::Dead, Some("is dead")),
        ] {
            // Neither the label nor the setting is about life.
            let container = Container { life, restarts: 7, exit_code: 3, ..httpd() };
            let container = container.label("highhock.health", "ignore");
            let offer = offered(&container, &Rules { health: false, ..rules() });
            assert_eq!(offer.withheld.as_deref(), reason);
            assert_eq!(offer.wanted.len(), usize::from(reason.is_none()), "{life:?}");
            assert_eq!(offer.services.len(), 1, "{life:?}");
        }
    }

    #[test]
    fn a_container_with_a_health_check_is_published_while_healthy() {
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
            let offer = offered(&container, &Rules { health: rule, ..rules() });
            assert_eq!(offer.wanted.len(), usize::from(published), "{health:?} {rule} {label:?}");
            assert_eq!(offer.withheld.is_none(), published, "{health:?} {rule} {label:?}");
        }
        let offer = offered(&Container { health: Health::Unhealthy, ..httpd() }, &rules());
        assert!(offer.withheld.unwrap().starts_with("is unhealthy"));
    }

    #[test]
    fn a_withheld_container_tells_what_was_malformed_but_nothing_of_its_ports() {
        let container =
            Container { life: Life::Exited, ..Container::sample() }.env("DISCOVER", "httpd:80,bad");
        let offer = offered(&container, &rules());
        let entries: Vec<_> = offer.skipped.iter().map(|s| s.entry.as_str()).collect();
        assert_eq!(entries, ["bad"]);
    }

    #[test]
    fn how_a_container_is_reached_is_for_the_caller_to_say() {
        let offer = offer(&httpd(), &Reach::HostNetwork, &rules());
        assert_eq!(
            wanted(&offer),
            [r#"skydns/local/highhock/httpd = {"host":"10.77.66.0","port":80,"ttl":60}"#],
        );
    }
}
