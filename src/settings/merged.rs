//! All layers merged: every key at most once, in its plain form.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use config::{Config, ConfigError, Value, ValueKind};

use super::error::Origin;
use super::layer::ConfigLayer;

/// The merged layers. A key's type is what [`super::keys`] says, so reading it
/// as another is a slip of this program, not of the operator.
#[derive(Debug)]
pub struct MergedConfig {
    config: Config,
    origins: BTreeMap<&'static str, Origin>,
}

impl MergedConfig {
    /// Merges layers; the later wins.
    pub fn merge(layers: impl IntoIterator<Item = ConfigLayer>) -> Result<Self, ConfigError> {
        let mut origins = BTreeMap::new();
        let mut builder = Config::builder();
        for layer in layers {
            origins.extend(layer.origins());
            builder = builder.add_source(layer);
        }
        Ok(Self { config: builder.build()?, origins })
    }

    /// Where a key's value was written.
    pub fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::Default)
    }

    /// Whether a key is set, be it by its default.
    pub fn is_set(&self, path: &str) -> bool {
        self.config.get::<Value>(path).is_ok()
    }

    /// A key's value in its plain form, whatever its type.
    pub fn value(&self, path: &str) -> Option<ValueKind> {
        Some(self.config.get::<Value>(path).ok()?.kind)
    }

    /// A text.
    pub fn text(&self, path: &str) -> Result<String, ConfigError> {
        self.config.get_string(path)
    }

    /// A text, where there is one.
    pub fn text_if_set(&self, path: &str) -> Result<Option<String>, ConfigError> {
        self.is_set(path).then(|| self.text(path)).transpose()
    }

    /// A list of texts.
    pub fn texts(&self, path: &str) -> Result<Vec<String>, ConfigError> {
        self.config.get_array(path)?.into_iter().map(Value::into_string).collect()
    }

    /// A truth value.
    pub fn boolean(&self, path: &str) -> Result<bool, ConfigError> {
        self.config.get_bool(path)
    }

    /// A number.
    pub fn number(&self, path: &str) -> Result<u32, ConfigError> {
        self.config.get(path)
    }

    /// A number of seconds, one at least.
    pub fn seconds(&self, path: &str) -> Result<NonZeroU32, ConfigError> {
        self.config.get(path)
    }

    /// A time.
    pub fn duration(&self, path: &str) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(u64::from(self.seconds(path)?.get())))
    }
}
