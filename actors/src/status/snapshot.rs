//! [`CoreStatus`]: the status of Docker, the store and the records at one moment.

use std::time::Duration;

use tokio::time::Instant;

use super::reports::{RecordCounts, StandbyReason};
use crate::model::container_state::DisplayState;
use crate::runtime::metrics::HistogramSnapshot;

/// The status of a core. All fields except `records` survive the restart of an actor.
#[derive(Clone, Debug, Default)]
pub struct CoreStatus {
    /// The status of Docker.
    pub docker: SourceStatus,
    /// The status of the store.
    pub store: StoreStatus,
    /// The number of watched containers in each state, including zeros.
    pub containers: Vec<(DisplayState, usize)>,
    /// The status of the records. `None` if the inserter does not reply, because it is being
    /// restarted or overloaded.
    pub records: Option<RecordsStatus>,
    /// Counters of record events since the start.
    pub counts: RecordCounts,
    /// The time from the first report of a container's change to the store's reply to the
    /// resulting write.
    pub event_to_record: HistogramSnapshot,
}

/// The status of Docker.
#[derive(Clone, Debug, Default)]
pub struct SourceStatus {
    /// The configured time between two listings.
    pub poll_interval: Duration,
    /// The time of the latest successful listing. `None` before the first one.
    pub last_listing: Option<Instant>,
    /// The error of the latest listing, in one line. `None` if the listing succeeded, or if
    /// there was none yet.
    pub last_error: Option<String>,
    /// The duration of the latest successful listing.
    pub listing_duration: Duration,
    /// The number of events that could not be read.
    pub unreadable_events: u64,
    /// The number of rows of listings that could not be read.
    pub unreadable_rows: u64,
}

impl SourceStatus {
    /// Returns `true` if the latest listing succeeded.
    pub fn is_available(&self) -> bool {
        self.last_listing.is_some() && self.last_error.is_none()
    }
}

/// The status of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    /// The time at which `available` last changed. `None` until the first reply or failure.
    pub since: Option<Instant>,
    /// `true` if the store replied to the latest request.
    pub available: bool,
    /// The error of the latest request, in one line. `None` while the store is available.
    pub last_error: Option<String>,
    /// The time of the latest accepted write: a put, a deletion, a refresh or a keep-alive.
    pub last_write: Option<Instant>,
    /// The time of the latest complete audit.
    pub last_audit: Option<Instant>,
    /// The number of retries after the store was unreachable.
    pub retries: u64,
}

/// The number of desired records in each state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordsStatus {
    /// Published records.
    pub live: usize,
    /// Records whose lease or TTL ran out while the store is unreachable.
    pub expired: usize,
    /// Records that wait to be written.
    pub pending: usize,
    /// Records on standby, by reason, including zeros.
    pub standby: Vec<(StandbyReason, usize)>,
    /// Records that the store rejected.
    pub failed: usize,
    /// Containers of the latest listing that are not inspected yet.
    pub uninspected: usize,
    /// The remaining life of the lease without another keep-alive. `None` if there is no lease.
    pub lease_remaining: Option<Duration>,
}
