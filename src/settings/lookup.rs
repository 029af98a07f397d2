//! Reads keys from the merged configuration, and reports their errors.

use config::ConfigError;
use highhock_actors::model::publish_config::Layout;

use super::error::{Fault, Origin, Problem};
use super::keys;
use super::merged::Inputs;
use super::values::Rejection;

/// `skydns.layout`.
pub(super) fn layout(inputs: &Inputs) -> Result<Layout, Vec<Fault>> {
    parsed(inputs, "skydns.layout", |text| match text {
        "flat" => Ok(Layout::Flat),
        "instance" => Ok(Layout::Instance),
        _ => Err(Rejection::Unfit(None)),
    })
}

pub(super) fn read<T>(
    path: &str,
    get: impl FnOnce(&str) -> Result<T, ConfigError>,
) -> Result<T, Vec<Fault>> {
    get(path).map_err(|error| slip(path, &error))
}

pub(super) fn parsed<T>(
    inputs: &Inputs,
    path: &str,
    parse: impl FnOnce(&str) -> Result<T, Rejection>,
) -> Result<T, Vec<Fault>> {
    let text = read(path, |path| inputs.text(path))?;
    parse(&text).map_err(|rejection| slip(path, &format!("{rejection:?}")))
}

pub(super) fn parsed_if_set<T>(
    inputs: &Inputs,
    path: &str,
    parse: impl FnOnce(&str) -> Result<T, Rejection>,
) -> Result<Option<T>, Vec<Fault>> {
    inputs.is_set(path).then(|| parsed(inputs, path, parse)).transpose()
}

/// The fault of a value that its own key let pass: a slip of this program. It is
/// reported like any other, since a panic would help the operator less.
pub(super) fn slip(path: &str, error: &dyn std::fmt::Display) -> Vec<Fault> {
    let problem = Problem::File(format!("can't be made sense of: {error}"));
    vec![Fault { origin: Origin::Default, key: path.to_owned(), problem }]
}

/// Whether a key is among faults.
pub(super) fn is_faulty(path: &str, faults: &[Fault]) -> bool {
    faults.iter().any(|fault| keys::find(&fault.key).is_some_and(|key| key.path == path))
}

/// The fault of a key whose value doesn't go with another key's.
pub(super) fn fault(inputs: &Inputs, path: &str, what: String) -> Fault {
    let (origin, key) = (inputs.origin(path), path.to_owned());
    Fault { origin, key, problem: Problem::Beside(what) }
}

/// The faults of two parts that were looked at apart.
pub(super) fn all_faults(one: Option<Vec<Fault>>, other: Option<Vec<Fault>>) -> Vec<Fault> {
    one.into_iter().chain(other).flatten().collect()
}
