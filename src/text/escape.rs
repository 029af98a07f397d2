//! Text of others, made fit for a terminal.

/// The same with nothing that commands a terminal or turns what stands around it: what of that
/// kind is in it is shown as JSON would escape it, which is as good inside JSON as beside it.
/// Line breaks stay.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => plain.push(c),
            _ if is_command(c) => plain.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => plain.push(c),
        }
    }
    plain
}

/// Whether a character does something other than to be seen: a control character, or one that
/// changes the direction of writing (Unicode's UAX #9).
pub fn is_command(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commands_is_shown_and_all_else_stays() {
        let text = "é \u{9b}31m\x7f\x1b[2J \u{202e}abc\n";
        assert_eq!(plain(text), "é \\u009b31m\\u007f\\u001b[2J \\u202eabc\n");
    }

    #[test]
    fn json_means_the_same_as_before() {
        let said = "a\u{9b}b\u{202e}";
        let json = plain(&serde_json::to_string(said).unwrap());
        assert!(json.is_ascii());
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), said);
    }
}
