//! Whole numbers in labels and variables.

use std::str::FromStr;

/// Parses a number that consists of decimal digits only. The parsers of the standard library
/// also accept a sign. Returns `None` if the text contains anything else, or if the number is
/// outside the range of the type.
pub fn read_digits<T: FromStr>(text: &str) -> Option<T> {
    let digits_only = text.bytes().all(|b| b.is_ascii_digit());
    digits_only.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    #[test]
    fn accepts_only_digits_within_range() {
        for (text, expected) in [
            ("0", Some(0)),
            ("080", Some(80)),
            ("65535", Some(65535)),
            ("65536", None),
            ("+80", None),
            ("-1", None),
            ("8 0", None),
            ("80.0", None),
            ("", None),
            ("٨٠", None),
        ] {
            assert_eq!(read_digits::<u16>(text), expected, "{text:?}");
        }
        assert_eq!(read_digits::<NonZeroU16>("0"), None);
    }
}
