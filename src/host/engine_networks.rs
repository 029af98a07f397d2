//! Recognises container addresses: addresses in the engine's own bridge networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{DetectedAddress, PublicAddress};

/// A subnet from which the engine assigns addresses to the containers of a bridge network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSubnet {
    /// The network's name.
    pub network: String,
    /// The addresses of the network.
    pub subnet: IpNet,
    /// The address of the engine's host in the network.
    pub gateway: Option<IpAddr>,
}

impl BridgeSubnet {
    /// Parses the engine's description of a network: the subnet as `172.17.0.0/16`, the gateway as
    /// an address with or without a prefix length.
    ///
    /// Returns `None` if the network has no subnet or is not a bridge. The subnet of a macvlan
    /// network, for example, is the host's own.
    pub fn parse(network: &str, driver: &str, subnet: &str, gateway: Option<&str>) -> Option<Self> {
        let address = |text: &str| text.split('/').next()?.parse().ok();
        (driver == "bridge").then_some(Self {
            network: network.to_owned(),
            subnet: subnet.parse().ok()?,
            gateway: gateway.and_then(address),
        })
    }

    /// Returns `true` if the address is in the subnet and is not the host's own address.
    ///
    /// If the engine reports no gateway, the host has the first address. With IPv6 it has the
    /// second, because the first is the anycast address of all routers.
    fn has_container_address(&self, address: IpAddr) -> bool {
        let first = match self.subnet {
            IpNet::V4(subnet) => subnet.hosts().next().map(IpAddr::V4),
            IpNet::V6(subnet) => subnet.hosts().nth(1).map(IpAddr::V6),
        };
        let gateway = self.gateway.or(first);
        self.subnet.contains(&address) && gateway != Some(address)
    }
}

/// The error of a detected address that belongs to a container. The program exits with
/// EX_UNAVAILABLE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "address {address} of interface {interface} is in the Docker network {network:?} ({subnet}): \
     HighHock seems to run in a container, and other hosts cannot reach the address; run it with \
     --network host, or set {setting} to the host's own address"
)]
pub struct EngineNetworkAddress {
    /// The address.
    pub address: IpAddr,
    /// The interface that has the address.
    pub interface: String,
    /// The setting that can name another address.
    pub setting: &'static str,
    /// The name of the engine's network that contains the address.
    pub network: String,
    /// The addresses of that network.
    pub subnet: IpNet,
}

/// Rejects an interface's address that is in one of the engine's own networks.
///
/// An address that the operator set is always accepted. So is the address from a metadata service,
/// which knows only the machine and no containers.
///
/// # Errors
/// Returns an error if the address belongs to a container.
pub fn check_outside_engine_networks(
    public_address: &PublicAddress,
    subnets: &[BridgeSubnet],
) -> Result<(), EngineNetworkAddress> {
    for DetectedAddress { address, interface, setting } in public_address.detected() {
        if let Some(inside) = subnets.iter().find(|subnet| subnet.has_container_address(address)) {
            return Err(EngineNetworkAddress {
                address,
                interface: interface.to_owned(),
                setting,
                network: inside.network.clone(),
                subnet: inside.subnet,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::public_address;
    use crate::host::{AddressSource, PublicIpv6};
    use crate::settings::Cloud;

    fn networks() -> Vec<BridgeSubnet> {
        vec![
            BridgeSubnet::parse("bridge", "bridge", "172.17.0.0/16", Some("172.17.0.1")).unwrap(),
            BridgeSubnet::parse("six", "bridge", "fd00::/64", Some("fd00::1/64")).unwrap(),
            BridgeSubnet::parse("bare", "bridge", "10.9.0.0/24", None).unwrap(),
            BridgeSubnet::parse("bare6", "bridge", "fd09::/64", None).unwrap(),
        ]
    }

    fn detected(text: &str) -> PublicAddress {
        public_address(text, AddressSource::Interface("eth0".to_owned()))
    }

    #[test]
    fn rejects_detected_container_address_with_remedy() {
        for inside in ["172.17.0.3", "fd00::9", "10.9.0.77", "fd09::2"] {
            let result = check_outside_engine_networks(&detected(inside), &networks());
            let text = result.unwrap_err().to_string();
            for part in [inside, "interface eth0", "--network host", "discovery.host"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn accepts_host_address_and_configured_address() {
        for accepted in ["10.77.66.0", "172.17.0.1", "fd00::1", "fd01::9", "10.9.0.1", "fd09::1"] {
            assert_eq!(check_outside_engine_networks(&detected(accepted), &networks()), Ok(()));
        }
        for source in
            [AddressSource::Setting, AddressSource::ExternalIp, AddressSource::Metadata(Cloud::Aws)]
        {
            let given = public_address("172.17.0.3", source);
            assert_eq!(check_outside_engine_networks(&given, &networks()), Ok(()));
        }
    }

    #[test]
    fn parses_only_bridge_networks_with_a_subnet() {
        assert_eq!(BridgeSubnet::parse("host", "host", "", None), None);
        assert_eq!(BridgeSubnet::parse("odd", "bridge", "172.17.0.0", None), None);
        assert_eq!(BridgeSubnet::parse("lan", "macvlan", "10.77.66.0/24", None), None);
    }

    #[test]
    fn rejects_detected_container_ipv6_address() {
        let with_ipv6 = |address: &str, interface: Option<&str>| PublicAddress {
            host6: Some(PublicIpv6 {
                address: address.parse().unwrap(),
                interface: interface.map(str::to_owned),
            }),
            ..public_address("10.0.0.1", AddressSource::Setting)
        };
        let check = |public_address| check_outside_engine_networks(&public_address, &networks());
        let error = check(with_ipv6("fd00::9", Some("eth0"))).unwrap_err().to_string();
        assert!(error.contains("fd00::9 of interface eth0"), "{error}");
        assert!(error.contains("discovery.host6"), "{error}");
        assert_eq!(check(with_ipv6("fd00::9", None)), Ok(()));
        assert_eq!(check(with_ipv6("2001:db8::7", Some("eth0"))), Ok(()));
    }
}
