//! All layers merged: every key at most once, in its plain form.

use std::num::NonZeroU32;
use std::time::Duration;

use config::{Config, ConfigError, Value};

use super::fragment::Fragment;

/// The merged layers. A key's type is what [`super::keys`] says, so reading it
/// as another is a slip of this program, not of the operator.
#[derive(Debug)]
pub struct Inputs(Config);

impl Inputs {
    /// Merges layers; the later wins.
    pub fn merge(layers: impl IntoIterator<Item = Fragment>) -> Result<Self, ConfigError> {
        let sources = layers.into_iter();
        let builder = sources.fold(Config::builder(), |builder, layer| builder.add_source(layer));
        builder.build().map(Self)
    }

    /// Whether a key is set, be it by its default.
    pub fn is_set(&self, path: &str) -> bool {
        self.0.get::<Value>(path).is_ok()
    }

    /// A text.
    pub fn text(&self, path: &str) -> Result<String, ConfigError> {
        self.0.get_string(path)
    }

    /// A text, where there is one.
    pub fn text_if_set(&self, path: &str) -> Result<Option<String>, ConfigError> {
        self.is_set(path).then(|| self.text(path)).transpose()
    }

    /// A list of texts.
    pub fn texts(&self, path: &str) -> Result<Vec<String>, ConfigError> {
        self.0.get_array(path)?.into_iter().map(Value::into_string).collect()
    }

    /// A truth value.
    pub fn truth(&self, path: &str) -> Result<bool, ConfigError> {
        self.0.get_bool(path)
    }

    /// A number of seconds, one at least.
    pub fn seconds(&self, path: &str) -> Result<NonZeroU32, ConfigError> {
        self.0.get(path)
    }

    /// A time.
    pub fn duration(&self, path: &str) -> Result<Duration, ConfigError> {
        Ok(Duration::from_secs(u64::from(self.seconds(path)?.get())))
    }
}
