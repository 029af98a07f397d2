//! The values of all metrics at one time.

use std::time::SystemTime;

use highhock_actors::runtime::metrics::MailboxSnapshot;
use highhock_actors::status::{CoreHandle, CoreStatus};
use tokio::time::Instant;

use super::instrumented::{RequestMetrics, RequestSnapshot};
use super::process::Process;
use super::reloads::Reloads;
use crate::dns::DnsStatsSnapshot;
use crate::version;

/// The values of all metrics at one time.
#[derive(Clone, Debug)]
pub struct MetricsSnapshot {
    /// The version and commit of the build.
    pub build: Build,
    /// The resources that the process uses; `None` if the kernel does not report them.
    pub process: Option<Process>,
    /// The requests to Docker.
    pub docker: Vec<RequestSnapshot>,
    /// The requests to etcd; empty in standalone mode.
    pub etcd: Vec<RequestSnapshot>,
    /// The counters of the DNS server; `None` in etcd mode.
    pub dns: Option<DnsStatsSnapshot>,
    /// The reloads of the configuration.
    pub reloads: Reloads,
    /// The values of the core; `None` until Docker and etcd are reached for the first time.
    pub core: Option<CoreSnapshot>,
}

/// The version and commit of the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// The version.
    pub version: &'static str,
    /// The commit; `unknown` if the build was outside of a git clone.
    pub commit: &'static str,
}

impl Build {
    /// The version and commit of this program.
    pub const THIS: Self = Self {
        version: version::VERSION,
        commit: match version::COMMIT {
            Some(commit) => commit,
            None => "unknown",
        },
    };
}

/// The values of the core at one time.
#[derive(Clone, Debug)]
pub struct CoreSnapshot {
    /// The status of the core.
    pub status: CoreStatus,
    /// The mailboxes, by type of actor.
    pub mailboxes: [MailboxSnapshot; 4],
    /// The time of the snapshot, by the monotonic clock and the wall clock.
    pub now: (Instant, SystemTime),
}

impl MetricsSnapshot {
    /// Takes a snapshot of everything except the DNS server. Waits up to a second for the core's
    /// actors.
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
    /// Takes a snapshot of the core.
    pub async fn take(core: &CoreHandle) -> Self {
        // The mailboxes come first, because the query of the status passes through a mailbox.
        let mailboxes = core.mailbox_snapshots();
        let status = core.status().await;
        Self { status, mailboxes, now: (Instant::now(), SystemTime::now()) }
    }

    /// Converts a time of the monotonic clock to the wall clock.
    pub(super) fn wall_clock_time(&self, instant: Option<Instant>) -> Option<SystemTime> {
        let (now, wall) = self.now;
        wall.checked_sub(now.saturating_duration_since(instant?))
    }
}
