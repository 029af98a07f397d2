//! The container's own address and port, in a network that the engine manages.
//!
//! The rules are in `config/README.md`, "Container addresses".

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Endpoint, Endpoints, resolve_proto};
use crate::model::container::{Container, NetworkAttachment, Protocol};
use crate::model::names::quote;
use crate::model::publish_config::PublishConfig;
use crate::model::record::Host;
use crate::model::service::Service;

/// The label that selects one of the container's networks.
const NETWORK_LABEL: &str = "highhock.network";

/// The networks that engines create themselves, for containers that name no other network:
/// Docker's, Podman's, and the one for the published ports of Swarm.
const ENGINE_DEFAULT_NETWORKS: [&str; 3] = ["bridge", "podman", "ingress"];

/// Returns the endpoints of a service at the container itself, without a published port.
///
/// `networks` may belong to another container whose network this one shares. `exposed` are
/// the ports that the owner of the networks exposes.
///
/// # Errors
/// Returns the reason if the container has no usable address.
pub(super) fn endpoints(
    container: &Container,
    networks: &BTreeMap<String, NetworkAttachment>,
    exposed: &[(u16, Protocol)],
    service: &Service,
    config: &PublishConfig,
) -> Result<Endpoints, String> {
    let attachment = attachment(container, networks)?;
    let v4 = attachment.address4.map(IpAddr::V4);
    let v6 = attachment.address6.map(IpAddr::V6);
    let Some(address) = v4.or(v6) else {
        return Err("has no address in its network yet; check `docker network inspect`".into());
    };
    let exposed = container.exposed.iter().chain(exposed);
    let (port, proto) = (service.port, resolve_proto(service, exposed));
    let first = Endpoint { host: Host::Address(address), port, proto };
    // With `discovery.host6` set, the operator also wants the IPv6 addresses of containers.
    let address6 = attachment.address6.filter(|_| config.host6.is_some());
    Ok(first.with_ipv6(address6))
}

/// Selects the network whose address is published: the one in the label, else the first one
/// by name that has an address. The engine's default networks come last.
fn attachment<'a>(
    container: &Container,
    networks: &'a BTreeMap<String, NetworkAttachment>,
) -> Result<&'a NetworkAttachment, String> {
    let named = container.labels.get(NETWORK_LABEL).map(|name| name.trim());
    if let Some(name) = named.filter(|name| !name.is_empty()) {
        return networks.get(name).ok_or_else(|| {
            format!(
                "the label {NETWORK_LABEL} names {}, a network that the container is not in; \
                 it is in {}; correct the label, or connect the container",
                quote(name),
                network_list(networks),
            )
        });
    }
    let has_address = |one: &NetworkAttachment| one.address4.is_some() || one.address6.is_some();
    networks
        .iter()
        .filter(|(_, attachment)| has_address(attachment))
        .min_by_key(|(name, _)| (ENGINE_DEFAULT_NETWORKS.contains(&name.as_str()), *name))
        .map(|(_, attachment)| attachment)
        .ok_or_else(|| {
            format!(
                "has no address of its own; it is in {}; connect it to a network that assigns \
                 addresses",
                network_list(networks),
            )
        })
}

