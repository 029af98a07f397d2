//! All that is measured, as it was at one moment.

use std::time::SystemTime;

use highhock_actors::runtime::metrics::MailboxSnapshot;
use highhock_actors::status::{CoreHandle, CoreStatus};
use tokio::time::Instant;

use super::instrumented::{RequestMetrics, RequestSnapshot};
use super::process::Process;
use super::reloads::Reloads;
use crate::dns::DnsStatsSnapshot;
use crate::version;

/// All that is measured, as it was at one moment.
#[derive(Clone, Debug)]
pub struct MetricsSnapshot {
    /// What was built.
    pub build: Build,
    /// What the process takes of the machine; `None` where the kernel doesn't tell.
    pub process: Option<Process>,
    /// Questions to Docker.
    pub docker: Vec<RequestSnapshot>,
    /// Requests to etcd; none where there is no etcd.
    pub etcd: Vec<RequestSnapshot>,
    /// What the DNS server counted; `None` where this process is none.
    pub dns: Option<DnsStatsSnapshot>,
    /// How often the configuration was read again.
    pub reloads: Reloads,
    /// The core; `None` while none runs yet: Docker or etcd has not answered since the start.
    pub core: Option<CoreSnapshot>,
}

/// What was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// The version.
    pub version: &'static str,
    /// The commit that it was built from; `unknown` where it was not built from one.
    pub commit: &'static str,
}

impl Build {
    /// What this program was built from.
    pub const THIS: Self = Self {
        version: version::VERSION,
        commit: match version::COMMIT {
            Some(commit) => commit,
            None => "unknown",
        },
    };
}

/// What is measured of the core.
#[derive(Clone, Debug)]
pub struct CoreSnapshot {
    /// How it stands.
    pub status: CoreStatus,
    /// Its actors' mailboxes.
    pub meters: [MailboxSnapshot; 4],
    /// The moment of the reading, by either clock.
    pub now: (Instant, SystemTime),
}

impl MetricsSnapshot {
    /// Reads everything but the DNS server now. Waits up to a second for what the core's actors tell.
    pub async fn take(
        core: Option<&CoreHandle>,
        docker: &RequestMetrics,
        etcd: Option<&RequestMetrics>,
        reloads: Reloads,
    ) -> Self {
        let core = match core {
            Some(core) => Some(CoreSnapshot::take(core).await),
            None => None,
        };
        let docker = docker.snapshot();
        let etcd = etcd.map(RequestMetrics::snapshot).unwrap_or_default();
        let process = Process::now();
        Self { build: Build::THIS, process, docker, etcd, dns: None, reloads, core }
    }
}

impl CoreSnapshot {
    /// Reads all of the core.
    pub async fn take(core: &CoreHandle) -> Self {
        // The mailboxes first: the question for the rest goes through one of them.
        let meters = core.mailbox_snapshots();
        let status = core.status().await;
        Self { status, meters, now: (Instant::now(), SystemTime::now()) }
    }

    /// A moment by the clock on the wall.
    pub(super) fn wall_clock_time(&self, instant: Option<Instant>) -> Option<SystemTime> {
        let (now, wall) = self.now;
        wall.checked_sub(now.saturating_duration_since(instant?))
    }
}
