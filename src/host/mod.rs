//! Which addresses are published for this host.

mod engine_networks;
pub mod metadata;
pub mod name;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use highhock_actors::model::record::Host;
use network_interface::{Addr, NetworkInterface, NetworkInterfaceConfig};

use crate::settings::{self, Cloud, Discovery, Environment, Host6, Rejection};
use metadata::Told;

pub use engine_networks::{BridgeSubnet, ContainersAddress, check_outside_engine_networks};

/// The variable that names the address where `discovery.host` doesn't.
const EXTERNAL_IP: &str = "EXTERNAL_IP";

/// What to publish, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What records point to.
    pub host: Host,
    /// How it is known.
    pub source: HostSource,
    /// The IPv6 address beside it, where one is to be published.
    pub host6: Option<Published6>,
}

/// An IPv6 address to publish beside the first, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published6 {
    /// The address.
    pub address: Ipv6Addr,
    /// The interface that it was found on; `None`: `discovery.host6` says so.
    pub interface: Option<String>,
}

/// An address that was found on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected<'a> {
    /// The address.
    pub address: IpAddr,
    /// The interface.
    pub interface: &'a str,
    /// The setting that could have named it.
    pub setting: &'static str,
}

impl Published {
    /// What of it was found on an interface, and may not be what the operator meant.
    pub fn detected(&self) -> impl Iterator<Item = Detected<'_>> {
        let first = match (&self.host, &self.source) {
            (Host::Address(address), HostSource::Interface(interface)) => {
                Some(Detected { address: *address, interface, setting: "discovery.host" })
            }
            _ => None,
        };
        let second = self.host6.as_ref().and_then(|host6| {
            let (address, setting) = (host6.address.into(), "discovery.host6");
            Some(Detected { address, interface: host6.interface.as_deref()?, setting })
        });
        first.into_iter().chain(second)
    }
}

/// `10.77.66.0 (interface eth0), 2001:db8::7 (discovery.host6)`.
impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.host, self.source)?;
        match &self.host6 {
            None => Ok(()),
            Some(Published6 { address, interface: None }) => {
                write!(f, ", {address} (discovery.host6)")
            }
            Some(Published6 { address, interface: Some(interface) }) => {
                write!(f, ", {address} (interface {interface})")
            }
        }
    }
}

/// How it is known what to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostSource {
    /// `discovery.host` says so.
    Setting,
    /// `EXTERNAL_IP` says so.
    ExternalIp,
    /// It is the address of this interface.
    Interface(String),
    /// This cloud's metadata service says so.
    Metadata(Cloud),
}

impl fmt::Display for HostSource {
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
    /// Whether there is a first address, and none for `discovery.host6`.
    pub lacks_second: bool,
}

impl std::error::Error for NoHost {}

impl fmt::Display for NoHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, advice) = match self.lacks_second {
            false => (
                "address",
                "set discovery.host to the host's address, or discovery.interface to the \
                 interface that has it",
            ),
            true => (
                "IPv6 address",
                "set discovery.host6 to the host's IPv6 address, or leave it out, or set \
                 discovery.interface to the interface that has one",
            ),
        };
        write!(f, "found no {what} to publish:")?;
        self.steps.iter().try_for_each(|(step, reason)| write!(f, "\n  {step}: {reason}"))?;
        write!(f, "\n{advice}")
    }
}

/// Finds what to publish: the first of `discovery.host`, `EXTERNAL_IP`, the first
/// usable address of `discovery.interface` and what the metadata service tells that
/// there is; and the IPv6 address beside it, where `discovery.host6` asks for one. That
/// service is asked only where `discovery.metadata` says so, and nothing before it
/// answers.
///
/// # Errors
/// No step answers; or `EXTERNAL_IP` is set to what can't be published: to go on
/// to the interface then would publish what its author didn't mean.
pub async fn find(
    discovery: &Discovery,
    environment: &Environment,
    interfaces: impl Fn() -> Result<Vec<Interface>, String>,
    metadata: impl AsyncFnOnce(&[Cloud]) -> Result<Told, Vec<(Cloud, String)>>,
) -> Result<Published, NoHost> {
    let (host, source) = find_first(discovery, environment, &interfaces, metadata).await?;
    let host6 = match discovery.host6 {
        None => None,
        Some(Host6::Address(address)) => Some(Published6 { address, interface: None }),
        Some(Host6::Auto) => Some(find_second(&discovery.interface, &interfaces)?),
    };
    Ok(Published { host, source, host6 })
}

