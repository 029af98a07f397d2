//! Reads a configuration file: JSON with comments, YAML or TOML.

use std::io::ErrorKind;
use std::path::Path;

use config::{FileFormat, Format};

use super::document::Document;
use super::error::SettingsErrorKind;
use super::{json, yaml};

/// Reads a file; `Ok(None)` if it does not exist.
///
/// # Errors
/// Returns an error if the file cannot be read or parsed, or is empty. A parse error names the line
/// and column, if the format's parser reports them, and never contains text of the file, which may
/// hold passwords.
pub fn read(path: &Path) -> Result<Option<Document>, SettingsErrorKind> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SettingsErrorKind::UnreadableFile(error.to_string())),
    }
}

fn parse(path: &Path, text: &str) -> Result<Document, SettingsErrorKind> {
    if text.trim().is_empty() {
        return Err(SettingsErrorKind::EmptyFile);
    }
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    let root = match extension.as_deref().and_then(|extension| extension.to_str()) {
        Some("toml") => return toml(text),
        Some("yaml" | "yml") => yaml::parse(text),
        _ => json::parse(text),
    };
    match root.map_err(SettingsErrorKind::UnparsableFile)? {
        Some(root) => Document::from_root(root),
        None => Ok(Document { has_only_comments: true, ..Document::default() }),
    }
}

/// Parses TOML, which allows no key twice and nothing but a table at the top level.
fn toml(text: &str) -> Result<Document, SettingsErrorKind> {
    let parsed = FileFormat::Toml.parse(None, text);
    let table = parsed
        .map_err(|error| SettingsErrorKind::UnparsableFile(without_excerpt(&error.to_string())))?;
    let is_comment = |line: &str| line.is_empty() || line.starts_with('#');
    let has_only_comments = text.lines().map(str::trim).all(is_comment);
    Ok(Document { table, has_only_comments, ..Document::default() })
}

