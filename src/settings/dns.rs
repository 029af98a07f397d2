//! Where DNS is answered, and whom else to ask (`store: standalone` only).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::admin;
use super::error::{Fault, Warning};
use super::merged::Inputs;
use super::tls_and_credentials::{fault, is_faulty};
use super::validate::{parsed, read, slip};
use super::values::{Rejection, StoreKind};

const LISTEN: &str = "dns.listen";
const FORWARD: &str = "dns.forward";
const ADMIN: &str = "admin.listen";
/// Where DNS is asked, unless something else is said.
const DNS_PORT: u16 = 53;

/// The keys `dns.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Where questions are answered, by UDP and TCP; one at least, no port 0.
    pub listen: Vec<SocketAddr>,
    /// Who is asked about other domains, in this order; empty: nobody.
    pub forward: Vec<SocketAddr>,
    /// Answers by UDP a second to one source network; 0: no limit.
    pub rate_limit: u32,
}

/// The keys `dns.*`. What only makes no sense where DNS is answered is no fault elsewhere.
/// `others` are the faults found so far: an address among them is not known to be another's.
pub(super) fn dns(
    inputs: &Inputs,
    store: StoreKind,
    others: &[Fault],
    warnings: &mut Vec<Warning>,
) -> Result<Dns, Vec<Fault>> {
    let listen = addresses(inputs, LISTEN, listen)?;
    let forward = match inputs.is_set(FORWARD) {
        true => addresses(inputs, FORWARD, forward)?,
        false => Vec::new(),
    };
    let rate_limit = read("dns.rateLimit", |path| inputs.number(path))?;
    if store == StoreKind::Standalone {
        if !is_faulty(LISTEN, others) {
            check_places(inputs, &listen, others)?;
        }
        if let Some(own) = forward.iter().find(|one| listen.contains(one)) {
            let what = format!(
                "{own} stands in {LISTEN} too, so that a question would go round for ever; takes \
                 other servers"
            );
            return Err(vec![fault(inputs, FORWARD, what)]);
        }
        let open = listen.iter().find(|address| !address.ip().is_loopback());
        if let (Some(open), false) = (open, forward.is_empty()) {
            warnings.push(Warning::OpenResolver { listen: *open });
        }
    }
    Ok(Dns { listen, forward, rate_limit })
}

/// Whether each place to answer at is one of its own.
fn check_places(
    inputs: &Inputs,
    listen: &[SocketAddr],
    others: &[Fault],
) -> Result<(), Vec<Fault>> {
    let refused = |what| Err(vec![fault(inputs, LISTEN, what)]);
    for (index, one) in listen.iter().enumerate() {
        for other in &listen[index + 1..] {
            let (inside, outside) = match (is_within(*one, *other), is_within(*other, *one)) {
                (true, _) => (one, other),
                (_, true) => (other, one),
                _ => continue,
            };
            return refused(format!(
                "{inside} is a part of {outside}, which stands there too; takes one of the two"
            ));
        }
    }
    let state = match is_faulty(ADMIN, others) {
        true => None,
        false => parsed(inputs, ADMIN, admin::listen)?,
    };
    let overlaps = |one: &&SocketAddr| {
        state.is_some_and(|state| is_within(**one, state) || is_within(state, **one))
    };
    match (listen.iter().find(overlaps), state) {
        (Some(one), Some(state)) => refused(format!(
            "{one} and {ADMIN}, {state}, are one place; takes another port in one of the two"
        )),
        _ => Ok(()),
    }
}

/// Whether who answers at `all` answers at `one`, too.
fn is_within(one: SocketAddr, all: SocketAddr) -> bool {
    let family = one.is_ipv4() == all.is_ipv4();
    one == all || (family && all.ip().is_unspecified() && one.port() == all.port())
}

fn addresses(
    inputs: &Inputs,
    path: &str,
    parse: impl Fn(&str) -> Result<SocketAddr, Rejection>,
) -> Result<Vec<SocketAddr>, Vec<Fault>> {
    let texts = read(path, |path| inputs.texts(path))?;
    let parse =
        |text: &String| parse(text).map_err(|rejection| slip(path, &format!("{rejection:?}")));
    texts.iter().map(parse).collect()
}

/// Reads an address with its port.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Rejection> {
    let text = text.trim();
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    };
    match address {
        Some(address) if is_of_many(address.ip()) => {
            because(&format!("nobody answers at {}", address.ip()))
        }
        Some(address) => has_port(address),
        None if text.parse::<IpAddr>().is_ok() => because(&format!("{text:?} has no port")),
        None if text.starts_with(':') => because(&format!("{text:?} names no address")),
        None => because(&format!("{text:?} is no address")),
    }
}

/// Reads the address of a DNS server, with or without a port.
pub(super) fn forward(text: &str) -> Result<SocketAddr, Rejection> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let alone = bare.parse::<IpAddr>().map(|address| (address, DNS_PORT).into());
    let Ok(address) = alone.or_else(|_| text.parse::<SocketAddr>()) else {
        return because(&format!("{text:?} is no address"));
    };
    if address.ip().is_unspecified() || is_of_many(address.ip()) {
        return because(&format!("nobody answers at {}", address.ip()));
    }
    has_port(address)
}

/// Whether an address is that of many hosts at once.
fn is_of_many(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn has_port(address: SocketAddr) -> Result<SocketAddr, Rejection> {
    match address.port() {
        0 => because("port 0 is no port to ask at"),
        _ => Ok(address),
    }
}

fn because<T>(what: &str) -> Result<T, Rejection> {
    Err(Rejection::Unfit(Some(what.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_at_has_its_port() {
        for (text, address) in [
            ("127.0.0.1:5354", "127.0.0.1:5354"),
            ("localhost:53", "127.0.0.1:53"),
            (" [::1]:53 ", "[::1]:53"),
            ("0.0.0.0:53", "0.0.0.0:53"),
        ] {
            assert_eq!(listen(text), Ok(address.parse().unwrap()), "{text}");
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
            let Err(Rejection::Unfit(Some(said))) = listen(text) else { panic!("{text}") };
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn a_server_to_ask_is_asked_at_53_unless_it_says_otherwise() {
        for (text, address) in [
            ("9.9.9.9", "9.9.9.9:53"),
            ("9.9.9.9:5353", "9.9.9.9:5353"),
            ("2620:fe::fe", "[2620:fe::fe]:53"),
            ("[2620:fe::fe]", "[2620:fe::fe]:53"),
            ("[2620:fe::fe]:5353", "[2620:fe::fe]:5353"),
        ] {
            assert_eq!(forward(text), Ok(address.parse().unwrap()), "{text}");
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
            assert!(matches!(forward(text), Err(Rejection::Unfit(Some(_)))), "{text}");
        }
    }
}
