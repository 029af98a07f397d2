//! What a key takes, and how a value is brought to its one plain form.

use config::{Value, ValueKind};

use super::values::Rejection;

/// Where a value was written decides how it may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In a file, which has types: a number in quotes is no number.
    Typed,
    /// In an environment variable or a flag, where all is text.
    Text,
}

/// Reads one text; only whether it fits is of interest here.
pub type Check = fn(&str) -> Result<(), Rejection>;

/// The type of a key's value and what it may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number.
    Whole {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
        /// What it counts.
        unit: &'static str,
    },
    /// `true` or `false`.
    Truth,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text that passes the check.
    Text {
        /// What the check lets pass, in words.
        takes: &'static str,
        /// The check.
        check: Check,
    },
    /// A list of texts that each pass the check, none twice.
    List {
        /// What the check lets pass, in words.
        takes: &'static str,
        /// The check.
        check: Check,
        /// Whether no entry at all is a value, too.
        empty: bool,
    },
}

impl Kind {
    /// What it takes, in words.
    pub fn takes(&self) -> String {
        match self {
            Self::Whole { min, max, unit } => {
                format!("a whole number from {min} to {max} ({unit})")
            }
            Self::Truth => "true or false".to_owned(),
            Self::Choice(words) => one_of(words),
            Self::Text { takes, .. } | Self::List { takes, .. } => (*takes).to_owned(),
        }
    }

