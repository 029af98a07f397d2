//! `highhock records --explain`: for each container, the services that its labels and variables
//! declare, and the resulting records or the reasons against them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use highhock_actors::preview::{Preview, PreviewContainer};
use highhock_actors::publish::explain::{ExplainedService, MethodFindings, NamedService};
use highhock_actors::{RecordReport, SkippedEntry};
use serde::Serialize;
use serde_json::value::RawValue;

/// The largest width of an aligned column, in characters. Wider cells are not aligned.
const COLUMN_WIDTH_MAX: usize = 48;

/// A container in the output of `--json` (deploy/README.md, "JSON of `records --explain`").
#[derive(Serialize)]
struct ContainerJson<'a> {
    id: &'a str,
    name: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    methods: Vec<MethodJson<'a>>,
    services: Vec<ServiceJson<'a>>,
    skipped: Vec<SkippedJson<'a>>,
}

/// The findings of a discovery method.
#[derive(Serialize)]
struct MethodJson<'a> {
    method: &'static str,
    named: Vec<NamedJson<'a>>,
    skipped: Vec<SkippedJson<'a>>,
    ignored: Vec<SkippedJson<'a>>,
    #[serde(rename = "silence")]
    none_reason: Option<&'static str>,
}

/// A service that the discovery method found.
#[derive(Serialize)]
struct NamedJson<'a> {
    entry: &'a str,
    service: String,
    /// The discovery method that found the service first.
    #[serde(rename = "named_before_by")]
    claimed_by: Option<&'static str>,
}

/// A service with its records.
#[derive(Serialize)]
struct ServiceJson<'a> {
    name: &'a str,
    port: u16,
    proto: Option<&'static str>,
    method: &'static str,
    labels: &'a BTreeMap<String, String>,
    records: Vec<RecordJson<'a>>,
    skipped: Vec<SkippedJson<'a>>,
}

#[derive(Serialize)]
struct RecordJson<'a> {
    key: &'a str,
    value: Box<RawValue>,
    state: &'static str,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct SkippedJson<'a> {
    entry: &'a str,
    reason: &'a str,
}

/// Writes a JSON array with one object per container.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write_json(preview: &Preview, out: &mut impl Write) -> io::Result<()> {
    let rows: Result<Vec<_>, _> =
        preview.containers.iter().map(|container| container_json(container, preview)).collect();
    serde_json::to_writer_pretty(&mut *out, &rows?)?;
    writeln!(out)
}

fn container_json<'a>(
    container: &'a PreviewContainer,
    preview: &'a Preview,
) -> serde_json::Result<ContainerJson<'a>> {
    let explanation = &container.explanation;
    let mut reports = ContainerReports::new(container, preview);
    let services = explanation.services.iter().map(|one| service_json(one, &mut reports));
    Ok(ContainerJson {
        id: container.id.as_str(),
        name: &container.name,
        state: container.state.as_str(),
        reason: container.withheld.as_deref(),
        methods: explanation.methods.iter().map(method_json).collect(),
        services: services.collect::<Result<_, _>>()?,
        skipped: skipped_json(&explanation.skipped),
    })
}

fn method_json(findings: &MethodFindings) -> MethodJson<'_> {
    MethodJson {
        method: findings.method.as_str(),
        named: findings.named.iter().map(named_json).collect(),
        skipped: skipped_json(&findings.skipped),
        ignored: skipped_json(&findings.ignored),
        none_reason: findings.none_reason,
    }
}

fn named_json(named: &NamedService) -> NamedJson<'_> {
    NamedJson {
        entry: &named.entry,
        service: named.service.to_string(),
        claimed_by: named.claimed_by,
    }
}

fn service_json<'a>(
    explained: &'a ExplainedService,
    reports: &mut ContainerReports<'a>,
) -> serde_json::Result<ServiceJson<'a>> {
    let row = |report: &'a RecordReport| {
        Ok(RecordJson {
            key: report.key.as_str(),
            value: RawValue::from_string(report.value.clone())?,
            state: report.state.as_str(),
            reason: report.reason.as_deref(),
        })
    };
    let service = &explained.service;
    Ok(ServiceJson {
        name: service.name.as_str(),
        port: service.port.get(),
        proto: service.proto.map(|proto| proto.as_str()),
        method: service.method,
        labels: &explained.labels,
        records: reports.take_for(explained).into_iter().map(row).collect::<Result<_, _>>()?,
        skipped: skipped_json(&explained.skipped),
    })
}

fn skipped_json(skipped: &[SkippedEntry]) -> Vec<SkippedJson<'_>> {
    skipped.iter().map(|one| SkippedJson { entry: &one.entry, reason: &one.reason }).collect()
}

