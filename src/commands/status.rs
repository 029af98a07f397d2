//! `highhock status`: the status of the running daemon, as a table or as JSON.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use slog::Logger;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{CommandError, output_error, print_escaped};
use crate::admin::{
    AdminClient, DnsReport, DockerReport, EtcdReport, RecordCounts, StatusResponse,
};
use crate::cli::exit_code;
use crate::settings::Admin;
use crate::text::escape::is_terminal_control;

/// Prints the status of the running daemon. The exit code is 0 only if the daemon is ready.
///
/// # Errors
/// Returns an error if the daemon does not respond or the output cannot be written.
pub async fn run(admin: &Admin, json: bool, log: &Logger) -> Result<ExitCode, CommandError> {
    let client = AdminClient::new(admin, log).map_err(CommandError::unavailable)?;
    let status: StatusResponse = client.get("/status").await.map_err(CommandError::unavailable)?;
    let mut text = Vec::new();
    let written = if json {
        serde_json::to_writer_pretty(&mut text, &status)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(text))
    } else {
        write_table(&status, &mut text)
    };
    written.map_err(output_error)?;
    print_escaped(&text)?;
    Ok(if status.ready { ExitCode::SUCCESS } else { exit_code::NOT_READY.into() })
}

/// Writes the status with one line per subject.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write_table(status: &StatusResponse, out: &mut impl Write) -> io::Result<()> {
    let since = |time: &Option<String>| time.as_deref().and_then(|time| ago(time, &status.now));
    let mut line = |subject: &str, text: &dyn Display| writeln!(out, "{subject:<12} {text}");
    let up = ago(&status.started, &status.now).unwrap_or_default();
    let commit = status.commit.iter().map(|commit| format!(" ({commit})")).collect::<String>();
    let StatusResponse { version, host, .. } = status;
    line("highhock", &format_args!("{version}{commit} on {host}, started {up}"))?;
    match &status.reason {
        None => line("ready", &"yes")?,
        Some(reason) => line("ready", &format_args!("NO: {}", single_line(reason)))?,
    }
    if !status.reload_refused.is_empty() {
        let faults = single_line(&status.reload_refused.join("; "));
        line(
            "settings",
            &format_args!(
                "the last reload was REJECTED; the old configuration stays active: {faults}"
            ),
        )?;
    }
    if let Some(waiting_for) = &status.reload_waits {
        let text = format!("new configuration is waiting for {}", single_line(waiting_for));
        line("settings", &text)?;
    }
    if let Some(address_warning) = &status.address_warning {
        line("address", &single_line(address_warning))?;
    }
    if let Some(DockerReport { answers, listed, trouble }) = &status.docker {
        line("docker", &report_text(*answers, &[("listed", since(listed))], trouble))?;
    }
    if let Some(EtcdReport { answers, trouble, written, audited, .. }) = &status.etcd {
        let times = [("written", since(written)), ("audited", since(audited))];
        line("etcd", &report_text(*answers, &times, trouble))?;
    }
    if let Some(DnsReport { domain, addresses }) = &status.dns {
        line("dns", &format_args!("answers for {domain} at {}", addresses.join(", ")))?;
    }
    if let Some(left) = status.lease_remaining_seconds {
        line("lease", &lease_text(left))?;
    }
    let states = status.containers.iter().map(|(state, count)| (state.as_str(), *count));
    line("containers", &counts(states))?;
    match &status.records {
        Some(records) => line("records", &record_counts_text(records))?,
        None => line("records", &"unknown")?,
    }
    if let Some(last) = status.errors.last() {
        let fields = last.fields.iter().map(|(name, value)| format!(", {name}: {value}"));
        let text = format!("{} {}{}", last.level, last.message, fields.collect::<String>());
        let when = ago(&last.at, &status.now).unwrap_or_default();
        line("last problem", &format_args!("{when}: {}", single_line(&text)))?;
    }
    Ok(())
}

fn record_counts_text(records: &RecordCounts) -> String {
    let states = [
        ("live", records.live),
        ("expired", records.expired),
        ("pending", records.pending),
        ("on standby", records.standby),
        ("failed", records.failed),
    ];
    counts(states.into_iter().filter(|(_, count)| *count > 0))
}

fn report_text(
    answers: bool,
    times: &[(&str, Option<String>)],
    trouble: &Option<String>,
) -> String {
    let mut text = if answers { "answers" } else { "does NOT answer" }.to_owned();
    for (label, when) in times {
        if let Some(when) = when {
            text += &format!(", {label} {when}");
        }
    }
    match trouble {
        Some(trouble) => format!("{text}: {}", single_line(trouble)),
        None => text,
    }
}

fn lease_text(seconds_left: f64) -> String {
    if seconds_left > 0.0 { format!("{seconds_left:.0} s left") } else { "expired".to_owned() }
}

