//! `highhock records`: what would be published now, as a table or as JSON.

use std::io::{self, Write};

use highhock_actors::preview::Preview;
use highhock_actors::{RecordReport, RecordState};
use serde::Serialize;
use serde_json::value::RawValue;

/// One record, as `--json` shows it.
#[derive(Serialize)]
struct PreviewRow<'a> {
    key: &'a str,
    value: Box<RawValue>,
    container: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
}

/// Writes a JSON array with a row per record, on one line each.
///
/// # Errors
/// Where `out` can't be written to.
pub fn write_json(preview: &Preview, out: &mut impl Write) -> io::Result<()> {
    let rows = preview.records.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    serde_json::to_writer_pretty(&mut *out, &rows)?;
    writeln!(out)
}

fn row(record: &RecordReport) -> serde_json::Result<PreviewRow<'_>> {
    Ok(PreviewRow {
        key: record.key.as_str(),
        value: RawValue::from_string(record.value.clone())?,
        container: record.container.as_str(),
        state: record.state.as_str(),
        reason: record.reason.as_deref(),
    })
}

/// Writes a table for people: the records, then what is left out and why.
///
/// # Errors
/// Where `out` can't be written to.
pub fn write_table(preview: &Preview, out: &mut impl Write) -> io::Result<()> {
    let container_name = |record: &RecordReport| {
        let container = preview.containers.iter().find(|one| one.id == record.container);
        container.map_or_else(String::new, |container| container.name.clone())
    };
    let width = preview.records.iter().map(|record| record.key.as_str().len()).max().unwrap_or(0);
    for record in &preview.records {
        let key = record.key.as_str();
        write!(out, "{key:<width$}  {}  {}", record.value, container_name(record))?;
        if record.state == RecordState::Standby {
            write!(out, "  stands by: {}", record.reason.as_deref().unwrap_or_default())?;
        }
        writeln!(out)?;
    }
    if preview.records.is_empty() {
        writeln!(out, "no records: no running container offers a service that can be published")?;
    }
    for container in &preview.containers {
        if let Some(reason) = &container.withheld {
            writeln!(out, "left out: {} {reason}", container.name)?;
        }
        for skipped in &container.skipped {
            writeln!(out, "left out: {}: {:?}: {}", container.name, skipped.entry, skipped.reason)?;
        }
    }
    Ok(())
}
