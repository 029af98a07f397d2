//! Comments in JSON.

/// Replaces comments by spaces: `//` and `#` to the end of the line, and `/* */`.
///
/// Each character of a comment becomes one space, and line breaks stay, so that the line and
/// column in an error of the parser are correct. Strings in single or double quotes are kept. An
/// unclosed comment or string is left to the parser, which reports it. The crate `json_comments`
/// also replaces the line breaks of block comments, which makes the reported lines wrong.
pub fn blank_comments(text: &str) -> String {
    enum ScanState {
        Json,
        String { quote: char, escaped: bool },
        Line,
        Block { star: bool },
    }
    let mut plain = String::with_capacity(text.len());
    let mut state = ScanState::Json;
    let mut block_start = 0;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let mut blank = false;
        state = match state {
            ScanState::Json => match (c, rest.peek()) {
                ('"' | '\'', _) => ScanState::String { quote: c, escaped: false },
                ('#', _) | ('/', Some('/')) => ScanState::Line,
                ('/', Some('*')) => {
                    // Consumed here, so that `/*/` does not count as a closed comment.
                    rest.next();
                    block_start = plain.len();
                    plain.push(' ');
                    ScanState::Block { star: false }
                }
                _ => ScanState::Json,
            },
            ScanState::String { escaped: true, quote } => {
                ScanState::String { quote, escaped: false }
            }
            ScanState::String { quote, .. } if c == quote => ScanState::Json,
            ScanState::String { quote, .. } => ScanState::String { quote, escaped: c == '\\' },
            ScanState::Line if c == '\n' => ScanState::Json,
            ScanState::Line => ScanState::Line,
            ScanState::Block { star: true } if c == '/' => {
                blank = true;
                ScanState::Json
            }
            ScanState::Block { .. } => ScanState::Block { star: c == '*' },
        };
        blank |= matches!(state, ScanState::Line | ScanState::Block { .. });
        plain.push(if blank && c != '\n' { ' ' } else { c });
    }
    if let ScanState::Block { .. } = state {
        plain.replace_range(block_start.., "/*");
    }
    plain
}
