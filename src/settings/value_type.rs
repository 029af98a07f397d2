//! What a key takes, and how a value is brought to its one plain form.

use config::{Value, ValueKind};

use super::values::ValueError;

/// Where a value was written decides how it may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueEncoding {
    /// In a file, which has types: a number in quotes is no number.
    Typed,
    /// In an environment variable or a flag, where all is text.
    Text,
}

/// Reads one text; only whether it fits is of interest here.
pub type Check = fn(&str) -> Result<(), ValueError>;

/// The type of a key's value and what it may be.
#[derive(Clone, Copy, Debug)]
pub enum ValueType {
    /// A whole number.
    Integer {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
        /// What it counts.
        unit: &'static str,
    },
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Enum(&'static [&'static str]),
    /// A text that passes the check.
    String {
        /// What the check lets pass, in words.
        expected: &'static str,
        /// The check.
        check: Check,
    },
    /// A list of texts that each pass the check, none twice.
    List {
        /// What the check lets pass, in words.
        expected: &'static str,
        /// The check.
        check: Check,
        /// Whether no entry at all is a value, too.
        may_be_empty: bool,
    },
}

impl ValueType {
    /// What it takes, in words.
    pub fn expected(&self) -> String {
        match self {
            Self::Integer { min, max, unit } => {
                format!("a whole number from {min} to {max} ({unit})")
            }
            Self::Bool => "true or false".to_owned(),
            Self::Enum(words) => one_of(words),
            Self::String { expected, .. } | Self::List { expected, .. } => (*expected).to_owned(),
        }
    }

    /// Checks a value and brings it to its plain form: a number, a truth value,
    /// a text, a list of texts.
    pub fn read(
        &self,
        written: &ValueKind,
        encoding: ValueEncoding,
    ) -> Result<ValueKind, ValueError> {
        let invalid = Err(ValueError::Invalid(None));
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
            (Self::Bool, ValueKind::Boolean(truth), _) => Ok(ValueKind::Boolean(*truth)),
            (Self::Bool, ValueKind::String(text), ValueEncoding::Text) => {
                match text.trim().to_ascii_lowercase().parse() {
                    Ok(truth) => Ok(ValueKind::Boolean(truth)),
                    Err(_) => invalid,
                }
            }
            (Self::Enum(words), ValueKind::String(text), _) => {
                if words.contains(&text.as_str()) {
                    Ok(ValueKind::String(text.clone()))
                } else {
                    invalid
                }
            }
            (Self::String { check, .. }, ValueKind::String(text), _) => {
                check(text).map(|()| ValueKind::String(text.clone()))
            }
            (Self::List { check, may_be_empty, .. }, ValueKind::Array(items), _) => {
                if items.is_empty() && !may_be_empty {
                    Err(ValueError::Invalid(Some("an empty list".to_owned())))
                } else {
                    read_list(items, *check)
                }
            }
            (Self::List { .. }, ValueKind::String(text), ValueEncoding::Text) => {
                let items = split_list(text).ok_or(ValueError::Invalid(None))?;
                self.read(&ValueKind::Array(items), encoding)
            }
            _ => invalid,
        }
    }
}

/// A list written as text: `a,b` or, as in a file, `["a", "b"]`. `[::1]:53,b` is the
/// former.
fn split_list(text: &str) -> Option<Vec<Value>> {
    let texts: Vec<String> = match serde_json::from_str::<Vec<serde_json::Value>>(text) {
        Ok(items) => serde_json::from_value(items.into()).ok()?,
        Err(_) => text.split(',').map(|item| item.trim().to_owned()).collect(),
    };
    Some(texts.into_iter().map(|item| Value::new(None, item)).collect())
}

fn read_list(items: &[Value], check: Check) -> Result<ValueKind, ValueError> {
    let invalid = |message: String| Err(ValueError::Invalid(Some(message)));
    for (index, item) in items.iter().enumerate() {
        let ValueKind::String(text) = &item.kind else {
            return invalid(format!("{} is no text", describe(&item.kind)));
        };
        match check(text) {
            Err(ValueError::Invalid(None)) => {
                return invalid(format!("{} does not fit", describe(&item.kind)));
            }
            checked => checked?,
        }
        if items[..index].iter().any(|earlier| earlier.kind == item.kind) {
            return invalid("an entry stands twice".to_owned());
        }
    }
    Ok(ValueKind::Array(items.to_vec()))
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// What stands there, in words. A text with an `@` may be a URL with a
/// password in it and is never shown, whatever its key.
pub(super) fn describe(value: &ValueKind) -> String {
    const TEXT_LENGTH_MAX: usize = 200;
    match value {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::Boolean(truth) => truth.to_string(),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::I128(number) => number.to_string(),
        ValueKind::U64(number) => number.to_string(),
        ValueKind::U128(number) => number.to_string(),
        // `{:?}` keeps the point of 60.0, which is what is wrong with it.
        ValueKind::Float(number) => format!("{number:?}"),
        ValueKind::String(text) if text.contains('@') => {
            "a text with an @ (not shown: it may hold a password)".to_owned()
        }
        ValueKind::String(text) if text.len() > TEXT_LENGTH_MAX => {
            let start: String = text.chars().take(TEXT_LENGTH_MAX).collect();
            format!("a text of {} bytes that starts {start:?}", text.len())
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
    const WORDS: ValueType = ValueType::List {
        expected: "words",
        check: |text| match text {
            "never" | "" => Err(ValueError::Invalid(None)),
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
                WORDS.read(&text(written), ValueEncoding::Text),
                Ok(list(&["a", "b"])),
                "{written}"
            );
        }
        assert_eq!(WORDS.read(&list(&["a", "b"]), ValueEncoding::Typed), Ok(list(&["a", "b"])));
        assert!(WORDS.read(&text("a"), ValueEncoding::Typed).is_err());
        for invalid in ["", "a,,b", "a,a", "[1]", "[]"] {
            assert!(WORDS.read(&text(invalid), ValueEncoding::Text).is_err(), "{invalid}");
        }
        // What begins as JSON does may be an address.
        assert_eq!(WORDS.read(&text("[::1]:53"), ValueEncoding::Text), Ok(list(&["[::1]:53"])));
        assert_eq!(
            WORDS.read(&text("[::1]:53,b"), ValueEncoding::Text),
            Ok(list(&["[::1]:53", "b"]))
        );
    }

    #[test]
    fn rejects_a_list_with_an_invalid_entry() {
        let invalid = |message: &str| Err(ValueError::Invalid(Some(message.to_owned())));
        let read = |written: &ValueKind| WORDS.read(written, ValueEncoding::Typed);
        assert_eq!(read(&list(&["a", "never"])), invalid("\"never\" does not fit"));
        let number = ValueKind::Array(vec![Value::new(None, "a"), Value::new(None, 5354_i64)]);
        assert_eq!(read(&number), invalid("5354 is no text"));
        let secret = WORDS.read(&list(&["root:hunter2@a", "root:hunter2@a"]), ValueEncoding::Typed);
        assert_eq!(secret, invalid("an entry stands twice"));
    }

    #[test]
    fn list_is_empty_only_if_allowed() {
        let ValueType::List { expected, check, .. } = WORDS else { panic!("it is a list") };
        let optional = ValueType::List { expected, check, may_be_empty: true };
        for (written, encoding) in
            [(list(&[]), ValueEncoding::Typed), (text("[]"), ValueEncoding::Text)]
        {
            assert_eq!(optional.read(&written, encoding), Ok(list(&[])));
            assert!(WORDS.read(&written, encoding).is_err());
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
