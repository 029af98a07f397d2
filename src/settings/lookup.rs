//! Reads keys from the merged configuration, and creates the errors of their combinations.

use config::ConfigError;
use highhock_actors::model::publish_config::KeyLayout;

use super::error::{Origin, SettingsError, SettingsErrorKind};
use super::keys;
use super::merged::MergedConfig;
use super::values::ValueError;

/// Reads `skydns.layout`.
pub(super) fn layout(config: &MergedConfig) -> Result<KeyLayout, Vec<SettingsError>> {
    parsed(config, "skydns.layout", |text| match text {
        "flat" => Ok(KeyLayout::Flat),
        "instance" => Ok(KeyLayout::Instance),
        _ => Err(ValueError::without_detail()),
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

/// Creates the error of a value that its own key accepted and that cannot be used.
pub(super) fn internal_error(path: &str, error: &dyn std::fmt::Display) -> Vec<SettingsError> {
    let kind = SettingsErrorKind::Internal(error.to_string());
    vec![SettingsError { origin: Origin::Default, key: path.to_owned(), kind }]
}

/// Returns `true` if one of the errors concerns this key.
pub(super) fn has_error(path: &str, errors: &[SettingsError]) -> bool {
    errors.iter().any(|error| keys::find(&error.key).is_some_and(|key| key.path == path))
}

/// Creates the error of a key whose value does not fit the value of another key.
pub(super) fn combination_error(
    config: &MergedConfig,
    path: &str,
    kind: SettingsErrorKind,
) -> SettingsError {
    SettingsError { origin: config.origin(path), key: path.to_owned(), kind }
}

/// Returns the value of a result, and moves its errors to `errors`.
///
/// Independent parts of the configuration are checked one after the other in this way, so that
/// all their errors are reported at once.
pub(super) fn ok_or_collect<T>(
    result: Result<T, Vec<SettingsError>>,
    errors: &mut Vec<SettingsError>,
) -> Option<T> {
    result.map_err(|more| errors.extend(more)).ok()
}
