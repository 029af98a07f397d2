//! The address and port at which clients reach a container's port.
//!
//! The rules are in `config/README.md`, "Choice of address and port", "Container addresses"
//! and "IPv6".

mod container_network;
mod published_binding;
mod published_port;
mod unpublished_reason;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use crate::model::container::{
    Container, ContainerId, NetworkAttachment, NetworkMode, PortBinding, Protocol,
};
use crate::model::port_request::PortRequest;
use crate::model::publish_config::{AddressOwner, PublishConfig};
use crate::model::record::Host;
use crate::model::service::Service;

/// The label with the name of the Swarm service of which a container is a task.
const SWARM_SERVICE_LABEL: &str = "com.docker.swarm.service.name";

/// The way from outside to the ports of a container.
///
/// A container may share the network of another container. Its access is then the access of
/// that other container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortAccess {
    /// Through networks that the engine manages.
    Networks(NetworkAccess),
    /// Through the host's network, in which the port outside equals the port inside.
    HostNetwork,
    /// None. The text is the reason, with a remedy.
    Unreachable(String),
}

/// The ports and addresses of the container that owns the networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkAccess {
    /// The name of the container that owns the networks.
    pub owner: String,
    /// The Swarm service of which the owner is a task.
    pub swarm_service: Option<String>,
    /// The published ports.
    pub bindings: Vec<PortBinding>,
    /// The ports that the owner was created to publish.
    pub requested: Vec<PortRequest>,
    /// The ports that the owner exposes.
    pub exposed: Vec<(u16, Protocol)>,
    /// The owner's addresses in each network, by the name of the network.
    pub networks: BTreeMap<String, NetworkAttachment>,
}

/// An address and a port at which clients reach a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address to connect to.
    pub host: Host,
    /// The port to connect to.
    pub port: NonZeroU16,
    /// The protocol of the port.
    pub proto: Protocol,
}

/// All endpoints of one service. At least one of them is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The endpoint at the published address. `None` if the service is reachable by the second,
    /// IPv6 address only.
    pub first: Option<Endpoint>,
    /// The IPv6 endpoint to publish in a second record. `None` if `discovery.host6` is unset,
    /// or if the service is unreachable by IPv6.
    pub ipv6: Option<Endpoint>,
}

impl Endpoints {
    /// Combines two endpoints of one service. An IPv6 endpoint at the address of the first one
    /// is omitted.
    fn new(first: Endpoint, ipv6: Option<Endpoint>) -> Self {
        let ipv6 = ipv6.filter(|ipv6| ipv6.host != first.host);
        Self { first: Some(first), ipv6 }
    }
}

impl Endpoint {
    /// Adds the same port at an IPv6 address of the same service.
    fn with_ipv6(self, address: Option<Ipv6Addr>) -> Endpoints {
        let ipv6 = address.map(|address| Self { host: Host::Address(address.into()), ..self });
        Endpoints::new(self, ipv6)
    }
}

impl NetworkAccess {
    fn from_container(container: &Container) -> Self {
        Self {
            owner: container.name.clone(),
            swarm_service: container.labels.get(SWARM_SERVICE_LABEL).cloned(),
            bindings: container.bindings.clone(),
            requested: container.requested.clone(),
            exposed: container.exposed.clone(),
            networks: container.networks.clone(),
        }
    }
}

impl PortAccess {
    /// Returns the access to a container, as far as its own inspection shows it. Containers
    /// that share its network have the same access.
    ///
    /// A container in the network of another container (`NetworkMode::Container`) is
    /// `Unreachable` here. The caller inspects that other container and takes its access.
    pub fn from_container(container: &Container) -> Self {
        if container.condition().is_none() {
            // A container that does not run is withheld anyway. The reason is for containers
            // that share its network.
            return Self::Unreachable(format!(
                "shares the network of container {}, which is not running; start that container, \
                 then restart this one",
                container.name
            ));
        }
        match &container.network {
            NetworkMode::Own => Self::Networks(NetworkAccess::from_container(container)),
            NetworkMode::Host => Self::HostNetwork,
            NetworkMode::Container(other) => Self::Unreachable(format!(
                "shares the network of container {}, which was not found; start that container, \
                 then restart this one",
                display_id(other)
            )),
            NetworkMode::None => Self::Unreachable(
                "has no network (`--network none`); connect it to one (`docker network connect`, \
                 after `docker network disconnect none` if it is in `none`), or start it with \
                 another network"
                    .into(),
            ),
        }
    }

    /// Returns the endpoints of a service of `container`.
    ///
    /// The setting `discovery.address` decides between a published port and the container's
    /// own address.
    ///
    /// # Errors
    /// Returns the reason if the service is unreachable, with a remedy for the author of the
    /// container.
    pub fn endpoints(
        &self,
        container: &Container,
        service: &Service,
        config: &PublishConfig,
    ) -> Result<Endpoints, String> {
        match (self, config.address) {
            (Self::Networks(access), AddressOwner::Host) => {
                published_port::endpoints(access, container, service, config)
            }
            (Self::Networks(access), AddressOwner::Container) => {
                let (networks, exposed) = (&access.networks, &access.exposed);
                container_network::endpoints(container, networks, exposed, service, config)
            }
            (Self::HostNetwork, _) => {
                let (port, proto) = (service.port, resolve_proto(service, &container.exposed));
                let first = Endpoint { host: config.host.clone(), port, proto };
                Ok(first.with_ipv6(config.host6))
            }
            (Self::Unreachable(reason), _) => Err(reason.clone()),
        }
    }
}

/// Shortens a container id to 12 digits, as Docker prints it, and returns a name unchanged.
fn display_id(container: &str) -> String {
    let is_id = container.len() == 64 && container.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { ContainerId::new(container).short().to_owned() } else { container.to_owned() }
}

/// Returns the protocol of a service that has no binding: the declared protocol, else the
/// first one exposed at its port (TCP, UDP, SCTP), else TCP.
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

    /// Returns the service `httpd` with a port such as `80` or `53/udp`.
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

    /// Formats endpoints as `10.77.66.0 8080/tcp`, with the second after a comma.
    pub(super) fn shown(endpoints: &Endpoints) -> String {
        let shown = |one: &Endpoint| format!("{} {}/{}", one.host, one.port, one.proto);
        let all = endpoints.first.iter().chain(&endpoints.ipv6);
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
        let PortAccess::Networks(networks) = access(NetworkMode::Own) else { panic!() };
        assert_eq!(networks.bindings, bound.bindings);
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
            let cause = found(&access(network), "80", &PublishConfig::sample()).unwrap_err();
            assert!(cause.contains(reason), "{cause}");
        }
    }

    #[test]
    fn network_exists_while_its_container_runs() {
        let access = |state, network| {
            PortAccess::from_container(&Container { state, network, ..Container::sample() })
        };
        for (state, runs) in [
            (ContainerState::Running, true),
            // A paused container keeps its network.
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
