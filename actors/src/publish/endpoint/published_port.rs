//! The host address and port of a published port, chosen among its bindings.
//!
//! The rules are in `config/README.md`, "Choice of address and port" and "IPv6".

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use super::{Endpoint, Endpoints, is_link_local};
use crate::model::container::{PortBinding, Protocol};
use crate::model::publish_config::PublishConfig;
use crate::model::record::Host;
use crate::model::service::Service;

/// A binding with the port on the host that the engine assigned.
struct PublishedPort {
    proto: Protocol,
    address: IpAddr,
    port: NonZeroU16,
}

/// The precedence of a binding. The lowest rank is chosen, and fields that are listed first
/// weigh more.
///
/// The address comes last, so the result does not depend on the order in which the engine
/// lists the bindings.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct BindingRank {
    /// TCP precedes UDP, and UDP precedes SCTP.
    proto: Protocol,
    /// A binding to all addresses precedes a binding to one address.
    is_single_address: bool,
    /// The binding in the family of the published address precedes the other.
    is_other_family: bool,
    port: NonZeroU16,
    address: IpAddr,
}

impl PublishedPort {
    /// Returns `None` if the engine has not assigned a port on the host.
    fn from_binding(binding: &PortBinding) -> Option<Self> {
        Some(Self {
            proto: binding.proto,
            address: binding.host_address.to_canonical(),
            port: NonZeroU16::new(binding.host_port)?,
        })
    }

    /// Returns the precedence of this binding on a host with the published address `host`.
    ///
    /// IPv4 precedes IPv6, with one exception: if `host` is an IPv6 address, only the binding
    /// to all IPv6 addresses accepts connections there, and its port may differ.
    fn rank(&self, host: &Host) -> BindingRank {
        let is_single_address = !self.address.is_unspecified();
        let host_is_ipv6 = matches!(host, Host::Address(address) if address.is_ipv6());
        let is_other_family = self.address.is_ipv6() != (host_is_ipv6 && !is_single_address);
        BindingRank {
            proto: self.proto,
            is_single_address,
            is_other_family,
            port: self.port,
            address: self.address,
        }
    }

    /// Returns `false` for loopback addresses, which other hosts cannot reach, and for
    /// link-local addresses, which are valid on one link only.
    fn is_reachable(&self) -> bool {
        !self.address.is_loopback() && !is_link_local(self.address)
    }
}

/// Returns the endpoints of a service through the bindings of its port.
///
/// A binding to one address publishes that address. A binding to all addresses publishes the
/// address of the host.
///
/// # Errors
/// Returns the reason if no binding is reachable from other hosts.
pub(super) fn endpoints(
    bindings: &[PortBinding],
    service: &Service,
    config: &PublishConfig,
) -> Result<Endpoints, String> {
    let mut bound: Vec<PublishedPort> = bindings
        .iter()
        .filter(|binding| binding.port == service.port.get())
        .filter(|binding| service.proto.is_none_or(|proto| proto == binding.proto))
        .filter_map(PublishedPort::from_binding)
        .collect();
    bound.sort_by_key(|bound| bound.rank(&config.host));

    let Some(chosen) = bound.iter().find(|bound| bound.is_reachable()) else {
        return Err(match bound.first() {
            Some(first) => unreachable_reason(first, service),
            None => not_published_reason(bindings, service),
        });
    };
    if !chosen.address.is_unspecified() {
        let host = Host::Address(chosen.address);
        return Ok(Endpoints::single(Endpoint { host, port: chosen.port, proto: chosen.proto }));
    }
    let first = Endpoint { host: config.host.clone(), port: chosen.port, proto: chosen.proto };
    let binds_all_ipv6 = |bound: &&PublishedPort| {
        bound.proto == chosen.proto && bound.address == Ipv6Addr::UNSPECIFIED
    };
    let ipv6 = bound.iter().find(binds_all_ipv6).zip(config.host6);
    Ok(first.with_ipv6(ipv6.map(|(bound, host6)| (host6, bound.port))))
}

