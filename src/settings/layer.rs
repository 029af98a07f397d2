//! One layer of the configuration: the keys that one source sets, checked and in normal form.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::document::Document;
use super::environment::Environment;
use super::error::{Diagnostics, Origin, SettingsError, SettingsErrorKind, Warning};
use super::key::{Key, same_value};
use super::keys::{self, KEYS};
use super::value_type::{ValueEncoding, describe_type};
use super::variables::{Variable, variable_name};

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

    /// Creates the layer of a configuration file.
    pub fn from_file(path: &Path, document: Document, diagnostics: &mut Diagnostics) -> Self {
        let mut layer = Self::default();
        let origin = Origin::File(path.to_owned());
        for repeated in document.repeated {
            let (origin, key) = (origin.clone(), repeated.key);
            if repeated.is_equal {
                diagnostics.warnings.push(Warning::GivenTwice { origin, key });
            } else {
                let kind = SettingsErrorKind::GivenTwice;
                diagnostics.errors.push(SettingsError { origin, key, kind });
            }
        }
        if document.has_only_comments {
            diagnostics.warnings.push(Warning::OnlyComments(origin.clone()));
        }
        layer.add_table(&origin, "", document.table, diagnostics);
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
        diagnostics: &mut Diagnostics,
    ) {
        // The order of a hash map differs between runs.
        for (name, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            let error = |kind| SettingsError { origin: origin.clone(), key: path.clone(), kind };
            match (keys::find(&path), value.kind) {
                // Null means that the key is not set.
                (Some(_), ValueKind::Nil) => {}
                (Some(key), value) => {
                    self.set(key, &path, origin, &value, ValueEncoding::Typed, diagnostics)
                }
                (None, ValueKind::Table(table)) if keys::is_section(&path) => {
                    self.add_table(origin, &path, table, diagnostics);
                }
                (None, ValueKind::Nil) if keys::is_section(&path) => {}
                (None, value) if keys::is_section(&path) => {
                    diagnostics.errors.push(error(SettingsErrorKind::InvalidValue {
                        found: describe_type(&value).to_owned(),
                        expected: "a table of keys".to_owned(),
                    }))
                }
                (None, _) => {
                    diagnostics.errors.push(error(SettingsErrorKind::UnknownKey {
                        nearest: keys::nearest_key(&path),
                    }));
                }
            }
        }
    }

    /// Creates the layer of the `HIGHHOCK_…` variables.
    ///
    /// An empty variable counts as not set. A variable with one underscore in place of two is an
    /// error, because the operator means a key.
    pub fn from_environment(environment: &Environment, diagnostics: &mut Diagnostics) -> Self {
        let mut layer = Self::default();
        for (name, value) in environment.iter() {
            let name = name.to_string_lossy().into_owned();
            match Variable::parse(&name) {
                Some(Variable::Unknown { nearest }) => {
                    diagnostics.warnings.push(Warning::UnknownVariable { name, nearest });
                }
                Some(Variable::Misspelt(key)) if !value.is_empty() => {
                    let kind = SettingsErrorKind::MisspeltVariable { variable: variable_name(key) };
                    let (origin, key) = (Origin::Variable(name), key.path.to_owned());
                    diagnostics.errors.push(SettingsError { origin, key, kind });
                }
                Some(Variable::Sets(key)) if !value.is_empty() => {
                    let origin = Origin::Variable(name);
                    layer.set_text(key, &origin, value.to_str(), diagnostics);
                }
                _ => {}
            }
        }
        layer
    }

    /// Creates the layer of the command line.
    pub fn from_flags(flags: &[Flag], diagnostics: &mut Diagnostics) -> Self {
        let mut layer = Self::default();
        for Flag { name, key, value } in flags {
            let origin = Origin::Flag(name.clone());
            layer.set_text(key, &origin, value.to_str(), diagnostics);
        }
        layer
    }

    fn set_text(
        &mut self,
        key: &'static Key,
        origin: &Origin,
        text: Option<&str>,
        diagnostics: &mut Diagnostics,
    ) {
        let encoding = ValueEncoding::Text;
        match text {
            Some(text) => self.set(key, key.path, origin, &text.into(), encoding, diagnostics),
            None => diagnostics.errors.push(SettingsError {
                origin: origin.clone(),
                key: key.path.to_owned(),
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
        diagnostics: &mut Diagnostics,
    ) {
        let (origin, written) = (origin.clone(), written.to_owned());
        let value = match key.read(value, encoding) {
            Ok(value) => value,
            Err(kind) => {
                return diagnostics.errors.push(SettingsError { origin, key: written, kind });
            }
        };
        let Some(first) = self.values.get(key.path) else {
            self.values.insert(key.path, Entry { written, origin, value });
            return;
        };
        let other = match &first.origin {
            Origin::File(_) => first.written.clone(),
            origin => origin.to_string(),
        };
        if same_value(&first.value, &value) {
            diagnostics.warnings.push(Warning::SetTwice { origin, key: written, other });
        } else {
            let kind = SettingsErrorKind::SetTwice { other };
            diagnostics.errors.push(SettingsError { origin, key: written, kind });
        }
    }
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
