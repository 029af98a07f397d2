//! Reports on containers and records, for `/containers`, `/records` and the metrics.

use std::sync::Arc;
use std::time::SystemTime;

use crate::model::container::ContainerId;
use crate::model::container_state::DisplayState;
use crate::model::record::RecordKey;
use crate::model::service::{Service, SkippedEntry};

/// The report of one watched container.
#[derive(Clone, Debug)]
pub struct ContainerReport {
    /// The id of the container.
    pub id: ContainerId,
    /// The name of the container.
    pub name: String,
    /// The state of the container.
    pub state: DisplayState,
    /// The services found.
    pub services: Vec<Service>,
    /// The entries that were skipped, each with its reason.
    pub skipped: Vec<SkippedEntry>,
    /// The reason to withhold the whole container for now, or the reason for which nothing is
    /// known about it.
    pub withheld: Option<String>,
}

impl ContainerReport {
    /// Returns the report of a container whose watcher crashed and is not restarted yet.
    pub(crate) fn for_crashed_watcher(id: ContainerId, name: String) -> Self {
        Self {
            id,
            name,
            state: DisplayState::Unknown,
            services: Vec::new(),
            skipped: Vec::new(),
            withheld: Some("its watcher crashed and is restarted; see the log".into()),
        }
    }
}

/// The state of a desired record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// Published: in the store, and owned by this daemon.
    Live,
    /// Published before, and deleted by the store by now: its lease or TTL ran out while the
    /// store is unreachable.
    Expired,
    /// Waiting to be written.
    Pending,
    /// On standby, because the key has another holder.
    Standby,
    /// Rejected by the store.
    Failed,
}

impl RecordState {
    /// Returns the name for reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Pending => "pending",
            Self::Standby => "standby",
            Self::Failed => "failed",
        }
    }
}

/// The reason for which a record is on standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StandbyReason {
    /// The key contains a foreign record that expires.
    Foreign,
    /// The key contains a static record, which has no lease or TTL.
    Static,
    /// The key of another record is above or below this key, so that one would hide the other.
    /// See `config/README.md`, "Nested names".
    Shadowed,
    /// Another container of this host, or another port of the same container, holds the key.
    Conflict,
}

impl StandbyReason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Foreign, Self::Static, Self::Shadowed, Self::Conflict];

    /// Returns the name for reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Static => "static",
            Self::Shadowed => "shadowed",
            Self::Conflict => "conflict",
        }
    }
}

/// The report of one desired record.
#[derive(Clone, Debug)]
pub struct RecordReport {
    /// The key of the record.
    pub key: RecordKey,
    /// The value as JSON.
    pub value: String,
    /// The container that wants the record.
    pub container: ContainerId,
    /// The name of that container. Untrusted text, because the owner of the container chose it.
    pub container_name: Arc<str>,
    /// The state of the record.
    pub state: RecordState,
    /// The kind of reason, if the record is on standby.
    pub standby: Option<StandbyReason>,
    /// The reason for which the record is not live, as text.
    pub reason: Option<String>,
    /// The time of the latest write or refresh.
    pub refreshed: Option<SystemTime>,
}

/// Counters of record events since the start of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Records written, including records that were replaced.
    pub put: u64,
    /// Records withdrawn.
    pub withdrawn: u64,
    /// Records for which an audit found a content in the store that differed from the expected
    /// content.
    pub drifted: u64,
    /// Late writes: uncertain writes that reached the store after the desired record had
    /// changed.
    pub late_writes: u64,
    /// Unknown keys on this daemon's lease, which another daemon with the same identity wrote.
    pub unknown: u64,
    /// Change events of the store that did not match the expected content.
    pub unexpected_changes: u64,
    /// Lost leases.
    pub leases_lost: u64,
}
