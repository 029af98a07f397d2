//! The configuration, from its layers to the validated [`Settings`].
//!
//! A configuration layer holds the keys that one source sets: the defaults, the file, the
//! environment or the command line. The layers are merged into a `MergedConfig`, in which each key
//! has at most one value. From this, [`Settings`] are built, which are the only form of the
//! configuration that reaches the rest of the program.

mod address;
mod admin;
mod admin_access;
mod dns;
mod docker_url;
mod document;
mod effective;
mod environment;
mod error;
mod file;
mod json;
mod json_comments;
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
mod variables;
mod yaml;

pub use admin::Admin;
pub use admin_access::{AdminAccess, load_admin};
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
pub use sources::{ConfigFile, DEFAULT_FILE, FileOrigin, Sources};
pub(crate) use values::host;
pub use values::{
    Cloud, DockerUrl, DockerVersion, EtcdApi, Host6, LogFormat, OnExit, StoreKind, ValueError,
};

use config::ConfigError;

use error::Diagnostics;
use layer::ConfigLayer;
use merged::MergedConfig;

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
    let mut diagnostics = Diagnostics::default();
    let merged = merge_layers(sources, &mut diagnostics);
    let Diagnostics { mut errors, mut warnings } = diagnostics;
    let merged = merged.map_err(|error| lookup::internal_error("", &error));
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

/// Reads and merges all layers. A value with an error is left out.
fn merge_layers(
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Result<MergedConfig, ConfigError> {
    MergedConfig::merge([
        ConfigLayer::from_defaults(),
        read_file(sources, diagnostics),
        ConfigLayer::from_environment(&sources.environment, diagnostics),
        ConfigLayer::from_flags(&sources.flags, diagnostics),
    ])
}

fn read_file(sources: &Sources, diagnostics: &mut Diagnostics) -> ConfigLayer {
    let path = sources.file.as_ref().map_or(&sources.default_file, |file| &file.path);
    let kind = match (file::read(path), &sources.file) {
        (Ok(Some(document)), _) => return ConfigLayer::from_file(path, document, diagnostics),
        (Ok(None), None) => return ConfigLayer::default(),
        (Ok(None), Some(file)) => missing_file(file),
        (Err(kind), _) => kind,
    };
    let origin = Origin::File(path.to_owned());
    diagnostics.errors.push(SettingsError { origin, key: String::new(), kind });
    ConfigLayer::default()
}

fn missing_file(file: &ConfigFile) -> SettingsErrorKind {
    match file.named_by.clone() {
        FileOrigin::Flag => SettingsErrorKind::MissingFile,
        FileOrigin::AttachedFlag(written) => {
            let file = file.path.display().to_string();
            SettingsErrorKind::MissingAttachedFile { written, file }
        }
        FileOrigin::Variable(variable) => SettingsErrorKind::MissingFileOfVariable { variable },
    }
}

#[cfg(test)]
mod tests;
