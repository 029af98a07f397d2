//! Which address and port stand for a container's port outside of it.

mod container_network;
mod published_port;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use crate::model::container::{Attachment, Binding, Container, ContainerId, NetworkMode, Proto};
use crate::model::publish_config::{AddressOf, Rules};
use crate::model::record::Host;
use crate::model::service::Service;

/// How a container's ports can be reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In networks of the engine's.
    Networks {
        /// The published ports.
        bindings: Vec<Binding>,
        /// The networks, by name, and its addresses there.
        networks: BTreeMap<String, Attachment>,
        /// The ports that whoever has these networks says it listens on.
        exposed: Vec<(u16, Proto)>,
    },
    /// It shares the host's network: a port outside is the port inside.
    HostNetwork,
    /// Not at all, for this reason.
    Nowhere(String),
}

/// Where a container's port can be reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to connect to.
    pub host: Host,
    /// The port to connect to.
    pub port: NonZeroU16,
    /// Its protocol.
    pub proto: Proto,
}

/// All that is published of where a container's port can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// What stands for it, whoever asks.
    pub first: Endpoint,
    /// The same by IPv6, where that is to be published beside the first.
    pub by_ipv6: Option<Endpoint>,
}

impl Endpoint {
    /// This one, and the same service at this IPv6 address and port.
    fn beside(self, by_ipv6: Option<(Ipv6Addr, NonZeroU16)>) -> Endpoints {
        let proto = self.proto;
        let by_ipv6 = by_ipv6.map(|(address, port)| (Host::Address(address.into()), port));
        let by_ipv6 = by_ipv6.filter(|(host, _)| *host != self.host);
        let by_ipv6 = by_ipv6.map(|(host, port)| Endpoint { host, port, proto });
        Endpoints { first: self, by_ipv6 }
    }
}

impl Endpoints {
    fn one(first: Endpoint) -> Self {
        Self { first, by_ipv6: None }
    }
}

impl Reach {
    /// How this container can be reached by what its own inspection says; and so can
    /// those that share its network. A container in another's network
    /// (`NetworkMode::Container`) has no answer of its own: `Nowhere`, until the caller
    /// looked at that other.
    pub fn of(container: &Container) -> Self {
        if container.condition().is_none() {
            // It offers nothing then; this is for those that share its network.
            return Self::Nowhere(format!(
                "shares the network of container {}, which is not running; restart it when \
                 that one is",
                container.name
            ));
        }
        match &container.network {
            NetworkMode::Own => Self::Networks {
                bindings: container.bindings.clone(),
                networks: container.networks.clone(),
                exposed: container.exposed.clone(),
            },
            NetworkMode::Host => Self::HostNetwork,
            NetworkMode::Container(other) => Self::Nowhere(format!(
                "shares the network of container {}, which was not found",
                readable(other)
            )),
            NetworkMode::None => Self::Nowhere("has no network (`--network none`)".into()),
        }
    }

    /// Where a service of this container's can be reached (SPEC 3).
    ///
    /// Of several bindings: TCP before UDP before SCTP where the service gives no
    /// protocol; all addresses before one; IPv4 before IPv6; the lowest port. A
    /// binding to one address is reached there, one to all at the host's. Loopback
    /// addresses don't count, since other hosts can't reach them; nor do link-local
    /// ones, which mean something on one link only.
    ///
    /// # Errors
    /// Why it can't be reached, and what to do, in words for the container's author.
    pub fn endpoints(
        &self,
        container: &Container,
        service: &Service,
        rules: &Rules,
    ) -> Result<Endpoints, String> {
        match (self, rules.address) {
            (Self::Networks { bindings, .. }, AddressOf::Host) => {
                published_port::endpoints(bindings, service, rules)
            }
            (Self::Networks { networks, exposed, .. }, AddressOf::Container) => {
                container_network::endpoints(container, networks, exposed, service, rules)
            }
            (Self::HostNetwork, _) => {
                let (port, proto) = (service.port, proto(service, &container.exposed));
                let first = Endpoint { host: rules.host.clone(), port, proto };
                Ok(first.beside(rules.host6.map(|host6| (host6, port))))
            }
            (Self::Nowhere(reason), _) => Err(reason.clone()),
        }
    }
}

/// An id as people read it; a name as it is.
fn readable(container: &str) -> String {
    let is_id = container.len() == 64 && container.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { ContainerId::new(container).short().to_owned() } else { container.to_owned() }
}

