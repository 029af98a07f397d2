//! What one layer says: everything optional, each value checked and in its
//! plain form, with where it stands.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::environment::Environment;
use super::error::{Origin, SettingsError, SettingsErrorKind, Warning};
use super::key::{Key, same_value};
use super::keys::{self, KEYS, VARIABLE_PREFIX};
use super::value_type::ValueEncoding;

/// A key's value as a flag gave it.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag as the operator knows it, dashes included.
    pub name: String,
    /// The key that it sets.
    pub key: &'static Key,
    /// Its value.
    pub value: OsString,
}

/// One layer.
#[derive(Clone, Debug, Default)]
pub struct ConfigLayer {
    values: BTreeMap<&'static str, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The key as it was written, for the one that sets it again.
    written: String,
    origin: Origin,
    value: ValueKind,
}

impl ConfigLayer {
    /// The lowest layer: what the keys fall back to.
    pub fn from_defaults() -> Self {
        let entry = |key: &'static Key| {
            let value = key.default_value()?;
            Some((key.path, Entry { written: key.path.to_owned(), origin: Origin::Default, value }))
        };
        Self { values: KEYS.iter().filter_map(entry).collect() }
    }

    /// The layer of a file with these values.
    pub fn from_file(
        path: &Path,
        table: Map<String, Value>,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        let mut layer = Self::default();
        layer.add_table(&Origin::File(path.to_owned()), "", table, errors);
        layer
    }

    /// Where each of its values was written.
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
        // The table's own order is a hash's, another in each run.
        for (name, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            let error = |kind| SettingsError { origin: origin.clone(), key: path.clone(), kind };
            match (keys::find(&path), value.kind) {
                // Null: as if it were not there.
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
                        found: "a value of its own".to_owned(),
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

    /// The layer of the `HIGHHOCK_…` variables. An empty one is as one not set.
    pub fn from_environment(
        environment: &Environment,
        errors: &mut Vec<SettingsError>,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let mut layer = Self::default();
        for (name, value) in environment.iter() {
            let name = name.to_string_lossy();
            let starts = name.get(..VARIABLE_PREFIX.len());
            if !starts.is_some_and(|start| start.eq_ignore_ascii_case(VARIABLE_PREFIX)) {
                continue;
            }
            let path = &name[VARIABLE_PREFIX.len()..];
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

    /// The layer of the command line.
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
                    found: "what is not UTF-8".to_owned(),
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
