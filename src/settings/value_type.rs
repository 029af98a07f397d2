//! The types of values, and the conversion of a written value to its normal form.

use config::{Value, ValueKind};

use super::values::{ValueError, unknown_value};

/// The encoding of a value, which depends on its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueEncoding {
    /// A typed value in a file: a number in quotes is a string.
    Typed,
    /// A text in an environment variable or a flag.
    Text,
}

/// Checks one string.
pub type Check = fn(&str) -> Result<(), ValueError>;

/// The type of a key's value, with the values allowed.
#[derive(Clone, Copy, Debug)]
pub enum ValueType {
    /// A whole number in a range.
    Integer {
        /// The lowest value allowed.
        min: u32,
        /// The highest value allowed.
        max: u32,
        /// The unit, for error messages.
        unit: &'static str,
    },
    /// `true` or `false`.
    Bool,
    /// One of these strings.
    Enum(&'static [&'static str]),
    /// A string that passes the check.
    String {
        /// A description of the values allowed.
        expected: &'static str,
        /// The check of a string.
        check: Check,
    },
    /// A list of different strings, each of which passes the check.
    List {
        /// A description of the values allowed.
        expected: &'static str,
        /// The check of a string.
        check: Check,
        /// `true` if the list may be empty.
        may_be_empty: bool,
    },
}

impl ValueType {
    /// Describes the values allowed.
    pub fn expected(&self) -> String {
        match self {
            Self::Integer { min, max, unit } => {
                format!("a whole number from {min} to {max} ({unit})")
            }
            Self::Bool => "true or false".to_owned(),
            Self::Enum(allowed) => one_of(allowed),
            Self::String { expected, .. } | Self::List { expected, .. } => (*expected).to_owned(),
        }
    }

    /// Checks a value and returns its normal form: a number, a boolean, a string or a list of
    /// strings.
    ///
    /// # Errors
    /// Returns an error if the value is not allowed.
    pub fn read(
        &self,
        written: &ValueKind,
        encoding: ValueEncoding,
    ) -> Result<ValueKind, ValueError> {
        let invalid = Err(ValueError::without_detail());
        match (self, written, encoding) {
            (Self::Integer { min, max, .. }, ValueKind::I64(number), _) => {
                if (i64::from(*min)..=i64::from(*max)).contains(number) {
                    Ok(ValueKind::I64(*number))
                } else {
                    invalid
                }
            }
            (Self::Integer { .. }, ValueKind::String(text), ValueEncoding::Text) => {
                match text.trim().parse() {
                    Ok(number) => self.read(&ValueKind::I64(number), encoding),
                    Err(_) => invalid,
                }
            }
            (Self::Bool, ValueKind::Boolean(value), _) => Ok(ValueKind::Boolean(*value)),
            (Self::Bool, ValueKind::String(text), ValueEncoding::Text) => {
                match text.trim().to_ascii_lowercase().parse() {
                    Ok(value) => Ok(ValueKind::Boolean(value)),
                    Err(_) => invalid,
                }
            }
            (Self::Enum(allowed), ValueKind::String(text), _) => {
                if allowed.contains(&text.as_str()) {
                    Ok(ValueKind::String(text.clone()))
                } else {
                    Err(unknown_value(text, allowed))
                }
            }
            (Self::String { check, .. }, ValueKind::String(text), _) => {
                check(text).map(|()| ValueKind::String(text.clone()))
            }
            (Self::List { check, may_be_empty, .. }, ValueKind::Array(items), _) => {
                if items.is_empty() && !may_be_empty {
                    Err(ValueError::with_detail("an empty list"))
                } else {
                    read_list(items, *check)
                }
            }
            (Self::List { .. }, ValueKind::String(text), ValueEncoding::Text) => {
                let items = split_list(text).ok_or(ValueError::without_detail())?;
                self.read(&ValueKind::Array(items), encoding)
            }
            _ => invalid,
        }
    }
}

