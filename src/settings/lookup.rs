//! Reads keys from the merged configuration, and reports their errors.

use config::ConfigError;
use highhock_actors::model::publish_config::KeyLayout;

use super::error::{Origin, SettingsError, SettingsErrorKind};
use super::keys;
use super::merged::MergedConfig;
use super::values::ValueError;

/// `skydns.layout`.
pub(super) fn layout(config: &MergedConfig) -> Result<KeyLayout, Vec<SettingsError>> {
    parsed(config, "skydns.layout", |text| match text {
        "flat" => Ok(KeyLayout::Flat),
        "instance" => Ok(KeyLayout::Instance),
        _ => Err(ValueError::Invalid(None)),
    })
}

pub(super) fn read<T>(
    path: &str,
    get: impl FnOnce(&str) -> Result<T, ConfigError>,
) -> Result<T, Vec<SettingsError>> {
    get(path).map_err(|error| internal_error(path, &error))
}

pub(super) fn parsed<T>(
    config: &MergedConfig,
    path: &str,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Result<T, Vec<SettingsError>> {
    let text = read(path, |path| config.text(path))?;
    parse(&text).map_err(|error| internal_error(path, &format!("{error:?}")))
}

pub(super) fn parsed_if_set<T>(
    config: &MergedConfig,
    path: &str,
    parse: impl FnOnce(&str) -> Result<T, ValueError>,
) -> Result<Option<T>, Vec<SettingsError>> {
    config.is_set(path).then(|| parsed(config, path, parse)).transpose()
}

/// The fault of a value that its own key let pass: a slip of this program. It is
/// reported like any other, since a panic would help the operator less.
pub(super) fn internal_error(path: &str, error: &dyn std::fmt::Display) -> Vec<SettingsError> {
    let kind = SettingsErrorKind::File(format!("can't be made sense of: {error}"));
    vec![SettingsError { origin: Origin::Default, key: path.to_owned(), kind }]
}

/// Whether a key is among faults.
pub(super) fn has_error(path: &str, errors: &[SettingsError]) -> bool {
    errors.iter().any(|error| keys::find(&error.key).is_some_and(|key| key.path == path))
}

/// The fault of a key whose value doesn't go with another key's.
pub(super) fn combination_error(
    config: &MergedConfig,
    path: &str,
    message: String,
) -> SettingsError {
    let (origin, key) = (config.origin(path), path.to_owned());
    SettingsError { origin, key, kind: SettingsErrorKind::Beside(message) }
}

/// The faults of two parts that were looked at apart.
pub(super) fn join_errors(
    one: Option<Vec<SettingsError>>,
    other: Option<Vec<SettingsError>>,
) -> Vec<SettingsError> {
    one.into_iter().chain(other).flatten().collect()
}
