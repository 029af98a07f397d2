//! The ports of an inspection: published, requested and exposed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use highhock_actors::{PortBinding, PortRequest, Protocol};
use serde::Deserialize;

use super::unexpected_field::UnexpectedField;
use super::{host_address, or_default};

/// Ports of the container with ports of the host:
/// `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": null}`.
pub(super) type PortMap = BTreeMap<String, Option<Vec<HostPort>>>;

/// An address and a port of the host (`PortBinding`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostPort {
    #[serde(default, deserialize_with = "or_default")]
    host_ip: String,
    #[serde(default, deserialize_with = "or_default")]
    host_port: String,
}

/// The meaning of the host address `0.0.0.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::docker) enum Ipv4Wildcard {
    /// All IPv4 addresses (Docker, and Podman before 5.0).
    Ipv4,
    /// All addresses of both families (Podman since 5.0).
    BothFamilies,
}

impl Ipv4Wildcard {
    /// Returns the meaning in inspections of this version of Podman.
    pub fn of_podman(version: &str) -> Self {
        match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
            Some(5..) => Self::BothFamilies,
            _ => Self::Ipv4,
        }
    }
}

/// The notation of host addresses in the bindings of one container.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddressNotation {
    /// The meaning of `0.0.0.0`. An empty address always stands for both families.
    pub wildcard: Ipv4Wildcard,
    /// `true` if the container has an IPv6 address. Podman forwards IPv6 only then.
    pub has_ipv6: bool,
}

impl AddressNotation {
    /// Returns the notation for bindings that are compared with those of a listing.
    pub fn literal() -> Self {
        Self { wildcard: Ipv4Wildcard::Ipv4, has_ipv6: false }
    }
}

impl HostPort {
    /// Returns `true` if the address stands for all addresses of both families.
    fn is_both_families(&self, wildcard: Ipv4Wildcard) -> bool {
        match wildcard {
            Ipv4Wildcard::Ipv4 => self.host_ip.is_empty(),
            Ipv4Wildcard::BothFamilies => matches!(&*self.host_ip, "" | "0.0.0.0"),
        }
    }

    /// Returns the port of the host. No port, or port 0, means that the port was requested and
    /// is not bound.
    fn number(&self) -> Result<u16, UnexpectedField> {
        match self.host_port.as_str() {
            "" => Ok(0),
            text => text.parse().map_err(|_| UnexpectedField::new("HostPort", text)),
        }
    }

    fn addresses(&self, notation: AddressNotation) -> Result<Vec<IpAddr>, UnexpectedField> {
        let address = host_address(&self.host_ip)
            .ok_or_else(|| UnexpectedField::new("HostIp", &self.host_ip))?;
        let has_both = notation.has_ipv6 && self.is_both_families(notation.wildcard);
        let second = has_both.then_some(Ipv6Addr::UNSPECIFIED.into());
        Ok([Some(address), second].into_iter().flatten().collect())
    }
}

/// Returns the bindings, one per address family.
///
/// # Errors
/// Returns an error if a field has a value that no engine writes.
pub(super) fn bindings(
    ports: &PortMap,
    notation: AddressNotation,
) -> Result<Vec<PortBinding>, UnexpectedField> {
    let mut bindings = Vec::new();
    for (key, host_ports) in ports {
        let (port, proto) = port_and_proto(key);
        // An unknown protocol cannot be published.
        let Ok(proto) = proto.parse::<Protocol>() else { continue };
        let port = port
            .parse()
            .map_err(|_| UnexpectedField::new("a key of NetworkSettings.Ports", key))?;
        for host_port in host_ports.iter().flatten() {
            let number = host_port.number()?;
            if number != 0 {
                let addresses = host_port.addresses(notation)?.into_iter();
                bindings.extend(addresses.map(|host_address| PortBinding {
                    port,
                    proto,
                    host_address,
                    host_port: number,
                }));
            }
        }
    }
    Ok(bindings)
}

/// Returns the ports that a container was created to publish. They only explain missing bindings,
/// so invalid entries are skipped.
pub(super) fn requests(ports: &PortMap, wildcard: Ipv4Wildcard) -> Vec<PortRequest> {
    let mut requests = Vec::new();
    for (key, host_ports) in ports {
        let Some((port, proto)) = parse_port(key) else { continue };
        for host_port in host_ports.iter().flatten() {
            let address = host_address(&host_port.host_ip);
            let host_address = address.filter(|_| !host_port.is_both_families(wildcard));
            requests.push(PortRequest { port, proto, host_address });
        }
    }
    requests
}

/// Returns the exposed ports. Invalid entries are skipped, because no port can be bound to them.
pub(super) fn exposed<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<(u16, Protocol)> {
    let ports = keys.filter_map(|key| parse_port(key));
    ports.collect::<BTreeSet<_>>().into_iter().collect()
}

fn parse_port(key: &str) -> Option<(u16, Protocol)> {
    let (port, proto) = port_and_proto(key);
    Some((port.parse().ok()?, proto.parse().ok()?))
}

/// Splits `80/tcp`. The default protocol is TCP.
fn port_and_proto(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or((key, "tcp"))
}
