//! Which address and port stand for a container's port outside of it.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use crate::container::{Binding, Container, NetworkMode, Proto};
use crate::record::Host;
use crate::service::Service;

/// How a container's ports can be reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Through these bindings of the engine's.
    Bindings(Vec<Binding>),
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

impl Reach {
    /// How this container can be reached by what its own inspection says. A
    /// container in another's network (`NetworkMode::Container`) has no answer of
    /// its own: `Nowhere`, until the caller looked at that other.
    pub fn of(container: &Container) -> Self {
        match &container.network {
            NetworkMode::Own => Self::Bindings(container.bindings.clone()),
            NetworkMode::Host => Self::HostNetwork,
            NetworkMode::Container(other) => Self::Nowhere(format!(
                "shares the network of container {other}, which was not found"
            )),
            NetworkMode::None => Self::Nowhere("has no network (`--network none`)".into()),
        }
    }

    /// Where a service can be reached, on a host with this address.
    ///
    /// Of several bindings: TCP before UDP before SCTP where the service gives no
    /// protocol; all addresses before one; IPv4 before IPv6; the lowest port. A
    /// binding to one address is reached there, one to all at the host's. Loopback
    /// addresses don't count, since other hosts can't reach them; nor do link-local
    /// ones, which mean something on one link only.
    ///
    /// # Errors
    /// Why it can't be reached, and what to do, in words for the container's author.
    pub fn endpoint(&self, service: &Service, host: &Host) -> Result<Endpoint, String> {
        match self {
            Self::Bindings(bindings) => bound_endpoint(bindings, service, host),
            Self::HostNetwork => Ok(Endpoint {
                host: host.clone(),
                port: service.port,
                proto: service.proto.unwrap_or(Proto::Tcp),
            }),
            Self::Nowhere(reason) => Err(reason.clone()),
        }
    }
}

/// A binding whose port the engine has assigned.
struct Bound {
    proto: Proto,
    address: IpAddr,
    port: NonZeroU16,
}

impl Bound {
    /// `None` where the engine has not assigned a port.
    fn read(binding: &Binding) -> Option<Self> {
        Some(Self {
            proto: binding.proto,
            address: binding.host_address.to_canonical(),
            port: NonZeroU16::new(binding.host_port)?,
        })
    }

    /// The lowest is chosen. The address comes last, so that the order in which the
    /// engine tells its bindings makes no difference.
    fn rank(&self) -> (Proto, bool, bool, NonZeroU16, IpAddr) {
        let one_address = !self.address.is_unspecified();
        (self.proto, one_address, self.address.is_ipv6(), self.port, self.address)
    }

    fn can_be_reached(&self) -> bool {
        !self.address.is_loopback() && !is_link_local(self.address)
    }
}

