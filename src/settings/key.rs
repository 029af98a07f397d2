//! One configuration key: its names, type and default.

use config::{Value, ValueKind};

use super::error::SettingsErrorKind;
use super::value_type::{ValueEncoding, ValueType, describe};

/// The value of a key that no layer sets.
#[derive(Clone, Copy, Debug)]
pub enum DefaultValue {
    /// This value, written like the value of a flag.
    Fixed(&'static str),
    /// No value, or a value that is derived at the start; with a description.
    Derived(&'static str),
}

/// A configuration key.
#[derive(Debug)]
pub struct Key {
    /// The position in a file, the parts separated by dots: `docker.pollContainer`.
    pub path: &'static str,
    /// Another name of the key, at the top level of the file.
    pub alias: Option<&'static str>,
    /// The letter of the flag's short form.
    pub short: Option<&'static str>,
    /// `true` if the value is never shown. A secret key has no flag, because every user of a
    /// machine can read its command lines.
    pub secret: bool,
    /// The purpose of the key, in one line for `--help`.
    pub doc: &'static str,
    /// The value if no layer sets the key.
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

    /// Returns the key's flag without its dashes: the path in kebab case.
    pub fn flag(&self) -> String {
        kebab(self.path)
    }

    /// Returns the flag of the key's alias, without its dashes.
    pub fn alias_flag(&self) -> Option<String> {
        self.alias.map(kebab)
    }

    /// Returns the default value; `None` if it is derived at the start.
    pub fn default_value(&self) -> Option<ValueKind> {
        match self.default {
            // A test checks that each key accepts its default.
            DefaultValue::Fixed(text) => {
                self.value_type.read(&text.into(), ValueEncoding::Text).ok()
            }
            DefaultValue::Derived(_) => None,
        }
    }

    /// Checks a value and returns its normal form.
    ///
    /// # Errors
    /// Returns an error if the key does not accept the value.
    pub fn read(
        &self,
        written: &ValueKind,
        encoding: ValueEncoding,
    ) -> Result<ValueKind, SettingsErrorKind> {
        self.value_type.read(written, encoding).map_err(|error| {
            let found =
                if self.secret { "a value (not shown)".to_owned() } else { describe(written) };
            let found = match error.detail {
                Some(detail) => format!("{found} ({detail})"),
                None => found,
            };
            SettingsErrorKind::InvalidValue { found, expected: self.expected() }
        })
    }

    /// Describes the values that the key accepts.
    pub fn expected(&self) -> String {
        self.value_type.expected()
    }
}

/// Returns `true` if two values are equal, regardless of their origins.
pub(super) fn same_value(one: &ValueKind, other: &ValueKind) -> bool {
    let kinds = |items: &[Value]| items.iter().map(|item| item.kind.clone()).collect::<Vec<_>>();
    match (one, other) {
        (ValueKind::Array(one), ValueKind::Array(other)) => kinds(one) == kinds(other),
        _ => one == other,
    }
}

/// Converts `docker.pollContainer` to `docker-poll-container`.
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
