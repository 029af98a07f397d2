//! The last warnings and errors, for the admin interface.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use slog::{Drain, Duplicate, KV, Key, Logger, Never, OwnedKVList, Record, Serializer, o};

use super::log_level;
use crate::settings::LogLevel;

/// The number of lines that are kept.
const ENTRIES_MAX: usize = 50;
/// The longest text of a message or field, in characters. A longer text is truncated.
const TEXT_CHARS_MAX: usize = 1000;

/// One log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The time of the line.
    pub at: SystemTime,
    /// The level.
    pub level: LogLevel,
    /// The message.
    pub message: String,
    /// The fields: names and values.
    pub fields: Vec<(String, String)>,
}

/// The last lines at level WARNING and above. Clones share the lines.
#[derive(Clone, Debug, Default)]
pub struct RecentLogs(Arc<Mutex<VecDeque<LogEntry>>>);

impl RecentLogs {
    /// Returns all lines, the oldest first.
    pub fn read(&self) -> Vec<LogEntry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Returns a logger that writes to `log` and keeps the last lines.
    pub fn tee(&self, log: &Logger) -> Logger {
        Logger::root(Duplicate(log.clone(), self.clone()).ignore_res(), o!())
    }
}

impl Drain for RecentLogs {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let level = log_level(record);
        if level < LogLevel::Warning {
            return Ok(());
        }
        // The lock is taken afterwards: formatting runs foreign code, which may panic.
        let mut fields = Fields(Vec::new());
        let _ = values.serialize(record, &mut fields);
        let _ = record.kv().serialize(record, &mut fields);
        let message = truncated(record.msg().to_string());
        let entry = LogEntry { at: SystemTime::now(), level, message, fields: fields.0 };
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logs.len() == ENTRIES_MAX {
            logs.pop_front();
        }
        logs.push_back(entry);
        Ok(())
    }
}

struct Fields(Vec<(String, String)>);

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.0.push((key.to_owned(), truncated(value.to_string())));
        Ok(())
    }
}

fn truncated(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_latest_warnings_and_errors() {
        let logs = RecentLogs::default();
        let log = logs.tee(&Logger::root(slog::Discard, o!("actor" => "Registry")));
        notice!(log, "record published");
        slog::warn!(log, "docker unreachable"; "tries" => 3, "error" => %"refused");
        let entries = logs.read();
        assert_eq!(entries.len(), 1);
        assert_eq!(
            (entries[0].level, entries[0].message.as_str()),
            (LogLevel::Warning, "docker unreachable")
        );
        let mut fields = entries[0].fields.clone();
        fields.sort();
        let expected = [("error", "refused"), ("tries", "3")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for number in 0..2 * ENTRIES_MAX {
            slog::error!(log, "failed"; "number" => number);
        }
        let entries = logs.read();
        assert_eq!(entries.len(), ENTRIES_MAX);
        assert_eq!(entries[ENTRIES_MAX - 1].fields[0].1, (2 * ENTRIES_MAX - 1).to_string());
    }

    #[test]
    fn truncates_long_text_at_a_character() {
        let text = truncated("ü".repeat(TEXT_CHARS_MAX + 1));
        assert_eq!(text.chars().count(), TEXT_CHARS_MAX + 1);
        assert!(text.ends_with("ü…"));
        assert_eq!(truncated("short".to_owned()), "short");
    }
}
