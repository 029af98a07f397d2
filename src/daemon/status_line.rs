//! How it goes, in one line for a person.

use std::collections::BTreeMap;

use highhock_actors::status::{CoreStatus, RecordsStatus};

use crate::settings::StoreKind;

/// No reason is shown longer than this: the line is one of a list of services.
const REASON_CHARS_MAX: usize = 160;

/// `unavailable`: who does not answer the first questions. `status`: of the core, where one
/// runs.
pub(super) fn status_line(
    unavailable: &BTreeMap<&'static str, String>,
    status: Option<&CoreStatus>,
    store: StoreKind,
) -> String {
    let Some(status) = status else { return waiting(unavailable, store, truncated) };
    let mut parts = Vec::new();
    for (target, trouble) in
        [("docker", &status.docker.last_error), ("etcd", &status.store.last_error)]
    {
        if let Some(reason) = trouble {
            parts.push(format!("{target} does not answer ({})", truncated(reason)));
        }
    }
    if !unavailable.is_empty() {
        let waits = list_targets(unavailable, truncated);
        parts.push(format!("the settings read last wait for {waits}"));
    }
    parts.extend(status.records.as_ref().map(count));
    parts.join("; ")
}

/// The same, where no core runs, with the reasons as `format`.
pub(super) fn waiting(
    unavailable: &BTreeMap<&'static str, String>,
    store: StoreKind,
    format: impl Fn(&str) -> String,
) -> String {
    if unavailable.is_empty() {
        format!("asking {}", store.dependencies())
    } else {
        format!("waiting for {}", list_targets(unavailable, format))
    }
}

fn list_targets(
    unavailable: &BTreeMap<&'static str, String>,
    format: impl Fn(&str) -> String,
) -> String {
    let waits = unavailable.iter().map(|(target, reason)| format!("{target} ({})", format(reason)));
    waits.collect::<Vec<_>>().join(" and ")
}

fn count(records: &RecordsStatus) -> String {
    let plural = if records.live == 1 { "" } else { "s" };
    let mut text = format!("{} record{plural} live", records.live);
    let standby = records.standby.iter().map(|(_, count)| count).sum();
    for (count, state) in
        [(records.pending, "to be written"), (standby, "on standby"), (records.failed, "failed")]
    {
        if count > 0 {
            text += &format!(", {count} {state}");
        }
    }
    text
}

fn truncated(reason: &str) -> String {
    match reason.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use highhock_actors::StandbyReason;
    use highhock_actors::status::{SourceStatus, StoreStatus};

    use super::*;

    /// Of a core with one live record and two that stand by.
    fn status(docker: Option<String>, store: Option<String>) -> CoreStatus {
        CoreStatus {
            docker: SourceStatus { last_error: docker, ..SourceStatus::default() },
            store: StoreStatus { last_error: store, ..StoreStatus::default() },
            records: Some(RecordsStatus {
                live: 1,
                standby: StandbyReason::ALL[..2].iter().map(|reason| (*reason, 1)).collect(),
                ..RecordsStatus::default()
            }),
            ..CoreStatus::default()
        }
    }

    #[test]
    fn lists_problems_before_record_counts() {
        const HEALTHY: &str = "1 record live, 2 on standby";
        let none = BTreeMap::new();
        let etcd_waits = BTreeMap::from([("etcd", "refused".to_owned())]);
        let both = BTreeMap::from([("etcd", "refused".to_owned()), ("docker", "no".to_owned())]);
        let healthy = status(None, None);
        let docker_down = status(Some("no".into()), None);
        let etcd_down = status(None, Some("x".repeat(500)));
        let no_records = CoreStatus { records: None, ..docker_down.clone() };
        let long_reason = "x".repeat(REASON_CHARS_MAX);
        for (unavailable, status, line) in [
            (&none, None, "asking docker and etcd".to_owned()),
            (&both, None, "waiting for docker (no) and etcd (refused)".to_owned()),
            (&none, Some(&healthy), HEALTHY.to_owned()),
            (&none, Some(&docker_down), format!("docker does not answer (no); {HEALTHY}")),
            (&none, Some(&etcd_down), format!("etcd does not answer ({long_reason}…); {HEALTHY}")),
            (&none, Some(&no_records), "docker does not answer (no)".to_owned()),
            (
                &etcd_waits,
                Some(&healthy),
                format!("the settings read last wait for etcd (refused); {HEALTHY}"),
            ),
        ] {
            assert_eq!(status_line(unavailable, status, StoreKind::Etcd), line);
        }
        assert_eq!(status_line(&none, None, StoreKind::Standalone), "asking docker");
    }
}