/// Writes one block per container: the declared services first, then the results.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write_table(preview: &Preview, out: &mut impl Write) -> io::Result<()> {
    for container in &preview.containers {
        writeln!(out, "{} ({}), {}", container.name, container.id, container.state.as_str())?;
        if let Some(reason) = &container.withheld {
            writeln!(out, "  not published: it {reason}")?;
        }
        for (title, lines) in
            [("declared", declared_lines(container)), ("result", result_lines(container, preview))]
        {
            if !lines.is_empty() {
                writeln!(out, "  {title}")?;
                write_columns(&lines, out)?;
            }
        }
        writeln!(out)?;
    }
    if preview.containers.is_empty() {
        writeln!(out, "no container runs")?;
    }
    Ok(())
}

/// Returns the findings of each discovery method: method, entry and service.
fn declared_lines(container: &PreviewContainer) -> Vec<[String; 3]> {
    let mut lines = Vec::new();
    for findings in &container.explanation.methods {
        let method = findings.method.as_str().to_owned();
        for named in &findings.named {
            let outcome = match named.claimed_by {
                Some(before) => format!("{}, dropped: {before} declared it first", named.service),
                None => named.service.to_string(),
            };
            lines.push([method.clone(), quoted(&named.entry), format!("-> {outcome}")]);
        }
        for skipped in &findings.skipped {
            lines.push([method.clone(), quoted(&skipped.entry), skipped_text(&skipped.reason)]);
        }
        for ignored in &findings.ignored {
            let reason = format!("ignored: {}", ignored.reason);
            lines.push([method.clone(), quoted(&ignored.entry), reason]);
        }
        if let Some(none_reason) = findings.none_reason {
            lines.push([method, format!("nothing: {none_reason}"), String::new()]);
        }
    }
    for skipped in &container.explanation.skipped {
        let entry = quoted(&skipped.entry);
        lines.push(["attributes".to_owned(), entry, skipped_text(&skipped.reason)]);
    }
    lines
}

/// Returns the results of each service: the service, a key or a skipped entry, and the value or the
/// reason.
fn result_lines(container: &PreviewContainer, preview: &Preview) -> Vec<[String; 3]> {
    let mut lines = Vec::new();
    let mut reports = ContainerReports::new(container, preview);
    for explained in &container.explanation.services {
        let service = explained.service.to_string();
        for report in reports.take_for(explained) {
            let mut value = report.value.clone();
            if let Some(reason) = &report.reason {
                value.push_str(&format!("  {}: {reason}", report.state.as_str()));
            }
            lines.push([service.clone(), report.key.as_str().to_owned(), value]);
        }
        if !explained.labels.is_empty() {
            let by = |(attribute, label): (&String, &String)| {
                format!("{attribute} by {}", quoted(label))
            };
            let labels = explained.labels.iter().map(by).collect::<Vec<_>>().join(", ");
            lines.push([service.clone(), "attributes".to_owned(), labels]);
        }
        for skipped in &explained.skipped {
            let reason = skipped_text(&skipped.reason);
            lines.push(if skipped.entry == service {
                [service.clone(), reason, String::new()]
            } else {
                [service.clone(), quoted(&skipped.entry), reason]
            });
        }
    }
    lines
}

fn skipped_text(reason: &str) -> String {
    format!("skipped: {reason}")
}

/// Quotes a text of a container and escapes its control characters, for a terminal.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// Writes lines of three aligned columns, without trailing spaces.
fn write_columns(lines: &[[String; 3]], out: &mut impl Write) -> io::Result<()> {
    let width = |column: usize| {
        // The last cell of a line needs no alignment.
        let with_neighbour = lines.iter().filter(|line| !line[column + 1].is_empty());
        let widths = with_neighbour.map(|line| line[column].chars().count());
        widths.filter(|width| *width <= COLUMN_WIDTH_MAX).max().unwrap_or(0)
    };
    let (first, second) = (width(0), width(1));
    for line in lines {
        let text = format!("    {:first$}  {:second$}  {}", line[0], line[1], line[2]);
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// The reports of a container's records, in the order of its services.
///
/// Several services may have a record at the same key, so each report is taken once.
struct ContainerReports<'a>(Vec<&'a RecordReport>);

impl<'a> ContainerReports<'a> {
    fn new(container: &PreviewContainer, preview: &'a Preview) -> Self {
        let all = preview.records.iter();
        Self(all.filter(|report| report.container == container.id).collect())
    }

    /// Takes the reports of the next service.
    fn take_for(&mut self, service: &ExplainedService) -> Vec<&'a RecordReport> {
        let mut reports = Vec::new();
        for wanted in &service.records {
            if let Some(place) = self.0.iter().position(|report| report.key == wanted.key) {
                reports.push(self.0.remove(place));
            }
        }
        reports
    }
}
