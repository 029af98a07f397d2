//! The last warnings and errors, kept for whoever looks at the running daemon.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use slog::{Drain, Duplicate, KV, Key, Logger, Never, OwnedKVList, Record, Serializer, o};

use super::level_of;
use crate::settings::LogLevel;

/// How many lines are kept.
const KEPT: usize = 50;
/// The longest text of a field that is kept, in characters.
const LONGEST: usize = 1000;

/// A line of the log, in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastLine {
    /// When it was logged.
    pub at: SystemTime,
    /// How grave it is.
    pub level: LogLevel,
    /// What it says.
    pub message: String,
    /// Of what: names and values.
    pub fields: Vec<(String, String)>,
}

/// The last lines at WARNING and graver, the newest last. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct LastLines(Arc<Mutex<VecDeque<LastLine>>>);

impl LastLines {
    /// All of them, the oldest first.
    pub fn read(&self) -> Vec<LastLine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A logger that logs as this one does and keeps the last lines besides.
    pub fn kept_of(&self, log: &Logger) -> Logger {
        Logger::root(Duplicate(log.clone(), self.clone()).ignore_res(), o!())
    }
}

impl Drain for LastLines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let level = level_of(record);
        if level < LogLevel::Warning {
            return Ok(());
        }
        // Made before the lock is taken: it runs foreign code, which may panic.
        let mut fields = Fields(Vec::new());
        let _ = values.serialize(record, &mut fields);
        let _ = record.kv().serialize(record, &mut fields);
        let message = cut(record.msg().to_string());
        let line = LastLine { at: SystemTime::now(), level, message, fields: fields.0 };
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
        Ok(())
    }
}

struct Fields(Vec<(String, String)>);

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.0.push((key.to_owned(), cut(value.to_string())));
        Ok(())
    }
}

fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_warnings_and_errors_are_kept_and_nothing_else() {
        let lines = LastLines::default();
        let log = lines.kept_of(&Logger::root(slog::Discard, o!("actor" => "Registry")));
        notice!(log, "record put");
        slog::warn!(log, "docker does not answer"; "tries" => 3, "error" => %"refused");
        let kept = lines.read();
        assert_eq!(kept.len(), 1);
        assert_eq!(
            (kept[0].level, kept[0].message.as_str()),
            (LogLevel::Warning, "docker does not answer")
        );
        let mut fields = kept[0].fields.clone();
        fields.sort();
        let expected = [("error", "refused"), ("tries", "3")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for number in 0..2 * KEPT {
            slog::error!(log, "failed"; "number" => number);
        }
        let kept = lines.read();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[KEPT - 1].fields[0].1, (2 * KEPT - 1).to_string());
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let text = cut("ü".repeat(LONGEST + 1));
        assert_eq!(text.chars().count(), LONGEST + 1);
        assert!(text.ends_with("ü…"));
        assert_eq!(cut("short".to_owned()), "short");
    }
}
