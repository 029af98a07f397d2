//! The eight levels of the log.

use std::str::FromStr;

use super::values::{ValueError, unknown_value};

/// The level of a log line, in ascending order of severity.
///
/// `deploy/README.md`, "Log levels", lists the lines of each level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every request.
    Debug,
    /// Every poll and refresh.
    Info,
    /// A record was published or withdrawn, or an outage ended.
    Notice,
    /// Something is wrong, and HighHock continues to work.
    Warning,
    /// An operator must act.
    Error,
    /// The daemon cannot do its work.
    Critical,
    /// The daemon ends.
    Alert,
    /// Never logged: this level silences the log.
    Emergency,
}

impl LogLevel {
    /// All levels, in ascending order of severity.
    pub const ALL: [Self; 8] = [
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warning,
        Self::Error,
        Self::Critical,
        Self::Alert,
        Self::Emergency,
    ];

    /// Returns the level's name in the configuration and in log lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
            Self::Alert => "ALERT",
            Self::Emergency => "EMERGENCY",
        }
    }
}

impl FromStr for LogLevel {
    type Err = ValueError;

    /// Parses a level's name in any case.
    ///
    /// `NOICE` is an older spelling of `NOTICE` (`config/README.md`, "Older spellings").
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.eq_ignore_ascii_case("NOICE") {
            return Ok(Self::Notice);
        }
        let named = |level: &Self| level.name().eq_ignore_ascii_case(text);
        let unknown = || unknown_value(text, &Self::ALL.map(Self::name));
        Self::ALL.into_iter().find(named).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_levels_in_any_case_and_the_old_misspelling() {
        for level in LogLevel::ALL {
            assert_eq!(level.name().parse(), Ok(level));
            assert_eq!(level.name().to_lowercase().parse(), Ok(level));
        }
        assert_eq!("NOICE".parse(), Ok(LogLevel::Notice));
        assert_eq!("".parse::<LogLevel>(), Err(ValueError::without_detail()));
        let near = ValueError::with_detail("the nearest value is WARNING");
        assert_eq!("warn".parse::<LogLevel>(), Err(near));
    }
}
