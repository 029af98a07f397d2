//! Reads a configuration file: JSON with comments, YAML or TOML.

use std::io::ErrorKind;
use std::path::Path;

use config::{FileFormat, Format, Map, Value};

use super::error::SettingsErrorKind;

/// Reads a file; `Ok(None)` if it does not exist.
///
/// # Errors
/// Returns an error if the file cannot be read or parsed. A parse error names the line and column,
/// if the format's parser reports them, and never contains text of the file, which may hold
/// passwords.
pub fn read(path: &Path) -> Result<Option<Map<String, Value>>, SettingsErrorKind> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text).map(Some).map_err(SettingsErrorKind::UnparsableFile),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SettingsErrorKind::UnreadableFile(error.to_string())),
    }
}

fn parse(path: &Path, text: &str) -> Result<Map<String, Value>, String> {
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    match extension.as_deref().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => FileFormat::Yaml.parse(None, text).map_err(|e| e.to_string()),
        Some("toml") => {
            FileFormat::Toml.parse(None, text).map_err(|e| without_excerpt(&e.to_string()))
        }
        _ => FileFormat::Json5.parse(None, &blank_comments(text)).map_err(|e| e.to_string()),
    }
}

/// Removes the lines of the file from an error of the TOML parser.
fn without_excerpt(error: &str) -> String {
    let lines = error.lines().filter(|line| !line.contains('|'));
    lines.map(str::trim).collect::<Vec<_>>().join(": ")
}

/// Replaces comments by spaces: `//` and `#` to the end of the line, and `/* */`.
///
/// Each character of a comment becomes one space, and line breaks stay, so that the line and
/// column in an error of the parser are correct. Strings in single or double quotes are kept. An
/// unclosed comment or string is left to the parser, which reports it. The crate `json_comments`
/// also replaces the line breaks of block comments, which makes the reported lines wrong.
fn blank_comments(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use config::ValueKind;

    use super::*;

    fn json(text: &str) -> Result<Map<String, Value>, String> {
        parse(Path::new("highhock.json"), text)
    }

    fn value(text: &str) -> ValueKind {
        json(text).unwrap().remove("a").unwrap().kind
    }

    #[test]
    fn accepts_comments_and_trailing_commas() {
        let text = r#"# "one
            // 'two
            { /* "three
                /* # // ***/ "a": [1, 2,], # four "
            } /*/ five */ // "#;
        assert!(matches!(value(text), ValueKind::Array(items) if items.len() == 2));
    }

    #[test]
    fn keeps_comment_markers_inside_strings() {
        for text in ["http://a/#b", "/* a */", "a # b", r"\\//", r##"\"#\"//"##] {
            let read = value(&format!(
                r#"{{"a": "{text}" # comment
            }}"#
            ));
            let plain = text.replace("\\\"", "\"").replace("\\\\", "\\");
            assert_eq!(read, ValueKind::String(plain));
        }
        assert_eq!(value("{'a': 'http://b/\\'#\"'}"), ValueKind::String("http://b/'#\"".into()));
    }

    #[test]
    fn parse_error_names_line_and_column() {
        let error = json("{ # ü comment\n  /* ü */ \"a\": oops\n}").unwrap_err();
        assert!(error.contains("line 2") && error.contains("column 16"), "{error}");
        for broken in ["", "[]", "7", "{", "{\"a\": \"", "{} /* open", "{\"a\": 1} x", "{\"a\" 1}"]
        {
            assert!(json(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn file_extension_selects_the_format() {
        let read = |name: &str, text: &str| parse(Path::new(name), text).unwrap()["a"].kind.clone();
        assert_eq!(read("f.yaml", "a: 1 # one"), ValueKind::I64(1));
        assert_eq!(read("f.YML", "a: 1"), ValueKind::I64(1));
        assert_eq!(read("f.toml", "a = 1 # one"), ValueKind::I64(1));
        assert_eq!(read("f.conf", "{\"a\": 1}"), ValueKind::I64(1));
        assert_eq!(read("f", "{\"a\": 1}"), ValueKind::I64(1));
    }

    #[test]
    fn parse_errors_do_not_show_file_contents() {
        let broken = [
            ("f.json", "{\"password\": \"hunter2}"),
            ("f.yaml", "password: \"hunter2"),
            ("f.toml", "[a]\npassword = \"hunter2"),
            ("f.toml", "password = hunter2"),
        ];
        for (name, text) in broken {
            let error = parse(Path::new(name), text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("line"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
