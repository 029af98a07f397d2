//! The log: lines on standard error, as text or JSON, with the eight levels of syslog.

mod recent;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use slog::{Drain, FnValue, Level, Logger, Never, OwnedKVList, PushFnValue, Record, error, o};
use slog_term::FullFormat;

use crate::settings::{Log, LogFormat, LogLevel};
use crate::text::rfc3339::rfc3339;
pub use recent::{LogEntry, RecentLogs};
use terminal::TerminalDecorator;

/// Creates a logger to standard error, and the control that changes it while the program runs.
pub fn logger(log: Log) -> (Logger, LogControl) {
    let colours = io::stderr().is_terminal();
    logger_to(Box::new(io::stderr()), log, colours)
}

/// Creates a logger to another output. Each line is written in one call. A line that cannot be
/// written is lost, without any other effect.
pub fn logger_to(out: Box<dyn Write + Send>, log: Log, colours: bool) -> (Logger, LogControl) {
    let out = Arc::new(Output(Mutex::new(out)));
    let terminal = FullFormat::new(TerminalDecorator { out: Arc::clone(&out), colours })
        .use_custom_timestamp(|io| write!(io, "{}", now()))
        .use_custom_header_print(terminal::print_header)
        .use_original_order()
        .build();
    let log_control = LogControl::default();
    log_control.set(log);
    (
        Logger::root(
            LogDrain { log_control: log_control.clone(), terminal, json: JsonDrain(out) },
            o!(),
        ),
        log_control,
    )
}

/// Changes the level and the format of a logger and of all loggers that are derived from it.
#[derive(Clone, Default)]
pub struct LogControl(Arc<LogState>);

#[derive(Default)]
struct LogState {
    /// The lowest level that is logged, as its number in [`LogLevel`].
    threshold: AtomicU8,
    as_json: AtomicBool,
}

impl LogControl {
    /// Sets the level and the format, from the next line on.
    pub fn set(&self, log: Log) {
        self.0.threshold.store(log.level as u8, Relaxed);
        self.0.as_json.store(log.format == LogFormat::Json, Relaxed);
    }
}

/// Installs a panic hook that logs a panic in one line, unlike the standard hook. The panic
/// continues as usual.
pub fn install_panic_hook(log: Logger) {
    std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        let payload = panic.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(log, "panicked"; "message" => message, "location" => location);
    }));
}

/// Returns the level of a log record.
///
/// slog has six levels. The two levels above `Critical` have a tag: `crit!(log, # "alert", …)`. The
/// edition requires the space after `#`.
fn log_level(record: &Record<'_>) -> LogLevel {
    match (record.level(), record.tag()) {
        (Level::Critical, "emergency") => LogLevel::Emergency,
        (Level::Critical, "alert") => LogLevel::Alert,
        (Level::Critical, _) => LogLevel::Critical,
        (Level::Error, _) => LogLevel::Error,
        (Level::Warning, _) => LogLevel::Warning,
        (Level::Info, _) => LogLevel::Notice,
        (Level::Debug, _) => LogLevel::Info,
        (Level::Trace, _) => LogLevel::Debug,
    }
}

fn now() -> String {
    rfc3339(SystemTime::now())
}

/// Drops records below the level, selects the format, and ignores write errors.
struct LogDrain<T> {
    log_control: LogControl,
    terminal: T,
    json: JsonDrain,
}

impl<T: Drain> Drain for LogDrain<T> {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let LogState { threshold, as_json } = &*self.log_control.0;
        if (log_level(record) as u8) < threshold.load(Relaxed) {
            return Ok(());
        }
        if as_json.load(Relaxed) {
            let _ = self.json.log(record, values);
        } else {
            let _ = self.terminal.log(record, values);
        }
        Ok(())
    }
}

/// The output of log lines.
///
/// The lock is held only while a line is written and not while it is formatted: formatting runs
/// foreign code, whose panic would be logged in turn.
struct Output(Mutex<Box<dyn Write + Send>>);

impl Output {
    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(line)?;
        out.flush()
    }
}

/// Writes one JSON object per line: time, level, message, and then the fields.
struct JsonDrain(Arc<Output>);

