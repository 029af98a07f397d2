//! Which address is published for this host.

use std::fmt;
use std::net::IpAddr;

use highhock_actors::record::Host;
use ipnet::IpNet;
use network_interface::{Addr, NetworkInterface, NetworkInterfaceConfig};

use crate::settings::{self, Discovery, Environment, Rejection};

/// The variable that names the address where `discovery.host` doesn't.
const EXTERNAL_IP: &str = "EXTERNAL_IP";

/// What to publish, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What records point to.
    pub host: Host,
    /// How it is known.
    pub source: HostSource,
}

/// How it is known what to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostSource {
    /// `discovery.host` says so.
    Setting,
    /// `EXTERNAL_IP` says so.
    ExternalIp,
    /// It is the address of this interface: detected, and perhaps not what the
    /// operator had in mind.
    Interface(String),
}

impl fmt::Display for HostSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting => f.write_str("discovery.host"),
            Self::ExternalIp => f.write_str(EXTERNAL_IP),
            Self::Interface(name) => write!(f, "interface {name}"),
        }
    }
}

/// A network interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses, in the system's order.
    pub addresses: Vec<IpAddr>,
}

/// No address to publish was found: the program exits with EX_UNAVAILABLE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoHost {
    /// Each step that was tried, and why it failed.
    pub steps: Vec<(String, String)>,
}

impl std::error::Error for NoHost {}

impl fmt::Display for NoHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("found no address to publish:")?;
        self.steps.iter().try_for_each(|(step, reason)| write!(f, "\n  {step}: {reason}"))?;
        f.write_str(
            "\nset discovery.host to the host's address, or discovery.interface to the interface that has it",
        )
    }
}

/// Finds what to publish: the first of `discovery.host`, `EXTERNAL_IP` and the
/// first usable address of `discovery.interface` that there is.
///
/// # Errors
/// No step answers; or `EXTERNAL_IP` is set to what can't be published: to go on
/// to the interface then would publish what its author didn't mean.
pub fn find(
    discovery: &Discovery,
    environment: &Environment,
    interfaces: impl FnOnce() -> Result<Vec<Interface>, String>,
) -> Result<Published, NoHost> {
    let mut steps = Vec::new();
    let mut failed = |step: &str, reason: String| steps.push((step.to_owned(), reason));
    if let Some(host) = discovery.host.clone() {
        return Ok(Published { host, source: HostSource::Setting });
    }
    failed("discovery.host", "not set".to_owned());
    if let Some(text) = environment.get(EXTERNAL_IP) {
        match settings::host(text.trim()) {
            Ok(host) => return Ok(Published { host, source: HostSource::ExternalIp }),
            Err(rejection) => {
                let detail = match rejection {
                    Rejection::Unfit(Some(detail)) => detail,
                    _ => "neither an address nor a host name".to_owned(),
                };
                failed(EXTERNAL_IP, format!("{text:?}: {detail}"));
                return Err(NoHost { steps });
            }
        }
    }
    failed(EXTERNAL_IP, "not set".to_owned());
    let name = &discovery.interface;
    match interfaces().and_then(|all| address_of(name, &all)) {
        Ok(address) => Ok(Published {
            host: Host::Address(address),
            source: HostSource::Interface(name.clone()),
        }),
        Err(reason) => {
            failed(&format!("discovery.interface {name}"), reason);
            Err(NoHost { steps })
        }
    }
}

fn address_of(name: &str, interfaces: &[Interface]) -> Result<IpAddr, String> {
    let Some(interface) = interfaces.iter().find(|interface| interface.name == name) else {
        let known: Vec<_> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
        return Err(format!("no such interface; there are: {}", known.join(", ")));
    };
    let addresses = &interface.addresses;
    let first = |usable: fn(&IpAddr) -> bool| addresses.iter().copied().find(usable);
    first(|address| address.is_ipv4() && is_usable(address))
        .or_else(|| first(is_usable))
        .ok_or_else(|| match addresses.len() {
            0 => "it has no address".to_owned(),
            _ => {
                let all: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
                format!("none of its addresses can be reached from elsewhere: {}", all.join(", "))
            }
        })
}

