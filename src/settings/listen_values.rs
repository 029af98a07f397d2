//! Parses listen addresses, upstream addresses and the token of the admin interface.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::values::ValueError;

/// The port of an upstream whose address has no port.
const DNS_PORT: u16 = 53;

/// Parses an address with its port; an empty text means that there is no admin interface.
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
    match address {
        Some(address) if SocketAddr::port(&address) == 0 => invalid("port 0 is not allowed"),
        Some(address) => Ok(Some(address)),
        None if text.starts_with(':') => invalid("the address is missing"),
        None => Err(ValueError::without_detail()),
    }
}

/// Checks that a text can be sent as a bearer token, which is part of one header line.
pub(super) fn token(text: &str) -> Result<(), ValueError> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(ValueError::without_detail())
    }
}

/// Parses an address with its port.
pub(super) fn dns_listen(text: &str) -> Result<SocketAddr, ValueError> {
    let text = text.trim();
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    match address {
        Some(address) if is_group_address(address.ip()) => {
            invalid(&format!("{} is not the address of a single host", address.ip()))
        }
        Some(address) => require_port(address),
        None if text.parse::<IpAddr>().is_ok() => invalid(&format!("{text:?} has no port")),
        None if text.starts_with(':') => invalid(&format!("{text:?} has no address")),
        None => invalid(&format!("{text:?} is not an address")),
    }
}

/// Parses the address of an upstream DNS server, with or without a port.
pub(super) fn dns_forward(text: &str) -> Result<SocketAddr, ValueError> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let without_port = bare.parse::<IpAddr>().map(|address| (address, DNS_PORT).into());
    let Ok(address) = without_port.or_else(|_| text.parse::<SocketAddr>()) else {
        return invalid(&format!("{text:?} is not an address"));
    };
    if address.ip().is_unspecified() || is_group_address(address.ip()) {
        return invalid(&format!("{} is not the address of a single host", address.ip()));
    }
    require_port(address)
}

/// Returns `true` for a multicast or broadcast address.
fn is_group_address(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn require_port(address: SocketAddr) -> Result<SocketAddr, ValueError> {
    match address.port() {
        0 => invalid("port 0 is not allowed"),
        _ => Ok(address),
    }
}

fn invalid<T>(message: &str) -> Result<T, ValueError> {
    Err(ValueError::with_detail(message))
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
        for (text, reason) in [
            ("", "\"\" is not an address"),
            (":53", "has no address"),
            ("127.0.0.1", "has no port"),
            ("::1", "has no port"),
            ("127.0.0.1:0", "port 0"),
            ("127.0.0.1:65536", "is not an address"),
            ("dns.example:53", "is not an address"),
            ("224.0.0.1:53", "224.0.0.1 is not the address of a single host"),
            ("255.255.255.255:53", "255.255.255.255 is not the address of a single host"),
            ("[ff02::1]:53", "ff02::1 is not the address of a single host"),
        ] {
            let message = dns_listen(text).unwrap_err().detail.unwrap();
            assert!(message.contains(reason), "{text}: {message}");
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
            assert!(dns_forward(text).unwrap_err().detail.is_some(), "{text}");
        }
    }
}