fn counts<'a>(states: impl Iterator<Item = (&'a str, usize)>) -> String {
    let texts: Vec<_> = states.map(|(state, count)| format!("{count} {state}")).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

/// Returns the age of `time` at `now`. Both times are from the clock of the daemon.
fn ago(time: &str, now: &str) -> Option<String> {
    let [time, now] = [time, now].map(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let seconds = (now? - time?).whole_seconds().max(0);
    Some(match seconds {
        0..100 => format!("{seconds} s ago"),
        100..6_000 => format!("{} min ago", seconds / 60),
        6_000..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    })
}

/// Returns the text on one line without terminal control characters, because parts of the text
/// come from containers.
fn single_line(text: &str) -> String {
    text.replace(is_terminal_control, " ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::admin::{LogRow, RecordCounts};

    fn status() -> StatusResponse {
        StatusResponse {
            version: "0.1.0".into(),
            commit: None,
            host: "web-1".into(),
            now: "2026-01-01T10:00:00Z".into(),
            started: "2026-01-01T08:00:00Z".into(),
            ready: true,
            kind: None,
            reason: None,
            reload_refused: Vec::new(),
            reload_waits: None,
            address_warning: None,
            docker: Some(DockerReport {
                answers: true,
                listed: Some("2026-01-01T09:59:57.5Z".into()),
                trouble: None,
            }),
            etcd: Some(EtcdReport {
                answers: true,
                since: None,
                trouble: None,
                written: Some("2026-01-01T09:59:50Z".into()),
                audited: None,
            }),
            dns: None,
            lease_remaining_seconds: Some(41.6),
            containers: BTreeMap::from([("running".into(), 3), ("starting".into(), 1)]),
            records: Some(RecordCounts { live: 4, expired: 0, pending: 0, standby: 1, failed: 0 }),
            errors: Vec::new(),
        }
    }

    fn table(status: &StatusResponse) -> String {
        let mut out = Vec::new();
        write_table(status, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn healthy_daemon_has_one_line_per_subject() {
        assert_eq!(
            table(&status()),
            "highhock     0.1.0 on web-1, started 2 h ago\n\
             ready        yes\n\
             docker       answers, listed 2 s ago\n\
             etcd         answers, written 10 s ago\n\
             lease        42 s left\n\
             containers   3 running, 1 starting\n\
             records      4 live, 1 on standby\n"
        );
    }

    #[test]
    fn expired_lease_and_records_are_never_live() {
        let records = RecordCounts { live: 0, expired: 6, pending: 0, standby: 0, failed: 0 };
        let records = Some(records);
        let lease_remaining_seconds = Some(0.0);
        let text = table(&StatusResponse { records, lease_remaining_seconds, ..status() });
        assert!(text.contains("\nlease        expired\n"), "{text}");
        assert!(text.contains("\nrecords      6 expired\n"), "{text}");
    }

    #[test]
    fn standalone_daemon_shows_dns_instead_of_etcd() {
        let addresses = vec!["127.0.0.1:5354".into(), "[::1]:5354".into()];
        let dns = Some(DnsReport { domain: "skydns.local".into(), addresses });
        let text = table(&StatusResponse { etcd: None, dns, ..status() });
        let line = "\ndns          answers for skydns.local at 127.0.0.1:5354, [::1]:5354\n";
        assert!(text.contains(line) && !text.contains("etcd"), "{text}");
    }

    #[test]
    fn shows_all_problems_without_control_characters() {
        let mut failing = status();
        failing.ready = false;
        failing.reason = Some("etcd does not answer: \x1b[2Jrefused\n".into());
        failing.reload_refused = vec!["etcd.ttl is 1".into(), "a\tb".into()];
        failing.reload_waits = Some("etcd: timed out".into());
        failing.address_warning = Some("10.0.0.1 is published\n".into());
        failing.records = None;
        failing.docker = None;
        failing.containers.clear();
        let fields = BTreeMap::from([("error".into(), "a\tb".into())]);
        failing.errors = vec![LogRow {
            at: "2026-01-01T09:58:00Z".into(),
            level: "WARNING".into(),
            message: "etcd does not answer".into(),
            fields,
        }];
        let text = table(&failing);
        assert!(text.contains("ready        NO: etcd does not answer:  [2Jrefused"), "{text}");
        let rejected = "settings     the last reload was REJECTED; the old configuration stays active: \
                        etcd.ttl is 1; a b\n";
        assert!(text.contains(rejected), "{text}");
        let waits = "settings     new configuration is waiting for etcd: timed out\n";
        assert!(text.contains(waits), "{text}");
        assert!(text.contains("address      10.0.0.1 is published \n"), "{text}");
        assert!(text.contains("records      unknown\n"), "{text}");
        assert!(text.contains("containers   none\n"), "{text}");
        let last = "last problem 2 min ago: WARNING etcd does not answer, error: a b\n";
        assert!(text.ends_with(last), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
