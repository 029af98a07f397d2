//! Quotes around the value of a variable or label.

/// The remedy for a value in quotes. Only a shell removes them.
const REMEDY: &str = "the quotes are part of the value: Docker does not remove quotes in an \
                      `--env-file` or `--label-file`, nor Compose in a list; write the value \
                      without quotes";

/// Returns the cause and the remedy if the value is enclosed in quotes.
pub(super) fn quotes_hint(value: &str) -> Option<&'static str> {
    let value = value.trim();
    let is_enclosed_in =
        |quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    (is_enclosed_in('"') || is_enclosed_in('\'')).then_some(REMEDY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_values_in_quotes() {
        for (value, is_quoted) in [
            ("\"web:80\"", true),
            ("'web:80,api:81'", true),
            (" \"web:80\" ", true),
            ("\"\"", true),
            ("\"", false),
            ("\"web:80'", false),
            ("\"web\":80", false),
            ("web:80", false),
            ("", false),
        ] {
            assert_eq!(quotes_hint(value).is_some(), is_quoted, "{value}");
        }
    }
}
