//! Where DNS is answered, and whom else to ask (`store: standalone` only).

use std::net::SocketAddr;

use super::error::{Fault, Warning};
use super::listen_values::{admin_listen, dns_forward, dns_listen};
use super::lookup::{fault, is_faulty, parsed, read, slip};
use super::merged::Inputs;
use super::values::{Rejection, StoreKind};

const LISTEN: &str = "dns.listen";
const FORWARD: &str = "dns.forward";
const ADMIN: &str = "admin.listen";
/// Where DNS is asked, unless something else is said.

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
    let listen = addresses(inputs, LISTEN, dns_listen)?;
    let forward = match inputs.is_set(FORWARD) {
        true => addresses(inputs, FORWARD, dns_forward)?,
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
        false => parsed(inputs, ADMIN, admin_listen)?,
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
