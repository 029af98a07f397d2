//! The health of the daemon in one line, for `systemctl status`.

use std::collections::BTreeMap;

use highhock_actors::status::{CoreStatus, RecordsStatus};

use crate::settings::StoreKind;

/// The servers (`docker` or `etcd`) that a new configuration waits for, each with its error.
pub(super) type UnavailableServers = BTreeMap<&'static str, String>;

/// The largest length of a reason, so that the status stays on one line.
const REASON_CHARS_MAX: usize = 160;

/// Returns the status line. `status` is `None` if no core runs yet.
pub(super) fn status_line(
    unavailable: &UnavailableServers,
    status: Option<&CoreStatus>,
    store: StoreKind,
) -> String {
    let Some(status) = status else { return waiting(unavailable, store, truncated) };
    let mut parts = Vec::new();
    for (target, error) in
        [("docker", &status.docker.last_error), ("etcd", &status.store.last_error)]
    {
        if let Some(reason) = error {
            parts.push(format!("{target} does not answer ({})", truncated(reason)));
        }
    }
    if !unavailable.is_empty() {
        let waits = list_servers(unavailable, truncated);
        parts.push(format!("new configuration is waiting for {waits}"));
    }
    parts.extend(status.records.as_ref().map(count));
    parts.join("; ")
}

/// Returns the status line of a daemon without a core. `format` shortens a reason.
pub(super) fn waiting(
    unavailable: &UnavailableServers,
    store: StoreKind,
    format: impl Fn(&str) -> String,
) -> String {
    if unavailable.is_empty() {
        format!("connecting to {}", store.dependencies())
    } else {
        format!("waiting for {}", list_servers(unavailable, format))
    }
}

fn list_servers(unavailable: &UnavailableServers, format: impl Fn(&str) -> String) -> String {
    let servers =
        unavailable.iter().map(|(target, reason)| format!("{target} ({})", format(reason)));
    servers.collect::<Vec<_>>().join(" and ")
}

fn count(records: &RecordsStatus) -> String {
    let plural = if records.live == 1 { "" } else { "s" };
    let mut text = format!("{} record{plural} live", records.live);
    let standby = records.standby.iter().map(|(_, count)| count).sum();
    for (count, state) in [
        (records.expired, "expired"),
        (records.pending, "to be written"),
        (standby, "on standby"),
        (records.failed, "failed"),
    ] {
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

    /// The status of a core with one live record and two on standby.
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
        let none = UnavailableServers::new();
        let etcd_waits = BTreeMap::from([("etcd", "refused".to_owned())]);
        let both = BTreeMap::from([("etcd", "refused".to_owned()), ("docker", "no".to_owned())]);
        let healthy = status(None, None);
        let docker_down = status(Some("no".into()), None);
        let etcd_down = status(None, Some("x".repeat(500)));
        let no_records = CoreStatus { records: None, ..docker_down.clone() };
        let long_reason = "x".repeat(REASON_CHARS_MAX);
        for (unavailable, status, line) in [
            (&none, None, "connecting to docker and etcd".to_owned()),
            (&both, None, "waiting for docker (no) and etcd (refused)".to_owned()),
            (&none, Some(&healthy), HEALTHY.to_owned()),
            (&none, Some(&docker_down), format!("docker does not answer (no); {HEALTHY}")),
            (&none, Some(&etcd_down), format!("etcd does not answer ({long_reason}…); {HEALTHY}")),
            (&none, Some(&no_records), "docker does not answer (no)".to_owned()),
            (
                &etcd_waits,
                Some(&healthy),
                format!("new configuration is waiting for etcd (refused); {HEALTHY}"),
            ),
        ] {
            assert_eq!(status_line(unavailable, status, StoreKind::Etcd), line);
        }
        assert_eq!(status_line(&none, None, StoreKind::Standalone), "connecting to docker");
    }
}
