//! Where DNS is answered, and whom else to ask (`store: standalone` only).

use std::net::SocketAddr;

use super::error::{SettingsError, Warning};
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
    /// Where questions are answered, by UDP and TCP; one at least, no port 0.
    pub listen: Vec<SocketAddr>,
    /// Who is asked about other domains, in this order; empty: nobody.
    pub forward: Vec<SocketAddr>,
    /// Answers by UDP a second to one source network; 0: no limit.
    pub rate_limit: u32,
}

/// The keys `dns.*`. What only makes no sense where DNS is answered is no fault elsewhere.
/// `earlier_errors` are the faults found so far: an address among them is not known to be another's.
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
        if let Some(own) = forward.iter().find(|one| listen.contains(one)) {
            let message = format!(
                "{own} stands in {LISTEN} too, so that a question would go round for ever; takes \
                 other servers"
            );
            return Err(vec![combination_error(config, FORWARD, message)]);
        }
        let open = listen.iter().find(|address| !address.ip().is_loopback());
        if let (Some(open), false) = (open, forward.is_empty()) {
            warnings.push(Warning::OpenResolver { listen: *open });
        }
    }
    Ok(Dns { listen, forward, rate_limit })
}

/// Whether each place to answer at is one of its own.
fn check_listen_addresses(
    config: &MergedConfig,
    listen: &[SocketAddr],
    earlier_errors: &[SettingsError],
) -> Result<(), Vec<SettingsError>> {
    let refused = |message| Err(vec![combination_error(config, LISTEN, message)]);
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
    let admin_address =
        if has_error(ADMIN, earlier_errors) { None } else { parsed(config, ADMIN, admin_listen)? };
    let overlaps = |one: &&SocketAddr| {
        admin_address.is_some_and(|admin_address| {
            is_within(**one, admin_address) || is_within(admin_address, **one)
        })
    };
    match (listen.iter().find(overlaps), admin_address) {
        (Some(one), Some(admin_address)) => refused(format!(
            "{one} and {ADMIN}, {admin_address}, are one place; takes another port in one of the two"
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
    config: &MergedConfig,
    path: &str,
    parse: impl Fn(&str) -> Result<SocketAddr, ValueError>,
) -> Result<Vec<SocketAddr>, Vec<SettingsError>> {
    let texts = read(path, |path| config.texts(path))?;
    let parse =
        |text: &String| parse(text).map_err(|error| internal_error(path, &format!("{error:?}")));
    texts.iter().map(parse).collect()
}
