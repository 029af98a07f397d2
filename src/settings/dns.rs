//! The settings of the DNS server (`store: standalone` only).

use std::net::SocketAddr;

use super::error::{SettingsError, SettingsErrorKind, Warning};
use super::listen_values::{admin_listen, dns_forward, dns_listen};
use super::lookup::{combination_error, has_error, internal_error, parsed, read};
use super::merged::MergedConfig;
use super::values::{StoreKind, ValueError};

const LISTEN: &str = "dns.listen";
const FORWARD: &str = "dns.forward";
const ADMIN: &str = "admin.listen";

/// The keys `dns.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The addresses at which queries are answered, by UDP and TCP: at least one, none with
    /// port 0.
    pub listen: Vec<SocketAddr>,
    /// The upstream servers for other domains, in order. If empty, such queries are refused.
    pub forward: Vec<SocketAddr>,
    /// UDP answers per second to one source network; 0 means no limit.
    pub rate_limit: u32,
}

/// Reads the keys `dns.*`.
///
/// Combinations that matter only to a DNS server are not checked in etcd mode. `earlier_errors`
/// are the errors found so far: an address among them is not compared with other addresses.
pub(super) fn dns(
    config: &MergedConfig,
    store: StoreKind,
    earlier_errors: &[SettingsError],
    warnings: &mut Vec<Warning>,
) -> Result<Dns, Vec<SettingsError>> {
    let listen = addresses(config, LISTEN, dns_listen)?;
    let forward =
        if config.is_set(FORWARD) { addresses(config, FORWARD, dns_forward)? } else { Vec::new() };
    let rate_limit = read("dns.rateLimit", |path| config.number(path))?;
    if store == StoreKind::Standalone {
        if !has_error(LISTEN, earlier_errors) {
            check_listen_addresses(config, &listen, earlier_errors)?;
        }
        if let Some(address) = forward.iter().copied().find(|address| listen.contains(address)) {
            let kind = SettingsErrorKind::ForwardingLoop { address };
            return Err(vec![combination_error(config, FORWARD, kind)]);
        }
        let remote = listen.iter().find(|address| !address.ip().is_loopback());
        if let (Some(remote), false) = (remote, forward.is_empty()) {
            warnings.push(Warning::OpenResolver { listen: *remote });
        }
    }
    Ok(Dns { listen, forward, rate_limit })
}

/// Checks that no two of the listen addresses, including `admin.listen`, overlap.
fn check_listen_addresses(
    config: &MergedConfig,
    listen: &[SocketAddr],
    earlier_errors: &[SettingsError],
) -> Result<(), Vec<SettingsError>> {
    let rejected = |kind| Err(vec![combination_error(config, LISTEN, kind)]);
    for (index, &one) in listen.iter().enumerate() {
        for &other in &listen[index + 1..] {
            let (inside, outside) = match (is_within(one, other), is_within(other, one)) {
                (true, _) => (one, other),
                (_, true) => (other, one),
                _ => continue,
            };
            return rejected(SettingsErrorKind::OverlappingAddresses { inside, outside });
        }
    }
    if has_error(ADMIN, earlier_errors) {
        return Ok(());
    }
    let Some(admin) = parsed(config, ADMIN, admin_listen)? else { return Ok(()) };
    let overlaps = |address: &SocketAddr| is_within(*address, admin) || is_within(admin, *address);
    match listen.iter().copied().find(overlaps) {
        Some(address) => rejected(SettingsErrorKind::AdminAddressInUse { address, admin }),
        None => Ok(()),
    }
}

/// Returns `true` if a server that listens at `all` also receives the packets for `one`.
fn is_within(one: SocketAddr, all: SocketAddr) -> bool {
    let family = one.is_ipv4() == all.is_ipv4();
    one == all || (family && all.ip().is_unspecified() && one.port() == all.port())
}

fn addresses(
    config: &MergedConfig,
    path: &str,
    parse: impl Fn(&str) -> Result<SocketAddr, ValueError>,
) -> Result<Vec<SocketAddr>, Vec<SettingsError>> {
    let texts = read(path, |path| config.texts(path))?;
    let parse =
        |text: &String| parse(text).map_err(|error| internal_error(path, &format!("{error:?}")));
    texts.iter().map(parse).collect()
}
