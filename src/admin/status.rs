//! `/status`: the status of the daemon in one response, for the status page and `highhock status`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use highhock_actors::status::{CoreStatus, RecordsStatus, SourceStatus, StoreStatus};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::active_config::ActiveConfig;
use super::bridge::QueryError;
use super::rows::wall_clock_time;
use crate::admin::active_config::DnsReport;
use crate::host::name::machine_name;
use crate::logging::LogEntry;
use crate::text::rfc3339::rfc3339;
use crate::version;

/// The status of the daemon. Times are in the format of RFC 3339.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusResponse {
    /// The version of the program.
    pub version: String,
    /// The commit of the build, if known.
    pub commit: Option<String>,
    /// The name of this machine.
    pub host: String,
    /// The time of the response, by the clock of this machine.
    pub now: String,
    /// The start time of the daemon.
    pub started: String,
    /// `true` if the daemon is ready (deploy/README.md, "Readiness").
    pub ready: bool,
    /// The name of the reason for which the daemon is not ready.
    pub kind: Option<String>,
    /// The reason for which the daemon is not ready, for the operator.
    pub reason: Option<String>,
    /// The errors for which the last reload was rejected. Empty after a successful reload.
    #[serde(default)]
    pub reload_refused: Vec<String>,
    /// The servers that must answer before the last reload takes effect, with their errors.
    #[serde(default)]
    pub reload_waits: Option<String>,
    /// The difference between the published address and the address of its interface.
    #[serde(default)]
    pub address_warning: Option<String>,
    /// The state of Docker. `None` until the actors run.
    pub docker: Option<DockerReport>,
    /// The state of etcd. `None` until the actors run, and in standalone mode.
    pub etcd: Option<EtcdReport>,
    /// The DNS server of standalone mode.
    #[serde(default)]
    pub dns: Option<DnsReport>,
    /// The remaining time of the lease of all records, if it is not kept alive. 0: expired.
    pub lease_remaining_seconds: Option<f64>,
    /// The number of containers in each state. States without containers are missing.
    pub containers: BTreeMap<String, usize>,
    /// The number of records in each state. `None` while it is unknown.
    pub records: Option<RecordCounts>,
    /// The last warnings and errors of the log, oldest first.
    pub errors: Vec<LogRow>,
}

/// The state of Docker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DockerReport {
    /// `true` if the last request was answered.
    pub answers: bool,
    /// The time of the last listing.
    pub listed: Option<String>,
    /// The last error, if the server does not answer.
    pub trouble: Option<String>,
}

/// The state of etcd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EtcdReport {
    /// `true` if etcd answers, as far as known.
    pub answers: bool,
    /// The time of the last change of `answers`.
    pub since: Option<String>,
    /// The last error, if the server does not answer.
    pub trouble: Option<String>,
    /// The time of the last successful write.
    pub written: Option<String>,
    /// The time of the last audit.
    pub audited: Option<String>,
}

/// The number of records in each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCounts {
    /// Published.
    pub live: usize,
    /// Run out while etcd is unreachable.
    #[serde(default)]
    pub expired: usize,
    /// Waiting to be written.
    pub pending: usize,
    /// On standby, because the key has another holder.
    pub standby: usize,
    /// Rejected by the store.
    pub failed: usize,
}

/// A warning or error of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// The time of the entry.
    pub at: String,
    /// The level, for example `WARNING`.
    pub level: String,
    /// The message without its fields.
    pub message: String,
    /// The fields of the message.
    pub fields: BTreeMap<String, String>,
}

impl StatusResponse {
    /// Combines the status of the core with the configuration and the log.
    pub(super) fn new(
        status: Result<CoreStatus, QueryError>,
        active_config: &ActiveConfig,
        recent_logs: Vec<LogEntry>,
        started: SystemTime,
    ) -> Self {
        let (kind, reason) = match status.as_ref().map(CoreStatus::ready) {
            Ok(Ok(())) => (None, None),
            Ok(Err(not_ready)) => (Some(not_ready.kind()), Some(not_ready.to_string())),
            Err(error) => (Some(error.kind()), Some(error.to_string())),
        };
        let status = status.ok();
        let records = status.as_ref().and_then(|status| status.records.as_ref());
        let containers = status.iter().flat_map(|status| &status.containers);
        let containers = containers.filter(|(_, count)| *count > 0);
        Self {
            version: version::VERSION.to_owned(),
            commit: version::COMMIT.filter(|commit| !commit.is_empty()).map(str::to_owned),
            host: machine_name().unwrap_or_default(),
            now: rfc3339(SystemTime::now()),
            started: rfc3339(started),
            ready: reason.is_none(),
            kind: kind.map(str::to_owned),
            reason,
            reload_refused: active_config.reload_errors.clone(),
            reload_waits: active_config.reload_waiting_for.clone(),
            address_warning: active_config.address_warning.clone(),
            lease_remaining_seconds: records
                .and_then(|records| records.lease_remaining)
                .map(|remaining: Duration| remaining.as_secs_f64()),
            records: records.map(RecordCounts::from),
            containers: containers.map(|(state, count)| (state.as_str().into(), *count)).collect(),
            docker: status.as_ref().map(|status| DockerReport::from(&status.docker)),
            etcd: match (&status, &active_config.dns) {
                (Some(status), None) => Some(EtcdReport::from(&status.store)),
                _ => None,
            },
            dns: active_config.dns.clone(),
            errors: recent_logs.into_iter().map(LogRow::from).collect(),
        }
    }
}

fn time(instant: Option<Instant>) -> Option<String> {
    instant.map(|instant| rfc3339(wall_clock_time(instant)))
}

impl From<&SourceStatus> for DockerReport {
    fn from(docker: &SourceStatus) -> Self {
        Self {
            answers: docker.is_available(),
            listed: time(docker.last_listing),
            trouble: docker.last_error.clone(),
        }
    }
}

impl From<&StoreStatus> for EtcdReport {
    fn from(store: &StoreStatus) -> Self {
        Self {
            answers: store.available,
            since: time(store.since),
            trouble: store.last_error.clone(),
            written: time(store.last_write),
            audited: time(store.last_audit),
        }
    }
}

impl From<&RecordsStatus> for RecordCounts {
    fn from(records: &RecordsStatus) -> Self {
        let standby = records.standby.iter().map(|(_, count)| count).sum();
        Self {
            live: records.live,
            expired: records.expired,
            pending: records.pending,
            standby,
            failed: records.failed,
        }
    }
}

impl From<LogEntry> for LogRow {
    fn from(entry: LogEntry) -> Self {
        Self {
            at: rfc3339(entry.at),
            level: entry.level.name().to_owned(),
            message: entry.message,
            fields: entry.fields.into_iter().collect(),
        }
    }
}
