//! The eight levels of the log.

use std::str::FromStr;

use super::values::ValueError;

/// How grave a log line must be to be written. The later is the graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Each request.
    Debug,
    /// Each poll and refresh.
    Info,
    /// A record put or withdrawn, an outage over.
    Notice,
    /// Something is not as it should be; HighHock lives with it.
    Warning,
    /// An operator must act.
    Error,
    /// The daemon can't do its work.
    Critical,
    /// The daemon ends.
    Alert,
    /// Worse than that: in effect, silence.
    Emergency,
}

impl LogLevel {
    /// All levels, the least grave first.
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

    /// The name that operators know it by.
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

    /// Reads a level's name in any case, and `NOICE`, as the first README spelt it.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.eq_ignore_ascii_case("NOICE") {
            return Ok(Self::Notice);
        }
        let named = |level: &Self| level.name().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(named).ok_or(ValueError::Invalid(None))
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
        assert!("".parse::<LogLevel>().is_err() && "WARN".parse::<LogLevel>().is_err());
    }
}
