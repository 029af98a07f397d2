//! Readiness: the reasons for which `/readyz` answers 503.
//!
//! The rule is in `deploy/README.md`, "Readiness".

use std::time::Duration;

use tokio::time::Instant;

use super::snapshot::{CoreStatus, RecordsStatus, SourceStatus, StoreStatus};

/// The number of poll intervals within which Docker must have been listed.
const POLLS_WITHOUT_LISTING_MAX: u32 = 3;

/// A reason for which the core is not ready.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Docker has not been listed since the start.
    #[error("docker was not listed yet{}", error_suffix(last_error.as_deref()))]
    DockerNotListed {
        /// The error of the latest attempt, if there was one.
        last_error: Option<String>,
    },
    /// Docker was not listed within three poll intervals.
    #[error("docker was last listed {} s ago{}", elapsed.as_secs(), error_suffix(last_error.as_deref()))]
    DockerOverdue {
        /// The time since the latest listing.
        elapsed: Duration,
        /// The error of the latest attempt, if there was one.
        last_error: Option<String>,
    },
    /// etcd is unreachable, so it is unknown whether the records are there.
    #[error("etcd does not answer{}", error_suffix(last_error.as_deref()))]
    StoreUnavailable {
        /// The error of the latest request, if there was one.
        last_error: Option<String>,
    },
    /// The inserter did not reply within one second.
    #[error("EtcdInserter does not answer: it is being restarted or overloaded; see the log")]
    NoResponse,
    /// Some containers are listed but not inspected yet.
    #[error("{containers} containers are not inspected yet")]
    ContainersPending {
        /// The number of these containers.
        containers: usize,
    },
    /// Some records expired and are not written again yet.
    #[error("{records} records expired and are not written again yet")]
    RecordsExpired {
        /// The number of these records.
        records: usize,
    },
    /// Some records are not written yet.
    #[error("{records} records are not written yet")]
    RecordsPending {
        /// The number of these records.
        records: usize,
    },
}

impl NotReady {
    /// Returns the name of the reason for programs: the JSON field `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::DockerNotListed { .. } => "docker_not_listed",
            Self::DockerOverdue { .. } => "docker_silent",
            Self::StoreUnavailable { .. } => "etcd_away",
            Self::NoResponse => "no_answer",
            Self::ContainersPending { .. } => "containers_pending",
            Self::RecordsExpired { .. } => "records_expired",
            Self::RecordsPending { .. } => "records_pending",
        }
    }
}

fn error_suffix(last_error: Option<&str>) -> String {
    last_error.map(|last_error| format!(": {last_error}")).unwrap_or_default()
}

impl CoreStatus {
    /// Checks that the core is ready: Docker was listed within three poll intervals, and every
    /// desired record is published, on standby, or rejected for a reason of its own. While etcd
    /// is unreachable the core is not ready.
    ///
    /// # Errors
    /// Returns the first reason for which the core is not ready, in the order of the flow.
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
    // The duration of a listing is no outage, also if it is longer than the poll interval.
    let overdue = (docker.poll_interval + docker.listing_duration) * POLLS_WITHOUT_LISTING_MAX;
    if elapsed > overdue {
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
    if records.expired > 0 {
        return Err(NotReady::RecordsExpired { records: records.expired });
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
                ..SourceStatus::default()
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
        assert_eq!(kind_after(|now| records(now).uninspected = 1), Some("containers_pending"));
        assert_eq!(kind_after(|now| records(now).expired = 1), Some("records_expired"));
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

    #[test]
    fn slow_listings_are_ready_between_two_of_them() {
        let now = Instant::now();
        let mut docker = ready().docker;
        (docker.last_listing, docker.listing_duration) = (Some(now), POLL * 3);
        assert_eq!(check_docker(&docker, now + POLL * 4), Ok(()));
        assert!(check_docker(&docker, now + POLL * 13).is_err());
    }
}
