//! Log lines as text, in colours on a terminal.

use std::io::{self, Write};
use std::sync::Arc;

use slog::{OwnedKVList, Record};
use slog_term::{Decorator, RecordDecorator, ThreadSafeTimestampFn};

use super::{Output, log_level};
use crate::settings::LogLevel;
use crate::text::escape::is_terminal_control;

/// Writes the part of a line before its fields: time, level and message.
pub(super) fn print_header(
    timestamp: &dyn ThreadSafeTimestampFn<Output = io::Result<()>>,
    mut line: &mut dyn RecordDecorator,
    record: &Record<'_>,
    _: bool,
) -> io::Result<bool> {
    line.start_timestamp()?;
    timestamp(&mut line)?;
    line.start_whitespace()?;
    write!(line, " ")?;
    line.start_level()?;
    write!(line, "{:<9}", log_level(record).name())?;
    line.start_whitespace()?;
    write!(line, " ")?;
    line.start_msg()?;
    write!(line, "{}", record.msg())?;
    Ok(true)
}

/// Formats lines as text.
pub(super) struct TerminalDecorator {
    /// The output of the lines.
    pub out: Arc<Output>,
    /// `true` for lines in colours.
    pub colours: bool,
}

impl Decorator for TerminalDecorator {
    fn with_record<F>(&self, record: &Record<'_>, _: &OwnedKVList, print: F) -> io::Result<()>
    where
        F: FnOnce(&mut dyn RecordDecorator) -> io::Result<()>,
    {
        let colours = self.colours.then(|| colour(log_level(record)));
        let mut line = TerminalLine { text: Vec::with_capacity(256), colours, untrusted: false };
        print(&mut line)?;
        self.out.write(&line.text)
    }
}

/// Returns the ANSI colour of a level.
fn colour(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "34",
        LogLevel::Info => "36",
        LogLevel::Notice => "32",
        LogLevel::Warning => "33",
        LogLevel::Error => "31",
        LogLevel::Critical | LogLevel::Alert | LogLevel::Emergency => "1;31",
    }
}

/// An unfinished line.
struct TerminalLine {
    text: Vec<u8>,
    /// The level's colour; `None` without colours.
    colours: Option<&'static str>,
    /// `true` while the text may come from a container.
    untrusted: bool,
}

impl TerminalLine {
    fn start(&mut self, code: Option<&str>, untrusted: bool) -> io::Result<()> {
        self.untrusted = untrusted;
        match (self.colours, code) {
            (Some(_), Some(code)) => write!(self.text, "\x1b[{code}m"),
            (Some(_), None) => write!(self.text, "\x1b[0m"),
            (None, _) => Ok(()),
        }
    }
}

impl Write for TerminalLine {
    /// Writes text, and escapes control characters if the text may be foreign. Otherwise a
    /// container could forge or hide lines of this log.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.untrusted {
            return self.text.write(bytes);
        }
        for c in String::from_utf8_lossy(bytes).chars() {
            if is_terminal_control(c) {
                write!(self.text, "{}", c.escape_default())?
            } else {
                write!(self.text, "{c}")?
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl RecordDecorator for TerminalLine {
    fn reset(&mut self) -> io::Result<()> {
        self.start(None, false)
    }

    fn start_level(&mut self) -> io::Result<()> {
        self.start(self.colours, false)
    }

    fn start_msg(&mut self) -> io::Result<()> {
        self.start(Some("1"), true)
    }

    fn start_key(&mut self) -> io::Result<()> {
        self.start(Some("2"), true)
    }

    fn start_value(&mut self) -> io::Result<()> {
        self.start(None, true)
    }
}
