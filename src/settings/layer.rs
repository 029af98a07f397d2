//! What one layer says: everything optional, each value checked and in its
//! plain form, with where it stands.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::environment::Environment;
use super::error::{Fault, Origin, Problem, Warning};
use super::key::{Key, same};
use super::keys::{self, KEYS, VARIABLE_PREFIX};
use super::value_type::Form;

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
pub struct Fragment {
    values: BTreeMap<&'static str, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The key as it was written, for the one that sets it again.
    written: String,
    origin: Origin,
    value: ValueKind,
}

impl Fragment {
    /// The lowest layer: what the keys fall back to.
    pub fn of_defaults() -> Self {
        let entry = |key: &'static Key| {
            let value = key.default_value()?;
            Some((key.path, Entry { written: key.path.to_owned(), origin: Origin::Default, value }))
        };
        Self { values: KEYS.iter().filter_map(entry).collect() }
    }

    /// The layer of a file with these values.
    pub fn of_file(path: &Path, table: Map<String, Value>, faults: &mut Vec<Fault>) -> Self {
        let mut fragment = Self::default();
        fragment.add_table(&Origin::File(path.to_owned()), "", table, faults);
        fragment
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
        faults: &mut Vec<Fault>,
    ) {
        // The table's own order is a hash's, another in each run.
        for (name, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
            let path = if section.is_empty() { name } else { format!("{section}.{name}") };
            let fault = |problem| Fault { origin: origin.clone(), key: path.clone(), problem };
            match (keys::find(&path), value.kind) {
                // Null: as if it were not there.
                (Some(_), ValueKind::Nil) => {}
                (Some(key), value) => self.set(key, &path, origin, &value, Form::Typed, faults),
                (None, ValueKind::Table(table)) if keys::is_section(&path) => {
                    self.add_table(origin, &path, table, faults);
                }
                (None, ValueKind::Nil) if keys::is_section(&path) => {}
                (None, _) if keys::is_section(&path) => faults.push(fault(Problem::Unfit {
                    found: "a value of its own".to_owned(),
                    takes: "a table of keys".to_owned(),
                })),
                (None, _) => {
                    faults.push(fault(Problem::UnknownKey { nearest: keys::nearest(&path) }));
                }
            }
        }
    }

    /// The layer of the `HIGHHOCK_…` variables. An empty one is as one not set.
    pub fn of_environment(
        environment: &Environment,
        faults: &mut Vec<Fault>,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        let mut fragment = Self::default();
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
                fragment.set_text(key, key.path, &origin, value.to_str(), faults);
            }
        }
        fragment
    }

    /// The layer of the command line.
    pub fn of_flags(flags: &[Flag], faults: &mut Vec<Fault>) -> Self {
        let mut fragment = Self::default();
        for Flag { name, key, value } in flags {
            let origin = Origin::Flag(name.clone());
            fragment.set_text(key, key.path, &origin, value.to_str(), faults);
        }
        fragment
    }

    fn set_text(
        &mut self,
        key: &'static Key,
        written: &str,
        origin: &Origin,
        text: Option<&str>,
        faults: &mut Vec<Fault>,
    ) {
        match text {
            Some(text) => self.set(key, written, origin, &text.into(), Form::Text, faults),
            None => faults.push(Fault {
                origin: origin.clone(),
                key: written.to_owned(),
                problem: Problem::Unfit {
                    found: "what is not UTF-8".to_owned(),
                    takes: key.takes(),
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
        form: Form,
        faults: &mut Vec<Fault>,
    ) {
        let mut fault = |problem| {
            faults.push(Fault { origin: origin.clone(), key: written.to_owned(), problem });
        };
        let value = match key.read(value, form) {
            Ok(value) => value,
            Err(problem) => return fault(problem),
        };
        match self.values.get(key.path) {
            Some(first) if !same(&first.value, &value) => {
                let other = match &first.origin {
                    Origin::File(_) => first.written.clone(),
                    origin => origin.to_string(),
                };
                fault(Problem::SetTwice { other });
            }
            _ => {
                let (written, origin) = (written.to_owned(), origin.clone());
                self.values.insert(key.path, Entry { written, origin, value });
            }
        }
    }
}

impl Source for Fragment {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let value =
            |entry: &Entry| Value::new(Some(&entry.origin.to_string()), entry.value.clone());
        Ok(self.values.iter().map(|(path, entry)| ((*path).to_owned(), value(entry))).collect())
    }
}
