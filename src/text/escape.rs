//! Escapes text from other programs, so that it is safe to print on a terminal.

/// Escapes control characters and characters that change the direction of writing.
///
/// They are escaped as in JSON, so the result is correct inside and outside of JSON. Line breaks
/// stay.
pub fn escape_controls(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => escaped.push(c),
            _ if is_terminal_control(c) => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Returns `true` for control characters, and for characters that change the direction of writing
/// (Unicode's UAX #9).
pub fn is_terminal_control(c: char) -> bool {
    let changes_direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || changes_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_only_control_characters() {
        let text = "é \u{9b}31m\x7f\x1b[2J \u{202e}abc\n";
        assert_eq!(escape_controls(text), "é \\u009b31m\\u007f\\u001b[2J \\u202eabc\n");
    }

    #[test]
    fn escaped_json_keeps_its_meaning() {
        let original = "a\u{9b}b\u{202e}";
        let json = escape_controls(&serde_json::to_string(original).unwrap());
        assert!(json.is_ascii());
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), original);
    }
}
