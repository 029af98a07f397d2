//! Selects an address of an interface, at the start and when the interface's addresses change.

use std::net::{IpAddr, Ipv6Addr};

use highhock_actors::model::record::Host;

use super::{AddressSource, Interface, PublicAddress, PublicIpv6, is_usable};

/// Lists the network interfaces of this machine.
pub type InterfaceLister = Box<dyn Fn() -> Result<Vec<Interface>, String>>;

/// Returns the address to publish now, according to the interfaces that the published address was
/// detected on.
///
/// An address that its interface still has stays, even if the interface has another one before it.
/// Addresses from other sources always stay.
///
/// # Errors
/// Returns the reason if an interface has no usable address any more.
pub fn current_address(
    published: &PublicAddress,
    interfaces: &[Interface],
) -> Result<PublicAddress, String> {
    let mut current = published.clone();
    if let (Host::Address(address), AddressSource::Interface(name)) =
        (&published.host, &published.source)
        && !has_address(name, *address, interfaces)
    {
        let found = interface_address(name, interfaces);
        current.host = Host::Address(found.map_err(|reason| format!("{name}: {reason}"))?);
    }
    if let Some(PublicIpv6 { address, interface: Some(name) }) = &mut current.host6
        && !has_address(name, (*address).into(), interfaces)
    {
        let found = interface_ipv6(name, interfaces);
        *address = found.map_err(|reason| format!("{name}: {reason}"))?;
    }
    Ok(current)
}

fn has_address(name: &str, address: IpAddr, interfaces: &[Interface]) -> bool {
    interface_addresses(name, interfaces).is_ok_and(|all| all.contains(&address))
}

/// Returns the first usable address of an interface, IPv4 first.
pub(super) fn interface_address(name: &str, interfaces: &[Interface]) -> Result<IpAddr, String> {
    let addresses = interface_addresses(name, interfaces)?;
    let first = |usable: fn(&IpAddr) -> bool| addresses.iter().copied().find(usable);
    first(|address| address.is_ipv4() && is_usable(address))
        .or_else(|| first(is_usable))
        .ok_or_else(|| no_usable_address("", addresses))
}

/// Returns the first usable IPv6 address of an interface.
pub(super) fn interface_ipv6(name: &str, interfaces: &[Interface]) -> Result<Ipv6Addr, String> {
    let addresses = interface_addresses(name, interfaces)?;
    let usable = addresses.iter().filter(|address| is_usable(address));
    let first = usable.into_iter().find_map(|address| match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    });
    first.ok_or_else(|| no_usable_address(" is an IPv6 address that", addresses))
}

fn interface_addresses<'a>(
    name: &str,
    interfaces: &'a [Interface],
) -> Result<&'a [IpAddr], String> {
    match interfaces.iter().find(|interface| interface.name == name) {
        Some(interface) => Ok(&interface.addresses),
        None => {
            let known: Vec<_> = interfaces.iter().map(|known| known.name.as_str()).collect();
            Err(format!("no such interface; known interfaces: {}", known.join(", ")))
        }
    }
}

fn no_usable_address(kind: &str, addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "the interface has no address".to_owned(),
        _ => {
            let all: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
            format!("none of its addresses{kind} is reachable from other hosts: {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Interface { name: name.to_owned(), addresses }
    }

    fn detected(address: &str, host6: Option<&str>) -> PublicAddress {
        PublicAddress {
            host: Host::Address(address.parse().unwrap()),
            source: AddressSource::Interface("eth0".to_owned()),
            host6: host6.map(|address| PublicIpv6 {
                address: address.parse().unwrap(),
                interface: Some("eth0".to_owned()),
            }),
        }
    }

    #[test]
    fn detected_address_follows_its_interface() {
        for (published, addresses, expected) in [
            (("10.0.0.1", None), &["10.0.0.1"][..], Some(("10.0.0.1", None))),
            // A further address of the interface changes nothing.
            (("10.0.0.1", None), &["10.0.0.9", "10.0.0.1"], Some(("10.0.0.1", None))),
            (("10.0.0.1", None), &["10.0.0.9", "fd00::1"], Some(("10.0.0.9", None))),
            (("10.0.0.1", None), &["169.254.0.1", "fd00::1"], Some(("fd00::1", None))),
            (("10.0.0.1", None), &["169.254.0.1"], None),
            (("10.0.0.1", None), &[], None),
            (
                ("10.0.0.1", Some("fd00::1")),
                &["10.0.0.1", "fe80::1", "fd00::9"],
                Some(("10.0.0.1", Some("fd00::9"))),
            ),
            (("10.0.0.1", Some("fd00::1")), &["10.0.0.1"], None),
        ] {
            let interfaces = [interface("lo", &["127.0.0.1"]), interface("eth0", addresses)];
            let current = current_address(&detected(published.0, published.1), &interfaces);
            let expected = expected.map(|(address, host6)| detected(address, host6));
            assert_eq!(current.clone().ok(), expected, "{addresses:?}: {current:?}");
        }
        let reason = current_address(&detected("10.0.0.1", None), &[]).unwrap_err();
        assert!(reason.starts_with("eth0: no such interface"), "{reason}");
    }

    #[test]
    fn address_of_another_source_stays() {
        for source in [AddressSource::Setting, AddressSource::ExternalIp] {
            let host6 = PublicIpv6 { address: "fd00::1".parse().unwrap(), interface: None };
            let given = PublicAddress { source, host6: Some(host6), ..detected("10.0.0.1", None) };
            let interfaces = [interface("eth0", &["10.0.0.9"])];
            assert_eq!(current_address(&given, &interfaces), Ok(given));
        }
    }
}
