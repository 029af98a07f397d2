//! [`UnexpectedField`]: the error for an inspection that no engine writes.

/// The error for a field with a value that no engine writes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value:?}")]
pub(in crate::docker) struct UnexpectedField {
    pub field: &'static str,
    pub value: String,
}

impl UnexpectedField {
    pub fn new(field: &'static str, value: &str) -> Self {
        Self { field, value: value.to_owned() }
    }
}
