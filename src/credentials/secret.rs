//! What nobody may read in a log, an error or a panic: passwords and tokens.

use std::fmt;
use std::path::PathBuf;

/// A text that shows itself only where it is asked to.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: to be sent, never to be shown.
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

/// Who to be, and how to prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// Where the password is.
    pub password: SecretSource,
}

/// Where a password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// Here.
    Inline(Secret),
    /// In this file, but for a line's end after it. Read again when the file
    /// has changed.
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