/// A service's protocol where no binding tells it: its own; else the first that is
/// exposed at its port; else TCP.
fn proto<'a>(service: &Service, exposed: impl IntoIterator<Item = &'a (u16, Proto)>) -> Proto {
    let at_port = exposed.into_iter().filter(|(port, _)| *port == service.port.get());
    service.proto.or_else(|| at_port.map(|(_, proto)| *proto).min()).unwrap_or(Proto::Tcp)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::Life;
    use crate::model::names::{DomainName, ServiceName};
    use crate::model::service::Attributes;

    /// The address in [`Rules::sample`].
    pub(super) const HOST: &str = "10.77.66.0";

    /// Reads `80` or `53/udp`.
    pub(super) fn service(port: &str) -> Service {
        let (port, proto) = match port.split_once('/') {
            Some((port, proto)) => (port, Some(proto.parse().unwrap())),
            None => (port, None),
        };
        let domain = DomainName::parse("highhock.local").unwrap();
        Service {
            name: ServiceName::parse("httpd", &domain).unwrap(),
            port: port.parse().unwrap(),
            proto,
            method: "env",
            attributes: Attributes::default(),
        }
    }

    /// `10.77.66.0 8080/tcp`, and behind a comma the second.
    pub(super) fn shown(endpoints: &Endpoints) -> String {
        let shown = |one: &Endpoint| format!("{} {}/{}", one.host, one.port, one.proto);
        let all = std::iter::once(&endpoints.first).chain(&endpoints.by_ipv6);
        all.map(shown).collect::<Vec<_>>().join(", ")
    }

    fn found(reach: &Reach, port: &str, rules: &Rules) -> Result<String, String> {
        let container = Container { exposed: vec![(53, Proto::Udp)], ..Container::sample() };
        let endpoints = reach.endpoints(&container, &service(port), rules)?;
        Ok(shown(&endpoints))
    }

    #[test]
    fn in_the_hosts_network_a_port_is_the_same_outside() {
        for address in [AddressOf::Host, AddressOf::Container] {
            for (port, expected) in [
                ("80", "10.77.66.0 80/tcp"),
                ("80/tcp", "10.77.66.0 80/tcp"),
                ("80/udp", "10.77.66.0 80/udp"),
                ("53", "10.77.66.0 53/udp"),
            ] {
                let rules = Rules { address, ..Rules::sample() };
                assert_eq!(found(&Reach::HostNetwork, port, &rules).as_deref(), Ok(expected));
                let rules = Rules { host6: Some("2001:db8::6".parse().unwrap()), ..rules };
                let both = expected.replace(HOST, "2001:db8::6");
                let both = format!("{expected}, {both}");
                assert_eq!(found(&Reach::HostNetwork, port, &rules), Ok(both));
            }
        }
    }

    #[test]
    fn whose_address_is_published_is_for_the_operator_to_say() {
        let attachment = Attachment { address4: Some([172, 17, 0, 2].into()), address6: None };
        let container = Container::sample().bind("80/tcp -> 0.0.0.0:8080");
        let networks = [("bridge".to_owned(), attachment)].into();
        let reach = Reach::of(&Container { networks, ..container });
        for (address, expected) in
            [(AddressOf::Host, "10.77.66.0 8080/tcp"), (AddressOf::Container, "172.17.0.2 80/tcp")]
        {
            let rules = Rules { address, ..Rules::sample() };
            assert_eq!(found(&reach, "80", &rules).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_containers_network_tells_how_it_is_reached() {
        let bound = Container::sample().bind("80/tcp -> 0.0.0.0:8080");
        let reach = |network| Reach::of(&Container { network, ..bound.clone() });
        let Reach::Networks { bindings, .. } = reach(NetworkMode::Own) else { panic!() };
        assert_eq!(bindings, bound.bindings);
        assert_eq!(reach(NetworkMode::Host), Reach::HostNetwork);

        for (network, reason) in [
            (NetworkMode::None, "has no network"),
            (
                NetworkMode::Container("abc".into()),
                "shares the network of container abc, which was not found",
            ),
            (
                NetworkMode::Container("0123456789abcdef".repeat(4)),
                "shares the network of container 0123456789ab, which was not found",
            ),
        ] {
            let refusal = found(&reach(network), "80", &Rules::sample()).unwrap_err();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn a_network_is_there_as_long_as_the_container_that_has_it_runs() {
        let reach = |life, network| Reach::of(&Container { life, network, ..Container::sample() });
        for (life, runs) in [
            (Life::Running, true),
            // Its network does not pause.
            (Life::Paused, true),
            (Life::Created, false),
            (Life::Restarting, false),
            (Life::Exited, false),
            (Life::Dead, false),
            (Life::Removing, false),
        ] {
            for network in [NetworkMode::Own, NetworkMode::Host] {
                match reach(life, network) {
                    Reach::Nowhere(reason) => assert!(!runs && reason.contains("web"), "{reason}"),
                    _ => assert!(runs, "{life:?}"),
                }
            }
        }
    }
}
