//! `/status`: how it goes, in one answer. The status page and `highhock status` show it.

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

/// How it goes with the daemon. Times are as RFC 3339 has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusResponse {
    /// The program's version.
    pub version: String,
    /// The commit that it was built from, where that is known.
    pub commit: Option<String>,
    /// This machine's name.
    pub host: String,
    /// What this machine's clock shows.
    pub now: String,
    /// When the daemon started.
    pub started: String,
    /// Whether all is as it should be, as `/readyz` has it.
    pub ready: bool,
    /// The reason against it, by its name.
    pub kind: Option<String>,
    /// The reason against it, in words.
    pub reason: Option<String>,
    /// The faults for which the configuration that was read last is not in force; none: it
    /// is.
    #[serde(default)]
    pub reload_refused: Vec<String>,
    /// Who has to answer before the configuration that was read last is in force, and why it
    /// does not; none: nobody.
    #[serde(default)]
    pub reload_waits: Option<String>,
    /// Towards Docker; none as long as no actors run.
    pub docker: Option<DockerReport>,
    /// Towards etcd; none as long as no actors run, and where there is no etcd.
    pub etcd: Option<EtcdReport>,
    /// How DNS is answered, where this daemon does.
    #[serde(default)]
    pub dns: Option<DnsReport>,
    /// How long the lease of the records lives on unless it is kept alive.
    pub lease_remaining_seconds: Option<f64>,
    /// How many containers are in which state; states with none are left out.
    pub containers: BTreeMap<String, usize>,
    /// How many records stand how; none while that is not known.
    pub records: Option<RecordCounts>,
    /// The log's last warnings and errors, the oldest first.
    pub errors: Vec<LogRow>,
}

/// How it stands towards Docker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DockerReport {
    /// Whether it answered the last time.
    pub answers: bool,
    /// When its containers were last listed.
    pub listed: Option<String>,
    /// Why it does not answer.
    pub trouble: Option<String>,
}

/// How it stands towards etcd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EtcdReport {
    /// Whether it answers, as far as is known.
    pub answers: bool,
    /// Since when it does, or doesn't.
    pub since: Option<String>,
    /// Why it does not answer.
    pub trouble: Option<String>,
    /// When it last took a write.
    pub written: Option<String>,
    /// When all that it holds was last compared with what should be there.
    pub audited: Option<String>,
}

/// How many records stand how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCounts {
    /// In the store, by our doing.
    pub live: usize,
    /// To be written.
    pub pending: usize,
    /// Another holds the key.
    pub standby: usize,
    /// The store won't take them.
    pub failed: usize,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// When it was logged.
    pub at: String,
    /// How grave it is, as `WARNING`.
    pub level: String,
    /// What it says.
    pub message: String,
    /// Of what.
    pub fields: BTreeMap<String, String>,
}

impl StatusResponse {
    /// Of how the core stands.
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
        Self { live: records.live, pending: records.pending, standby, failed: records.failed }
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
