//! The configuration, from its layers to the settings that the rest works with.
//!
//! *Fragments* (what one layer says: everything optional, with where it stands)
//! are merged into *inputs* (every key at most once) and validated into
//! [`Settings`], the only kind that reaches the rest of the program.

mod address;
mod admin;
mod dns;
mod docker_url;
mod effective;
mod environment;
mod error;
mod file;
mod key;
mod keys;
mod layer;
mod level;
mod listen_values;
mod lookup;
mod merged;
mod reload_diff;
mod sources;
mod tls_and_credentials;
mod validate;
mod value_type;
mod values;

use std::path::Path;

pub use admin::Admin;
pub use dns::Dns;
pub use effective::{EffectiveKey, Layer};
pub use environment::Environment;
pub use error::{Origin, SettingsError, SettingsErrorKind, SettingsErrors, Warning};
pub use key::{DefaultValue, Key};
pub use keys::{KEYS, find};
pub use layer::Flag;
pub use level::LogLevel;
pub use reload_diff::{ConfigDiff, Stage, diff_settings};
pub use sources::{DEFAULT_FILE, Sources};
pub use validate::{Discovery, Docker, Etcd, Log, Settings, Skydns};
pub(crate) use values::host;
pub use values::{
    Cloud, DockerUrl, DockerVersion, EtcdApi, Host6, LogFormat, OnExit, StoreKind, ValueError,
};

use layer::ConfigLayer;

/// A configuration that holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What the operator should know of it all the same: to be logged at WARNING.
    pub warnings: Vec<Warning>,
    /// Every key as it holds, and where that is from, for the operator's eyes: without
    /// secrets.
    pub effective: Vec<EffectiveKey>,
}

/// Reads, merges and validates all layers.
///
/// # Errors
/// Every fault of every layer, also of values that a later layer overrides: the
/// program exits with EX_CONFIG.
pub fn load(sources: &Sources) -> Result<Loaded, SettingsErrors> {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let layers = [
        ConfigLayer::from_defaults(),
        read_file(sources, &mut errors),
        ConfigLayer::from_environment(&sources.environment, &mut errors, &mut warnings),
        ConfigLayer::from_flags(&sources.flags, &mut errors),
    ];
    let merged =
        merged::MergedConfig::merge(layers).map_err(|error| lookup::internal_error("", &error));
    let settings = merged.and_then(|config| {
        let settings = Settings::validate(&config, sources, &errors, &mut warnings)?;
        let effective = effective::effective(&config, sources, &settings);
        Ok((settings, effective))
    });
    match settings {
        Ok((settings, effective)) if errors.is_empty() => {
            Ok(Loaded { settings, warnings, effective })
        }
        Ok(_) => Err(SettingsErrors(errors)),
        Err(more) => {
            errors.extend(more);
            Err(SettingsErrors(errors))
        }
    }
}

fn read_file(sources: &Sources, errors: &mut Vec<SettingsError>) -> ConfigLayer {
    let path: &Path = sources.file.as_deref().unwrap_or(&sources.default_file);
    let reason = match file::read(path) {
        Ok(Some(table)) => return ConfigLayer::from_file(path, table, errors),
        Ok(None) if sources.file.is_none() => return ConfigLayer::default(),
        Ok(None) => "there is no such file".to_owned(),
        Err(reason) => reason,
    };
    let origin = Origin::File(path.to_owned());
    errors.push(SettingsError {
        origin,
        key: String::new(),
        kind: SettingsErrorKind::File(reason),
    });
    ConfigLayer::default()
}

#[cfg(test)]
mod tests;
