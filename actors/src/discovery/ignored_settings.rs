//! Settings for Registrator that have no effect on records.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use crate::model::container::Protocol;
use crate::model::service::SkippedEntry;

/// The published ports of a container.
type Ports = [(NonZeroU16, Protocol)];

const NO_PLACE: &str = "has no place in a DNS record";

/// Returns the settings that no published port uses, each with its reason.
///
/// `keys` are the names of all variables and labels for Registrator, without the prefix. The
/// values are not shown: such a variable may belong to any program, and may be secret.
pub(super) fn ignored_settings<'a>(
    prefix: &str,
    keys: impl Iterator<Item = &'a str>,
    used: &BTreeSet<&str>,
    ports: &Ports,
) -> Vec<SkippedEntry> {
    let unused: BTreeSet<&str> = keys.filter(|key| !used.contains(key)).collect();
    let entry =
        |key: &str| SkippedEntry::new(&format!("{prefix}{key}"), reason(prefix, key, ports));
    unused.into_iter().map(entry).collect()
}

fn reason(prefix: &str, key: &str, ports: &Ports) -> String {
    let (port, field) = match key.split_once('_') {
        Some((port, field)) if is_number(port) => (Some(port), field),
        _ => (None, key),
    };
    let field = field.to_ascii_uppercase();
    if let Some(port) = port.filter(|port| !is_published(port, ports)) {
        return format!(
            "no port {port} is published; use the number of a port inside the container"
        );
    }
    match (port, field.split_once('_')) {
        (_, None) if is_setting(&field) => {
            "another setting applies to every published port".to_owned()
        }
        (Some(port), Some((proto, field))) if is_setting(field) && is_protocol(proto) => format!(
            "{NO_PLACE}: as in Registrator, a setting applies to all protocols of a port; set \
             {prefix}{port}_{field}"
        ),
        _ => NO_PLACE.to_owned(),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_published(port: &str, ports: &Ports) -> bool {
    ports.iter().any(|(published, _)| published.to_string() == port)
}

/// Returns `true` if the method `registrator` reads this field.
fn is_setting(field: &str) -> bool {
    matches!(field, "NAME" | "IGNORE")
}

fn is_protocol(text: &str) -> bool {
    text.parse::<Protocol>().is_ok()
}
