//! `highhock records --explain`: for each container, how what it says comes to records
//! or doesn't, for people or as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use highhock_actors::preview::{Preview, PreviewedContainer};
use highhock_actors::publish::explain::{ExplainedService, MethodFindings, NamedService};
use highhock_actors::{RecordReport, Skipped};
use serde::Serialize;
use serde_json::value::RawValue;

/// The widest that a column is made for the sake of its neighbours, in characters.
const WIDEST: usize = 48;

/// A container, as `--json` shows it.
#[derive(Serialize)]
struct ContainerRow<'a> {
    id: &'a str,
    name: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    methods: Vec<MethodRow<'a>>,
    services: Vec<ServiceRow<'a>>,
    skipped: Vec<SkippedRow<'a>>,
}

/// What an extractor said.
#[derive(Serialize)]
struct MethodRow<'a> {
    method: &'static str,
    named: Vec<NamedRow<'a>>,
    skipped: Vec<SkippedRow<'a>>,
    silence: Option<&'static str>,
}

/// A service that it named.
#[derive(Serialize)]
struct NamedRow<'a> {
    entry: &'a str,
    service: String,
    named_before_by: Option<&'static str>,
}

/// What became of a service.
#[derive(Serialize)]
struct ServiceRow<'a> {
    name: &'a str,
    port: u16,
    proto: Option<&'static str>,
    method: &'static str,
    labels: &'a BTreeMap<String, String>,
    records: Vec<RecordRow<'a>>,
    skipped: Vec<SkippedRow<'a>>,
}

#[derive(Serialize)]
struct RecordRow<'a> {
    key: &'a str,
    value: Box<RawValue>,
    state: &'static str,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct SkippedRow<'a> {
    entry: &'a str,
    reason: &'a str,
}

/// Writes a JSON array with a row per container.
///
/// # Errors
/// Where `out` can't be written to.
pub fn write_json(preview: &Preview, out: &mut impl Write) -> io::Result<()> {
    let rows: Result<Vec<_>, _> =
        preview.containers.iter().map(|container| container_row(container, preview)).collect();
    serde_json::to_writer_pretty(&mut *out, &rows?)?;
    writeln!(out)
}

fn container_row<'a>(
    container: &'a PreviewedContainer,
    preview: &'a Preview,
) -> serde_json::Result<ContainerRow<'a>> {
    let explanation = &container.explanation;
    let mut reports = Reports::of(container, preview);
    let services = explanation.services.iter().map(|one| service_row(one, &mut reports));
    Ok(ContainerRow {
        id: container.id.as_str(),
        name: &container.name,
        state: container.life.as_str(),
        reason: container.withheld.as_deref(),
        methods: explanation.methods.iter().map(method_row).collect(),
        services: services.collect::<Result<_, _>>()?,
        skipped: skipped_rows(&explanation.skipped),
    })
}

fn method_row(findings: &MethodFindings) -> MethodRow<'_> {
    MethodRow {
        method: findings.method.as_str(),
        named: findings.named.iter().map(named_row).collect(),
        skipped: skipped_rows(&findings.skipped),
        silence: findings.silence,
    }
}

fn named_row(named: &NamedService) -> NamedRow<'_> {
    NamedRow {
        entry: &named.entry,
        service: named.service.to_string(),
        named_before_by: named.named_before_by,
    }
}

fn service_row<'a>(
    explained: &'a ExplainedService,
    reports: &mut Reports<'a>,
) -> serde_json::Result<ServiceRow<'a>> {
    let row = |report: &'a RecordReport| {
        Ok(RecordRow {
            key: report.key.as_str(),
            value: RawValue::from_string(report.value.clone())?,
            state: report.state.as_str(),
            reason: report.reason.as_deref(),
        })
    };
    let service = &explained.service;
    Ok(ServiceRow {
        name: service.name.as_str(),
        port: service.port.get(),
        proto: service.proto.map(|proto| proto.as_str()),
        method: service.method,
        labels: &explained.labels,
        records: reports.of_next(explained).into_iter().map(row).collect::<Result<_, _>>()?,
        skipped: skipped_rows(&explained.skipped),
    })
}

