//! One layer of the configuration: the keys that one source sets, checked and in normal form.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::environment::Environment;
use super::error::{Origin, SettingsError, SettingsErrorKind, Warning};
use super::key::{Key, same_value};
use super::keys::{self, KEYS, TEST_PREFIX, VARIABLE_PREFIX};
use super::value_type::ValueEncoding;

/// A setting on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag as the operator wrote it, dashes included.
    pub name: String,
    /// The key that the flag sets.
    pub key: &'static Key,
    /// The value, not yet checked.
    pub value: OsString,
}

/// The values that one source sets, with their origins. Every key is optional.
#[derive(Clone, Debug, Default)]
pub struct ConfigLayer {
    values: BTreeMap<&'static str, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The key as it was written, for the error if it is set again.
    written: String,
    origin: Origin,
    value: ValueKind,
}

impl ConfigLayer {
    /// Creates the lowest layer: the default values.
    pub fn from_defaults() -> Self {
        let entry = |key: &'static Key| {
            let value = key.default_value()?;
            Some((key.path, Entry { written: key.path.to_owned(), origin: Origin::Default, value }))
        };
        Self { values: KEYS.iter().filter_map(entry).collect() }
    }

    /// Creates the layer of a configuration file with these values.
    pub fn from_file(
        path: &Path,
        table: Map<String, Value>,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        let mut layer = Self::default();
        layer.add_table(&Origin::File(path.to_owned()), "", table, errors);
        layer
    }

    /// Returns the origin of each value.
    pub fn origins(&self) -> Vec<(&'static str, Origin)> {
        self.values.iter().map(|(path, entry)| (*path, entry.origin.clone())).collect()
    }

    fn add_table(
        &mut self,
        origin: &Origin,
        section: &str,
        table: Map<String, Value>,
        errors: &mut Vec<SettingsError>,
    ) {
        // The order of a hash map differs between runs.
        for (name, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            let error = |kind| SettingsError { origin: origin.clone(), key: path.clone(), kind };
            match (keys::find(&path), value.kind) {
                // Null means that the key is not set.
                (Some(_), ValueKind::Nil) => {}
                (Some(key), value) => {
                    self.set(key, &path, origin, &value, ValueEncoding::Typed, errors)
                }
                (None, ValueKind::Table(table)) if keys::is_section(&path) => {
                    self.add_table(origin, &path, table, errors);
                }
                (None, ValueKind::Nil) if keys::is_section(&path) => {}
                (None, _) if keys::is_section(&path) => {
                    errors.push(error(SettingsErrorKind::InvalidValue {
                        found: "a single value".to_owned(),
                        expected: "a table of keys".to_owned(),
                    }))
                }
                (None, _) => {
                    errors.push(error(SettingsErrorKind::UnknownKey {
                        nearest: keys::nearest(&path),
                    }));
                }
            }
        }
    }

    /// Creates the layer of the `HIGHHOCK_…` variables.
    ///
    /// An empty variable counts as not set. Variables named `HIGHHOCK_TEST_…` belong to the test
    /// suites and are skipped without a warning.
    pub fn from_environment(
        environment: &Environment,
        errors: &mut Vec<SettingsError>,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let mut layer = Self::default();
        for (name, value) in environment.iter() {
            let name = name.to_string_lossy();
            let Some(path) = strip_prefix(&name, VARIABLE_PREFIX) else { continue };
            if strip_prefix(path, TEST_PREFIX).is_some() {
                continue;
            }
            let Some(key) = keys::find_variable(path) else {
                let nearest = keys::nearest(&path.replace("__", "."));
                warnings.push(Warning::UnknownVariable { name: name.into_owned(), nearest });
                continue;
            };
            if !value.is_empty() {
                let origin = Origin::Variable(name.into_owned());
                layer.set_text(key, key.path, &origin, value.to_str(), errors);
            }
        }
        layer
    }

    /// Creates the layer of the command line.
    pub fn from_flags(flags: &[Flag], errors: &mut Vec<SettingsError>) -> Self {
        let mut layer = Self::default();
        for Flag { name, key, value } in flags {
            let origin = Origin::Flag(name.clone());
            layer.set_text(key, key.path, &origin, value.to_str(), errors);
        }
        layer
    }

    fn set_text(
        &mut self,
        key: &'static Key,
        written: &str,
        origin: &Origin,
        text: Option<&str>,
        errors: &mut Vec<SettingsError>,
    ) {
        match text {
            Some(text) => self.set(key, written, origin, &text.into(), ValueEncoding::Text, errors),
            None => errors.push(SettingsError {
                origin: origin.clone(),
                key: written.to_owned(),
                kind: SettingsErrorKind::InvalidValue {
                    found: "a value that is not UTF-8".to_owned(),
                    expected: key.expected(),
                },
            }),
        }
    }

    fn set(
        &mut self,
        key: &'static Key,
        written: &str,
        origin: &Origin,
        value: &ValueKind,
        encoding: ValueEncoding,
        errors: &mut Vec<SettingsError>,
    ) {
        let mut error = |kind| {
            errors.push(SettingsError { origin: origin.clone(), key: written.to_owned(), kind });
        };
        let value = match key.read(value, encoding) {
            Ok(value) => value,
            Err(kind) => return error(kind),
        };
        match self.values.get(key.path) {
            Some(first) if !same_value(&first.value, &value) => {
                let other = match &first.origin {
                    Origin::File(_) => first.written.clone(),
                    origin => origin.to_string(),
                };
                error(SettingsErrorKind::SetTwice { other });
            }
            _ => {
                let (written, origin) = (written.to_owned(), origin.clone());
                self.values.insert(key.path, Entry { written, origin, value });
            }
        }
    }
}

/// Removes a prefix in any case; `None` if the text does not start with it.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

impl Source for ConfigLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let value =
            |entry: &Entry| Value::new(Some(&entry.origin.to_string()), entry.value.clone());
        Ok(self.values.iter().map(|(path, entry)| ((*path).to_owned(), value(entry))).collect())
    }
}