/// Removes the lines of the file from an error of the TOML parser.
fn without_excerpt(error: &str) -> String {
    let lines = error.lines().filter(|line| !line.contains('|'));
    lines.map(str::trim).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use config::ValueKind;

    use super::*;
    use crate::settings::document::RepeatedKey;

    fn json(text: &str) -> Result<Document, SettingsErrorKind> {
        parse(Path::new("highhock.json"), text)
    }

    fn value(text: &str) -> ValueKind {
        json(text).unwrap().table.remove("a").unwrap().kind
    }

    /// Returns the text of the error of a file.
    #[track_caller]
    fn error(name: &str, text: &str) -> String {
        parse(Path::new(name), text).unwrap_err().to_string()
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
    fn parse_error_names_one_position() {
        for (name, text, position) in [
            ("f.json", "{ # ü comment\n  /* ü */ \"a\": oops\n}", "line 2 column 16"),
            ("f.json", "{\"store\": \"standalone\" \"logLevel\": \"INFO\"}", "line 1 column 24"),
            ("f.json", "{\"etcd\": {\"ttl\": 60, \"url\" 1}}", "line 1 column 28"),
            ("f.json", "{\"etcd\": [1, [2 3]]}", "line 1 column 17"),
            ("f.yaml", "etcd:\n  url: \"http", "line 2 column 8"),
            ("f.yaml", "a: 1\n---\nb: 2", "line 2 column 1"),
            ("f.toml", "[etcd]\nurl = http", "line 2, column 7"),
        ] {
            let error = error(name, text);
            assert!(error.contains(position), "{error}");
            assert_eq!(error.matches("line ").count(), 1, "{error}");
            assert_eq!(error.matches("column ").count(), 1, "{error}");
        }
        for broken in ["{", "{\"a\": \"", "{} /* open", "{\"a\": 1} x", "{\"a\" 1}"] {
            assert!(error("f.json", broken).starts_with("cannot be parsed: "), "{broken}");
        }
    }

    #[test]
    fn top_level_must_be_a_table() {
        for (name, text, found) in [
            ("f.json", "[\"store\"]", "a list"),
            ("f.json", "7", "a number"),
            ("f.json", "'hunter2'", "a string"),
            ("f.json", "null", "null"),
            ("f.yaml", "- store", "a list"),
            ("f.yaml", "hunter2", "a string"),
            ("f.yaml", "---", "null"),
            ("f.yaml", "true", "a boolean"),
        ] {
            let expected = "expected a table of keys, such as store or etcd";
            assert_eq!(error(name, text), format!("found {found} at the top level; {expected}"));
        }
        assert!(error("f.toml", "[\"store\"").starts_with("cannot be parsed: "));
    }

    #[test]
    fn file_without_keys_is_empty_or_has_only_comments() {
        for name in ["f.json", "f.yaml", "f.toml"] {
            for text in ["", " \n\t\n"] {
                let parsed = parse(Path::new(name), text).unwrap_err();
                assert_eq!(parsed, SettingsErrorKind::EmptyFile, "{name}");
            }
            for (text, only_comments) in [("# a: 1\n\n  # b", true), ("#", true)] {
                let document = parse(Path::new(name), text).unwrap();
                assert_eq!(document.has_only_comments, only_comments, "{name}: {text:?}");
                assert!(document.table.is_empty());
            }
        }
        assert!(!json("{}").unwrap().has_only_comments);
        assert!(json("/* a */ // b").unwrap().has_only_comments);
    }

    #[test]
    fn finds_keys_that_are_given_twice() {
        let repeated = |key: &str, is_equal| RepeatedKey { key: key.to_owned(), is_equal };
        for (name, text) in [
            ("f.json", "{a: 1, b: {c: [1], c: [1]}, a: 2, 'b': {c: [1]}}"),
            ("f.yaml", "a: 1\nb:\n  c: [1]\n  c: [1]\na: 2\n'b': {c: [1]}"),
        ] {
            let document = parse(Path::new(name), text).unwrap();
            let expected = [repeated("b.c", true), repeated("a", false), repeated("b", true)];
            assert_eq!(document.repeated, expected, "{name}");
            assert_eq!(document.table["a"].kind, ValueKind::I64(1));
        }
        assert!(error("f.toml", "a = 1\na = 1").contains("duplicate key"));
    }

    #[test]
    fn yaml_values_have_their_types() {
        let text = "s: &x '1'\nt: *x\ni: 0x10\nf: 1.5\nb: true\nn: ~\nl: [a, 2]\nq: !!str 5\n";
        let table = parse(Path::new("f.yaml"), text).unwrap().table;
        for (key, value) in [
            ("s", ValueKind::String("1".into())),
            ("t", ValueKind::String("1".into())),
            ("i", ValueKind::I64(16)),
            ("f", ValueKind::Float(1.5)),
            ("b", ValueKind::Boolean(true)),
            ("n", ValueKind::Nil),
            ("q", ValueKind::String("5".into())),
        ] {
            assert_eq!(table[key].kind, value, "{key}");
        }
        assert!(error("f.yaml", "a: *unknown").contains("line 1"));
        assert!(error("f.yaml", "[a]: 1").contains("is no key"));
    }

    #[test]
    fn yaml_aliases_expand_to_a_limited_size() {
        let list =
            |level: usize, item: &str| format!("a{level}: &a{level} [{}]\n", [item; 10].join(", "));
        let nested = |levels: usize| -> String {
            let level = |level| list(level, &format!("*a{}", level - 1));
            list(0, "x") + &(1..=levels).map(level).collect::<String>()
        };
        let long = |aliases: usize| {
            format!("a0: &a '{}'\nb: [{}]", "x".repeat(100_000), vec!["*a"; aliases].join(", "))
        };
        for accepted in
            [nested(2), long(5), format!("a0: 'x'\nb: [{}]", vec!["1"; 100_000].join(","))]
        {
            let parsed = parse(Path::new("f.yaml"), &accepted);
            assert!(parsed.is_ok_and(|document| document.table.contains_key("a0")));
        }
        for refused in [nested(4), nested(100), long(20)] {
            let parsed = parse(Path::new("f.yaml"), &refused).map(drop);
            let text = parsed.unwrap_err().to_string();
            let reason = "anchors and aliases expand to more than 1 MiB; use fewer at line ";
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn file_extension_selects_the_format() {
        let read =
            |name: &str, text: &str| parse(Path::new(name), text).unwrap().table["a"].kind.clone();
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
            let error = error(name, text);
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("line"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