/// Whether clients elsewhere may be able to connect to an address.
fn is_usable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

/// This machine's interfaces, as the system tells them.
///
/// # Errors
/// Why the system doesn't.
pub fn interfaces() -> Result<Vec<Interface>, String> {
    let address = |address: &Addr| match address {
        Addr::V4(v4) => IpAddr::V4(v4.ip),
        Addr::V6(v6) => IpAddr::V6(v6.ip),
    };
    let listed = NetworkInterface::show()
        .map_err(|error| format!("the system doesn't list its interfaces: {error}"))?;
    Ok(listed
        .into_iter()
        .map(|one| Interface { addresses: one.addr.iter().map(address).collect(), name: one.name })
        .collect())
}

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
    /// engine tells no gateway, the host has the first address.
    fn holds_container(&self, address: IpAddr) -> bool {
        let gateway = self.gateway.or_else(|| self.subnet.hosts().next());
        self.subnet.contains(&address) && gateway != Some(address)
    }
}

/// A detected address is one of a container: the program exits with EX_UNAVAILABLE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address {address} of {source_name} lies in the Docker network {network:?} ({subnet}): \
     HighHock seems to run in a container, and nobody elsewhere reaches that address; \
     run it with --network host, or set discovery.host to the host's own address"
)]
pub struct ContainersAddress {
    /// The address.
    pub address: IpAddr,
    /// Where it was found, in words.
    pub source_name: String,
    /// The name of the engine's network that it lies in.
    pub network: String,
    /// That network's addresses.
    pub subnet: IpNet,
}

/// Refuses a detected address that lies in one of the engine's own networks. An
/// address that the operator gave stands, whatever it is.
///
/// # Errors
/// The address is one of a container.
pub fn check_outside_engine_networks(
    published: &Published,
    subnets: &[BridgeSubnet],
) -> Result<(), ContainersAddress> {
    let (HostSource::Interface(_), Host::Address(address)) = (&published.source, &published.host)
    else {
        return Ok(());
    };
    match subnets.iter().find(|subnet| subnet.holds_container(*address)) {
        None => Ok(()),
        Some(inside) => Err(ContainersAddress {
            address: *address,
            source_name: published.source.to_string(),
            network: inside.network.clone(),
            subnet: inside.subnet,
        }),
    }
}

#[cfg(test)]
mod tests {
    use highhock_actors::publish::Method;

    use super::*;

    fn discovery(host: Option<&str>, interface: &str) -> Discovery {
        Discovery {
            host: host.map(|host| settings::host(host).unwrap()),
            interface: interface.to_owned(),
            methods: vec![Method::Env],
            compose_project: false,
            health: true,
            drain: None,
        }
    }