/// Splits a list that is written as a text: `a,b` or, as in a file, `["a", "b"]`. `[::1]:53,b` is
/// a list of the first kind.
fn split_list(text: &str) -> Option<Vec<Value>> {
    let texts: Vec<String> = match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Ok(items) => serde_json::from_value(items.into()).ok()?,
        Err(_) => text.split(',').map(|item| item.trim().to_owned()).collect(),
    };
    Some(texts.into_iter().map(|item| Value::new(None, item)).collect())
}

fn read_list(items: &[Value], check: Check) -> Result<ValueKind, ValueError> {
    for (index, item) in items.iter().enumerate() {
        let ValueKind::String(text) = &item.kind else {
            return Err(ValueError::with_detail(format!(
                "{} is not a string",
                describe(&item.kind)
            )));
        };
        check(text).map_err(|error| match error.detail {
            None => ValueError::with_detail(format!("{} is not allowed", describe(&item.kind))),
            Some(_) => error,
        })?;
        if items[..index].iter().any(|earlier| earlier.kind == item.kind) {
            return Err(ValueError::with_detail("an entry is listed twice"));
        }
    }
    Ok(ValueKind::Array(items.to_vec()))
}

/// Joins alternatives: `a`, `a or b`, `a, b or c`.
fn one_of(alternatives: &[&str]) -> String {
    match alternatives.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => alternatives.concat(),
    }
}

/// Describes the type of a value that may contain passwords.
pub(super) fn describe_type(value: &ValueKind) -> &'static str {
    match value {
        ValueKind::Nil => "null",
        ValueKind::Boolean(_) => "a boolean",
        ValueKind::String(_) => "a string",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
        _ => "a number",
    }
}