fn skipped_rows(skipped: &[Skipped]) -> Vec<SkippedRow<'_>> {
    skipped.iter().map(|one| SkippedRow { entry: &one.entry, reason: &one.reason }).collect()
}

/// Writes it for people: a block per container, what was said first, then what came
/// of it.
///
/// # Errors
/// Where `out` can't be written to.
pub fn write_table(preview: &Preview, out: &mut impl Write) -> io::Result<()> {
    for container in &preview.containers {
        writeln!(out, "{} ({}), {}", container.name, container.id, container.life.as_str())?;
        if let Some(reason) = &container.withheld {
            writeln!(out, "  nothing of it is published: it {reason}")?;
        }
        for (title, lines) in [("says", said(container)), ("gives", outcomes(container, preview))] {
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

/// What each extractor said: method, entry, and what that means.
fn said(container: &PreviewedContainer) -> Vec<[String; 3]> {
    let mut lines = Vec::new();
    for of_method in &container.explanation.methods {
        let method = of_method.method.as_str().to_owned();
        for named in &of_method.named {
            let outcome = match named.named_before_by {
                Some(before) => format!("{}, dropped: {before} named it before", named.service),
                None => named.service.to_string(),
            };
            lines.push([method.clone(), quoted(&named.entry), format!("-> {outcome}")]);
        }
        for skipped in &of_method.skipped {
            lines.push([method.clone(), quoted(&skipped.entry), left_out(&skipped.reason)]);
        }
        if let Some(silence) = of_method.silence {
            lines.push([method, format!("nothing: {silence}"), String::new()]);
        }
    }
    for skipped in &container.explanation.skipped {
        let entry = quoted(&skipped.entry);
        lines.push(["attributes".to_owned(), entry, left_out(&skipped.reason)]);
    }
    lines
}

/// What came of each service that stayed: the service, its key or what was left out, and
/// its value or why.
fn outcomes(container: &PreviewedContainer, preview: &Preview) -> Vec<[String; 3]> {
    let mut lines = Vec::new();
    let mut reports = Reports::of(container, preview);
    for explained in &container.explanation.services {
        let service = explained.service.to_string();
        for report in reports.of_next(explained) {
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
            let reason = left_out(&skipped.reason);
            lines.push(match skipped.entry == service {
                true => [service.clone(), reason, String::new()],
                false => [service.clone(), quoted(&skipped.entry), reason],
            });
        }
    }
    lines
}

fn left_out(reason: &str) -> String {
    format!("left out: {reason}")
}

/// What a container says, with control characters escaped: this goes to a terminal.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// Writes lines of three columns, an empty one at the end left away.
fn write_columns(lines: &[[String; 3]], out: &mut impl Write) -> io::Result<()> {
    let width = |column: usize| {
        // What has nothing to its right needs no room.
        let with_neighbour = lines.iter().filter(|line| !line[column + 1].is_empty());
        let widths = with_neighbour.map(|line| line[column].chars().count());
        widths.filter(|width| *width <= WIDEST).max().unwrap_or(0)
    };
    let (first, second) = (width(0), width(1));
    for line in lines {
        let text = format!("    {:first$}  {:second$}  {}", line[0], line[1], line[2]);
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

/// A container's records as they stand, each to be asked for once, in the order of its
/// services: of several at one key, the one that is wanted first stands first.
struct Reports<'a>(Vec<&'a RecordReport>);

impl<'a> Reports<'a> {
    fn of(container: &PreviewedContainer, preview: &'a Preview) -> Self {
        let all = preview.records.iter();
        Self(all.filter(|report| report.container == container.id).collect())
    }

    /// Those of the next service.
    fn of_next(&mut self, service: &ExplainedService) -> Vec<&'a RecordReport> {
        let mut taken = Vec::new();
        for wanted in &service.records {
            if let Some(place) = self.0.iter().position(|report| report.key == wanted.key) {
                taken.push(self.0.remove(place));
            }
        }
        taken
    }
}
