//! `highhock records`: the records that would be published now, as a table or as JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use highhock_actors::preview::{Preview, preview};
use highhock_actors::{RecordReport, RecordState};
use serde::Serialize;
use serde_json::value::RawValue;
use slog::{Logger, warn};

use super::{CommandError, explain, output_error, print_escaped};
use crate::host::{NoPublicAddress, PublicAddress};
use crate::resolve::{assume_etcd, docker_client, probe_engine, publish_config, resolve_store};
use crate::settings::Settings;

/// The output format of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Prints JSON in place of a table.
    pub json: bool,
    /// Prints how the records of each container are derived.
    pub explain: bool,
}

/// Prints the records that would be published now. Writes nothing to the store.
///
/// # Errors
/// Returns an error if there is no address to publish, if Docker does not answer, if the settings
/// are unusable, or if the output cannot be written.
pub async fn run(
    settings: &Settings,
    public_address: Result<PublicAddress, NoPublicAddress>,
    format: Format,
    log: &Logger,
) -> Result<ExitCode, CommandError> {
    let public_address = public_address.map_err(CommandError::unavailable)?;
    let docker = docker_client(&settings.docker, log).map_err(CommandError::config)?;
    let store = match resolve_store(settings, log).await {
        Ok(store) => store,
        // etcd may configure another domain. The records are useful even without that domain.
        Err(error) => {
            let store = assume_etcd(settings);
            warn!(log, "cannot read the domain from etcd; using the configured one";
                "error" => %error, "domain" => store.domain.to_string());
            store
        }
    };
    let engine = probe_engine(&docker, settings, &public_address).await?;
    let config = publish_config(settings, &public_address, &engine, &store)?;
    let preview = preview(&docker, &config).await.map_err(CommandError::unavailable)?;
    let mut text = Vec::new();
    let written = match format {
        Format { explain: false, json: false } => write_table(&preview, &mut text),
        Format { explain: false, json: true } => write_json(&preview, &mut text),
        Format { explain: true, json: false } => explain::write_table(&preview, &mut text),
        Format { explain: true, json: true } => explain::write_json(&preview, &mut text),
    };
    written.map_err(output_error)?;
    print_escaped(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A record in the output of `--json`.
#[derive(Serialize)]
struct PreviewRow<'a> {
    key: &'a str,
    value: Box<RawValue>,
    container: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
}

/// Writes a JSON array with one object per record.
///
/// # Errors
/// Returns an error if `out` cannot be written.
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

/// Writes a table of the records, followed by the skipped containers and entries with their
/// reasons.
///
/// # Errors
/// Returns an error if `out` cannot be written.
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
            write!(out, "  on standby: {}", record.reason.as_deref().unwrap_or_default())?;
        }
        writeln!(out)?;
    }
    if preview.records.is_empty() {
        writeln!(out, "no records: no running container offers a service that can be published")?;
    }
    for container in &preview.containers {
        if let Some(reason) = &container.withheld {
            writeln!(out, "skipped: {} {reason}", container.name)?;
        }
        for skipped in &container.skipped {
            writeln!(out, "skipped: {}: {:?}: {}", container.name, skipped.entry, skipped.reason)?;
        }
    }
    Ok(())
}
