//! The operator's table of failures, and the place that a row names.

use std::time::Duration;

use serde_json::Value;

use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::eventually;

const PAGE: &str = include_str!("../../../deploy/README.md");
const HEADING: &str = "## When things fail";

/// The limit until a fault, or its end, is visible. A rejected write is retried after 30 s.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A row of the table.
pub struct FaultRow {
    pub failure: String,
    /// The text between the first backticks: an endpoint or a command.
    pub place: String,
}

/// The rows of the table, from top to bottom.
pub fn rows() -> Vec<FaultRow> {
    let (_, section) = PAGE.split_once(HEADING).expect("the section with the table");
    let lines = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    lines.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn row(line: &str) -> FaultRow {
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [failure, effect, place, remedy] = cells[..] else { panic!("four columns: {line}") };
    assert!(!effect.is_empty() && !remedy.is_empty(), "{line}");
    let place = place.split('`').nth(1).unwrap_or_else(|| panic!("no place in {line}"));
    FaultRow { failure: failure.to_owned(), place: place.to_owned() }
}

/// A fault, observed only at the place that the table names.
pub struct FaultCase {
    pub place: &'static str,
}

impl FaultCase {
    /// The current content of the place.
    fn content(&self, admin: Admin) -> String {
        let Some(command) = self.place.strip_prefix("highhock ") else {
            return admin.get(self.place).body;
        };
        let highhock = Highhock::new("http://127.0.0.1:1").flag("--admin-listen", &admin.listen());
        let output = highhock.output(&command.split(' ').collect::<Vec<_>>());
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Waits until the content has all these parts. Returns the content.
    #[track_caller]
    pub fn wait_until_shown(&self, admin: Admin, parts: &[&str]) -> String {
        let what = format!("{} shows {parts:?}", self.place);
        self.wait_until(&what, admin, |content| parts.iter().all(|part| content.contains(part)))
    }

    /// Waits until no part of the content matches.
    #[track_caller]
    pub fn wait_until_gone(&self, admin: Admin, part: &str) -> String {
        let what = format!("{} shows no {part:?}", self.place);
        self.wait_until(&what, admin, |content| !content.is_empty() && !content.contains(part))
    }

    #[track_caller]
    fn wait_until(&self, what: &str, admin: Admin, matches: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let content = eventually_or(what, || {
            last = self.content(admin);
            matches(&last).then(|| last.clone())
        });
        content.unwrap_or_else(|| panic!("{what}: not within {TIMEOUT:?}, but:\n{last}"))
    }

    /// Waits for a matching row. Returns the row.
    #[track_caller]
    pub fn row(&self, admin: Admin, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let content = self.wait_until(what, admin, |content| find(content, &matches).is_some());
        find(&content, &matches).unwrap()
    }
}

fn find(content: &str, matches: impl Fn(&Value) -> bool) -> Option<Value> {
    let rows: Value = serde_json::from_str(content).ok()?;
    rows.as_array()?.iter().find(|row| matches(row)).cloned()
}

/// Like `eventually`, but returns `None` instead of panicking.
fn eventually_or<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = tokio::time::Instant::now() + TIMEOUT;
    eventually(what, TIMEOUT * 2, || match condition() {
        Some(value) => Some(Some(value)),
        None => (tokio::time::Instant::now() >= end).then_some(None),
    })
}

/// Returns `true` if the row's field contains all these parts.
pub fn field_contains(row: &Value, field: &str, parts: &[&str]) -> bool {
    row[field].as_str().is_some_and(|text| parts.iter().all(|part| text.contains(part)))
}
