//! The address to publish for this host.
//!
//! The rules are in `config/README.md`, "Published address".

pub mod container;
mod engine_networks;
mod interface_address;
pub mod metadata;
pub mod name;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use highhock_actors::model::record::Host;
use network_interface::{Addr, NetworkInterface, NetworkInterfaceConfig};

use crate::settings::{self, Cloud, Discovery, Environment, Host6};
use interface_address::{interface_address, interface_ipv6};
use metadata::MetadataAddress;

pub use engine_networks::{BridgeSubnet, EngineNetworkAddress, check_outside_engine_networks};
pub use interface_address::{InterfaceLister, current_address};

/// The variable that supplies the address if `discovery.host` is not set.
const EXTERNAL_IP: &str = "EXTERNAL_IP";

/// The address to publish, with its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    /// The target of the records.
    pub host: Host,
    /// The source of the target.
    pub source: AddressSource,
    /// The additional IPv6 address, if one is published.
    pub host6: Option<PublicIpv6>,
}

/// An IPv6 address to publish beside the first address, with its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicIpv6 {
    /// The address.
    pub address: Ipv6Addr,
    /// The interface that has the address; `None` if `discovery.host6` names the address.
    pub interface: Option<String>,
}

/// An address that was detected on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetectedAddress<'a> {
    /// The address.
    pub address: IpAddr,
    /// The interface that has the address.
    pub interface: &'a str,
    /// The setting that can name another address.
    pub setting: &'static str,
}

impl PublicAddress {
    /// Returns the addresses that were detected on an interface, and may be wrong.
    pub fn detected(&self) -> impl Iterator<Item = DetectedAddress<'_>> {
        let first = match (&self.host, &self.source) {
            (Host::Address(address), AddressSource::Interface(interface)) => {
                Some(DetectedAddress { address: *address, interface, setting: "discovery.host" })
            }
            _ => None,
        };
        let second = self.host6.as_ref().and_then(|host6| {
            let (address, setting) = (host6.address.into(), "discovery.host6");
            Some(DetectedAddress { address, interface: host6.interface.as_deref()?, setting })
        });
        first.into_iter().chain(second)
    }
}

/// Formats as `10.77.66.0 (interface eth0), 2001:db8::7 (discovery.host6)`.
impl fmt::Display for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.host, self.source)?;
        match &self.host6 {
            None => Ok(()),
            Some(PublicIpv6 { address, interface: None }) => {
                write!(f, ", {address} (discovery.host6)")
            }
            Some(PublicIpv6 { address, interface: Some(interface) }) => {
                write!(f, ", {address} (interface {interface})")
            }
        }
    }
}

/// The source of the address to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressSource {
    /// The setting `discovery.host`.
    Setting,
    /// The environment variable `EXTERNAL_IP`.
    ExternalIp,
    /// The interface of this name.
    Interface(String),
    /// The metadata service of this cloud.
    Metadata(Cloud),
}

impl fmt::Display for AddressSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting => f.write_str("discovery.host"),
            Self::ExternalIp => f.write_str(EXTERNAL_IP),
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Metadata(cloud) => write!(f, "metadata service, {}", cloud.as_str()),
        }
    }
}

/// A network interface of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The name, such as `eth0`.
    pub name: String,
    /// The addresses, in the system's order.
    pub addresses: Vec<IpAddr>,
}

/// The error if no address to publish was found. The program exits with EX_UNAVAILABLE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPublicAddress {
    /// Each step that was tried, with the reason of its failure.
    pub steps: Vec<(String, String)>,
    /// `true` if only the IPv6 address for `discovery.host6` is missing.
    pub lacks_ipv6: bool,
}

impl std::error::Error for NoPublicAddress {}

impl fmt::Display for NoPublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, remedy) = if !self.lacks_ipv6 {
            (
                "address",
                "set discovery.host to the host's address, or discovery.interface to the \
             interface that has it",
            )
        } else {
            (
                "IPv6 address",
                "set discovery.host6 to the host's IPv6 address, or unset it, or set \
             discovery.interface to an interface that has an IPv6 address",
            )
        };
        write!(f, "found no {kind} to publish:")?;
        self.steps.iter().try_for_each(|(step, reason)| write!(f, "\n  {step}: {reason}"))?;
        write!(f, "\n{remedy}")
    }
}

