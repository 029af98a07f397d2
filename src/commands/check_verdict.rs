//! [`CheckVerdict`]: the verdict of `highhock check` on one server or setting.

use crate::cli::exit_code;
use crate::resolve::ResolveError;

/// The verdict on one server or setting, with a text for the operator.
#[derive(Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// The daemon can work with it. The text has the details.
    Passed(String),
    /// The daemon can work with it, and a part of it does not work. The text names that part.
    Degraded(String),
    /// The daemon cannot work with it. The text has the reason.
    Failed(String),
    /// The settings are unusable, and another attempt would not help. The text has the reason.
    Misconfigured(String),
}

impl CheckVerdict {
    /// Returns `true` if the daemon cannot work.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Misconfigured(_))
    }

    /// Returns the exit code of a command with this verdict.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Passed(_) | Self::Degraded(_) => 0,
            Self::Failed(_) => exit_code::UNAVAILABLE,
            Self::Misconfigured(_) => exit_code::CONFIG,
        }
    }
}

impl From<&ResolveError> for CheckVerdict {
    fn from(error: &ResolveError) -> Self {
        let text = error.to_string();
        if error.is_misconfiguration() { Self::Misconfigured(text) } else { Self::Failed(text) }
    }
}

impl From<Result<String, String>> for CheckVerdict {
    fn from(result: Result<String, String>) -> Self {
        match result {
            Ok(text) => Self::Passed(text),
            Err(text) => Self::Failed(text),
        }
    }
}
