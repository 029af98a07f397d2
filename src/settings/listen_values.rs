//! Addresses to listen on or to forward to, and the token of the admin interface.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::values::ValueError;

/// The port of an upstream whose address names none.
const DNS_PORT: u16 = 53;

/// Reads an address with its port; nothing: nowhere.
pub(super) fn admin_listen(text: &str) -> Result<Option<SocketAddr>, ValueError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let address = match text.strip_prefix("localhost:") {
        Some(port) => {
            port.parse().ok().map(|port| (IpAddr::from(Ipv4Addr::LOCALHOST), port).into())
        }
        None => text.parse().ok(),
    };
    let invalid = |message: &str| Err(ValueError::Invalid(Some(message.to_owned())));
    match address {
        Some(address) if SocketAddr::port(&address) == 0 => invalid("port 0 is no port to ask at"),
        Some(address) => Ok(Some(address)),
        None if text.starts_with(':') => invalid("it names no address"),
        None => Err(ValueError::Invalid(None)),
    }
}

/// Whether a text can be sent as a bearer token: it stands in a header, on one line.
pub(super) fn token(text: &str) -> Result<(), ValueError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(ValueError::Invalid(None))
    }
}

/// Reads an address with its port.
pub(super) fn dns_listen(text: &str) -> Result<SocketAddr, ValueError> {
    let text = text.trim();
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    match address {
        Some(address) if is_group_address(address.ip()) => {
            invalid(&format!("nobody answers at {}", address.ip()))
        }
        Some(address) => require_port(address),
        None if text.parse::<IpAddr>().is_ok() => invalid(&format!("{text:?} has no port")),
        None if text.starts_with(':') => invalid(&format!("{text:?} names no address")),
        None => invalid(&format!("{text:?} is no address")),
    }
}

/// Reads the address of a DNS server, with or without a port.
pub(super) fn dns_forward(text: &str) -> Result<SocketAddr, ValueError> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let without_port = bare.parse::<IpAddr>().map(|address| (address, DNS_PORT).into());
    let Ok(address) = without_port.or_else(|_| text.parse::<SocketAddr>()) else {
        return invalid(&format!("{text:?} is no address"));
    };
    if address.ip().is_unspecified() || is_group_address(address.ip()) {
        return invalid(&format!("nobody answers at {}", address.ip()));
    }
    require_port(address)
}

/// Whether an address is that of many hosts at once.
fn is_group_address(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn require_port(address: SocketAddr) -> Result<SocketAddr, ValueError> {
    match address.port() {
        0 => invalid("port 0 is no port to ask at"),
        _ => Ok(address),
    }
}

fn invalid<T>(message: &str) -> Result<T, ValueError> {
    Err(ValueError::Invalid(Some(message.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_address_requires_a_port() {
        for (text, address) in [
            ("127.0.0.1:5354", "127.0.0.1:5354"),
            ("localhost:53", "127.0.0.1:53"),
            (" [::1]:53 ", "[::1]:53"),
            ("0.0.0.0:53", "0.0.0.0:53"),
        ] {
            assert_eq!(dns_listen(text), Ok(address.parse().unwrap()), "{text}");
        }
        for (text, why) in [
            ("", "no address"),
            (":53", "names no address"),
            ("127.0.0.1", "has no port"),
            ("::1", "has no port"),
            ("127.0.0.1:0", "port 0"),
            ("127.0.0.1:65536", "no address"),
            ("dns.example:53", "no address"),
            ("224.0.0.1:53", "nobody answers at 224.0.0.1"),
            ("255.255.255.255:53", "nobody answers at 255.255.255.255"),
            ("[ff02::1]:53", "nobody answers at ff02::1"),
        ] {
            let Err(ValueError::Invalid(Some(message))) = dns_listen(text) else {
                panic!("{text}")
            };
            assert!(message.contains(why), "{text}: {message}");
        }
    }

    #[test]
    fn forward_address_defaults_to_port_53() {
        for (text, address) in [
            ("9.9.9.9", "9.9.9.9:53"),
            ("9.9.9.9:5353", "9.9.9.9:5353"),
            ("2620:fe::fe", "[2620:fe::fe]:53"),
            ("[2620:fe::fe]", "[2620:fe::fe]:53"),
            ("[2620:fe::fe]:5353", "[2620:fe::fe]:5353"),
        ] {
            assert_eq!(dns_forward(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            "dns.example",
            "0.0.0.0",
            "[::]:53",
            "224.0.0.251",
            "255.255.255.255",
            "9.9.9.9:0",
            "[9.9",
        ] {
            assert!(matches!(dns_forward(text), Err(ValueError::Invalid(Some(_)))), "{text}");
        }
    }
}
