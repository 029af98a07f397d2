//! The effective settings, key by key, with the layer that set each key.
//!
//! They are shown to the operator, so secrets are masked.

use config::ValueKind;
use serde_json::Value as Json;

use super::error::Origin;
use super::key::{DefaultValue, Key};
use super::keys::KEYS;
use super::merged::MergedConfig;
use super::sections::Settings;
use super::sources::Sources;

/// Replaces a secret that is set.
const MASK: &str = "(set, not shown)";
/// Replaces a user and a password in a URL.
const MASK_IN_URL: &str = "not-shown";

/// A key with its effective value.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectiveKey {
    /// The key's path, such as `docker.poll`.
    pub key: &'static str,
    /// The value; null if there is none. Secrets are masked.
    pub value: Json,
    /// The layer that set the value.
    pub layer: Layer,
    /// The path of the file, or the name of the variable or flag; `None` for a default.
    pub place: Option<String>,
    /// A description of the behaviour without a value.
    pub otherwise: Option<&'static str>,
}

/// A layer of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The program's own defaults.
    Default,
    /// The configuration file.
    File,
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

impl Layer {
    /// The layer's name in the output of the admin interface and the commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }
}

/// Returns every key with its effective value, in the order of [`KEYS`].
pub(super) fn effective(
    config: &MergedConfig,
    sources: &Sources,
    settings: &Settings,
) -> Vec<EffectiveKey> {
    KEYS.iter().map(|key| effective_key(key, config, sources, settings)).collect()
}

fn effective_key(
    key: &'static Key,
    config: &MergedConfig,
    sources: &Sources,
    settings: &Settings,
) -> EffectiveKey {
    let (layer, place) = match config.origin(key.path) {
        Origin::Default => (Layer::Default, None),
        Origin::File(path) => (Layer::File, Some(path.display().to_string())),
        Origin::Variable(name) => (Layer::Environment, Some(name)),
        Origin::Flag(name) => (Layer::Flag, Some(name)),
    };
    if let Some(value) = config.value(key.path) {
        let value = if key.secret { MASK.into() } else { json(value) };
        return EffectiveKey { key: key.path, value, layer, place, otherwise: None };
    }
    // The settings may have derived a value.
    if let Some((value, place)) = derived_value(key.path, sources, settings) {
        let layer = if place.is_some() { Layer::Environment } else { layer };
        let (value, place) = (masked(&value).into(), place.map(str::to_owned));
        return EffectiveKey { key: key.path, value, layer, place, otherwise: None };
    }
    let otherwise = match key.default {
        DefaultValue::Derived(description) => Some(description),
        DefaultValue::Fixed(_) => None,
    };
    EffectiveKey { key: key.path, value: Json::Null, layer, place, otherwise }
}

/// Returns the derived value of a key that no layer sets, and the variable of another program
/// that it was taken from.
fn derived_value(
    path: &str,
    sources: &Sources,
    settings: &Settings,
) -> Option<(String, Option<&'static str>)> {
    const DOCKER_HOST: &str = "DOCKER_HOST";
    match path {
        "docker.url" => {
            let variable = sources.environment.get(DOCKER_HOST).map(|_| DOCKER_HOST);
            Some((settings.docker.url.to_string(), variable))
        }
        "skydns.ttl" => Some((settings.skydns.ttl.to_string(), None)),
        _ => None,
    }
}

fn json(value: ValueKind) -> Json {
    match value {
        ValueKind::Boolean(truth) => truth.into(),
        ValueKind::I64(number) => number.into(),
        ValueKind::String(text) => masked(&text).into(),
        ValueKind::Array(items) => items.into_iter().map(|item| json(item.kind)).collect(),
        // No key has another type.
        other => masked(&other.to_string()).into(),
    }
}

/// Masks the users and passwords of all URLs in a text: everything between a scheme and the last
/// `@` after it. That may mask too much, but never too little.
fn masked(text: &str) -> String {
    const SCHEME_ENDS: &str = "://";
    let mut parts = text.split(SCHEME_ENDS);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str(SCHEME_ENDS);
        match part.rsplit_once('@') {
            Some((_, rest)) => shown.extend([MASK_IN_URL, "@", rest]),
            None => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_users_and_passwords_in_urls() {
        for (text, shown) in [
            ("http://etcd:2379/", "http://etcd:2379/"),
            ("http://root:hunter2@etcd:2379/", "http://not-shown@etcd:2379/"),
            ("http://root@etcd:2379/", "http://not-shown@etcd:2379/"),
            ("http://a:1/,https://u:hunter2@b:2/", "http://a:1/,https://not-shown@b:2/"),
            ("https://u:hun,ter/2@b:2/", "https://not-shown@b:2/"),
            ("label", "label"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