async fn find_first(
    discovery: &Discovery,
    environment: &Environment,
    interfaces: impl Fn() -> Result<Vec<Interface>, String>,
    metadata: impl AsyncFnOnce(&[Cloud]) -> Result<Told, Vec<(Cloud, String)>>,
) -> Result<(Host, HostSource), NoHost> {
    let mut steps = Vec::new();
    let mut failed = |step: &str, reason: String| steps.push((step.to_owned(), reason));
    if let Some(host) = discovery.host.clone() {
        return Ok((host, HostSource::Setting));
    }
    failed("discovery.host", "not set".to_owned());
    if let Some(text) = environment.get(EXTERNAL_IP) {
        match settings::host(text.trim()) {
            Ok(host) => return Ok((host, HostSource::ExternalIp)),
            Err(rejection) => {
                let detail = match rejection {
                    Rejection::Unfit(Some(detail)) => detail,
                    _ => "neither an address nor a host name".to_owned(),
                };
                failed(EXTERNAL_IP, format!("{text:?}: {detail}"));
                return Err(NoHost { steps, lacks_second: false });
            }
        }
    }
    failed(EXTERNAL_IP, "not set".to_owned());
    let name = &discovery.interface;
    match interfaces().and_then(|all| address_of(name, &all)) {
        Ok(address) => {
            return Ok((Host::Address(address), HostSource::Interface(name.clone())));
        }
        Err(reason) => failed(&format!("discovery.interface {name}"), reason),
    }
    if discovery.metadata.is_empty() {
        failed("discovery.metadata", "not set".to_owned());
        return Err(NoHost { steps, lacks_second: false });
    }
    match metadata(&discovery.metadata).await {
        Ok(Told { cloud, address }) => Ok((Host::Address(address), HostSource::Metadata(cloud))),
        Err(reasons) => {
            for (cloud, reason) in reasons {
                failed(&format!("discovery.metadata {}", cloud.as_str()), reason);
            }
            Err(NoHost { steps, lacks_second: false })
        }
    }
}

fn find_second(
    name: &str,
    interfaces: impl Fn() -> Result<Vec<Interface>, String>,
) -> Result<Published6, NoHost> {
    match interfaces().and_then(|all| ipv6_of(name, &all)) {
        Ok(address) => Ok(Published6 { address, interface: Some(name.to_owned()) }),
        Err(reason) => {
            let step = format!("discovery.host6 auto, discovery.interface {name}");
            Err(NoHost { steps: vec![(step, reason)], lacks_second: true })
        }
    }
}

fn address_of(name: &str, interfaces: &[Interface]) -> Result<IpAddr, String> {
    let addresses = addresses_of(name, interfaces)?;
    let first = |usable: fn(&IpAddr) -> bool| addresses.iter().copied().find(usable);
    first(|address| address.is_ipv4() && is_usable(address))
        .or_else(|| first(is_usable))
        .ok_or_else(|| none_usable("", addresses))
}

fn ipv6_of(name: &str, interfaces: &[Interface]) -> Result<Ipv6Addr, String> {
    let addresses = addresses_of(name, interfaces)?;
    let usable = addresses.iter().filter(|address| is_usable(address));
    let first = usable.into_iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    });
    first.ok_or_else(|| none_usable(" is an IPv6 one that", addresses))
}

fn addresses_of<'a>(name: &str, interfaces: &'a [Interface]) -> Result<&'a [IpAddr], String> {
    match interfaces.iter().find(|interface| interface.name == name) {
        Some(interface) => Ok(&interface.addresses),
        None => {
            let known: Vec<_> = interfaces.iter().map(|one| one.name.as_str()).collect();
            Err(format!("no such interface; there are: {}", known.join(", ")))
        }
    }
}

fn none_usable(kind: &str, addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "it has no address".to_owned(),
        _ => {
            let all: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            format!("none of its addresses{kind} can be reached from elsewhere: {}", all.join(", "))
        }
    }
}