    /// Checks a value and brings it to its plain form: a number, a truth value,
    /// a text, a list of texts.
    pub fn read(&self, written: &ValueKind, form: Form) -> Result<ValueKind, Rejection> {
        let unfit = Err(Rejection::Unfit(None));
        match (self, written, form) {
            (Self::Whole { min, max, .. }, ValueKind::I64(number), _) => {
                match (i64::from(*min)..=i64::from(*max)).contains(number) {
                    true => Ok(ValueKind::I64(*number)),
                    false => unfit,
                }
            }
            (Self::Whole { .. }, ValueKind::String(text), Form::Text) => {
                match text.trim().parse() {
                    Ok(number) => self.read(&ValueKind::I64(number), form),
                    Err(_) => unfit,
                }
            }
            (Self::Truth, ValueKind::Boolean(truth), _) => Ok(ValueKind::Boolean(*truth)),
            (Self::Truth, ValueKind::String(text), Form::Text) => {
                match text.trim().to_ascii_lowercase().parse() {
                    Ok(truth) => Ok(ValueKind::Boolean(truth)),
                    Err(_) => unfit,
                }
            }
            (Self::Choice(words), ValueKind::String(text), _) => {
                match words.contains(&text.as_str()) {
                    true => Ok(ValueKind::String(text.clone())),
                    false => unfit,
                }
            }
            (Self::Text { check, .. }, ValueKind::String(text), _) => {
                check(text).map(|()| ValueKind::String(text.clone()))
            }
            (Self::List { check, empty, .. }, ValueKind::Array(items), _) => {
                match items.is_empty() && !empty {
                    true => Err(Rejection::Unfit(Some("an empty list".to_owned()))),
                    false => read_list(items, *check),
                }
            }
            (Self::List { .. }, ValueKind::String(text), Form::Text) => {
                let items = split_list(text).ok_or(Rejection::Unfit(None))?;
                self.read(&ValueKind::Array(items), form)
            }
            _ => unfit,
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

fn read_list(items: &[Value], check: Check) -> Result<ValueKind, Rejection> {
    let because = |what: String| Err(Rejection::Unfit(Some(what)));
    for (index, item) in items.iter().enumerate() {
        let ValueKind::String(text) = &item.kind else {
            return because(format!("{} is no text", found(&item.kind)));
        };
        match check(text) {
            Err(Rejection::Unfit(None)) => {
                return because(format!("{} does not fit", found(&item.kind)));
            }
            checked => checked?,
        }
        if items[..index].iter().any(|earlier| earlier.kind == item.kind) {
            return because("an entry stands twice".to_owned());
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
pub(super) fn found(value: &ValueKind) -> String {
    const LONGEST: usize = 200;
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
        ValueKind::String(text) if text.len() > LONGEST => {
            let start: String = text.chars().take(LONGEST).collect();
            format!("a text of {} bytes that starts {start:?}", text.len())
        }
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(items) => {
            let items: Vec<_> = items.iter().take(20).map(|item| found(&item.kind)).collect();
            format!("the list [{}]", items.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Kind = Kind::Whole { min: 5, max: 60, unit: "seconds" };
    const WORDS: Kind = Kind::List {
        takes: "words",
        check: |text| match text {
            "never" | "" => Err(Rejection::Unfit(None)),
            _ => Ok(()),
        },
        empty: false,
    };

    fn text(text: &str) -> ValueKind {
        ValueKind::String(text.to_owned())
    }

    fn list(items: &[&str]) -> ValueKind {
        ValueKind::Array(items.iter().map(|item| Value::new(None, *item)).collect())
    }

    #[test]
    fn a_number_is_a_whole_one_within_its_range() {
        for number in [5, 60] {
            assert_eq!(SECONDS.read(&ValueKind::I64(number), Form::Typed), Ok(number.into()));
        }
        for number in [i64::MIN, -5, 0, 4, 61, i64::MAX] {
            assert!(SECONDS.read(&ValueKind::I64(number), Form::Typed).is_err(), "{number}");
        }
        assert!(SECONDS.read(&ValueKind::Float(10.0), Form::Typed).is_err());
    }

    #[test]
    fn a_number_in_quotes_is_one_only_where_all_is_text() {
        assert!(SECONDS.read(&text("10"), Form::Typed).is_err());
        assert_eq!(SECONDS.read(&text(" 10 "), Form::Text), Ok(ValueKind::I64(10)));
        for unfit in ["", "ten", "10.0", "10s", "61", "99999999999999999999"] {
            assert!(SECONDS.read(&text(unfit), Form::Text).is_err(), "{unfit}");
        }
    }

    #[test]
    fn a_truth_value_in_quotes_is_one_only_where_all_is_text() {
        assert!(Kind::Truth.read(&text("true"), Form::Typed).is_err());
        assert_eq!(Kind::Truth.read(&text("TRUE"), Form::Text), Ok(ValueKind::Boolean(true)));
        assert!(Kind::Truth.read(&text("yes"), Form::Text).is_err());
        assert!(Kind::Truth.read(&ValueKind::I64(1), Form::Typed).is_err());
    }

    #[test]
    fn a_list_in_text_is_separated_by_commas_or_json() {
        for written in ["a,b", " a , b ", r#"["a", "b"]"#] {
            assert_eq!(WORDS.read(&text(written), Form::Text), Ok(list(&["a", "b"])), "{written}");
        }
        assert_eq!(WORDS.read(&list(&["a", "b"]), Form::Typed), Ok(list(&["a", "b"])));
        assert!(WORDS.read(&text("a"), Form::Typed).is_err());
        for unfit in ["", "a,,b", "a,a", "[1]", "[]"] {
            assert!(WORDS.read(&text(unfit), Form::Text).is_err(), "{unfit}");
        }
        // What begins as JSON does may be an address.
        assert_eq!(WORDS.read(&text("[::1]:53"), Form::Text), Ok(list(&["[::1]:53"])));
        assert_eq!(WORDS.read(&text("[::1]:53,b"), Form::Text), Ok(list(&["[::1]:53", "b"])));
    }

    #[test]
    fn a_list_with_an_entry_that_does_not_fit_does_not_either() {
        let unfit = |said: &str| Err(Rejection::Unfit(Some(said.to_owned())));
        let read = |written: &ValueKind| WORDS.read(written, Form::Typed);
        assert_eq!(read(&list(&["a", "never"])), unfit("\"never\" does not fit"));
        let number = ValueKind::Array(vec![Value::new(None, "a"), Value::new(None, 5354_i64)]);
        assert_eq!(read(&number), unfit("5354 is no text"));
        let secret = WORDS.read(&list(&["root:hunter2@a", "root:hunter2@a"]), Form::Typed);
        assert_eq!(secret, unfit("an entry stands twice"));
    }

    #[test]
    fn a_list_may_be_empty_only_where_that_says_something() {
        let Kind::List { takes, check, .. } = WORDS else { panic!("it is a list") };
        let may_be = Kind::List { takes, check, empty: true };
        for (written, form) in [(list(&[]), Form::Typed), (text("[]"), Form::Text)] {
            assert_eq!(may_be.read(&written, form), Ok(list(&[])));
            assert!(WORDS.read(&written, form).is_err());
        }
    }

    #[test]
    fn what_was_found_is_shown_by_its_type_and_never_with_a_password() {
        assert_eq!(found(&text("10")), "\"10\"");
        assert_eq!(found(&ValueKind::I64(10)), "10");
        assert_eq!(found(&ValueKind::Float(60.0)), "60.0");
        assert_eq!(found(&list(&["a"])), "the list [\"a\"]");
        assert!(!found(&text("http://root:hunter2@etcd/")).contains("hunter2"));
        assert!(!found(&list(&["http://root:hunter2@etcd/"])).contains("hunter2"));
        assert!(found(&text(&"ü".repeat(5000))).len() < 1000);
    }

    #[test]
    fn alternatives_read_as_a_person_would_say_them() {
        assert_eq!(one_of(&["a"]), "a");
        assert_eq!(one_of(&["a", "b"]), "a or b");
        assert_eq!(one_of(&["a", "b", "c"]), "a, b or c");
    }
}
