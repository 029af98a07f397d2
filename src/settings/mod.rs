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
pub use error::{Fault, Faults, Origin, Problem, Warning};
pub use key::{Fallback, Key};
pub use keys::{KEYS, find};
pub use layer::Flag;
pub use level::LogLevel;
pub use reload_diff::{Changes, Stage, apply};
pub use sources::{DEFAULT_FILE, Sources};
pub use validate::{Discovery, Docker, Etcd, Log, Settings, Skydns};
pub(crate) use values::host;
pub use values::{
    Cloud, DockerUrl, DockerVersion, EtcdApi, Host6, LogFormat, OnExit, Rejection, StoreKind,
};

use layer::Fragment;

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
pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    let layers = [
        Fragment::of_defaults(),
        read_file(sources, &mut faults),
        Fragment::of_environment(&sources.environment, &mut faults, &mut warnings),
        Fragment::of_flags(&sources.flags, &mut faults),
    ];
    let merged = merged::Inputs::merge(layers).map_err(|error| lookup::slip("", &error));
    let settings = merged.and_then(|inputs| {
        let settings = Settings::validate(&inputs, sources, &faults, &mut warnings)?;
        let effective = effective::effective(&inputs, sources, &settings);
        Ok((settings, effective))
    });
    match settings {
        Ok((settings, effective)) if faults.is_empty() => {
            Ok(Loaded { settings, warnings, effective })
        }
        Ok(_) => Err(Faults(faults)),
        Err(more) => {
            faults.extend(more);
            Err(Faults(faults))
        }
    }
}

fn read_file(sources: &Sources, faults: &mut Vec<Fault>) -> Fragment {
    let path: &Path = sources.file.as_deref().unwrap_or(&sources.default_file);
    let problem = match file::read(path) {
        Ok(Some(table)) => return Fragment::of_file(path, table, faults),
        Ok(None) if sources.file.is_none() => return Fragment::default(),
        Ok(None) => "there is no such file".to_owned(),
        Err(problem) => problem,
    };
    let origin = Origin::File(path.to_owned());
    faults.push(Fault { origin, key: String::new(), problem: Problem::File(problem) });
    Fragment::default()
}

#[cfg(test)]
mod tests;