/// Whether clients elsewhere may be able to connect to an address.
pub(crate) fn is_usable(address: &IpAddr) -> bool {
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use highhock_actors::model::publish_config::{AddressOf, Method};

    use super::*;

    /// None of these waits for anything.
    fn block_on<T>(found: impl Future<Output = T>) -> T {
        found.now_or_never().unwrap()
    }

    fn discovery(host: Option<&str>, interface: &str) -> Discovery {
        Discovery {
            host: host.map(|host| settings::host(host).unwrap()),
            interface: interface.to_owned(),
            address: AddressOf::Host,
            host6: None,
            methods: vec![Method::Env],
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

    fn found(discovery: &Discovery, external_ip: Option<&str>) -> Result<Published, NoHost> {
        let environment = external_ip.map(|ip| (EXTERNAL_IP, ip)).into_iter().collect();
        let asked = async |_: &[Cloud]| unreachable!("the metadata service was asked");
        block_on(find(discovery, &environment, machine, asked))
    }

    pub(super) fn published(host: &str, source: HostSource) -> Published {
        Published { host: address(host), source, host6: None }
    }

    fn address(text: &str) -> Host {
        Host::Address(text.parse().unwrap())
    }

    #[test]
    fn the_first_step_that_answers_decides() {
        let both = found(&discovery(Some("10.0.0.1"), "eth0"), Some("10.0.0.2")).unwrap();
        assert_eq!(both, published("10.0.0.1", HostSource::Setting));
        let external = found(&discovery(None, "eth0"), Some(" 10.0.0.2\n")).unwrap();
        assert_eq!(external, published("10.0.0.2", HostSource::ExternalIp));
        let detected = found(&discovery(None, "eth0"), Some("")).unwrap();
        assert_eq!(detected.host, address("10.77.66.0"));
        assert_eq!(detected.source, HostSource::Interface("eth0".to_owned()));
    }

    #[test]
    fn the_interfaces_are_not_asked_for_what_is_given() {
        let (given, environment) = (discovery(Some("10.0.0.1"), "eth0"), Environment::default());
        let asked = async |_: &[Cloud]| unreachable!();
        let found = find(&given, &environment, || unreachable!(), asked);
        assert!(block_on(found).is_ok());
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
    fn an_ipv6_address_may_stand_beside_the_first() {
        let six = |host6: Option<Host6>, interface: &str| {
            let discovery = Discovery { host6, ..discovery(Some("10.0.0.1"), interface) };
            found(&discovery, None).map(|published| published.to_string())
        };
        let given = Some(Host6::Address("2001:db8::6".parse().unwrap()));
        for (host6, interface, expected) in [
            (None, "eth0", "10.0.0.1 (discovery.host)"),
            (given, "eth9", "10.0.0.1 (discovery.host), 2001:db8::6 (discovery.host6)"),
            (Some(Host6::Auto), "eth0", "10.0.0.1 (discovery.host), 2001:db8::7 (interface eth0)"),
            (Some(Host6::Auto), "six", "10.0.0.1 (discovery.host), 2001:db8::8 (interface six)"),
        ] {
            assert_eq!(six(host6, interface).unwrap(), expected, "{host6:?} {interface}");
        }
        for (interface, reason) in [
            ("eth9", "no such interface; there are: "),
            ("down", "it has no address"),
            (
                "four",
                "none of its addresses is an IPv6 one that can be reached from elsewhere: fe80::3,",
            ),
            ("lo", "none of its addresses is an IPv6 one that"),
        ] {
            let error = six(Some(Host6::Auto), interface).unwrap_err().to_string();
            let step = format!("\n  discovery.host6 auto, discovery.interface {interface}: ");
            assert!(error.starts_with("found no IPv6 address to publish:"), "{error}");
            assert!(error.contains(&(step + reason)), "{error}");
            assert!(error.contains("\nset discovery.host6 to "), "{error}");
        }
    }

    #[test]
    fn without_an_answer_each_step_tells_why() {
        for (interface, reason) in [
            ("eth9", "no such interface; there are: lo, eth0, six, four, down"),
            ("lo", "none of its addresses can be reached from elsewhere: 127.0.0.1, ::1"),
            ("down", "it has no address"),
        ] {
            let error = found(&discovery(None, interface), None).unwrap_err().to_string();
            assert!(error.contains("\n  discovery.host: not set\n  EXTERNAL_IP: not set\n"));
            let line = format!("\n  discovery.interface {interface}: {reason}\n");
            assert!(error.contains(&line), "{error}");
        }
        let failing = || Err("the system is out of order".to_owned());
        let asked = async |_: &[Cloud]| unreachable!();
        let (none, environment) = (discovery(None, "eth0"), Environment::default());
        let error = block_on(find(&none, &environment, failing, asked)).unwrap_err();
        assert!(error.to_string().contains("the system is out of order"));
        assert!(error.to_string().contains("\n  discovery.metadata: not set\n"));
    }

    #[test]
    fn the_metadata_service_is_asked_last_and_for_the_clouds_that_are_set() {
        let clouds = [Cloud::Aws, Cloud::DigitalOcean];
        let mut discovery = discovery(None, "eth9");
        discovery.metadata = clouds.to_vec();
        let environment = Environment::default();
        let address = [10, 0, 0, 9].into();
        let tells = async |asked: &[Cloud]| {
            assert_eq!(asked, clouds);
            Ok(Told { cloud: Cloud::DigitalOcean, address })
        };
        let told = block_on(find(&discovery, &environment, machine, tells)).unwrap();
        let source = HostSource::Metadata(Cloud::DigitalOcean);
        assert_eq!(told, published("10.0.0.9", source));
        assert_eq!(told.source.to_string(), "metadata service, digitalocean");

        let silent =
            async |asked: &[Cloud]| Err(asked.iter().map(|&it| (it, "silent".into())).collect());
        let none = block_on(find(&discovery, &environment, machine, silent)).unwrap_err();
        let steps: Vec<_> = none.steps.iter().map(|(step, _)| step.as_str()).collect();
        let clouds = ["discovery.metadata aws", "discovery.metadata digitalocean"];
        assert_eq!(steps[2..], [&["discovery.interface eth9"], &clouds[..]].concat());

        discovery.interface = "eth0".to_owned();
        assert!(found(&discovery, None).is_ok());
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
}