/// Describes a value for an error message.
///
/// A string with an `@` may be a URL that contains a password, so it is never shown, whatever its
/// key.
pub(super) fn describe(value: &ValueKind) -> String {
    const TEXT_LENGTH_MAX: usize = 200;
    match value {
        ValueKind::Nil => "null".to_owned(),
        ValueKind::Boolean(value) => value.to_string(),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::I128(number) => number.to_string(),
        ValueKind::U64(number) => number.to_string(),
        ValueKind::U128(number) => number.to_string(),
        // `{:?}` prints 60.0 with its decimal point, which makes the value invalid.
        ValueKind::Float(number) => format!("{number:?}"),
        ValueKind::String(text) if text.contains('@') => {
            "a string with an @ (not shown because it may contain a password)".to_owned()
        }
        ValueKind::String(text) if text.len() > TEXT_LENGTH_MAX => {
            let start: String = text.chars().take(TEXT_LENGTH_MAX).collect();
            format!("a string of {} bytes that starts with {start:?}", text.len())
        }
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(items) => {
            let items: Vec<_> = items.iter().take(20).map(|item| describe(&item.kind)).collect();
            format!("the list [{}]", items.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: ValueType = ValueType::Integer { min: 5, max: 60, unit: "seconds" };
    const LIST: ValueType = ValueType::List {
        expected: "strings",
        check: |text| match text {
            "never" | "" => Err(ValueError::without_detail()),
            _ => Ok(()),
        },
        may_be_empty: false,
    };

    fn text(text: &str) -> ValueKind {
        ValueKind::String(text.to_owned())
    }

    fn list(items: &[&str]) -> ValueKind {
        ValueKind::Array(items.iter().map(|item| Value::new(None, *item)).collect())
    }

    #[test]
    fn integer_must_be_in_range() {
        for number in [5, 60] {
            assert_eq!(
                SECONDS.read(&ValueKind::I64(number), ValueEncoding::Typed),
                Ok(number.into())
            );
        }
        for number in [i64::MIN, -5, 0, 4, 61, i64::MAX] {
            assert!(
                SECONDS.read(&ValueKind::I64(number), ValueEncoding::Typed).is_err(),
                "{number}"
            );
        }
        assert!(SECONDS.read(&ValueKind::Float(10.0), ValueEncoding::Typed).is_err());
    }

    #[test]
    fn quoted_integer_is_valid_only_as_text() {
        assert!(SECONDS.read(&text("10"), ValueEncoding::Typed).is_err());
        assert_eq!(SECONDS.read(&text(" 10 "), ValueEncoding::Text), Ok(ValueKind::I64(10)));
        for invalid in ["", "ten", "10.0", "10s", "61", "99999999999999999999"] {
            assert!(SECONDS.read(&text(invalid), ValueEncoding::Text).is_err(), "{invalid}");
        }
    }

    #[test]
    fn quoted_bool_is_valid_only_as_text() {
        assert!(ValueType::Bool.read(&text("true"), ValueEncoding::Typed).is_err());
        assert_eq!(
            ValueType::Bool.read(&text("TRUE"), ValueEncoding::Text),
            Ok(ValueKind::Boolean(true))
        );
        assert!(ValueType::Bool.read(&text("yes"), ValueEncoding::Text).is_err());
        assert!(ValueType::Bool.read(&ValueKind::I64(1), ValueEncoding::Typed).is_err());
    }

    #[test]
    fn text_list_is_comma_separated_or_json() {
        for written in ["a,b", " a , b ", r#"["a", "b"]"#] {
            assert_eq!(
                LIST.read(&text(written), ValueEncoding::Text),
                Ok(list(&["a", "b"])),
                "{written}"
            );
        }
        assert_eq!(LIST.read(&list(&["a", "b"]), ValueEncoding::Typed), Ok(list(&["a", "b"])));
        assert!(LIST.read(&text("a"), ValueEncoding::Typed).is_err());
        for invalid in ["", "a,,b", "a,a", "[1]", "[]"] {
            assert!(LIST.read(&text(invalid), ValueEncoding::Text).is_err(), "{invalid}");
        }
        // A text that begins like JSON may be an address.
        assert_eq!(LIST.read(&text("[::1]:53"), ValueEncoding::Text), Ok(list(&["[::1]:53"])));
        assert_eq!(
            LIST.read(&text("[::1]:53,b"), ValueEncoding::Text),
            Ok(list(&["[::1]:53", "b"]))
        );
    }

    #[test]
    fn rejects_a_list_with_an_invalid_entry() {
        let invalid = |detail: &str| Err(ValueError::with_detail(detail));
        let read = |written: &ValueKind| LIST.read(written, ValueEncoding::Typed);
        assert_eq!(read(&list(&["a", "never"])), invalid("\"never\" is not allowed"));
        let number = ValueKind::Array(vec![Value::new(None, "a"), Value::new(None, 5354_i64)]);
        assert_eq!(read(&number), invalid("5354 is not a string"));
        let secret = LIST.read(&list(&["root:hunter2@a", "root:hunter2@a"]), ValueEncoding::Typed);
        assert_eq!(secret, invalid("an entry is listed twice"));
    }

    #[test]
    fn list_is_empty_only_if_allowed() {
        let ValueType::List { expected, check, .. } = LIST else { panic!("not a list") };
        let optional = ValueType::List { expected, check, may_be_empty: true };
        for (written, encoding) in
            [(list(&[]), ValueEncoding::Typed), (text("[]"), ValueEncoding::Text)]
        {
            assert_eq!(optional.read(&written, encoding), Ok(list(&[])));
            assert!(LIST.read(&written, encoding).is_err());
        }
    }

    #[test]
    fn describes_values_without_passwords() {
        assert_eq!(describe(&text("10")), "\"10\"");
        assert_eq!(describe(&ValueKind::I64(10)), "10");
        assert_eq!(describe(&ValueKind::Float(60.0)), "60.0");
        assert_eq!(describe(&list(&["a"])), "the list [\"a\"]");
        assert!(!describe(&text("http://root:hunter2@etcd/")).contains("hunter2"));
        assert!(!describe(&list(&["http://root:hunter2@etcd/"])).contains("hunter2"));
        assert!(describe(&text(&"ü".repeat(5000))).len() < 1000);
    }

    #[test]
    fn joins_alternatives_with_or() {
        assert_eq!(one_of(&["a"]), "a");
        assert_eq!(one_of(&["a", "b"]), "a or b");
        assert_eq!(one_of(&["a", "b", "c"]), "a, b or c");
    }
}
