//! Whether an address that was found is a container's: one of the engine's own networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{DetectedAddress, PublicAddress};

/// The addresses that the engine gives out to the containers of a bridge network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeSubnet {
    /// The network's name.
    pub network: String,
    /// Its addresses.
    pub subnet: IpNet,
    /// The engine's host in it.
    pub gateway: Option<IpAddr>,
}

impl BridgeSubnet {
    /// Reads what the engine tells of a network: the subnet as `172.17.0.0/16`,
    /// the gateway as an address, perhaps with a prefix length. `None`: it is no
    /// bridge (a macvlan's subnet is the host's own, for one), or has no subnet.
    pub fn parse(network: &str, driver: &str, subnet: &str, gateway: Option<&str>) -> Option<Self> {
        let address = |text: &str| text.split('/').next()?.parse().ok();
        (driver == "bridge").then_some(Self {
            network: network.to_owned(),
            subnet: subnet.parse().ok()?,
            gateway: gateway.and_then(address),
        })
    }

    /// Whether an address in it is a container's, not the host's own. Where the
    /// engine tells no gateway, the host has the first address (of IPv6, the one behind
    /// that which stands for any router).
    fn has_container_address(&self, address: IpAddr) -> bool {
        let first = match self.subnet {
            IpNet::V4(subnet) => subnet.hosts().next().map(IpAddr::V4),
            IpNet::V6(subnet) => subnet.hosts().nth(1).map(IpAddr::V6),
        };
        let gateway = self.gateway.or(first);
        self.subnet.contains(&address) && gateway != Some(address)
    }
}

/// A detected address is one of a container: the program exits with EX_UNAVAILABLE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address {address} of interface {interface} lies in the Docker network {network:?} \
     ({subnet}): HighHock seems to run in a container, and nobody elsewhere reaches that \
     address; run it with --network host, or set {setting} to the host's own address"
)]
pub struct EngineNetworkAddress {
    /// The address.
    pub address: IpAddr,
    /// The interface that it was found on.
    pub interface: String,
    /// The setting that could have named another.
    pub setting: &'static str,
    /// The name of the engine's network that it lies in.
    pub network: String,
    /// That network's addresses.
    pub subnet: IpNet,
}

/// Refuses an interface's address that lies in one of the engine's own networks. One
/// that the operator gave stands, whatever it is; and so does a metadata service's,
/// which knows of the machine alone and never of a container.
///
/// # Errors
/// The address is one of a container.
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
            let refused = check_outside_engine_networks(&detected(inside), &networks());
            let text = refused.unwrap_err().to_string();
            for part in [inside, "interface eth0", "--network host", "discovery.host"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn accepts_host_address_and_configured_address() {
        for fine in ["10.77.66.0", "172.17.0.1", "fd00::1", "fd01::9", "10.9.0.1", "fd09::1"] {
            assert_eq!(check_outside_engine_networks(&detected(fine), &networks()), Ok(()));
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
        let beside = |address: &str, interface: Option<&str>| PublicAddress {
            host6: Some(PublicIpv6 {
                address: address.parse().unwrap(),
                interface: interface.map(str::to_owned),
            }),
            ..public_address("10.0.0.1", AddressSource::Setting)
        };
        let check = |public_address| check_outside_engine_networks(&public_address, &networks());
        let refused = check(beside("fd00::9", Some("eth0"))).unwrap_err().to_string();
        assert!(refused.contains("fd00::9 of interface eth0"), "{refused}");
        assert!(refused.contains("discovery.host6"), "{refused}");
        assert_eq!(check(beside("fd00::9", None)), Ok(()));
        assert_eq!(check(beside("2001:db8::7", Some("eth0"))), Ok(()));
    }
}
