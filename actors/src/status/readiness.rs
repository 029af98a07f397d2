//! Whether all is as it should be (SPEC 7, `/readyz`).

use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{CoreStatus, RecordsStatus, SourceStatus, StoreStatus};

/// So many polls without an answer are too many.
const POLLS_WITHOUT_LISTING_MAX: u32 = 3;

/// Why not all is as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// No listing was answered yet.
    #[error("docker was not listed yet{}", error_suffix(last_error.as_deref()))]
    DockerNotListed {
        /// Why not, where that is known.
        last_error: Option<String>,
    },
    /// No listing was answered within three polls.
    #[error("docker was last listed {} s ago{}", elapsed.as_secs(), error_suffix(last_error.as_deref()))]
    DockerOverdue {
        /// When the last one was answered.
        elapsed: Duration,
        /// Why none was since, where that is known.
        last_error: Option<String>,
    },
    /// Whether the records are there is not known.
    #[error("etcd does not answer{}", error_suffix(last_error.as_deref()))]
    StoreUnavailable {
        /// Why not, where that is known.
        last_error: Option<String>,
    },
    /// The inserter is being rebuilt, or too busy to answer.
    #[error("EtcdInserter does not answer")]
    NoResponse,
    /// What some containers offer is not known yet.
    #[error("{containers} containers are not inspected yet")]
    ContainersPending {
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
            Self::DockerOverdue { .. } => "docker_silent",
            Self::StoreUnavailable { .. } => "etcd_away",
            Self::NoResponse => "no_answer",
            Self::ContainersPending { .. } => "containers_untold",
            Self::RecordsPending { .. } => "records_pending",
        }
    }
}

fn error_suffix(last_error: Option<&str>) -> String {
    last_error.map(|last_error| format!(": {last_error}")).unwrap_or_default()
}

impl CoreStatus {
    /// Whether Docker was listed within three polls, and every wanted record is in etcd,
    /// stands by, or has failed for a reason of its own. While etcd doesn't answer, that is
    /// not known, and so not so.
    ///
    /// # Errors
    /// The first reason against it, in the order of the flow.
    pub fn ready(&self) -> Result<(), NotReady> {
        check_docker(&self.docker, Instant::now())?;
        check_store(&self.store)?;
        check_records(self.records.as_ref().ok_or(NotReady::NoResponse)?)
    }
}

fn check_docker(docker: &SourceStatus, now: Instant) -> Result<(), NotReady> {
    let last_error = docker.last_error.clone();
    let Some(last_listing) = docker.last_listing else {
        return Err(NotReady::DockerNotListed { last_error });
    };
    let elapsed = now.saturating_duration_since(last_listing);
    if elapsed > docker.poll_interval * POLLS_WITHOUT_LISTING_MAX {
        return Err(NotReady::DockerOverdue { elapsed, last_error });
    }
    Ok(())
}

fn check_store(store: &StoreStatus) -> Result<(), NotReady> {
    if store.available {
        return Ok(());
    }
    Err(NotReady::StoreUnavailable { last_error: store.last_error.clone() })
}

fn check_records(records: &RecordsStatus) -> Result<(), NotReady> {
    if records.uninspected > 0 {
        return Err(NotReady::ContainersPending { containers: records.uninspected });
    }
    if records.pending > 0 {
        return Err(NotReady::RecordsPending { records: records.pending });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::metrics::HistogramSnapshot;
    use crate::status::RecordCounts;

    const POLL: Duration = Duration::from_secs(10);

    fn ready() -> CoreStatus {
        CoreStatus {
            docker: SourceStatus {
                poll_interval: POLL,
                last_listing: Some(Instant::now()),
                last_error: None,
            },
            store: StoreStatus { available: true, ..StoreStatus::default() },
            containers: Vec::new(),
            records: Some(RecordsStatus::default()),
            counts: RecordCounts::default(),
            event_to_record: HistogramSnapshot::default(),
        }
    }

    fn kind_after(change: impl FnOnce(&mut CoreStatus)) -> Option<&'static str> {
        let mut status = ready();
        change(&mut status);
        status.ready().err().map(|reason| reason.kind())
    }

    fn records(status: &mut CoreStatus) -> &mut RecordsStatus {
        status.records.as_mut().unwrap()
    }

    #[test]
    fn every_reason_has_a_kind() {
        assert_eq!(kind_after(|_| ()), None);
        assert_eq!(kind_after(|now| now.docker.last_listing = None), Some("docker_not_listed"));
        assert_eq!(kind_after(|now| now.store.available = false), Some("etcd_away"));
        assert_eq!(kind_after(|now| now.records = None), Some("no_answer"));
        assert_eq!(kind_after(|now| records(now).uninspected = 1), Some("containers_untold"));
        assert_eq!(kind_after(|now| records(now).pending = 1), Some("records_pending"));
        assert_eq!(kind_after(|now| records(now).failed = 1), None);
    }

    #[test]
    fn ready_after_two_missed_polls() {
        let now = Instant::now();
        let mut docker = ready().docker;
        docker.last_listing = Some(now);
        docker.last_error = Some("connection refused".into());
        assert_eq!(check_docker(&docker, now + POLL * 3), Ok(()));
        let late = check_docker(&docker, now + POLL * 3 + Duration::from_millis(1));
        let reason = late.unwrap_err().to_string();
        assert_eq!(reason, "docker was last listed 30 s ago: connection refused");
    }
}
