//! What a row's `Status` text says: how long the container has been up, and
//! what stands in brackets.

use std::time::Duration;

use highhock_actors::{Condition, Health};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 30 * DAY;
const YEAR: u64 = 365 * DAY;

/// What stands in brackets of a container that is frozen, or has a health check.
pub(super) const PAUSED: &str = "Paused";
pub(super) const STARTING: &str = "health: starting";
pub(super) const HEALTHY: &str = "healthy";
pub(super) const UNHEALTHY: &str = "unhealthy";

/// A row's `Status`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusText {
    /// The least time that the wording stands for; `None` where the text doesn't
    /// speak of a running container, or not in words known here.
    pub uptime: Option<Duration>,
    /// The text in the last brackets: `healthy`, `health: starting`, `Paused`.
    pub note: Option<String>,
}

impl StatusText {
    /// Reads `Up 5 minutes (healthy)` and its like.
    ///
    /// The engine writes the time by `units.HumanDuration` of docker/go-units;
    /// a longer time never reads as a shorter one here, through all of its steps.
    pub fn parse(text: &str) -> Self {
        let (words, note) = match text.split_once(" (") {
            Some((words, rest)) => {
                let note = rest.rsplit_once(')').map_or(rest, |(note, _)| note);
                (words, Some(note.to_owned()))
            }
            None => (text, None),
        };
        let uptime = words.strip_prefix("Up ").and_then(parse_seconds).map(Duration::from_secs);
        Self { uptime, note }
    }
}

impl StatusText {
    /// What the container is doing; `None` where that isn't told in words known here.
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

/// Seconds of a human duration.
fn parse_seconds(words: &str) -> Option<u64> {
    match words.trim() {
        "Less than a second" => return Some(0),
        "About a minute" => return Some(MINUTE),
        "About an hour" => return Some(HOUR),
        _ => {}
    }
    let (count, unit) = words.trim().split_once(' ')?;
    let count: u64 = count.parse().ok()?;
    let unit = match unit {
        "second" | "seconds" => 1,
        "minute" | "minutes" => MINUTE,
        "hour" | "hours" => HOUR,
        "day" | "days" => DAY,
        "week" | "weeks" => WEEK,
        "month" | "months" => MONTH,
        // The engine counts in years from the second on. In the half hour before
        // it, two roundings disagree and it writes "1 years", after "24 months".
        "year" | "years" => return count.max(2).checked_mul(YEAR),
        _ => return None,
    };
    count.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_condition() {
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
        assert_eq!(condition("Up 2 hours (Dreaming)"), None);
        assert_eq!(condition("Restarting (1) 3 seconds ago"), None);
    }

    #[test]
    fn parses_every_wording_of_the_engine() {
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
    fn text_without_uptime_is_none() {
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

    /// `units.HumanDuration` of docker/go-units, for a number of whole seconds.
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
