//! All that is measured, as it was at one moment.

use std::time::SystemTime;

use highhock_actors::runtime::metrics::MeterReading;
use highhock_actors::status::{Observer, Standing};
use tokio::time::Instant;

use super::instrumented::{RequestReading, Requests};
use super::process::Process;
use super::reloads::Reloads;
use crate::dns::DnsCounts;
use crate::version;

/// All that is measured, as it was at one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What was built.
    pub build: Build,
    /// What the process takes of the machine; `None` where the kernel doesn't tell.
    pub process: Option<Process>,
    /// Questions to Docker.
    pub docker: Vec<RequestReading>,
    /// Requests to etcd; none where there is no etcd.
    pub etcd: Vec<RequestReading>,
    /// What the DNS server counted; `None` where this process is none.
    pub dns: Option<DnsCounts>,
    /// How often the configuration was read again.
    pub reloads: Reloads,
    /// The core; `None` while none runs yet: Docker or etcd has not answered since the start.
    pub core: Option<CoreReading>,
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
pub struct CoreReading {
    /// How it stands.
    pub standing: Standing,
    /// Its actors' mailboxes.
    pub meters: [MeterReading; 4],
    /// The moment of the reading, by either clock.
    pub now: (Instant, SystemTime),
}

impl Reading {
    /// Reads everything but the DNS server now. Waits up to a second for what the core's actors tell.
    pub async fn take(
        core: Option<&Observer>,
        docker: &Requests,
        etcd: Option<&Requests>,
        reloads: Reloads,
    ) -> Self {
        let core = match core {
            Some(core) => Some(CoreReading::take(core).await),
            None => None,
        };
        let docker = docker.read();
        let etcd = etcd.map(Requests::read).unwrap_or_default();
        let process = Process::now();
        Self { build: Build::THIS, process, docker, etcd, dns: None, reloads, core }
    }
}

impl CoreReading {
    /// Reads all of the core.
    pub async fn take(core: &Observer) -> Self {
        // The mailboxes first: the question for the rest goes through one of them.
        let meters = core.meters();
        let standing = core.standing().await;
        Self { standing, meters, now: (Instant::now(), SystemTime::now()) }
    }

    /// A moment by the clock on the wall.
    pub(super) fn on_the_wall(&self, moment: Option<Instant>) -> Option<SystemTime> {
        let (now, wall) = self.now;
        wall.checked_sub(now.saturating_duration_since(moment?))
    }
}
