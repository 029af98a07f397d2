//! The host address and port of a published port, chosen among its bindings.
//!
//! The rules are in `config/README.md`, "Choice of address and port" and "IPv6".

use super::published_binding::PublishedBinding;
use super::unpublished_reason::UnpublishedPort;
use super::{Endpoints, NetworkAccess};
use crate::model::address_family::AddressFamily;
use crate::model::container::{Container, PortBinding};
use crate::model::publish_config::PublishConfig;
use crate::model::record::Host;
use crate::model::service::Service;

/// Returns the endpoints of a service through the bindings of its port.
///
/// # Errors
/// Returns the reason if no binding is reachable from other hosts at a published address.
pub(super) fn endpoints(
    access: &NetworkAccess,
    container: &Container,
    service: &Service,
    config: &PublishConfig,
) -> Result<Endpoints, String> {
    let bound = published_ports(&access.bindings, service);
    let family = family(&config.host);
    let first = choose(&bound, |bound| family.is_none_or(|family| family == bound.family()));
    let first = first.map(|bound| bound.endpoint(&config.host));
    let proto = first.as_ref().map(|first| first.proto);
    let ipv6 = config.host6.and_then(|host6| {
        let is_candidate = |bound: &PublishedBinding| {
            bound.family() == AddressFamily::V6 && proto.is_none_or(|proto| proto == bound.proto)
        };
        Some(choose(&bound, is_candidate)?.endpoint(&Host::Address(host6.into())))
    });
    match (first, ipv6) {
        (Some(first), ipv6) => Ok(Endpoints::new(first, ipv6)),
        (None, ipv6 @ Some(_)) => Ok(Endpoints { first: None, ipv6 }),
        (None, None) => {
            Err(UnpublishedPort { access, container, service, config }.reason(&bound, family))
        }
    }
}

/// Returns the published ports of a service, in the order of their rank.
fn published_ports(bindings: &[PortBinding], service: &Service) -> Vec<PublishedBinding> {
    let mut bound: Vec<PublishedBinding> = bindings
        .iter()
        .filter(|binding| binding.port == service.port.get())
        .filter(|binding| service.proto.is_none_or(|proto| proto == binding.proto))
        .filter_map(PublishedBinding::from_binding)
        .collect();
    bound.sort_by_key(PublishedBinding::rank);
    bound
}

/// Returns the family of the published address. A host name may stand for both.
fn family(host: &Host) -> Option<AddressFamily> {
    match host {
        Host::Address(address) => Some(AddressFamily::of(*address)),
        Host::Name(_) => None,
    }
}

