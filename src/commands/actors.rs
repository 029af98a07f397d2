//! `highhock actors`: the mailboxes of the running daemon, as a table or as JSON.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use slog::Logger;
use tokio::time::Instant;

use super::CommandError;
use crate::admin::{ActorRow, AdminClient, ClientError, TimingRow};
use crate::settings::Admin;

/// The interval between two requests with `--watch`.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// The escape sequences that move the cursor to the top left and clear the screen below it.
const CLEAR_SCREEN: &str = "\x1b[H\x1b[J";

/// An error that ends the display of mailboxes.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The daemon does not respond.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The output cannot be written.
    #[error("writing to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Prints the mailboxes of the running daemon.
///
/// # Errors
/// Returns an error if the daemon does not respond or the output cannot be written.
pub async fn run(
    admin: &Admin,
    json: bool,
    watch: bool,
    log: &Logger,
) -> Result<ExitCode, CommandError> {
    let client = AdminClient::new(admin, log).map_err(CommandError::unavailable)?;
    let shown = show(&client, json, watch, &mut io::stdout()).await;
    shown.map(|()| ExitCode::SUCCESS).map_err(CommandError::unavailable)
}

/// Writes the mailboxes of the daemon, and with `watch` again each second until the daemon no
/// longer responds. With `json`, each response is one line.
///
/// # Errors
/// Returns an error if the daemon does not respond or `out` cannot be written.
pub async fn show<W: Write + IsTerminal>(
    client: &AdminClient,
    json: bool,
    watch: bool,
    out: &mut W,
) -> Result<(), ShowError> {
    let clear_screen = watch && !json && out.is_terminal();
    let mut before: Option<(Vec<ActorRow>, Instant)> = None;
    loop {
        let requested_at = Instant::now();
        let rows: Vec<ActorRow> = client.get("/actors").await?;
        // A single write, so that a terminal does not flicker.
        let mut text = Vec::new();
        if json {
            serde_json::to_writer(&mut text, &rows).map_err(io::Error::from)?;
            writeln!(text)?;
        } else {
            if clear_screen {
                text.extend_from_slice(CLEAR_SCREEN.as_bytes());
            } else if before.is_some() {
                writeln!(text)?;
            }
            let previous =
                before.as_ref().map(|(rows, previous)| (rows.as_slice(), requested_at - *previous));
            write_table(&rows, previous, &mut text)?;
        }
        out.write_all(&text)?;
        out.flush()?;
        if !watch {
            return Ok(());
        }
        before = Some((rows, requested_at));
        tokio::time::sleep_until(requested_at + REFRESH_INTERVAL).await;
    }
}

/// The column headings. The two rates are shown only with a previous response.
const COLUMNS: [&str; 19] = [
    "actor",
    "instances",
    "depth",
    "capacity",
    "high_water",
    "enqueued",
    "handled",
    "enqueued/s",
    "handled/s",
    "coalesced",
    "refused",
    "restarts",
    "panics",
    "wait p50",
    "p99",
    "max",
    "handle p50",
    "p99",
    "max",
];

/// Writes one row per actor type. `before` is the previous response and its age, from which the
/// rates per second are calculated.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write_table(
    rows: &[ActorRow],
    before: Option<(&[ActorRow], Duration)>,
    out: &mut impl Write,
) -> io::Result<()> {
    let cells = rows.iter().map(|row| {
        let previous = before.and_then(|(rows, since)| {
            Some((rows.iter().find(|previous| previous.actor == row.actor)?, since))
        });
        cells(row, previous)
    });
    let header = COLUMNS.map(str::to_owned);
    let table: Vec<_> = std::iter::once(header).chain(cells).collect();
    let widths: Vec<_> = (0..COLUMNS.len())
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in &table {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for column in 1..COLUMNS.len() {
            if before.is_none() && COLUMNS[column].ends_with("/s") {
                continue;
            }
            line += &format!("  {:>width$}", row[column], width = widths[column]);
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn cells(row: &ActorRow, previous: Option<(&ActorRow, Duration)>) -> [String; COLUMNS.len()] {
    let rate = |now: u64, count: fn(&ActorRow) -> u64| match previous {
        // A restarted daemon counts from zero, so there is no rate.
        Some((previous, since)) if now >= count(previous) && !since.is_zero() => {
            let change = u32::try_from(now - count(previous)).unwrap_or(u32::MAX);
            format!("{:.1}", f64::from(change) / since.as_secs_f64())
        }
        _ => "-".to_owned(),
    };
    let TimingRow { p50: wait50, p99: wait99, max: wait_max, .. } = row.wait_seconds;
    let TimingRow { p50, p99, max, .. } = row.handle_seconds;
    [
        row.actor.clone(),
        row.instances.to_string(),
        row.depth.to_string(),
        row.capacity.to_string(),
        row.high_water.to_string(),
        row.enqueued.to_string(),
        row.handled.to_string(),
        rate(row.enqueued, |row| row.enqueued),
        rate(row.handled, |row| row.handled),
        row.coalesced.to_string(),
        row.refused.to_string(),
        row.restarts.to_string(),
        row.panics.to_string(),
        format_seconds(wait50),
        format_seconds(wait99),
        format_seconds(wait_max),
        format_seconds(p50),
        format_seconds(p99),
        format_seconds(max),
    ]
}

/// Formats a number of seconds with two or three digits.
fn format_seconds(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        _ if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        _ if seconds < 1e-2 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 10.0 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(actor: &str, handled: u64) -> ActorRow {
        let timing =
            TimingRow { count: handled, sum: 12.0, p50: 0.000_012, p99: 0.0034, max: 1.25 };
        ActorRow {
            actor: actor.to_owned(),
            instances: 1,
            depth: 2,
            capacity: 16,
            high_water: 3,
            enqueued: handled + 2,
            handled,
            coalesced: 0,
            refused: 0,
            restarts: 4,
            panics: 5,
            wait_seconds: timing,
            handle_seconds: timing,
        }
    }

    fn lines(rows: &[ActorRow], before: Option<(&[ActorRow], Duration)>) -> Vec<Vec<String>> {
        let mut out = Vec::new();
        write_table(rows, before, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        fn cells(line: &str) -> Vec<String> {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.map(str::to_owned).collect()
        }
        text.lines().map(cells).collect()
    }

    #[test]
    fn first_table_has_no_rates() {
        let lines = lines(&[row("Registry", 10), row("EtcdInserter", 0)], None);
        assert_eq!(lines.len(), 3);
        assert!(!lines[0].contains(&"handled/s".to_owned()), "{lines:?}");
        let expected = [
            "Registry", "1", "2", "16", "3", "12", "10", "0", "0", "4", "5", "12 µs", "3.4 ms",
            "1.2 s", "12 µs", "3.4 ms", "1.2 s",
        ];
        assert_eq!(lines[1], expected);
    }

    #[test]
    fn rates_are_per_second_and_omitted_across_a_restart() {
        let (previous, now) = ([row("Registry", 10)], [row("Registry", 25)]);
        let since = Duration::from_secs(2);
        assert_eq!(lines(&now, Some((&previous, since)))[1][7..9], ["7.5", "7.5"]);
        assert_eq!(lines(&previous, Some((&now, since)))[1][7..9], ["-", "-"]);
    }
}
