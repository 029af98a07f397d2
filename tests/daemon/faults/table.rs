//! The operator's table of failures, and the place that a row of it names.

use std::time::Duration;

use serde_json::Value;

use crate::support::admin::Admin;
use crate::support::daemon::Highhock;
use crate::support::eventually;

const PAGE: &str = include_str!("../../../deploy/README.md");
const HEADING: &str = "## When things fail";

/// How long a fault, or its end, may take to show. A record that etcd refused is tried
/// again after half a minute.
const PATIENCE: Duration = Duration::from_secs(60);

/// A row of the table.
pub struct Row {
    pub failure: String,
    /// What is between the first backticks: an endpoint, or a command.
    pub place: String,
}

/// The table's rows, in their order.
pub fn rows() -> Vec<Row> {
    let (_, section) = PAGE.split_once(HEADING).expect("the section with the table");
    let lines = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    lines.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [failure, does, place, remedy] = cells[..] else { panic!("four columns: {line}") };
    assert!(!does.is_empty() && !remedy.is_empty(), "{line}");
    let place = place.split('`').nth(1).unwrap_or_else(|| panic!("no place in {line}"));
    Row { failure: failure.to_owned(), place: place.to_owned() }
}

/// A fault, as far as a test may look at it: by the place that the table names.
pub struct Case {
    pub place: &'static str,
}

impl Case {
    /// What an operator sees there now.
    fn seen(&self, admin: Admin) -> String {
        let Some(command) = self.place.strip_prefix("highhock ") else {
            return admin.get(self.place).body;
        };
        let highhock = Highhock::new("http://127.0.0.1:1").flag("--admin-listen", &admin.listen());
        let output = highhock.output(&command.split(' ').collect::<Vec<_>>());
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Waits until what is seen there has all these parts, and gives it.
    #[track_caller]
    pub fn shows(&self, admin: Admin, parts: &[&str]) -> String {
        let what = format!("{} shows {parts:?}", self.place);
        self.until(&what, admin, |seen| parts.iter().all(|part| seen.contains(part)))
    }

    /// Waits until nothing is seen there that has this part.
    #[track_caller]
    pub fn shows_no_more(&self, admin: Admin, part: &str) -> String {
        let what = format!("{} shows no {part:?}", self.place);
        self.until(&what, admin, |seen| !seen.is_empty() && !seen.contains(part))
    }

    #[track_caller]
    fn until(&self, what: &str, admin: Admin, fits: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let seen = eventually_or(what, || {
            last = self.seen(admin);
            fits(&last).then(|| last.clone())
        });
        seen.unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}, but:\n{last}"))
    }

    /// Waits for a row there that fits, and gives it.
    #[track_caller]
    pub fn row(&self, admin: Admin, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let seen = self.until(what, admin, |seen| find(seen, &fits).is_some());
        find(&seen, &fits).unwrap()
    }
}

fn find(seen: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
    let rows: Value = serde_json::from_str(seen).ok()?;
    rows.as_array()?.iter().find(|row| fits(row)).cloned()
}

/// As `eventually`, but for the panic: `None`.
fn eventually_or<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = tokio::time::Instant::now() + PATIENCE;
    eventually(what, PATIENCE * 2, || match condition() {
        Some(value) => Some(Some(value)),
        None => (tokio::time::Instant::now() >= end).then_some(None),
    })
}

/// Whether the row's field has all these parts.
pub fn says(row: &Value, field: &str, parts: &[&str]) -> bool {
    row[field].as_str().is_some_and(|text| parts.iter().all(|part| text.contains(part)))
}