/// Returns the first reachable binding that is a candidate. `bound` is in the order of the rank.
fn choose(
    bound: &[PublishedBinding],
    is_candidate: impl Fn(&PublishedBinding) -> bool,
) -> Option<&PublishedBinding> {
    bound.iter().find(|bound| bound.is_reachable() && is_candidate(bound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::endpoint::tests::{HOST, service, shown};

    fn endpoints(bindings: &[&str], port: &str, config: &PublishConfig) -> Result<String, String> {
        let container =
            bindings.iter().fold(Container::sample(), |container, shown| container.bind(shown));
        let access = NetworkAccess::from_container(&container);
        let endpoints = super::endpoints(&access, &container, &service(port), config);
        endpoints.map(|endpoints| shown(&endpoints))
    }

    fn endpoint(bindings: &[&str], port: &str) -> Result<String, String> {
        endpoints(bindings, port, &PublishConfig::sample())
    }

    const HOST6: &str = "2001:db8::5";

    fn config(host: &str, host6: Option<&str>) -> PublishConfig {
        let host = Host::parse(host).unwrap();
        let host6 = host6.map(|host6| host6.parse().unwrap());
        PublishConfig { host, host6, ..PublishConfig::sample() }
    }

    #[test]
    fn selects_one_of_several_bindings() {
        for (bindings, port, expected) in [
            // One binding: to all addresses it publishes the host's, else its own.
            (&["80/tcp -> 0.0.0.0:8080"][..], "80", "10.77.66.0 8080/tcp"),
            (&["80/tcp -> 192.0.2.7:8080"], "80", "192.0.2.7 8080/tcp"),
            (&["80/tcp -> [::ffff:192.0.2.7]:8080"], "80", "192.0.2.7 8080/tcp"),
            // All addresses before one address, regardless of the port.
            (&["80/tcp -> 192.0.2.7:80", "80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
            // A binding for IPv6 does not count, regardless of its address and port.
            (&["80/tcp -> 192.0.2.7:80", "80/tcp -> [::]:79"], "80", "192.0.2.7 80/tcp"),
            (&["80/tcp -> [::]:80", "80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
            (&["80/tcp -> [::]:32774", "80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
            (
                &["80/tcp -> [2001:db8::7]:80", "80/tcp -> 192.0.2.7:8080"],
                "80",
                "192.0.2.7 8080/tcp",
            ),
            (&["53/tcp -> [::]:53", "53/udp -> 0.0.0.0:53"], "53", "10.77.66.0 53/udp"),
            // The lowest port by number, then the lowest address.
            (&["80/tcp -> 0.0.0.0:10080", "80/tcp -> 0.0.0.0:9080"], "80", "10.77.66.0 9080/tcp"),
            (&["80/tcp -> 192.0.2.9:80", "80/tcp -> 192.0.2.7:80"], "80", "192.0.2.7 80/tcp"),
            // The protocol weighs most.
            (&["53/udp -> 0.0.0.0:53", "53/tcp -> 0.0.0.0:5353"], "53", "10.77.66.0 5353/tcp"),
            (&["53/udp -> 0.0.0.0:53", "53/tcp -> 192.0.2.7:53"], "53", "192.0.2.7 53/tcp"),
            (&["53/sctp -> 0.0.0.0:53", "53/udp -> 0.0.0.0:54"], "53", "10.77.66.0 54/udp"),
            (&["53/sctp -> 0.0.0.0:53"], "53", "10.77.66.0 53/sctp"),
            (&["53/tcp -> 0.0.0.0:53", "53/udp -> 0.0.0.0:54"], "53/udp", "10.77.66.0 54/udp"),
            // Bindings that are unreachable or have no port do not count.
            (&["80/tcp -> 127.0.0.1:80", "80/tcp -> 192.0.2.7:81"], "80", "192.0.2.7 81/tcp"),
            (&["80/tcp -> 169.254.1.1:80", "80/tcp -> 192.0.2.7:81"], "80", "192.0.2.7 81/tcp"),
            (&["80/tcp -> 0.0.0.0:0", "80/tcp -> 192.0.2.7:81"], "80", "192.0.2.7 81/tcp"),
            (&["53/tcp -> 127.0.0.1:53", "53/udp -> 0.0.0.0:53"], "53", "10.77.66.0 53/udp"),
            // Bindings of other ports do not count.
            (&["81/tcp -> 0.0.0.0:80", "80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
        ] {
            assert_eq!(endpoint(bindings, port).as_deref(), Ok(expected), "{bindings:?} {port}");
            let reversed: Vec<_> = bindings.iter().rev().copied().collect();
            assert_eq!(endpoint(&reversed, port).as_deref(), Ok(expected), "{reversed:?} {port}");
        }
    }

    #[test]
    fn binding_of_the_other_family_is_not_published() {
        for (bindings, host) in [
            (&["80/tcp -> [::]:8080"][..], HOST),
            (&["80/tcp -> [2001:db8::7]:8080"], HOST),
            (&["80/tcp -> [::]:32774", "80/tcp -> 0.0.0.0:0"], HOST),
            (&["80/tcp -> 0.0.0.0:8080"], HOST6),
            (&["80/tcp -> 192.0.2.7:8080"], HOST6),
            (&["80/tcp -> [::ffff:192.0.2.7]:8080"], HOST6),
        ] {
            let reason = endpoints(bindings, "80", &config(host, None)).unwrap_err();
            assert!(reason.contains(" only ("), "{bindings:?} {host}: {reason}");
        }
    }

    #[test]
    fn ipv6_host_uses_ipv6_bindings() {
        for (bindings, expected) in [
            (&["80/tcp -> [::]:8080"][..], "2001:db8::5 8080/tcp"),
            (&["80/tcp -> 0.0.0.0:80", "80/tcp -> [::]:8080"], "2001:db8::5 8080/tcp"),
            (&["80/tcp -> [2001:db8::9]:80", "80/tcp -> [::]:8080"], "2001:db8::5 8080/tcp"),
            (&["80/tcp -> [2001:db8::9]:80", "80/tcp -> 192.0.2.7:81"], "2001:db8::9 80/tcp"),
            (&["80/tcp -> 0.0.0.0:79", "80/tcp -> [2001:db8::9]:80"], "2001:db8::9 80/tcp"),
            (&["53/tcp -> 0.0.0.0:53", "53/udp -> [::]:53"], "2001:db8::5 53/udp"),
        ] {
            let found =
                endpoints(bindings, bindings[0].split('/').next().unwrap(), &config(HOST6, None));
            assert_eq!(found.as_deref(), Ok(expected), "{bindings:?}");
        }
    }

    /// A host name may have addresses of both families.
    #[test]
    fn named_host_uses_bindings_of_both_families() {
        for (bindings, expected) in [
            (&["80/tcp -> 0.0.0.0:8080"][..], "node1.example.com 8080/tcp"),
            (&["80/tcp -> [::]:8080"], "node1.example.com 8080/tcp"),
            (&["80/tcp -> [::]:80", "80/tcp -> 0.0.0.0:8080"], "node1.example.com 8080/tcp"),
            (&["80/tcp -> [::]:8080", "80/tcp -> 192.0.2.7:80"], "node1.example.com 8080/tcp"),
            (&["80/tcp -> [2001:db8::9]:80", "80/tcp -> 192.0.2.7:81"], "192.0.2.7 81/tcp"),
            (&["80/tcp -> [2001:db8::9]:80"], "2001:db8::9 80/tcp"),
        ] {
            let found = endpoints(bindings, "80", &config("node1.example.com", None));
            assert_eq!(found.as_deref(), Ok(expected), "{bindings:?}");
        }
    }

    #[test]
    fn second_address_uses_ipv6_bindings() {
        for (bindings, expected) in [
            (
                &["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:9090"][..],
                "10.77.66.0 8080/tcp, 2001:db8::6 9090/tcp",
            ),
            // Reachable by IPv6 only.
            (&["80/tcp -> [::]:9090"], "2001:db8::6 9090/tcp"),
            (&["80/tcp -> [::]:9090", "80/tcp -> 0.0.0.0:0"], "2001:db8::6 9090/tcp"),
            (
                &["80/tcp -> 0.0.0.0:1", "80/tcp -> [::]:10000", "80/tcp -> [::]:9000"],
                "10.77.66.0 1/tcp, 2001:db8::6 9000/tcp",
            ),
            // A specific address, unless all addresses are bound.
            (
                &["80/tcp -> 0.0.0.0:81", "80/tcp -> [2001:db8::9]:80"],
                "10.77.66.0 81/tcp, 2001:db8::9 80/tcp",
            ),
            (
                &["80/tcp -> 192.0.2.7:81", "80/tcp -> [2001:db8::9]:80"],
                "192.0.2.7 81/tcp, 2001:db8::9 80/tcp",
            ),
            (
                &["80/tcp -> 192.0.2.7:81", "80/tcp -> [2001:db8::9]:80", "80/tcp -> [::]:82"],
                "192.0.2.7 81/tcp, 2001:db8::6 82/tcp",
            ),
            // Not bound for IPv6, or not reachable.
            (&["80/tcp -> 0.0.0.0:8080"], "10.77.66.0 8080/tcp"),
            (&["80/tcp -> 0.0.0.0:80", "80/udp -> [::]:80"], "10.77.66.0 80/tcp"),
            (&["80/tcp -> 0.0.0.0:80", "80/tcp -> [::1]:80"], "10.77.66.0 80/tcp"),
            (&["80/tcp -> 0.0.0.0:80", "80/tcp -> [fe80::1]:80"], "10.77.66.0 80/tcp"),
        ] {
            let found = endpoints(bindings, "80", &config(HOST, Some("2001:db8::6")));
            assert_eq!(found.as_deref(), Ok(expected), "{bindings:?}");
        }
        // The host's first address is already this IPv6 address.
        let found =
            endpoints(&["80/tcp -> [::]:80"], "80", &config("2001:db8::6", Some("2001:db8::6")));
        assert_eq!(found.as_deref(), Ok("2001:db8::6 80/tcp"));
    }
}