fn bound_endpoint(
    bindings: &[Binding],
    service: &Service,
    host: &Host,
) -> Result<Endpoint, String> {
    let mut bound: Vec<Bound> = bindings
        .iter()
        .filter(|binding| binding.port == service.port.get())
        .filter(|binding| service.proto.is_none_or(|proto| proto == binding.proto))
        .filter_map(Bound::read)
        .collect();
    bound.sort_by_key(Bound::rank);

    let Some(chosen) = bound.iter().find(|bound| bound.can_be_reached()) else {
        return Err(match bound.first() {
            Some(first) => why_unreachable(first, service),
            None => why_not_bound(bindings, service),
        });
    };
    let host =
        if chosen.address.is_unspecified() { host.clone() } else { Host::Address(chosen.address) };
    Ok(Endpoint { host, port: chosen.port, proto: chosen.proto })
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn why_unreachable(bound: &Bound, service: &Service) -> String {
    let kind = if bound.address.is_loopback() { "loopback" } else { "link-local" };
    format!(
        "its port {} is published on {} only, a {kind} address that other hosts can't reach; \
         publish it on all addresses (`-p {}:{}`) or on one of the host's",
        as_written(service.port, service.proto),
        SocketAddr::new(bound.address, bound.port.get()),
        bound.port,
        as_published(service.port, bound.proto),
    )
}

fn why_not_bound(bindings: &[Binding], service: &Service) -> String {
    let wanted = as_written(service.port, service.proto);
    let assigned = || bindings.iter().filter(|binding| binding.host_port != 0);

    if let Some(other) = assigned().find(|binding| binding.port == service.port.get()) {
        return format!(
            "its port {wanted} is not published, only {}/{} is",
            other.port, other.proto
        );
    }
    if let Some(outer) = assigned().find(|binding| binding.host_port == service.port.get()) {
        return format!(
            "its port {wanted} is not published; {} is the port outside of the container, for {} \
             inside: write `{}:{}`",
            outer.host_port, outer.port, service.name, outer.port,
        );
    }
    format!(
        "its port {wanted} is not published; start the container with `-p {}`, or with a port of \
         your choice: `-p PORT:{0}`",
        as_published(service.port, service.proto.unwrap_or(Proto::Tcp)),
    )
}

/// `80`, or `80/tcp` where the container says which.
fn as_written(port: NonZeroU16, proto: Option<Proto>) -> String {
    proto.map_or_else(|| port.to_string(), |proto| format!("{port}/{proto}"))
}

/// The container's side of Docker's `-p`, which takes TCP where nothing is said.
fn as_published(port: NonZeroU16, proto: Proto) -> String {
    as_written(port, Some(proto).filter(|proto| *proto != Proto::Tcp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Attributes, DomainName, ServiceName};

    const HOST: &str = "10.77.66.0";

    /// Reads `80` or `53/udp`.
    fn service(port: &str) -> Service {
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

    fn endpoint(bindings: &[&str], port: &str) -> Result<String, String> {
        let bindings = bindings.iter().map(|shown| Binding::sample(shown)).collect();
        let host = Host::parse(HOST).unwrap();
        let endpoint = Reach::Bindings(bindings).endpoint(&service(port), &host)?;
        Ok(format!("{} {}/{}", endpoint.host, endpoint.port, endpoint.proto))
    }

    #[test]
    fn one_of_several_bindings_is_chosen() {
        for (bindings, port, expected) in [
            // One binding: all addresses are the host's, one is its own.
            (&["80/tcp -> 0.0.0.0:8080"][..], "80", "10.77.66.0 8080/tcp"),
            (&["80/tcp -> [::]:8080"], "80", "10.77.66.0 8080/tcp"),
            (&["80/tcp -> 192.0.2.7:8080"], "80", "192.0.2.7 8080/tcp"),
            (&["80/tcp -> [2001:db8::7]:8080"], "80", "2001:db8::7 8080/tcp"),
            (&["80/tcp -> [::ffff:192.0.2.7]:8080"], "80", "192.0.2.7 8080/tcp"),
            // All addresses before one, whatever the port and family.
            (&["80/tcp -> 192.0.2.7:80", "80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
            (&["80/tcp -> 192.0.2.7:80", "80/tcp -> [::]:8080"], "80", "10.77.66.0 8080/tcp"),
            // IPv4 before IPv6, whatever the port.
            (&["80/tcp -> [::]:80", "80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
            (
                &["80/tcp -> [2001:db8::7]:80", "80/tcp -> 192.0.2.7:8080"],
                "80",
                "192.0.2.7 8080/tcp",
            ),
            // The lowest port, by number; then the lowest address.
            (&["80/tcp -> 0.0.0.0:10080", "80/tcp -> 0.0.0.0:9080"], "80", "10.77.66.0 9080/tcp"),
            (&["80/tcp -> 192.0.2.9:80", "80/tcp -> 192.0.2.7:80"], "80", "192.0.2.7 80/tcp"),
            // The protocol first.
            (&["53/udp -> 0.0.0.0:53", "53/tcp -> 0.0.0.0:5353"], "53", "10.77.66.0 5353/tcp"),
            (&["53/udp -> 0.0.0.0:53", "53/tcp -> 192.0.2.7:53"], "53", "192.0.2.7 53/tcp"),
            (&["53/sctp -> 0.0.0.0:53", "53/udp -> 0.0.0.0:54"], "53", "10.77.66.0 54/udp"),
            (&["53/sctp -> 0.0.0.0:53"], "53", "10.77.66.0 53/sctp"),
            (&["53/tcp -> 0.0.0.0:53", "53/udp -> 0.0.0.0:54"], "53/udp", "10.77.66.0 54/udp"),
            // What can't be reached or has no port doesn't count.
            (&["80/tcp -> 127.0.0.1:80", "80/tcp -> 192.0.2.7:81"], "80", "192.0.2.7 81/tcp"),
            (&["80/tcp -> 169.254.1.1:80", "80/tcp -> 192.0.2.7:81"], "80", "192.0.2.7 81/tcp"),
            (&["80/tcp -> 0.0.0.0:0", "80/tcp -> 192.0.2.7:81"], "80", "192.0.2.7 81/tcp"),
            (&["53/tcp -> 127.0.0.1:53", "53/udp -> 0.0.0.0:53"], "53", "10.77.66.0 53/udp"),
            // Other ports don't count.
            (&["81/tcp -> 0.0.0.0:80", "80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
        ] {
            assert_eq!(endpoint(bindings, port).as_deref(), Ok(expected), "{bindings:?} {port}");
            let reversed: Vec<_> = bindings.iter().rev().copied().collect();
            assert_eq!(endpoint(&reversed, port).as_deref(), Ok(expected), "{reversed:?} {port}");
        }
    }

    #[test]
    fn what_cannot_be_reached_has_a_reason_that_says_what_to_do() {
        for (bindings, port, reason) in [
            (&[][..], "80", "port 80 is not published; start the container with `-p 80`"),
            (&[], "53/udp", "port 53/udp is not published; start the container with `-p 53/udp`"),
            (&["80/tcp -> 0.0.0.0:0"], "80", "start the container with `-p 80`"),
            (&["81/tcp -> 0.0.0.0:81"], "80", "`-p PORT:80`"),
            (&["53/tcp -> 0.0.0.0:53"], "53/udp", "port 53/udp is not published, only 53/tcp is"),
            (&["80/tcp -> 0.0.0.0:8080"], "8080", "for 80 inside: write `httpd:80`"),
            (
                &["80/tcp -> 127.0.0.1:8080"],
                "80",
                "published on 127.0.0.1:8080 only, a loopback address that other hosts can't \
                 reach; publish it on all addresses (`-p 8080:80`)",
            ),
            (&["80/tcp -> 127.1.2.3:8080"], "80", "loopback"),
            (&["80/tcp -> [::1]:8080"], "80", "[::1]:8080 only, a loopback"),
            (&["53/udp -> 127.0.0.1:54"], "53", "`-p 54:53/udp`"),
            (&["80/tcp -> [fe80::1]:8080"], "80", "link-local"),
            (&["80/tcp -> 169.254.1.1:8080"], "80", "link-local"),
        ] {
            let refusal = endpoint(bindings, port).unwrap_err();
            assert!(refusal.contains(reason), "{bindings:?} {port}: {refusal}");
        }
    }

    #[test]
    fn in_the_hosts_network_a_port_is_the_same_outside() {
        let host = Host::parse(HOST).unwrap();
        for (port, proto) in [("80", Proto::Tcp), ("80/tcp", Proto::Tcp), ("80/udp", Proto::Udp)] {
            let endpoint = Reach::HostNetwork.endpoint(&service(port), &host).unwrap();
            let port = NonZeroU16::new(80).unwrap();
            assert_eq!(endpoint, Endpoint { host: host.clone(), port, proto });
        }
    }

    #[test]
    fn a_containers_network_tells_how_it_is_reached() {
        let bound = Container::sample().bind("80/tcp -> 0.0.0.0:8080");
        let reach = |network| Reach::of(&Container { network, ..bound.clone() });
        assert_eq!(reach(NetworkMode::Own), Reach::Bindings(bound.bindings.clone()));
        assert_eq!(reach(NetworkMode::Host), Reach::HostNetwork);

        let host = Host::parse(HOST).unwrap();
        for (network, reason) in [
            (NetworkMode::None, "has no network"),
            (
                NetworkMode::Container("abc".into()),
                "shares the network of container abc, which was not found",
            ),
        ] {
            let refusal = reach(network).endpoint(&service("80"), &host).unwrap_err();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }
}
