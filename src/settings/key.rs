//! One configuration key: its names, and what it takes.

use config::{Value, ValueKind};

use super::error::SettingsErrorKind;
use super::value_type::{ValueEncoding, ValueType, describe};
use super::values::ValueError;

/// What stands where a key is set nowhere.
#[derive(Clone, Copy, Debug)]
pub enum DefaultValue {
    /// This value, written as a flag's would be.
    Fixed(&'static str),
    /// Nothing, or what is worked out at start: in words.
    Derived(&'static str),
}

/// A configuration key.
#[derive(Debug)]
pub struct Key {
    /// Its place in a file, the parts separated by dots: `docker.pollContainer`.
    pub path: &'static str,
    /// Another name for it, at the file's top level.
    pub alias: Option<&'static str>,
    /// The letter of its flag's short form.
    pub short: Option<&'static str>,
    /// Whether its value is shown nowhere and it has no flag (a command line is
    /// for everybody to see).
    pub secret: bool,
    /// What it is for, in one line.
    pub doc: &'static str,
    /// What stands where it is set nowhere.
    pub default: DefaultValue,
    value_type: ValueType,
}

impl Key {
    pub(super) const fn new(
        path: &'static str,
        value_type: ValueType,
        default: DefaultValue,
        doc: &'static str,
    ) -> Self {
        Self { path, alias: None, short: None, secret: false, doc, default, value_type }
    }

    pub(super) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    pub(super) const fn short(mut self, letter: &'static str) -> Self {
        self.short = Some(letter);
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The key's flag, without its dashes: its path in kebab case.
    pub fn flag(&self) -> String {
        kebab(self.path)
    }

    /// The flag of the key's alias.
    pub fn alias_flag(&self) -> Option<String> {
        self.alias.map(kebab)
    }

    /// The default's plain form; `None` where it is worked out at start.
    pub fn default_value(&self) -> Option<ValueKind> {
        match self.default {
            // A default that its own key refuses is caught by a test.
            DefaultValue::Fixed(text) => {
                self.value_type.read(&text.into(), ValueEncoding::Text).ok()
            }
            DefaultValue::Derived(_) => None,
        }
    }

    /// Checks a value and brings it to its plain form.
    pub fn read(
        &self,
        written: &ValueKind,
        encoding: ValueEncoding,
    ) -> Result<ValueKind, SettingsErrorKind> {
        let ValueError::Invalid(detail) = match self.value_type.read(written, encoding) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let found = if self.secret { "a value (not shown)".to_owned() } else { describe(written) };
        let found = match detail {
            Some(detail) => format!("{found} ({detail})"),
            None => found,
        };
        Err(SettingsErrorKind::InvalidValue { found, expected: self.expected() })
    }

    /// What it takes, in words.
    pub fn expected(&self) -> String {
        self.value_type.expected()
    }
}

/// Whether two values say the same, wherever each was written.
pub(super) fn same_value(one: &ValueKind, other: &ValueKind) -> bool {
    let kinds = |items: &[Value]| items.iter().map(|item| item.kind.clone()).collect::<Vec<_>>();
    match (one, other) {
        (ValueKind::Array(one), ValueKind::Array(other)) => kinds(one) == kinds(other),
        _ => one == other,
    }
}

/// `docker.pollContainer` as `docker-poll-container`.
fn kebab(path: &str) -> String {
    let mut flag = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        match c {
            '.' => flag.push('-'),
            c if c.is_ascii_uppercase() => flag.extend(['-', c.to_ascii_lowercase()]),
            c => flag.push(c),
        }
    }
    flag
}
