//! The environment variables, read once and passed on, so that tests can pass their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Environment variables by name.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Reads the variables of this process.
    pub fn from_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Returns a variable's value; `None` if it is not set or empty.
    ///
    /// Compose and systemd pass an empty variable for one that is not set. Bytes that are not
    /// UTF-8 are replaced by U+FFFD, which every reader of a value rejects.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = self.0.get(OsStr::new(name))?;
        (!value.is_empty()).then(|| value.to_string_lossy().into_owned())
    }

    /// Returns the first variable with a value whose name `is_match` accepts.
    pub fn find(&self, is_match: impl Fn(&str) -> bool) -> Option<(String, &OsStr)> {
        let mut found = self.iter().filter(|(_, value)| !value.is_empty());
        found.find_map(|(name, value)| {
            Some((name.to_str().filter(|name| is_match(name))?.to_owned(), value))
        })
    }

    /// Returns all variables, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