/// Finds the address to publish, and the IPv6 address of `discovery.host6`.
///
/// The first match wins: `discovery.host`, `EXTERNAL_IP`, the first usable address of
/// `discovery.interface`, the metadata service. The service is queried only if
/// `discovery.metadata` is set and no earlier step matches.
///
/// # Errors
/// Returns an error if no step matches. An invalid `EXTERNAL_IP` is an error too, because the
/// next step would publish an address that the operator did not intend.
pub async fn find_public_address(
    discovery: &Discovery,
    environment: &Environment,
    interfaces: impl Fn() -> Result<Vec<Interface>, String>,
    metadata: impl AsyncFnOnce(&[Cloud]) -> Result<MetadataAddress, Vec<(Cloud, String)>>,
) -> Result<PublicAddress, NoPublicAddress> {
    let (host, source) = find_host(discovery, environment, &interfaces, metadata).await?;
    let host6 = match discovery.host6 {
        None => None,
        Some(Host6::Address(address)) => Some(PublicIpv6 { address, interface: None }),
        Some(Host6::Auto) => Some(find_ipv6(&discovery.interface, &interfaces)?),
    };
    Ok(PublicAddress { host, source, host6 })
}

async fn find_host(
    discovery: &Discovery,
    environment: &Environment,
    interfaces: impl Fn() -> Result<Vec<Interface>, String>,
    metadata: impl AsyncFnOnce(&[Cloud]) -> Result<MetadataAddress, Vec<(Cloud, String)>>,
) -> Result<(Host, AddressSource), NoPublicAddress> {
    let mut steps = Vec::new();
    let mut failed = |step: &str, reason: String| steps.push((step.to_owned(), reason));
    if let Some(host) = discovery.host.clone() {
        return Ok((host, AddressSource::Setting));
    }
    failed("discovery.host", "not set".to_owned());
    if let Some(text) = environment.get(EXTERNAL_IP) {
        match settings::host(text.trim()) {
            Ok(host) => return Ok((host, AddressSource::ExternalIp)),
            Err(error) => {
                let detail =
                    error.detail.unwrap_or_else(|| "neither an address nor a host name".to_owned());
                failed(EXTERNAL_IP, format!("{text:?}: {detail}"));
                return Err(NoPublicAddress { steps, lacks_ipv6: false });
            }
        }
    }
    failed(EXTERNAL_IP, "not set".to_owned());
    let name = &discovery.interface;
    match interfaces().and_then(|all| interface_address(name, &all)) {
        Ok(address) => {
            return Ok((Host::Address(address), AddressSource::Interface(name.clone())));
        }
        Err(reason) => failed(&format!("discovery.interface {name}"), reason),
    }
    if discovery.metadata.is_empty() {
        failed("discovery.metadata", "not set".to_owned());
        return Err(NoPublicAddress { steps, lacks_ipv6: false });
    }
    match metadata(&discovery.metadata).await {
        Ok(MetadataAddress { cloud, address }) => {
            Ok((Host::Address(address), AddressSource::Metadata(cloud)))
        }
        Err(reasons) => {
            for (cloud, reason) in reasons {
                failed(&format!("discovery.metadata {}", cloud.as_str()), reason);
            }
            Err(NoPublicAddress { steps, lacks_ipv6: false })
        }
    }
}

fn find_ipv6(
    name: &str,
    interfaces: impl Fn() -> Result<Vec<Interface>, String>,
) -> Result<PublicIpv6, NoPublicAddress> {
    match interfaces().and_then(|all| interface_ipv6(name, &all)) {
        Ok(address) => Ok(PublicIpv6 { address, interface: Some(name.to_owned()) }),
        Err(reason) => {
            let step = format!("discovery.host6 auto, discovery.interface {name}");
            Err(NoPublicAddress { steps: vec![(step, reason)], lacks_ipv6: true })
        }
    }
}

/// Returns `true` if clients on other hosts may be able to connect to an address.
pub(crate) fn is_usable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast()
}

