//! Reports on single containers and records.

use std::sync::Arc;
use std::time::SystemTime;

use crate::model::container::ContainerId;
use crate::model::container_state::DisplayState;
use crate::model::record::RecordKey;
use crate::model::service::{Service, SkippedEntry};

/// What is known of a container, for an operator's eyes.
#[derive(Clone, Debug)]
pub struct ContainerReport {
    /// Which.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: DisplayState,
    /// What it offers.
    pub services: Vec<Service>,
    /// What was left out, and why.
    pub skipped: Vec<SkippedEntry>,
    /// Why the container as a whole is left out for now, or why nothing is known of it.
    pub withheld: Option<String>,
}

impl ContainerReport {
    /// Of a container whose watcher fell, and has no successor yet.
    pub(crate) fn for_crashed_watcher(id: ContainerId, name: String) -> Self {
        Self {
            id,
            name,
            state: DisplayState::Unknown,
            services: Vec::new(),
            skipped: Vec::new(),
            withheld: Some("its watcher panicked (see the log); a fresh one follows".into()),
        }
    }
}

/// What a record is, for an operator's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// In the store, by our doing.
    Live,
    /// To be written.
    Pending,
    /// Another holds the key.
    Standby,
    /// The store won't take it.
    Failed,
}

impl RecordState {
    /// The state's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Pending => "pending",
            Self::Standby => "standby",
            Self::Failed => "failed",
        }
    }
}

/// Why a record stands by, of few reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StandbyReason {
    /// Another writer's record is there, and ends some day.
    Foreign,
    /// A record without a lease or TTL is there.
    Static,
    /// A name above or below it is in the way: one would hide the other.
    Shadowed,
    /// Another container of this host, or another port of the same, has the name.
    Conflict,
}

impl StandbyReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Foreign, Self::Static, Self::Shadowed, Self::Conflict];

    /// The name for reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Static => "static",
            Self::Shadowed => "shadowed",
            Self::Conflict => "rival",
        }
    }
}

/// One wanted record.
#[derive(Clone, Debug)]
pub struct RecordReport {
    /// Where.
    pub key: RecordKey,
    /// What, as JSON.
    pub value: String,
    /// For which container.
    pub container: ContainerId,
    /// That container's name. Not trustworthy: its owner chose it.
    pub container_name: Arc<str>,
    /// How it stands.
    pub state: RecordState,
    /// Why it stands by, in a word.
    pub standby: Option<StandbyReason>,
    /// Why it is not live.
    pub reason: Option<String>,
    /// When it was last put or refreshed.
    pub refreshed: Option<SystemTime>,
}

/// What happened to records so far, for whom figures tell more than log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Records put, for the first time or anew.
    pub put: u64,
    /// Records withdrawn.
    pub withdrawn: u64,
    /// Records that an audit, or a change that the store told of, found not to be as
    /// they were believed to be.
    pub drifted: u64,
    /// Writes in doubt that turned up after all, when something else was wanted.
    pub late_writes: u64,
    /// Keys on our lease that we don't know: another daemon of our very identity.
    pub unknown: u64,
    /// Changes that the store told of and that did not fit.
    pub unexpected_changes: u64,
    /// Leases that were lost.
    pub leases_lost: u64,
}