    fn machine() -> Result<Vec<Interface>, String> {
        let interface = |name: &str, addresses: &[&str]| Interface {
            name: name.to_owned(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        };
        Ok(vec![
            interface("lo", &["127.0.0.1", "::1"]),
            interface("eth0", &["fe80::1", "2001:db8::7", "169.254.9.9", "10.77.66.0", "10.1.1.1"]),
            interface("six", &["fe80::2", "2001:db8::8"]),
            interface("down", &[]),
        ])
    }

    fn found(discovery: &Discovery, external_ip: Option<&str>) -> Result<Published, NoHost> {
        find(discovery, &external_ip.map(|ip| (EXTERNAL_IP, ip)).into_iter().collect(), machine)
    }

    fn address(text: &str) -> Host {
        Host::Address(text.parse().unwrap())
    }

    #[test]
    fn the_first_step_that_answers_decides() {
        let both = found(&discovery(Some("10.0.0.1"), "eth0"), Some("10.0.0.2")).unwrap();
        assert_eq!(both, Published { host: address("10.0.0.1"), source: HostSource::Setting });
        let external = found(&discovery(None, "eth0"), Some(" 10.0.0.2\n")).unwrap();
        let host = address("10.0.0.2");
        assert_eq!(external, Published { host, source: HostSource::ExternalIp });
        let detected = found(&discovery(None, "eth0"), Some("")).unwrap();
        assert_eq!(detected.host, address("10.77.66.0"));
        assert_eq!(detected.source, HostSource::Interface("eth0".to_owned()));
    }

    #[test]
    fn the_interfaces_are_not_asked_for_what_is_given() {
        let given = discovery(Some("10.0.0.1"), "eth0");
        assert!(find(&given, &Environment::default(), || unreachable!()).is_ok());
    }

    #[test]
    fn a_host_name_may_be_published() {
        let named = found(&discovery(Some("www.example.org"), "eth0"), None).unwrap();
        assert!(matches!(named.host, Host::Name(_)));
        let named = found(&discovery(None, "eth0"), Some("www.example.org")).unwrap();
        assert!(matches!(named.host, Host::Name(_)));
    }

    #[test]
    fn ipv6_will_do_where_there_is_no_usable_ipv4() {
        assert_eq!(found(&discovery(None, "six"), None).unwrap().host, address("2001:db8::8"));
    }

    #[test]
    fn without_an_answer_each_step_tells_why() {
        for (interface, reason) in [
            ("eth9", "no such interface; there are: lo, eth0, six, down"),
            ("lo", "none of its addresses can be reached from elsewhere: 127.0.0.1, ::1"),
            ("down", "it has no address"),
        ] {
            let error = found(&discovery(None, interface), None).unwrap_err().to_string();
            assert!(error.contains("\n  discovery.host: not set\n  EXTERNAL_IP: not set\n"));
            let line = format!("\n  discovery.interface {interface}: {reason}\n");
            assert!(error.contains(&line), "{error}");
        }
        let failing = || Err("the system is out of order".to_owned());
        let error = find(&discovery(None, "eth0"), &Environment::default(), failing).unwrap_err();
        assert!(error.to_string().contains("the system is out of order"));
    }

    #[test]
    fn an_external_ip_that_makes_no_sense_is_not_passed_over() {
        for unfit in ["10.0.0.300", "0.0.0.0"] {
            let error = found(&discovery(None, "eth0"), Some(unfit)).unwrap_err().to_string();
            assert!(error.contains(&format!("EXTERNAL_IP: {unfit:?}")), "{error}");
        }
    }

    #[test]
    fn this_machine_has_interfaces() {
        let interfaces = interfaces().unwrap();
        assert!(interfaces.iter().any(|one| one.addresses.iter().any(IpAddr::is_loopback)));
    }

    fn networks() -> Vec<BridgeSubnet> {
        vec![
            BridgeSubnet::parse("bridge", "bridge", "172.17.0.0/16", Some("172.17.0.1")).unwrap(),
            BridgeSubnet::parse("six", "bridge", "fd00::/64", Some("fd00::1/64")).unwrap(),
            BridgeSubnet::parse("bare", "bridge", "10.9.0.0/24", None).unwrap(),
        ]
    }

    fn detected(text: &str) -> Published {
        let source = HostSource::Interface("eth0".to_owned());
        Published { host: address(text), source }
    }

    #[test]
    fn a_detected_address_of_a_container_is_refused_with_what_to_do() {
        for inside in ["172.17.0.3", "fd00::9", "10.9.0.77"] {
            let refused = check_outside_engine_networks(&detected(inside), &networks());
            let text = refused.unwrap_err().to_string();
            for part in [inside, "interface eth0", "--network host", "discovery.host"] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn the_hosts_own_address_is_fine_and_so_is_a_given_one() {
        for fine in ["10.77.66.0", "172.17.0.1", "fd00::1", "fd01::9", "10.9.0.1"] {
            assert_eq!(check_outside_engine_networks(&detected(fine), &networks()), Ok(()));
        }
        for source in [HostSource::Setting, HostSource::ExternalIp] {
            let given = Published { host: address("172.17.0.3"), source };
            assert_eq!(check_outside_engine_networks(&given, &networks()), Ok(()));
        }
    }

    #[test]
    fn only_a_bridge_with_a_subnet_can_hold_our_address_by_mistake() {
        assert_eq!(BridgeSubnet::parse("host", "host", "", None), None);
        assert_eq!(BridgeSubnet::parse("odd", "bridge", "172.17.0.0", None), None);
        assert_eq!(BridgeSubnet::parse("lan", "macvlan", "10.77.66.0/24", None), None);
    }
}