/// Returns the network interfaces of this machine.
///
/// # Errors
/// Returns the reason if the system cannot list its interfaces.
pub fn interfaces() -> Result<Vec<Interface>, String> {
    let address = |address: &Addr| match address {
        Addr::V4(v4) => IpAddr::V4(v4.ip),
        Addr::V6(v6) => IpAddr::V6(v6.ip),
    };
    let listed = NetworkInterface::show()
        .map_err(|error| format!("cannot list the network interfaces: {error}"))?;
    Ok(listed
        .into_iter()
        .map(|interface| Interface {
            addresses: interface.addr.iter().map(address).collect(),
            name: interface.name,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use highhock_actors::model::publish_config::{AddressOwner, DiscoveryMethod};

    use super::*;

    /// Returns the result of a future that never waits.
    fn block_on<T>(found: impl Future<Output = T>) -> T {
        found.now_or_never().unwrap()
    }

    fn discovery(host: Option<&str>, interface: &str) -> Discovery {
        Discovery {
            host: host.map(|host| settings::host(host).unwrap()),
            interface: interface.to_owned(),
            address: AddressOwner::Host,
            host6: None,
            methods: vec![DiscoveryMethod::Env],
            compose_project: false,
            health: true,
            drain: None,
            metadata: Vec::new(),
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
            interface("four", &["fe80::3", "10.1.1.2"]),
            interface("down", &[]),
        ])
    }

    fn found(
        discovery: &Discovery,
        external_ip: Option<&str>,
    ) -> Result<PublicAddress, NoPublicAddress> {
        let environment = external_ip.map(|ip| (EXTERNAL_IP, ip)).into_iter().collect();
        let metadata = async |_: &[Cloud]| unreachable!("the metadata service was queried");
        block_on(find_public_address(discovery, &environment, machine, metadata))
    }

    pub(super) fn public_address(host: &str, source: AddressSource) -> PublicAddress {
        PublicAddress { host: address(host), source, host6: None }
    }

    fn address(text: &str) -> Host {
        Host::Address(text.parse().unwrap())
    }

    #[test]
    fn first_successful_step_wins() {
        let both = found(&discovery(Some("10.0.0.1"), "eth0"), Some("10.0.0.2")).unwrap();
        assert_eq!(both, public_address("10.0.0.1", AddressSource::Setting));
        let external = found(&discovery(None, "eth0"), Some(" 10.0.0.2\n")).unwrap();
        assert_eq!(external, public_address("10.0.0.2", AddressSource::ExternalIp));
        let detected = found(&discovery(None, "eth0"), Some("")).unwrap();
        assert_eq!(detected.host, address("10.77.66.0"));
        assert_eq!(detected.source, AddressSource::Interface("eth0".to_owned()));
    }

    #[test]
    fn skips_interfaces_when_host_is_set() {
        let (given, environment) = (discovery(Some("10.0.0.1"), "eth0"), Environment::default());
        let metadata = async |_: &[Cloud]| unreachable!();
        let found = find_public_address(&given, &environment, || unreachable!(), metadata);
        assert!(block_on(found).is_ok());
    }

    #[test]
    fn accepts_a_host_name() {
        let named = found(&discovery(Some("www.example.org"), "eth0"), None).unwrap();
        assert!(matches!(named.host, Host::Name(_)));
        let named = found(&discovery(None, "eth0"), Some("www.example.org")).unwrap();
        assert!(matches!(named.host, Host::Name(_)));
    }

    #[test]
    fn falls_back_to_ipv6() {
        assert_eq!(found(&discovery(None, "six"), None).unwrap().host, address("2001:db8::8"));
    }

    #[test]
    fn finds_an_additional_ipv6_address() {
        let found_with = |host6: Option<Host6>, interface: &str| {
            let discovery = Discovery { host6, ..discovery(Some("10.0.0.1"), interface) };
            found(&discovery, None).map(|public_address| public_address.to_string())
        };
        let given = Some(Host6::Address("2001:db8::6".parse().unwrap()));
        for (host6, interface, expected) in [
            (None, "eth0", "10.0.0.1 (discovery.host)"),
            (given, "eth9", "10.0.0.1 (discovery.host), 2001:db8::6 (discovery.host6)"),
            (Some(Host6::Auto), "eth0", "10.0.0.1 (discovery.host), 2001:db8::7 (interface eth0)"),
            (Some(Host6::Auto), "six", "10.0.0.1 (discovery.host), 2001:db8::8 (interface six)"),
        ] {
            assert_eq!(found_with(host6, interface).unwrap(), expected, "{host6:?} {interface}");
        }
        for (interface, reason) in [
            ("eth9", "no such interface; known interfaces: "),
            ("down", "the interface has no address"),
            (
                "four",
                "none of its addresses is an IPv6 address that is reachable from other hosts: \
                    fe80::3,",
            ),
            ("lo", "none of its addresses is an IPv6 address that"),
        ] {
            let error = found_with(Some(Host6::Auto), interface).unwrap_err().to_string();
            let step = format!("\n  discovery.host6 auto, discovery.interface {interface}: ");
            assert!(error.starts_with("found no IPv6 address to publish:"), "{error}");
            assert!(error.contains(&(step + reason)), "{error}");
            assert!(error.contains("\nset discovery.host6 to "), "{error}");
        }
    }

    #[test]
    fn reports_why_each_step_failed() {
        for (interface, reason) in [
            ("eth9", "no such interface; known interfaces: lo, eth0, six, four, down"),
            ("lo", "none of its addresses is reachable from other hosts: 127.0.0.1, ::1"),
            ("down", "the interface has no address"),
        ] {
            let error = found(&discovery(None, interface), None).unwrap_err().to_string();
            assert!(error.contains("\n  discovery.host: not set\n  EXTERNAL_IP: not set\n"));
            let line = format!("\n  discovery.interface {interface}: {reason}\n");
            assert!(error.contains(&line), "{error}");
        }
        let failing = || Err("out of order".to_owned());
        let metadata = async |_: &[Cloud]| unreachable!();
        let (none, environment) = (discovery(None, "eth0"), Environment::default());
        let error =
            block_on(find_public_address(&none, &environment, failing, metadata)).unwrap_err();
        assert!(error.to_string().contains("out of order"));
        assert!(error.to_string().contains("\n  discovery.metadata: not set\n"));
    }

    #[test]
    fn queries_metadata_last_for_configured_clouds() {
        let clouds = [Cloud::Aws, Cloud::DigitalOcean];
        let mut discovery = discovery(None, "eth9");
        discovery.metadata = clouds.to_vec();
        let environment = Environment::default();
        let address = [10, 0, 0, 9].into();
        let metadata = async |queried: &[Cloud]| {
            assert_eq!(queried, clouds);
            Ok(MetadataAddress { cloud: Cloud::DigitalOcean, address })
        };
        let result =
            block_on(find_public_address(&discovery, &environment, machine, metadata)).unwrap();
        let source = AddressSource::Metadata(Cloud::DigitalOcean);
        assert_eq!(result, public_address("10.0.0.9", source));
        assert_eq!(result.source.to_string(), "metadata service, digitalocean");

        let failing_metadata = async |queried: &[Cloud]| {
            Err(queried.iter().map(|&it| (it, "silent".into())).collect())
        };
        let none =
            block_on(find_public_address(&discovery, &environment, machine, failing_metadata))
                .unwrap_err();
        let steps: Vec<_> = none.steps.iter().map(|(step, _)| step.as_str()).collect();
        let clouds = ["discovery.metadata aws", "discovery.metadata digitalocean"];
        assert_eq!(steps[2..], [&["discovery.interface eth9"], &clouds[..]].concat());

        discovery.interface = "eth0".to_owned();
        assert!(found(&discovery, None).is_ok());
    }

    #[test]
    fn rejects_invalid_external_ip() {
        for invalid in ["10.0.0.300", "0.0.0.0"] {
            let error = found(&discovery(None, "eth0"), Some(invalid)).unwrap_err().to_string();
            assert!(error.contains(&format!("EXTERNAL_IP: {invalid:?}")), "{error}");
        }
    }

    #[test]
    fn lists_interfaces_of_this_machine() {
        let interfaces = interfaces().unwrap();
        assert!(interfaces.iter().any(|one| one.addresses.iter().any(IpAddr::is_loopback)));
    }
}
