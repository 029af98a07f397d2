//! Names of enum variants as words, for messages about errors of libraries.

use std::fmt::{Debug, Write};

/// Returns the name of an enum variant in lower case with spaces, without its fields:
/// `NoCipherSuitesInCommon` becomes `no cipher suites in common`. A final `Context` is omitted,
/// which rustls appends to variants with fields.
pub fn enum_words(variant: &impl Debug) -> String {
    words(&format!("{variant:?}"))
}

/// Like [`enum_words`], for the debug output of a variant.
pub fn words(debug_output: &str) -> String {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let name = debug_output.split(|character| !is_name(character)).next().unwrap_or_default();
    let name = name.strip_suffix("Context").unwrap_or(name);
    let mut words = String::with_capacity(name.len() + 8);
    for (index, character) in name.char_indices() {
        if character.is_ascii_uppercase() && index > 0 {
            words.push(' ');
        }
        let _ = words.write_char(character.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separates_words_and_omits_fields() {
        for (debug_output, expected) in [
            ("Expired", "expired"),
            ("CaUsedAsEndEntity", "ca used as end entity"),
            ("TrailingData(Extension)", "trailing data"),
            ("ExpiredContext { time: 1 }", "expired"),
            ("", ""),
        ] {
            assert_eq!(words(debug_output), expected);
        }
        assert_eq!(enum_words(&Some("CaUsed")), "some");
    }
}
