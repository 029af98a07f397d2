//! Whether all is as it should be (SPEC 7, `/readyz`).

use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{DockerStanding, RecordsStanding, Standing, StoreStanding};

/// So many polls without an answer are too many.
const POLLS: u32 = 3;

/// Why not all is as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// No listing was answered yet.
    #[error("docker was not listed yet{}", because(trouble.as_deref()))]
    DockerNotListed {
        /// Why not, where that is known.
        trouble: Option<String>,
    },
    /// No listing was answered within three polls.
    #[error("docker was last listed {} s ago{}", ago.as_secs(), because(trouble.as_deref()))]
    DockerSilent {
        /// When the last one was answered.
        ago: Duration,
        /// Why none was since, where that is known.
        trouble: Option<String>,
    },
    /// Whether the records are there is not known.
    #[error("etcd does not answer{}", because(trouble.as_deref()))]
    StoreAway {
        /// Why not, where that is known.
        trouble: Option<String>,
    },
    /// The inserter is being rebuilt, or too busy to answer.
    #[error("EtcdInserter does not answer")]
    NoAnswer,
    /// What some containers offer is not known yet.
    #[error("{containers} containers are not inspected yet")]
    ContainersUntold {
        /// How many.
        containers: usize,
    },
    /// Some records are still to be written.
    #[error("{records} records are not written yet")]
    RecordsPending {
        /// How many.
        records: usize,
    },
}

impl NotReady {
    /// The reason's name for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::DockerNotListed { .. } => "docker_not_listed",
            Self::DockerSilent { .. } => "docker_silent",
            Self::StoreAway { .. } => "etcd_away",
            Self::NoAnswer => "no_answer",
            Self::ContainersUntold { .. } => "containers_untold",
            Self::RecordsPending { .. } => "records_pending",
        }
    }
}

fn because(trouble: Option<&str>) -> String {
    trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default()
}

impl Standing {
    /// Whether Docker was listed within three polls, and every wanted record is in etcd,
    /// stands by, or has failed for a reason of its own. While etcd doesn't answer, that is
    /// not known, and so not so.
    ///
    /// # Errors
    /// The first reason against it, in the order of the flow.
    pub fn ready(&self) -> Result<(), NotReady> {
        docker_is_ready(&self.docker, Instant::now())?;
        store_is_ready(&self.store)?;
        records_are_ready(self.records.as_ref().ok_or(NotReady::NoAnswer)?)
    }
}

fn docker_is_ready(docker: &DockerStanding, now: Instant) -> Result<(), NotReady> {
    let trouble = docker.trouble.clone();
    let Some(listed) = docker.listed else {
        return Err(NotReady::DockerNotListed { trouble });
    };
    let ago = now.saturating_duration_since(listed);
    if ago > docker.poll * POLLS {
        return Err(NotReady::DockerSilent { ago, trouble });
    }
    Ok(())
}

fn store_is_ready(store: &StoreStanding) -> Result<(), NotReady> {
    if store.answers {
        return Ok(());
    }
    Err(NotReady::StoreAway { trouble: store.trouble.clone() })
}

fn records_are_ready(records: &RecordsStanding) -> Result<(), NotReady> {
    if records.untold > 0 {
        return Err(NotReady::ContainersUntold { containers: records.untold });
    }
    if records.pending > 0 {
        return Err(NotReady::RecordsPending { records: records.pending });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::metrics::TimingReading;
    use crate::status::Counts;

    const POLL: Duration = Duration::from_secs(10);

    fn ready() -> Standing {
        Standing {
            docker: DockerStanding { poll: POLL, listed: Some(Instant::now()), trouble: None },
            store: StoreStanding { answers: true, ..StoreStanding::default() },
            containers: Vec::new(),
            records: Some(RecordsStanding::default()),
            counts: Counts::default(),
            event_to_record: TimingReading::default(),
        }
    }

    fn kind_after(change: impl FnOnce(&mut Standing)) -> Option<&'static str> {
        let mut standing = ready();
        change(&mut standing);
        standing.ready().err().map(|reason| reason.kind())
    }

    fn records(standing: &mut Standing) -> &mut RecordsStanding {
        standing.records.as_mut().unwrap()
    }

    #[test]
    fn each_reason_has_its_name() {
        assert_eq!(kind_after(|_| ()), None);
        assert_eq!(kind_after(|now| now.docker.listed = None), Some("docker_not_listed"));
        assert_eq!(kind_after(|now| now.store.answers = false), Some("etcd_away"));
        assert_eq!(kind_after(|now| now.records = None), Some("no_answer"));
        assert_eq!(kind_after(|now| records(now).untold = 1), Some("containers_untold"));
        assert_eq!(kind_after(|now| records(now).pending = 1), Some("records_pending"));
        assert_eq!(kind_after(|now| records(now).failed = 1), None);
    }

    #[test]
    fn docker_may_miss_two_polls() {
        let now = Instant::now();
        let mut docker = ready().docker;
        docker.listed = Some(now);
        docker.trouble = Some("connection refused".into());
        assert_eq!(docker_is_ready(&docker, now + POLL * 3), Ok(()));
        let late = docker_is_ready(&docker, now + POLL * 3 + Duration::from_millis(1));
        let reason = late.unwrap_err().to_string();
        assert_eq!(reason, "docker was last listed 30 s ago: connection refused");
    }
}