fn network_list(networks: &BTreeMap<String, NetworkAttachment>) -> String {
    if networks.is_empty() {
        "no network".to_owned()
    } else {
        networks.keys().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::endpoint::tests::{service, shown};

    /// Parses attachments such as `net=172.18.0.2`, `net=172.18.0.2,fd00::2` or `net=`.
    fn networks(attachments: &[&str]) -> BTreeMap<String, NetworkAttachment> {
        let mut networks = BTreeMap::new();
        for shown in attachments {
            let (name, addresses) = shown.split_once('=').unwrap();
            let mut attachment = NetworkAttachment::default();
            for address in addresses.split(',').filter(|address| !address.is_empty()) {
                match address.parse().unwrap() {
                    IpAddr::V4(v4) => attachment.address4 = Some(v4),
                    IpAddr::V6(v6) => attachment.address6 = Some(v6),
                }
            }
            networks.insert(name.to_owned(), attachment);
        }
        networks
    }

    fn found(
        container: &Container,
        attachments: &[&str],
        port: &str,
        config: &PublishConfig,
    ) -> Result<String, String> {
        let networks = networks(attachments);
        let found = endpoints(container, &networks, &[(99, Protocol::Udp)], &service(port), config);
        found.map(|endpoints| shown(&endpoints))
    }

    #[test]
    fn selects_named_network_else_first_in_order() {
        for (attachments, named, expected) in [
            (&["bridge=172.17.0.2"][..], "", "172.17.0.2 80/tcp"),
            // A user's network precedes the engine's own, regardless of its name.
            (&["bridge=172.17.0.2", "web=172.18.0.2"], "", "172.18.0.2 80/tcp"),
            (&["a=172.18.0.2", "bridge=172.17.0.2"], "", "172.18.0.2 80/tcp"),
            (&["ingress=10.0.0.2", "web=172.18.0.2"], "", "172.18.0.2 80/tcp"),
            (&["podman=10.88.0.2", "web=172.18.0.2"], "", "172.18.0.2 80/tcp"),
            // The first by name.
            (&["web=172.18.0.2", "api=172.19.0.2"], "", "172.19.0.2 80/tcp"),
            (&["web=172.18.0.2", "api=172.19.0.2"], "web", "172.18.0.2 80/tcp"),
            (&["web=172.18.0.2", "api=172.19.0.2"], " web ", "172.18.0.2 80/tcp"),
            (&["bridge=172.17.0.2", "web=172.18.0.2"], "bridge", "172.17.0.2 80/tcp"),
            // A network without an address does not count.
            (&["api=", "web=172.18.0.2"], "", "172.18.0.2 80/tcp"),
            // IPv4 before IPv6, within one network.
            (&["web=172.18.0.2,fd00::2"], "", "172.18.0.2 80/tcp"),
            (&["six=fd00::2"], "", "fd00::2 80/tcp"),
            (&["bridge=172.17.0.2", "six=fd00::2"], "", "fd00::2 80/tcp"),
            (&["bridge=172.17.0.2", "six=fd00::2"], "bridge", "172.17.0.2 80/tcp"),
        ] {
            let container = Container::sample().label("highhock.network", named);
            let found = found(&container, attachments, "80", &PublishConfig::sample());
            assert_eq!(found.as_deref(), Ok(expected), "{attachments:?} {named:?}");
        }
    }

    #[test]
    fn missing_address_reason_lists_networks() {
        for (attachments, named, reason) in [
            (&["web=172.18.0.2", "bridge=172.17.0.2"][..], "wep", "names \"wep\", a network"),
            (&["web=172.18.0.2", "api=172.17.0.2"], "wep", "it is in \"api\", \"web\""),
            (&[], "web", "it is in no network"),
            (&[], "", "has no address of its own; it is in no network"),
            (&["web="], "", "has no address of its own; it is in \"web\""),
            (&["web=", "api=172.17.0.2"], "web", "has no address in its network yet"),
        ] {
            let container = Container::sample().label("highhock.network", named);
            let cause = found(&container, attachments, "80", &PublishConfig::sample()).unwrap_err();
            assert!(cause.contains(reason), "{attachments:?} {named:?}: {cause}");
        }
    }

    #[test]
    fn protocol_defaults_to_exposed_port() {
        let exposed = vec![
            (53, Protocol::Udp),
            (53, Protocol::Tcp),
            (54, Protocol::Udp),
            (55, Protocol::Sctp),
            (56, Protocol::Sctp),
            (56, Protocol::Udp),
        ];
        let container = Container { exposed, ..Container::sample() };
        for (port, expected) in [
            ("53", "53/tcp"),
            ("53/udp", "53/udp"),
            ("54", "54/udp"),
            ("54/tcp", "54/tcp"),
            ("55", "55/sctp"),
            ("56", "56/udp"),
            // Exposed by the container whose network this one shares.
            ("99", "99/udp"),
            ("80", "80/tcp"),
        ] {
            let found = found(&container, &["bridge=172.17.0.2"], port, &PublishConfig::sample());
            assert_eq!(found, Ok(format!("172.17.0.2 {expected}")), "{port}");
        }
    }

    #[test]
    fn publishes_ipv6_address_of_container() {
        let config = PublishConfig {
            host6: Some("2001:db8::6".parse().unwrap()),
            ..PublishConfig::sample()
        };
        for (attachments, expected) in [
            (&["web=172.18.0.2,fd00::2"][..], "172.18.0.2 80/tcp, fd00::2 80/tcp"),
            (&["web=172.18.0.2"], "172.18.0.2 80/tcp"),
            (&["web=fd00::2"], "fd00::2 80/tcp"),
            (&["a=172.18.0.2", "web=fd00::2"], "172.18.0.2 80/tcp"),
        ] {
            let found = found(&Container::sample(), attachments, "80", &config);
            assert_eq!(found.as_deref(), Ok(expected), "{attachments:?}");
        }
    }
}
