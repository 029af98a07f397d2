//! The `Status` text of a listing row, such as `Up 5 minutes (healthy)`.
//!
//! A row has no field for the uptime, and most API versions have none for the health. Both are
//! parsed from this text. The engine writes the uptime with `units.HumanDuration` of
//! docker/go-units.

use std::time::Duration;

use highhock_actors::{Condition, Health};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// The texts in parentheses for a pause and for the states of a health check.
pub(super) const PAUSED: &str = "Paused";
pub(super) const STARTING: &str = "health: starting";
pub(super) const HEALTHY: &str = "healthy";
pub(super) const UNHEALTHY: &str = "unhealthy";

/// The parts of a row's `Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusText {
    /// The shortest uptime that the text can stand for. `None` if the container is not running, or
    /// if the wording is unknown.
    pub uptime: Option<Duration>,
    /// The text in the last parentheses: `healthy`, `health: starting`, `Paused`.
    pub note: Option<String>,
}

impl StatusText {
    /// Parses a text such as `Up 5 minutes (healthy)`.
    ///
    /// The parsed uptime never decreases while the real uptime grows, in spite of the engine's
    /// changing units.
    pub fn parse(text: &str) -> Self {
        let (duration, note) = match text.split_once(" (") {
            Some((duration, rest)) => {
                let note = rest.rsplit_once(')').map_or(rest, |(note, _)| note);
                (duration, Some(note.to_owned()))
            }
            None => (text, None),
        };
        let uptime = duration.strip_prefix("Up ").and_then(parse_seconds).map(Duration::from_secs);
        Self { uptime, note }
    }
}

impl StatusText {
    /// Returns the condition of the container, or `None` if the wording is unknown.
    pub fn condition(&self) -> Option<Condition> {
        self.uptime?;
        Some(match self.note.as_deref() {
            None => Condition::Running(Health::Unchecked),
            Some(PAUSED) => Condition::Paused,
            Some(HEALTHY) => Condition::Running(Health::Healthy),
            Some(UNHEALTHY) => Condition::Running(Health::Unhealthy),
            Some(STARTING) => Condition::Running(Health::Starting),
            Some(_) => return None,
        })
    }
}

/// Parses a human-readable duration and returns its seconds.
fn parse_seconds(duration: &str) -> Option<u64> {
    let duration = duration.trim();
    match duration {
        "Less than a second" => return Some(0),
        "About a minute" => return Some(MINUTE),
        "About an hour" => return Some(HOUR),
        _ => {}
    }
    let (count, unit) = duration.split_once(' ')?;
    let count: u64 = count.parse().ok()?;
    let unit = match unit {
        "second" | "seconds" => 1,
        "minute" | "minutes" => MINUTE,
        "hour" | "hours" => HOUR,
        "day" | "days" => DAY,
        "week" | "weeks" => WEEK,
        "month" | "months" => MONTH,
        // The engine counts in years from the second year on. In the half hour before the second
        // year, two roundings disagree, and the text changes from "24 months" to "1 years".
        "year" | "years" => return count.max(2).checked_mul(YEAR),
        _ => return None,
    };
    count.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_condition() {
        let condition = |text| StatusText::parse(text).condition();
        assert_eq!(condition("Up 5 minutes"), Some(Condition::Running(Health::Unchecked)));
        assert_eq!(condition("Up 5 minutes (healthy)"), Some(Condition::Running(Health::Healthy)));
        assert_eq!(
            condition("Up 1 second (unhealthy)"),
            Some(Condition::Running(Health::Unhealthy))
        );
        let starting = Some(Condition::Running(Health::Starting));
        assert_eq!(condition("Up Less than a second (health: starting)"), starting);
        assert_eq!(condition("Up 2 hours (Paused)"), Some(Condition::Paused));
        assert_eq!(condition("Up 2 hours (Unknown)"), None);
        assert_eq!(condition("Restarting (1) 3 seconds ago"), None);
    }

    #[test]
    fn parses_every_duration_of_the_engine() {
        for (text, expected, note) in [
            ("Up Less than a second", 0, None),
            ("Up 1 second", 1, None),
            ("Up 3 seconds", 3, None),
            ("Up About a minute", 60, None),
            ("Up 5 minutes (healthy)", 300, Some("healthy")),
            ("Up 5 seconds (health: starting)", 5, Some("health: starting")),
            ("Up About a minute (unhealthy)", 60, Some("unhealthy")),
            ("Up About an hour", 3600, None),
            ("Up 2 hours", 7200, None),
            ("Up 2 hours (Paused)", 7200, Some("Paused")),
            ("Up 3 days", 3 * 86_400, None),
            ("Up 2 weeks", 14 * 86_400, None),
            ("Up 5 months", 150 * 86_400, None),
            ("Up 2 years", 730 * 86_400, None),
        ] {
            let status = StatusText::parse(text);
            assert_eq!(status.uptime, Some(Duration::from_secs(expected)), "{text}");
            assert_eq!(status.note.as_deref(), note, "{text}");
        }
    }

    #[test]
    fn text_without_uptime_has_no_uptime() {
        for (text, note) in [
            ("", None),
            ("Up", None),
            ("Up a while", None),
            ("Up x minutes", None),
            ("Up 99999999999999999999 years", None),
            ("Up 18446744073709551615 weeks", None),
            ("Restarting (1) 5 seconds ago", Some("1")),
            ("Exited (137) 2 hours ago", Some("137")),
            ("Created", None),
            ("Up (", Some("")),
        ] {
            let expected = StatusText { uptime: None, note: note.map(str::to_owned) };
            assert_eq!(StatusText::parse(text), expected, "{text:?}");
        }
    }

    /// Rust version of `units.HumanDuration` in docker/go-units, for whole seconds.
    fn human_duration(seconds: u64) -> String {
        let (minutes, whole_hours) = (seconds / MINUTE, seconds / HOUR);
        let hours = (seconds + HOUR / 2) / HOUR;
        match () {
            () if seconds < 1 => "Less than a second".into(),
            () if seconds == 1 => "1 second".into(),
            () if seconds < 60 => format!("{seconds} seconds"),
            () if minutes == 1 => "About a minute".into(),
            () if minutes < 60 => format!("{minutes} minutes"),
            () if hours == 1 => "About an hour".into(),
            () if hours < 48 => format!("{hours} hours"),
            () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
            () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
            () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
            () => format!("{} years", whole_hours / 24 / 365),
        }
    }

    #[test]
    fn parsed_uptime_never_decreases() {
        let mut last = Duration::ZERO;
        // Each second of the first three hours, then each minute of four years.
        let moments = (0..3 * HOUR).chain((3 * HOUR..4 * YEAR).step_by(60));
        for moment in moments {
            let text = format!("Up {}", human_duration(moment));
            let read = StatusText::parse(&text).uptime;
            assert!(read >= Some(last), "{text} at {moment} s: {read:?} after {last:?}");
            last = read.unwrap();
        }
        assert_eq!(last, Duration::from_secs(3 * YEAR));
    }
}
