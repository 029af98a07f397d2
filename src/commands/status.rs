//! `highhock status`: how it goes with the running daemon, for people.

use std::fmt::Display;
use std::io::{self, Write};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::admin::{DnsSide, DockerSide, EtcdSide, Summary};
use crate::text::escape::is_command;

/// Writes it, a line a subject.
///
/// # Errors
/// Where `out` can't be written to.
pub fn write_table(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let since = |time: &Option<String>| time.as_deref().and_then(|time| ago(time, &summary.now));
    let mut line = |subject: &str, text: &dyn Display| writeln!(out, "{subject:<12} {text}");
    let up = ago(&summary.started, &summary.now).unwrap_or_default();
    let commit = summary.commit.iter().map(|commit| format!(" ({commit})")).collect::<String>();
    let Summary { version, host, .. } = summary;
    line("highhock", &format_args!("{version}{commit} on {host}, started {up}"))?;
    match &summary.reason {
        None => line("ready", &"yes")?,
        Some(reason) => line("ready", &format_args!("NO: {}", on_one_line(reason)))?,
    }
    if !summary.reload_refused.is_empty() {
        let faults = on_one_line(&summary.reload_refused.join("; "));
        line(
            "settings",
            &format_args!("the last reload was REFUSED, the old ones hold: {faults}"),
        )?;
    }
    if let Some(awaited) = &summary.reload_waits {
        let text = format!("those read last are not in force yet: {}", on_one_line(awaited));
        line("settings", &text)?;
    }
    if let Some(DockerSide { answers, listed, trouble }) = &summary.docker {
        line("docker", &side(*answers, &[("listed", since(listed))], trouble))?;
    }
    if let Some(EtcdSide { answers, trouble, written, audited, .. }) = &summary.etcd {
        let times = [("written", since(written)), ("audited", since(audited))];
        line("etcd", &side(*answers, &times, trouble))?;
    }
    if let Some(DnsSide { domain, addresses }) = &summary.dns {
        line("dns", &format_args!("answers for {domain} at {}", addresses.join(", ")))?;
    }
    if let Some(left) = summary.lease_remaining_seconds {
        line("lease", &format_args!("{left:.0} s left"))?;
    }
    let states = summary.containers.iter().map(|(state, count)| (state.as_str(), *count));
    line("containers", &counts(states))?;
    match &summary.records {
        Some(records) => {
            let states = [
                ("live", records.live),
                ("pending", records.pending),
                ("standing by", records.standby),
                ("failed", records.failed),
            ];
            line("records", &counts(states.into_iter().filter(|(_, count)| *count > 0)))?;
        }
        None => line("records", &"not known")?,
    }
    if let Some(last) = summary.errors.last() {
        let fields = last.fields.iter().map(|(name, value)| format!(", {name}: {value}"));
        let text = format!("{} {}{}", last.level, last.message, fields.collect::<String>());
        let when = ago(&last.at, &summary.now).unwrap_or_default();
        line("last trouble", &format_args!("{when}: {}", on_one_line(&text)))?;
    }
    Ok(())
}

fn side(answers: bool, times: &[(&str, Option<String>)], trouble: &Option<String>) -> String {
    let mut text = if answers { "answers" } else { "does NOT answer" }.to_owned();
    for (what, when) in times {
        if let Some(when) = when {
            text += &format!(", {what} {when}");
        }
    }
    match trouble {
        Some(trouble) => format!("{text}: {}", on_one_line(trouble)),
        None => text,
    }
}

fn counts<'a>(states: impl Iterator<Item = (&'a str, usize)>) -> String {
    let texts: Vec<_> = states.map(|(state, count)| format!("{count} {state}")).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

/// How long before `now` a time was, by the daemon's own clock.
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

/// On one line, and with nothing that commands the terminal: some of it comes from
/// containers.
fn on_one_line(text: &str) -> String {
    text.replace(is_command, " ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::admin::{LoggedLine, RecordCounts};

    fn summary() -> Summary {
        Summary {
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
            docker: Some(DockerSide {
                answers: true,
                listed: Some("2026-01-01T09:59:57.5Z".into()),
                trouble: None,
            }),
            etcd: Some(EtcdSide {
                answers: true,
                since: None,
                trouble: None,
                written: Some("2026-01-01T09:59:50Z".into()),
                audited: None,
            }),
            dns: None,
            lease_remaining_seconds: Some(41.6),
            containers: BTreeMap::from([("running".into(), 3), ("starting".into(), 1)]),
            records: Some(RecordCounts { live: 4, pending: 0, standby: 1, failed: 0 }),
            errors: Vec::new(),
        }
    }

    fn table(summary: &Summary) -> String {
        let mut out = Vec::new();
        write_table(summary, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_daemon_that_is_well_takes_a_line_a_subject() {
        assert_eq!(
            table(&summary()),
            "highhock     0.1.0 on web-1, started 2 h ago\n\
             ready        yes\n\
             docker       answers, listed 2 s ago\n\
             etcd         answers, written 10 s ago\n\
             lease        42 s left\n\
             containers   3 running, 1 starting\n\
             records      4 live, 1 standing by\n"
        );
    }

    #[test]
    fn a_daemon_that_answers_dns_itself_says_so_in_place_of_etcd() {
        let addresses = vec!["127.0.0.1:5354".into(), "[::1]:5354".into()];
        let dns = Some(DnsSide { domain: "skydns.local".into(), addresses });
        let text = table(&Summary { etcd: None, dns, ..summary() });
        let line = "\ndns          answers for skydns.local at 127.0.0.1:5354, [::1]:5354\n";
        assert!(text.contains(line) && !text.contains("etcd"), "{text}");
    }

    #[test]
    fn what_is_wrong_is_told_in_full_and_commands_no_terminal() {
        let mut ill = summary();
        ill.ready = false;
        ill.reason = Some("etcd does not answer: \x1b[2Jrefused\n".into());
        ill.reload_refused = vec!["etcd.ttl is 1".into(), "a\tb".into()];
        ill.reload_waits = Some("etcd: timed out".into());
        ill.records = None;
        ill.docker = None;
        ill.containers.clear();
        let fields = BTreeMap::from([("error".into(), "a\tb".into())]);
        ill.errors = vec![LoggedLine {
            at: "2026-01-01T09:58:00Z".into(),
            level: "WARNING".into(),
            message: "etcd does not answer".into(),
            fields,
        }];
        let text = table(&ill);
        assert!(text.contains("ready        NO: etcd does not answer:  [2Jrefused"), "{text}");
        let refused =
            "settings     the last reload was REFUSED, the old ones hold: etcd.ttl is 1; a b\n";
        assert!(text.contains(refused), "{text}");
        let waits = "settings     those read last are not in force yet: etcd: timed out\n";
        assert!(text.contains(waits), "{text}");
        assert!(text.contains("records      not known\n"), "{text}");
        assert!(text.contains("containers   none\n"), "{text}");
        let last = "last trouble 2 min ago: WARNING etcd does not answer, error: a b\n";
        assert!(text.ends_with(last), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
