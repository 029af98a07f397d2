//! Secrets (passwords and tokens), which never appear in a log, an error or a panic message.

use std::fmt;
use std::path::PathBuf;

/// A text that is hidden in every formatted output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, to send it to a server or to compare it. It must never be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A user and the password that authenticates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The source of the password.
    pub password: SecretSource,
}

/// The source of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// The secret itself.
    Inline(Secret),
    /// A file with the secret. One line break at its end is removed. The file is read again when
    /// it changes.
    File(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_and_display_hide_the_secret() {
        let credentials = Credentials {
            username: "root".to_owned(),
            password: SecretSource::Inline(Secret::new("hunter2")),
        };
        let shown = format!("{credentials:?} {:#?} {}", credentials, Secret::new("hunter2"));
        assert!(!shown.contains("hunter") && !shown.contains('7'), "{shown}");
        assert_eq!(Secret::new("hunter2").reveal(), "hunter2");
    }
}