fn unreachable_reason(bound: &PublishedPort, service: &Service) -> String {
    let kind = if bound.address.is_loopback() { "loopback" } else { "link-local" };
    format!(
        "its port {} is published on {} only, a {kind} address that other hosts cannot reach; \
         publish it on all addresses (`-p {}:{}`) or on another address of this host",
        format_port(service.port, service.proto),
        SocketAddr::new(bound.address, bound.port.get()),
        bound.port,
        format_publish_flag(service.port, bound.proto),
    )
}

fn not_published_reason(bindings: &[PortBinding], service: &Service) -> String {
    let port = format_port(service.port, service.proto);
    let assigned = || bindings.iter().filter(|binding| binding.host_port != 0);

    if let Some(other) = assigned().find(|binding| binding.port == service.port.get()) {
        return format!(
            "its port {port} is not published, only {}/{} is; start the container with `-p {}`, \
             or declare the published protocol",
            other.port,
            other.proto,
            format_publish_flag(service.port, service.proto.unwrap_or(Protocol::Tcp)),
        );
    }
    if let Some(outside) = assigned().find(|binding| binding.host_port == service.port.get()) {
        return format!(
            "its port {port} is not published: {} is the port outside the container, and {} is \
             the port inside; declare `{}:{}`",
            outside.host_port, outside.port, service.name, outside.port,
        );
    }
    format!(
        "its port {port} is not published; start the container with `-p {}`, or with a fixed port \
         outside: `-p PORT:{0}`",
        format_publish_flag(service.port, service.proto.unwrap_or(Protocol::Tcp)),
    )
}

/// Formats a port as `80`, or as `80/tcp` if the protocol is declared.
fn format_port(port: NonZeroU16, proto: Option<Protocol>) -> String {
    proto.map_or_else(|| port.to_string(), |proto| format!("{port}/{proto}"))
}