impl Drain for JsonDrain {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
        let mut line = Vec::with_capacity(256);
        // slog serialises the last entry of a list first.
        slog_json::Json::new(&mut line)
            .add_key_value(o!(
                "msg" => PushFnValue(|record: &Record<'_>, to| to.emit(record.msg())),
                "level" => FnValue(|record: &Record<'_>| log_level(record).name()),
                "ts" => FnValue(|_: &Record<'_>| now()),
            ))
            .build()
            .log(record, values)?;
        self.0.write(&line)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(
        level: LogLevel,
        format: LogFormat,
        colours: bool,
        act: impl FnOnce(Logger),
    ) -> String {
        let out = Shared::default();
        act(logger_to(Box::new(out.clone()), Log { level, format }, colours).0);
        out.text()
    }

    fn log_at_every_level(log: &Logger) {
        debug!(log, "line");
        info!(log, "line");
        notice!(log, "line");
        slog::warn!(log, "line");
        slog::error!(log, "line");
        slog::crit!(log, "line");
        slog::crit!(log, # "alert", "line");
        slog::crit!(log, # "emergency", "line");
    }

    #[test]
    fn each_level_filters_lower_levels() {
        for (index, level) in LogLevel::ALL.into_iter().enumerate() {
            for format in [LogFormat::Terminal, LogFormat::Json] {
                let text = logged(level, format, false, |log| log_at_every_level(&log));
                let lines: Vec<_> = text.lines().collect();
                let expected = &LogLevel::ALL[index..];
                assert_eq!(lines.len(), expected.len(), "{text}");
                for (line, level) in lines.iter().zip(expected) {
                    assert!(line.contains(level.name()), "{line}");
                }
            }
        }
    }

    #[test]
    fn terminal_line_has_time_level_message_and_fields() {
        let text = logged(LogLevel::Debug, LogFormat::Terminal, false, |log| {
            let log = log.new(o!("actor" => "inserter"));
            notice!(log, "record published"; "key" => "skydns/local/a", "ttl" => 60);
        });
        let (time, rest) = text.split_once(' ').unwrap();
        OffsetDateTime::parse(time, &Rfc3339).unwrap();
        assert!(time.ends_with('Z'), "{time}");
        assert_eq!(
            rest,
            "NOTICE    record published, actor: inserter, key: skydns/local/a, ttl: 60\n"
        );
    }

    #[test]
    fn json_line_has_time_level_message_and_fields() {
        let text = logged(LogLevel::Debug, LogFormat::Json, false, |log| {
            notice!(log, "record \"published\""; "key" => "skydns/local/a", "ttl" => 60);
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        OffsetDateTime::parse(line["ts"].as_str().unwrap(), &Rfc3339).unwrap();
        assert_eq!(line["level"], "NOTICE");
        assert_eq!(line["msg"], "record \"published\"");
        assert_eq!(line["key"], "skydns/local/a");
        assert_eq!(line["ttl"], 60);
        assert!(text.starts_with("{\"ts\":") && text.ends_with("}\n"), "{text}");
    }

    #[test]
    fn level_and_format_change_for_existing_loggers() {
        let out = Shared::default();
        let log = Log { level: LogLevel::Notice, format: LogFormat::Terminal };
        let (root, log_control) = logger_to(Box::new(out.clone()), log, false);
        let log = root.new(o!("actor" => "inserter"));
        debug!(log, "first");
        log_control.set(Log { level: LogLevel::Debug, format: LogFormat::Json });
        debug!(log, "second");
        log_control.set(Log { level: LogLevel::Error, format: LogFormat::Terminal });
        slog::warn!(log, "third");
        let text = out.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with('{') && text.contains("second"), "{text}");
    }

    #[test]
    fn uses_colours_only_if_enabled() {
        let line = |colours| {
            logged(LogLevel::Debug, LogFormat::Terminal, colours, |log| {
                slog::error!(log, "a"; "b" => "c");
            })
        };
        assert!(!line(false).contains('\x1b'));
        assert!(line(true).contains("\x1b[31mERROR"));
    }

    #[test]
    fn escapes_control_characters_in_field_values() {
        let text = logged(LogLevel::Debug, LogFormat::Terminal, false, |log| {
            slog::warn!(log, "entry skipped"; "entry" => "a\n2026 NOTICE ü\x1b[2J\u{9b}2J");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains(['\x1b', '\u{9b}']) && text.contains('ü'), "{text}");
    }

    #[test]
    fn ignores_write_errors() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        for format in [LogFormat::Terminal, LogFormat::Json] {
            let log = Log { level: LogLevel::Debug, format };
            log_at_every_level(&logger_to(Box::new(Full), log, false).0);
        }
    }

    #[test]
    fn survives_a_panic_while_formatting_a_field() {
        struct Panics;
        impl std::fmt::Display for Panics {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("on purpose")
            }
        }
        for format in [LogFormat::Terminal, LogFormat::Json] {
            let text = logged(LogLevel::Debug, format, false, |log| {
                let panicking = log.clone();
                let result = std::panic::catch_unwind(move || {
                    slog::warn!(panicking, "first"; "field" => %Panics);
                });
                assert!(result.is_err());
                slog::warn!(log, "second");
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains("second"));
        }
    }

    /// No test, but the child process of the next test, because a hook affects the whole process.
    #[test]
    #[ignore = "panics on purpose"]
    fn child_that_panics() {
        let log = Log { level: LogLevel::Notice, format: LogFormat::Json };
        install_panic_hook(logger(log).0);
        let number = 7;
        panic!("on purpose,\n{number} times");
    }

    #[test]
    fn logs_a_panic_as_one_error_line() {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "logging::tests::child_that_panics", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        let text = String::from_utf8(child.stderr).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("on purpose")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!((&line["level"], &line["msg"]), (&"ERROR".into(), &"panicked".into()));
        assert_eq!(line["message"], "on purpose,\n7 times");
        assert!(line["location"].as_str().unwrap().contains("logging/mod.rs:"), "{text}");
        assert!(!child.status.success());
    }
}
