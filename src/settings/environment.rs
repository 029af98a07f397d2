//! The process's environment, taken once and handed around, so that a test can
//! hand another.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Environment variables by name.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variables of this process.
    pub fn from_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// A variable's value; `None` where it is not set, or empty (which is how
    /// Compose and systemd say "not set"). What is not UTF-8 is given as near to
    /// it as can be, and so is refused by whatever reads it.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = self.0.get(OsStr::new(name))?;
        (!value.is_empty()).then(|| value.to_string_lossy().into_owned())
    }

    /// All variables, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