/// Formats the container's part of Docker's option `-p`. The default protocol of `-p` is TCP.
fn format_publish_flag(port: NonZeroU16, proto: Protocol) -> String {
    format_port(port, Some(proto).filter(|proto| *proto != Protocol::Tcp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::endpoint::tests::{HOST, service, shown};

    fn endpoints(bindings: &[&str], port: &str, config: &PublishConfig) -> Result<String, String> {
        let bindings: Vec<_> = bindings.iter().map(|shown| PortBinding::sample(shown)).collect();
        super::endpoints(&bindings, &service(port), config).map(|endpoints| shown(&endpoints))
    }

    fn endpoint(bindings: &[&str], port: &str) -> Result<String, String> {
        endpoints(bindings, port, &PublishConfig::sample())
    }

    #[test]
    fn selects_one_of_several_bindings() {
        for (bindings, port, expected) in [
            // One binding: to all addresses it publishes the host's, else its own.
            (&["80/tcp -> 0.0.0.0:8080"][..], "80", "10.77.66.0 8080/tcp"),
            (&["80/tcp -> [::]:8080"], "80", "10.77.66.0 8080/tcp"),
            (&["80/tcp -> 192.0.2.7:8080"], "80", "192.0.2.7 8080/tcp"),
            (&["80/tcp -> [2001:db8::7]:8080"], "80", "2001:db8::7 8080/tcp"),
            (&["80/tcp -> [::ffff:192.0.2.7]:8080"], "80", "192.0.2.7 8080/tcp"),
            // All addresses before one address, regardless of port and family.
            (&["80/tcp -> 192.0.2.7:80", "80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
            (&["80/tcp -> 192.0.2.7:80", "80/tcp -> [::]:8080"], "80", "10.77.66.0 8080/tcp"),
            // IPv4 before IPv6, regardless of the port.
            (&["80/tcp -> [::]:80", "80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
            (
                &["80/tcp -> [2001:db8::7]:80", "80/tcp -> 192.0.2.7:8080"],
                "80",
                "192.0.2.7 8080/tcp",
            ),
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
    fn unreachable_reason_names_remedy() {
        for (bindings, port, reason) in [
            (&[][..], "80", "port 80 is not published; start the container with `-p 80`"),
            (&[], "53/udp", "port 53/udp is not published; start the container with `-p 53/udp`"),
            (&["80/tcp -> 0.0.0.0:0"], "80", "start the container with `-p 80`"),
            (&["81/tcp -> 0.0.0.0:81"], "80", "`-p PORT:80`"),
            (
                &["53/tcp -> 0.0.0.0:53"],
                "53/udp",
                "port 53/udp is not published, only 53/tcp is; start the container with \
                 `-p 53/udp`",
            ),
            (&["80/tcp -> 0.0.0.0:8080"], "8080", "80 is the port inside; declare `httpd:80`"),
            (
                &["80/tcp -> 127.0.0.1:8080"],
                "80",
                "published on 127.0.0.1:8080 only, a loopback address that other hosts cannot \
                 reach; publish it on all addresses (`-p 8080:80`)",
            ),
            (&["80/tcp -> 127.1.2.3:8080"], "80", "loopback"),
            (&["80/tcp -> [::1]:8080"], "80", "[::1]:8080 only, a loopback"),
            (&["53/udp -> 127.0.0.1:54"], "53", "`-p 54:53/udp`"),
            (&["80/tcp -> [fe80::1]:8080"], "80", "link-local"),
            (&["80/tcp -> 169.254.1.1:8080"], "80", "link-local"),
        ] {
            let cause = endpoint(bindings, port).unwrap_err();
            assert!(cause.contains(reason), "{bindings:?} {port}: {cause}");
        }
    }

    #[test]
    fn second_address_uses_wildcard_ipv6_binding() {
        let config = |host: &str| PublishConfig {
            host: Host::parse(host).unwrap(),
            host6: Some("2001:db8::6".parse().unwrap()),
            ..PublishConfig::sample()
        };
        for (bindings, port, expected) in [
            (
                &["80/tcp -> 0.0.0.0:8080", "80/tcp -> [::]:9090"][..],
                "80",
                "10.77.66.0 8080/tcp, 2001:db8::6 9090/tcp",
            ),
            (&["80/tcp -> [::]:9090"], "80", "10.77.66.0 9090/tcp, 2001:db8::6 9090/tcp"),
            (
                &["80/tcp -> 0.0.0.0:1", "80/tcp -> [::]:10000", "80/tcp -> [::]:9000"],
                "80",
                "10.77.66.0 1/tcp, 2001:db8::6 9000/tcp",
            ),
            // No binding to all IPv6 addresses.
            (&["80/tcp -> 0.0.0.0:8080"], "80", "10.77.66.0 8080/tcp"),
            (&["80/tcp -> 0.0.0.0:80", "80/udp -> [::]:80"], "80", "10.77.66.0 80/tcp"),
            (&["80/tcp -> 0.0.0.0:80", "80/tcp -> [2001:db8::9]:80"], "80", "10.77.66.0 80/tcp"),
            // A binding to one address has no second address.
            (&["80/tcp -> 192.0.2.7:80", "80/tcp -> [2001:db8::9]:80"], "80", "192.0.2.7 80/tcp"),
        ] {
            let found = endpoints(bindings, port, &config(HOST));
            assert_eq!(found.as_deref(), Ok(expected), "{bindings:?} {port}");
        }
        // The host's first address is already this IPv6 address.
        let found = endpoints(&["80/tcp -> [::]:80"], "80", &config("2001:db8::6"));
        assert_eq!(found.as_deref(), Ok("2001:db8::6 80/tcp"));
    }

    #[test]
    fn ipv6_host_uses_the_ipv6_binding() {
        let config =
            PublishConfig { host: Host::parse("2001:db8::5").unwrap(), ..PublishConfig::sample() };
        for (bindings, expected) in [
            (&["80/tcp -> 0.0.0.0:80", "80/tcp -> [::]:8080"][..], "2001:db8::5 8080/tcp"),
            (&["80/tcp -> 0.0.0.0:80"], "2001:db8::5 80/tcp"),
            (&["80/tcp -> [2001:db8::9]:80", "80/tcp -> 192.0.2.7:81"], "192.0.2.7 81/tcp"),
        ] {
            assert_eq!(endpoints(bindings, "80", &config).as_deref(), Ok(expected), "{bindings:?}");
        }
    }
}
