//! The keys `discovery.address` and `discovery.host6`, which need the `instance` layout.

use highhock_actors::model::publish_config::{AddressOwner, KeyLayout};

use super::error::{SettingsError, SettingsErrorKind};
use super::lookup::{combination_error, has_error, layout, parsed, parsed_if_set};
use super::merged::MergedConfig;
use super::value_type::describe;
use super::values::{self, Host6, ValueError};

const ADDRESS: &str = "discovery.address";
const HOST6: &str = "discovery.host6";
const LAYOUT: &str = "skydns.layout";

/// Reads `discovery.address` and `discovery.host6`.
///
/// `earlier_errors` are the errors found so far. If one of them concerns the layout, the layout is
/// unknown, and both keys are accepted.
pub(super) fn addresses(
    config: &MergedConfig,
    earlier_errors: &[SettingsError],
) -> Result<(AddressOwner, Option<Host6>), Vec<SettingsError>> {
    let address = parsed(config, ADDRESS, |text| match text {
        "host" => Ok(AddressOwner::Host),
        "container" => Ok(AddressOwner::Container),
        _ => Err(ValueError::without_detail()),
    })?;
    let host6 = parsed_if_set(config, HOST6, values::host6)?;
    if layout(config)? == KeyLayout::Instance || has_error(LAYOUT, earlier_errors) {
        return Ok((address, host6));
    }
    let layout_error = |path: &str, reason: &'static str| {
        let found = config.value(path).as_ref().map(describe).unwrap_or_default();
        let kind = SettingsErrorKind::NeedsInstanceLayout { found, reason };
        combination_error(config, path, kind)
    };
    let mut errors = Vec::new();
    if address == AddressOwner::Container {
        let reason = "containers of several hosts have the same addresses";
        errors.push(layout_error(ADDRESS, reason));
    }
    if host6.is_some() {
        errors.push(layout_error(HOST6, "a name has only one record in the flat layout"));
    }
    if errors.is_empty() { Ok((address, host6)) } else { Err(errors) }
}
