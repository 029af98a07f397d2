//! How the core stands: what answers, since when, and how far all is done.

use std::time::Duration;

use tokio::time::Instant;

use super::reports::{RecordCounts, StandbyReason};
use crate::model::container_state::DisplayState;
use crate::runtime::metrics::HistogramSnapshot;

/// How the core stands. All but `records` outlives an actor that falls.
#[derive(Clone, Debug, Default)]
pub struct CoreStatus {
    /// Towards Docker.
    pub docker: SourceStatus,
    /// Towards etcd.
    pub store: StoreStatus,
    /// How many containers under watch are in which state, for every state.
    pub containers: Vec<(DisplayState, usize)>,
    /// How far the records are; `None` while the inserter doesn't tell: it is being
    /// rebuilt, or too busy to answer.
    pub records: Option<RecordsStatus>,
    /// What happened to records so far.
    pub counts: RecordCounts,
    /// From the moment when a change of a container was first told of, to the store's
    /// answer to the write that came of it.
    pub event_to_record: HistogramSnapshot,
}

/// How the core stands towards Docker.
#[derive(Clone, Debug, Default)]
pub struct SourceStatus {
    /// The time between two listings that is asked for.
    pub poll_interval: Duration,
    /// When a listing was last answered; `None`: not yet.
    pub last_listing: Option<Instant>,
    /// Why the newest listing was not answered, in one line; `None`: it was, or there was
    /// none yet.
    pub last_error: Option<String>,
}

impl SourceStatus {
    /// Whether Docker answered the last time that it was asked.
    pub fn is_available(&self) -> bool {
        self.last_listing.is_some() && self.last_error.is_none()
    }
}

/// How the core stands towards etcd.
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    /// Since when it answers, or doesn't; `None`: it was not reached yet, nor given up.
    pub since: Option<Instant>,
    /// Whether it answers, as far as is known.
    pub available: bool,
    /// Why it does not answer, in one line.
    pub last_error: Option<String>,
    /// When it last took a write: a put, a withdrawal, a refresh or a lease's keep-alive.
    pub last_write: Option<Instant>,
    /// When all that it holds was last compared with what should be there.
    pub last_audit: Option<Instant>,
    /// How often it was tried again after it had not answered.
    pub retries: u64,
}

/// How far the records are, for every wanted one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordsStatus {
    /// In the store, by our doing.
    pub live: usize,
    /// To be written.
    pub pending: usize,
    /// Another holds the key: how many for which reason, for every reason.
    pub standby: Vec<(StandbyReason, usize)>,
    /// The store won't take them.
    pub failed: usize,
    /// Containers of the newest listing that have not told yet what they want.
    pub uninspected: usize,
    /// How long the lease lives on unless it is kept alive; `None`: there is none.
    pub lease_remaining: Option<Duration>,
}
