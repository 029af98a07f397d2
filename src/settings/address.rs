//! Whose address is published, and whether an IPv6 one as well: what only one of the
//! layouts has room for.

use highhock_actors::model::publish_config::{AddressOf, Layout};

use super::error::Fault;
use super::lookup::{all_faults, fault, is_faulty, layout, parsed, parsed_if_set};
use super::merged::Inputs;
use super::values::{self, Host6, Rejection};

const ADDRESS: &str = "discovery.address";
const HOST6: &str = "discovery.host6";
const LAYOUT: &str = "skydns.layout";

/// The keys `discovery.address` and `discovery.host6`. `others` are the faults found so
/// far: where the layout is among them, it is not known to be the wrong one.
pub(super) fn addresses(
    inputs: &Inputs,
    others: &[Fault],
) -> Result<(AddressOf, Option<Host6>), Vec<Fault>> {
    let address = parsed(inputs, ADDRESS, |text| match text {
        "host" => Ok(AddressOf::Host),
        "container" => Ok(AddressOf::Container),
        _ => Err(Rejection::Unfit(None)),
    })?;
    let host6 = parsed_if_set(inputs, HOST6, values::host6)?;
    if layout(inputs)? == Layout::Instance || is_faulty(LAYOUT, others) {
        return Ok((address, host6));
    }
    let refused = |path: &str, found: &str, why: &str| {
        let what = format!("{found}, but {LAYOUT} is flat; takes {LAYOUT} instance, since {why}");
        vec![fault(inputs, path, what)]
    };
    let of_address = (address == AddressOf::Container).then(|| {
        let why = "containers of several hosts have the same addresses";
        refused(ADDRESS, "found \"container\"", why)
    });
    let of_host6 = host6.map(|_| refused(HOST6, "set", "a name has one record in the other"));
    match all_faults(of_address, of_host6) {
        faults if faults.is_empty() => Ok((address, host6)),
        faults => Err(faults),
    }
}
