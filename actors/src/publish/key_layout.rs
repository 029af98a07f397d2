//! The key of a record: one key per name, or one key per instance below the name.
//!
//! The rules are in `config/README.md`, "Keys and values".

use crate::model::container::{ContainerId, Protocol};
use crate::model::names::check_name_length;
use crate::model::publish_config::{KeyLayout, PublishConfig};
use crate::model::record::RecordKey;
use crate::model::service::Service;

/// The end of an instance key whose record contains the second, IPv6 address.
const SECOND_ADDRESS_SUFFIX: &str = "-6";

/// The part of a service that gets a key of its own in the `instance` layout: one protocol
/// of one container, at one address.
pub(super) struct ServiceInstance<'a> {
    /// The container that offers the service.
    pub container: &'a ContainerId,
    /// The protocol of the endpoint, which the service itself may leave open.
    pub proto: Protocol,
    /// `true` for the record with the IPv6 address that is published beside the first address.
    pub second_address: bool,
}

/// Returns the key of a service's record, in the layout that `config` selects.
///
/// In the `flat` layout the key depends on the name only, so all instances share the key.
///
/// # Errors
/// Returns the reason if the name becomes too long for DNS, which only happens in the
/// `instance` layout.
pub(super) fn record_key(
    service: &Service,
    instance: &ServiceInstance<'_>,
    config: &PublishConfig,
) -> Result<RecordKey, String> {
    match config.layout {
        KeyLayout::Flat => Ok(RecordKey::new(&config.prefix, &config.domain, &service.name, None)),
        KeyLayout::Instance => instance_key(service, instance, config),
    }
}

/// Returns the key of one instance.
///
/// The last label has at most 56 bytes, because the host name has at most 30, so the label
/// always fits into the 63 bytes of DNS. The label is also part of the name in SRV answers,
/// and the length of that name is limited as a whole.
fn instance_key(
    service: &Service,
    instance: &ServiceInstance<'_>,
    config: &PublishConfig,
) -> Result<RecordKey, String> {
    let label = instance_label(service, instance, config);
    let name_length = service.name.as_str().len() + ".".len() + config.domain.as_str().len();
    check_name_length(label.len() + ".".len() + name_length).map_err(|reason| {
        format!("{reason}, including the instance {label:?}; shorten the name")
    })?;
    Ok(RecordKey::new(&config.prefix, &config.domain, &service.name, Some(&label)))
}

/// Returns `<hostname>-<container>-<port>`, followed by the suffixes that apply.
fn instance_label(
    service: &Service,
    instance: &ServiceInstance<'_>,
    config: &PublishConfig,
) -> String {
    let proto_suffix = match instance.proto {
        Protocol::Tcp => "",
        Protocol::Udp => "-udp",
        Protocol::Sctp => "-sctp",
    };
    let address_suffix = if instance.second_address { SECOND_ADDRESS_SUFFIX } else { "" };
    let (host, id) = (&config.hostname, instance.container.short());
    format!("{host}-{id}-{}{proto_suffix}{address_suffix}", service.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::Container;
    use crate::model::names::DomainName;
    use crate::publish::tests::{config, offered};

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
    fn longest_instance_part_fits_a_label() {
        let config = PublishConfig {
            layout: KeyLayout::Instance,
            hostname: "h".repeat(30),
            host6: Some("2001:db8::6".parse().unwrap()),
            ..config()
        };
        let container = Container::sample().env("DISCOVER", "a:65535").bind("65535/sctp -> [::]:1");
        let plan = offered(&container, &config);
        let instance = plan.desired[0].key.as_str().rsplit('/').next().unwrap();
        assert_eq!(instance.len(), 56);
    }

    #[test]
    fn skips_name_too_long_for_an_instance() {
        let name = format!("{0}.{0}.{0}", "a".repeat(63));
        let container = Container::sample()
            .env("DISCOVER", &format!("{name}:80,b:80"))
            .bind("80/tcp -> 0.0.0.0:8080");
        assert_eq!(offered(&container, &config()).desired.len(), 2);

        // 46 bytes of instance, 191 of name, 14 of domain and two dots: 253 bytes, the limit.
        let instance =
            PublishConfig { layout: KeyLayout::Instance, hostname: "h".repeat(30), ..config() };
        assert_eq!(offered(&container, &instance).desired.len(), 2);
        let domain = DomainName::parse("a.highhock.local").unwrap();
        let plan = offered(&container, &PublishConfig { domain, ..instance });
        assert_eq!(plan.desired.len(), 1);
        assert!(plan.skipped[0].reason.contains("255 bytes long"), "{:?}", plan.skipped);
    }
}
