//! Text formats that several modules share: timestamps, escaping, quoting, lines, names of
//! variants, suggestions.

pub(crate) mod enum_words;
pub mod escape;
pub(crate) mod json_array;
pub(crate) mod line_splitter;
pub(crate) mod nearest;
pub(crate) mod quote;
pub(crate) mod rfc3339;
