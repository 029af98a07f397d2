//! `/status`: how it goes, in one answer. The status page and `highhock status` show it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use highhock_actors::status::{DockerStanding, RecordsStanding, Standing, StoreStanding};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::active_config::InForce;
use super::bridge::NoAnswer;
use super::rows::on_the_clock;
use crate::admin::active_config::DnsSide;
use crate::host::name::machine_name;
use crate::logging::LastLine;
use crate::text::rfc3339::rfc3339;
use crate::version;

/// How it goes with the daemon. Times are as RFC 3339 has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
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
    pub docker: Option<DockerSide>,
    /// Towards etcd; none as long as no actors run, and where there is no etcd.
    pub etcd: Option<EtcdSide>,
    /// How DNS is answered, where this daemon does.
    #[serde(default)]
    pub dns: Option<DnsSide>,
    /// How long the lease of the records lives on unless it is kept alive.
    pub lease_remaining_seconds: Option<f64>,
    /// How many containers are in which state; states with none are left out.
    pub containers: BTreeMap<String, usize>,
    /// How many records stand how; none while that is not known.
    pub records: Option<RecordCounts>,
    /// The log's last warnings and errors, the oldest first.
    pub errors: Vec<LoggedLine>,
}

/// How it stands towards Docker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DockerSide {
    /// Whether it answered the last time.
    pub answers: bool,
    /// When its containers were last listed.
    pub listed: Option<String>,
    /// Why it does not answer.
    pub trouble: Option<String>,
}

/// How it stands towards etcd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EtcdSide {
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
pub struct LoggedLine {
    /// When it was logged.
    pub at: String,
    /// How grave it is, as `WARNING`.
    pub level: String,
    /// What it says.
    pub message: String,
    /// Of what.
    pub fields: BTreeMap<String, String>,
}

impl Summary {
    /// Of how the core stands.
    pub(super) fn of(
        standing: Result<Standing, NoAnswer>,
        in_force: &InForce,
        lines: Vec<LastLine>,
        started: SystemTime,
    ) -> Self {
        let (kind, reason) = match standing.as_ref().map(Standing::ready) {
            Ok(Ok(())) => (None, None),
            Ok(Err(not)) => (Some(not.kind()), Some(not.to_string())),
            Err(why) => (Some(why.kind()), Some(why.to_string())),
        };
        let standing = standing.ok();
        let records = standing.as_ref().and_then(|standing| standing.records.as_ref());
        let containers = standing.iter().flat_map(|standing| &standing.containers);
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
            reload_refused: in_force.refused.clone(),
            reload_waits: in_force.waits.clone(),
            lease_remaining_seconds: records
                .and_then(|records| records.lease_remaining)
                .map(|remaining: Duration| remaining.as_secs_f64()),
            records: records.map(RecordCounts::from),
            containers: containers.map(|(state, count)| (state.as_str().into(), *count)).collect(),
            docker: standing.as_ref().map(|standing| DockerSide::from(&standing.docker)),
            etcd: match (&standing, &in_force.dns) {
                (Some(standing), None) => Some(EtcdSide::from(&standing.store)),
                _ => None,
            },
            dns: in_force.dns.clone(),
            errors: lines.into_iter().map(LoggedLine::from).collect(),
        }
    }
}

fn time(moment: Option<Instant>) -> Option<String> {
    moment.map(|moment| rfc3339(on_the_clock(moment)))
}

impl From<&DockerStanding> for DockerSide {
    fn from(docker: &DockerStanding) -> Self {
        Self {
            answers: docker.answers(),
            listed: time(docker.listed),
            trouble: docker.trouble.clone(),
        }
    }
}

impl From<&StoreStanding> for EtcdSide {
    fn from(store: &StoreStanding) -> Self {
        Self {
            answers: store.answers,
            since: time(store.since),
            trouble: store.trouble.clone(),
            written: time(store.written),
            audited: time(store.audited),
        }
    }
}

impl From<&RecordsStanding> for RecordCounts {
    fn from(records: &RecordsStanding) -> Self {
        let standby = records.standby.iter().map(|(_, count)| count).sum();
        Self { live: records.live, pending: records.pending, standby, failed: records.failed }
    }
}

impl From<LastLine> for LoggedLine {
    fn from(line: LastLine) -> Self {
        Self {
            at: rfc3339(line.at),
            level: line.level.name().to_owned(),
            message: line.message,
            fields: line.fields.into_iter().collect(),
        }
    }
}
