//! Whose address is published, and whether an IPv6 one as well: what only one of the
//! layouts has room for.

use highhock_actors::model::publish_config::{AddressOwner, KeyLayout};

use super::error::SettingsError;
use super::lookup::{combination_error, has_error, join_errors, layout, parsed, parsed_if_set};
use super::merged::MergedConfig;
use super::values::{self, Host6, ValueError};

const ADDRESS: &str = "discovery.address";
const HOST6: &str = "discovery.host6";
const LAYOUT: &str = "skydns.layout";

/// The keys `discovery.address` and `discovery.host6`. `earlier_errors` are the faults found so
/// far: where the layout is among them, it is not known to be the wrong one.
pub(super) fn addresses(
    config: &MergedConfig,
    earlier_errors: &[SettingsError],
) -> Result<(AddressOwner, Option<Host6>), Vec<SettingsError>> {
    let address = parsed(config, ADDRESS, |text| match text {
        "host" => Ok(AddressOwner::Host),
        "container" => Ok(AddressOwner::Container),
        _ => Err(ValueError::Invalid(None)),
    })?;
    let host6 = parsed_if_set(config, HOST6, values::host6)?;
    if layout(config)? == KeyLayout::Instance || has_error(LAYOUT, earlier_errors) {
        return Ok((address, host6));
    }
    let refused = |path: &str, found: &str, why: &str| {
        let message =
            format!("{found}, but {LAYOUT} is flat; takes {LAYOUT} instance, since {why}");
        vec![combination_error(config, path, message)]
    };
    let address_errors = (address == AddressOwner::Container).then(|| {
        let why = "containers of several hosts have the same addresses";
        refused(ADDRESS, "found \"container\"", why)
    });
    let host6_errors = host6.map(|_| refused(HOST6, "set", "a name has one record in the other"));
    match join_errors(address_errors, host6_errors) {
        errors if errors.is_empty() => Ok((address, host6)),
        errors => Err(errors),
    }
}
