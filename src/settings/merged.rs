//! The merged layers: each key with at most one value, in normal form.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use config::{Config, ConfigError, Value, ValueKind};

use super::error::Origin;
use super::layer::ConfigLayer;

/// The merged layers.
///
/// Each key has the type that [`super::keys`] defines, so an error of a getter is a mistake in this
/// program and not in the configuration.
#[derive(Debug)]
pub struct MergedConfig {
    config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

impl MergedConfig {
    /// Merges the layers; a later layer wins.
    pub fn merge(layers: impl IntoIterator<Item = ConfigLayer>) -> Result<Self, ConfigError> {
        let mut origins = BTreeMap::new();
        let mut builder = Config::builder();
        for layer in layers {
            origins.extend(layer.origins());
            builder = builder.add_source(layer);
        }
        Ok(Self { config: builder.build()?, origins })
    }

    /// Returns the place at which a key's value was set.
    pub fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::Default)
    }

    /// Returns `true` if a key has a value, including a default value.
    pub fn is_set(&self, path: &str) -> bool {
        self.config.get::<Value>(path).is_ok()
    }

    /// Returns a key's value, whatever its type.
    pub fn value(&self, path: &str) -> Option<ValueKind> {
        Some(self.config.get::<Value>(path).ok()?.kind)
    }

    /// Returns the value of a string key.
    pub fn text(&self, path: &str) -> Result<String, ConfigError> {
        self.config.get_string(path)
    }

    /// Returns the value of a string key; `None` if it is not set.
    pub fn text_if_set(&self, path: &str) -> Result<Option<String>, ConfigError> {
        self.is_set(path).then(|| self.text(path)).transpose()
    }

    /// Returns the value of a list key.
    pub fn texts(&self, path: &str) -> Result<Vec<String>, ConfigError> {
        self.config.get_array(path)?.into_iter().map(Value::into_string).collect()
    }

    /// Returns the value of a boolean key.
    pub fn boolean(&self, path: &str) -> Result<bool, ConfigError> {
        self.config.get_bool(path)
    }

    /// Returns the value of an integer key.
    pub fn number(&self, path: &str) -> Result<u32, ConfigError> {
        self.config.get(path)
    }

    /// Returns the value of an integer key in seconds, at least 1.
    pub fn seconds(&self, path: &str) -> Result<NonZeroU32, ConfigError> {
        self.config.get(path)
    }

    /// Returns the value of an integer key in seconds as a duration.
    pub fn duration(&self, path: &str) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(u64::from(self.seconds(path)?.get())))
    }
}
