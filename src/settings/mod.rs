//! The configuration, from its layers to the validated [`Settings`].
//!
//! A configuration layer holds the keys that one source sets: the defaults, the file, the
//! environment or the command line. The layers are merged into a `MergedConfig`, in which each key
//! has at most one value. From this, [`Settings`] are built, which are the only form of the
//! configuration that reaches the rest of the program.

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
mod sections;
mod sources;
mod tls_and_credentials;
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
pub use sections::{Discovery, Docker, Etcd, Log, Settings, Skydns};
pub use sources::{DEFAULT_FILE, Sources};
pub(crate) use values::host;
pub use values::{
    Cloud, DockerUrl, DockerVersion, EtcdApi, Host6, LogFormat, OnExit, StoreKind, ValueError,
};

use layer::ConfigLayer;

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Remarks for the operator, to be logged at WARNING.
    pub warnings: Vec<Warning>,
    /// The effective settings, key by key with their origin, for display. Secrets are masked.
    pub effective: Vec<EffectiveKey>,
}

/// Reads, merges and validates all layers.
///
/// # Errors
/// Returns all errors of all layers, including errors in values that a later layer overrides. The
/// program then exits with EX_CONFIG.
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
        let settings = Settings::from_config(&config, sources, &errors, &mut warnings)?;
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
    let kind = match file::read(path) {
        Ok(Some(table)) => return ConfigLayer::from_file(path, table, errors),
        Ok(None) if sources.file.is_none() => return ConfigLayer::default(),
        Ok(None) => SettingsErrorKind::MissingFile,
        Err(kind) => kind,
    };
    let origin = Origin::File(path.to_owned());
    errors.push(SettingsError { origin, key: String::new(), kind });
    ConfigLayer::default()
}

#[cfg(test)]
mod tests;
