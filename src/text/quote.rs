//! Quotes text of other servers in one line of a log or an error.

/// The longest quotation, in characters.
const QUOTE_CHARS_MAX: usize = 80;

/// Returns the beginning of a body in backquotes, or `nothing` if it is blank.
pub(crate) fn quote(body: &[u8]) -> String {
    match one_line(&String::from_utf8_lossy(body)) {
        text if text.is_empty() => "nothing".to_owned(),
        text => format!("`{text}`"),
    }
}

/// Returns the beginning of a text, without line breaks and other control characters.
pub(crate) fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
