//! [`CheckVerdict`]: the verdict of `highhock check` on one server or setting.

/// The verdict on one server or setting, with a text for the operator.
#[derive(Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// The daemon can work with it. The text has the details.
    Passed(String),
    /// The daemon can work with it, and a part of it does not work. The text names that part.
    Degraded(String),
    /// The daemon cannot work with it. The text has the reason.
    Failed(String),
}

impl CheckVerdict {
    /// Returns `true` if the daemon cannot work.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
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
