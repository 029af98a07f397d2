//! Which address and port stand for a container's port outside of it.

mod container_network;
mod published_port;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use crate::model::container::{
    Container, ContainerId, NetworkAttachment, NetworkMode, PortBinding, Protocol,
};
use crate::model::publish_config::{AddressOwner, PublishConfig};
use crate::model::record::Host;
use crate::model::service::Service;

/// How a container's ports can be reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortAccess {
    /// In networks of the engine's.
    Networks {
        /// The published ports.
        bindings: Vec<PortBinding>,
        /// The networks, by name, and its addresses there.
        networks: BTreeMap<String, NetworkAttachment>,
        /// The ports that whoever has these networks says it listens on.
        exposed: Vec<(u16, Protocol)>,
    },
    /// It shares the host's network: a port outside is the port inside.
    HostNetwork,
    /// Not at all, for this reason.
    Unreachable(String),
}

/// Where a container's port can be reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to connect to.
    pub host: Host,
    /// The port to connect to.
    pub port: NonZeroU16,
    /// Its protocol.
    pub proto: Protocol,
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
    fn with_ipv6(self, by_ipv6: Option<(Ipv6Addr, NonZeroU16)>) -> Endpoints {
        let proto = self.proto;
        let by_ipv6 = by_ipv6.map(|(address, port)| (Host::Address(address.into()), port));
        let by_ipv6 = by_ipv6.filter(|(host, _)| *host != self.host);
        let by_ipv6 = by_ipv6.map(|(host, port)| Endpoint { host, port, proto });
        Endpoints { first: self, by_ipv6 }
    }
}

impl Endpoints {
    fn single(first: Endpoint) -> Self {
        Self { first, by_ipv6: None }
    }
}

impl PortAccess {
    /// How this container can be reached by what its own inspection says; and so can
    /// those that share its network. A container in another's network
    /// (`NetworkMode::Container`) has no answer of its own: `Unreachable`, until the caller
    /// looked at that other.
    pub fn from_container(container: &Container) -> Self {
        if container.condition().is_none() {
            // It offers nothing then; this is for those that share its network.
            return Self::Unreachable(format!(
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
            NetworkMode::Container(other) => Self::Unreachable(format!(
                "shares the network of container {}, which was not found",
                display_id(other)
            )),
            NetworkMode::None => Self::Unreachable("has no network (`--network none`)".into()),
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
        config: &PublishConfig,
    ) -> Result<Endpoints, String> {
        match (self, config.address) {
            (Self::Networks { bindings, .. }, AddressOwner::Host) => {
                published_port::endpoints(bindings, service, config)
            }
            (Self::Networks { networks, exposed, .. }, AddressOwner::Container) => {
                container_network::endpoints(container, networks, exposed, service, config)
            }
            (Self::HostNetwork, _) => {
                let (port, proto) = (service.port, resolve_proto(service, &container.exposed));
                let first = Endpoint { host: config.host.clone(), port, proto };
                Ok(first.with_ipv6(config.host6.map(|host6| (host6, port))))
            }
            (Self::Unreachable(reason), _) => Err(reason.clone()),
        }
    }
}

/// An id as people read it; a name as it is.
fn display_id(container: &str) -> String {
    let is_id = container.len() == 64 && container.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { ContainerId::new(container).short().to_owned() } else { container.to_owned() }
}

/// A service's protocol where no binding tells it: its own; else the first that is
/// exposed at its port; else TCP.
fn resolve_proto<'a>(
    service: &Service,
    exposed: impl IntoIterator<Item = &'a (u16, Protocol)>,
) -> Protocol {
    let at_port = exposed.into_iter().filter(|(port, _)| *port == service.port.get());
    service.proto.or_else(|| at_port.map(|(_, proto)| *proto).min()).unwrap_or(Protocol::Tcp)
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
    use crate::model::container::ContainerState;
    use crate::model::names::{DomainName, ServiceName};
    use crate::model::service::Attributes;

    /// The address in [`PublishConfig::sample`].
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

    fn found(access: &PortAccess, port: &str, config: &PublishConfig) -> Result<String, String> {
        let container = Container { exposed: vec![(53, Protocol::Udp)], ..Container::sample() };
        let endpoints = access.endpoints(&container, &service(port), config)?;
        Ok(shown(&endpoints))
    }

    #[test]
    fn host_network_keeps_port_numbers() {
        for address in [AddressOwner::Host, AddressOwner::Container] {
            for (port, expected) in [
                ("80", "10.77.66.0 80/tcp"),
                ("80/tcp", "10.77.66.0 80/tcp"),
                ("80/udp", "10.77.66.0 80/udp"),
                ("53", "10.77.66.0 53/udp"),
            ] {
                let config = PublishConfig { address, ..PublishConfig::sample() };
                assert_eq!(found(&PortAccess::HostNetwork, port, &config).as_deref(), Ok(expected));
                let config =
                    PublishConfig { host6: Some("2001:db8::6".parse().unwrap()), ..config };
                let both = expected.replace(HOST, "2001:db8::6");
                let both = format!("{expected}, {both}");
                assert_eq!(found(&PortAccess::HostNetwork, port, &config), Ok(both));
            }
        }
    }

    #[test]
    fn publishes_address_of_configured_owner() {
        let attachment =
            NetworkAttachment { address4: Some([172, 17, 0, 2].into()), address6: None };
        let container = Container::sample().bind("80/tcp -> 0.0.0.0:8080");
        let networks = [("bridge".to_owned(), attachment)].into();
        let access = PortAccess::from_container(&Container { networks, ..container });
        for (address, expected) in [
            (AddressOwner::Host, "10.77.66.0 8080/tcp"),
            (AddressOwner::Container, "172.17.0.2 80/tcp"),
        ] {
            let config = PublishConfig { address, ..PublishConfig::sample() };
            assert_eq!(found(&access, "80", &config).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn network_mode_determines_port_access() {
        let bound = Container::sample().bind("80/tcp -> 0.0.0.0:8080");
        let access = |network| PortAccess::from_container(&Container { network, ..bound.clone() });
        let PortAccess::Networks { bindings, .. } = access(NetworkMode::Own) else { panic!() };
        assert_eq!(bindings, bound.bindings);
        assert_eq!(access(NetworkMode::Host), PortAccess::HostNetwork);

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
            let refusal = found(&access(network), "80", &PublishConfig::sample()).unwrap_err();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn network_exists_while_its_container_runs() {
        let access = |state, network| {
            PortAccess::from_container(&Container { state, network, ..Container::sample() })
        };
        for (state, runs) in [
            (ContainerState::Running, true),
            // Its network does not pause.
            (ContainerState::Paused, true),
            (ContainerState::Created, false),
            (ContainerState::Restarting, false),
            (ContainerState::Exited, false),
            (ContainerState::Dead, false),
            (ContainerState::Removing, false),
        ] {
            for network in [NetworkMode::Own, NetworkMode::Host] {
                match access(state, network) {
                    PortAccess::Unreachable(reason) => {
                        assert!(!runs && reason.contains("web"), "{reason}")
                    }
                    _ => assert!(runs, "{state:?}"),
                }
            }
        }
    }
}
