//! The recent changes of containers and records, for `/changes`.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::model::container::ContainerId;
use crate::model::record::RecordKey;

/// The number of changes that are kept. Older changes are dropped.
const CHANGES_MAX: usize = 200;

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeKind {
    /// A container was listed for the first time, and is now watched.
    ContainerSeen,
    /// A container no longer exists.
    ContainerGone,
    /// A container received its stop signal, so its records are withdrawn.
    ContainerDrained,
    /// A container is withheld for another reason, such as a pause or a failing health check.
    ContainerWithheld,
    /// A record was written, or its value was replaced.
    RecordPublished,
    /// A record was deleted.
    RecordWithdrawn,
    /// A record that a previous process of this daemon wrote is now kept up by this process.
    RecordAdopted,
    /// A record is on standby, because its key has another holder.
    RecordOnStandby,
    /// The store rejected a record.
    RecordFailed,
}

impl ChangeKind {
    /// Returns the text for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContainerSeen => "container seen",
            Self::ContainerGone => "container gone",
            Self::ContainerDrained => "container drained",
            Self::ContainerWithheld => "container withheld",
            Self::RecordPublished => "record published",
            Self::RecordWithdrawn => "record withdrawn",
            Self::RecordAdopted => "record adopted",
            Self::RecordOnStandby => "record on standby",
            Self::RecordFailed => "record failed",
        }
    }
}

/// A change of a container or a record.
#[derive(Clone, Debug)]
pub struct RecentChange {
    /// The time of the change.
    pub at: Instant,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The container that changed, or the container that wants the record. `None` if the
    /// container is unknown.
    pub container: Option<ChangedContainer>,
    /// The key of the record that changed. `None` if a container changed.
    pub key: Option<RecordKey>,
    /// The reason, unless the kind explains the change.
    pub reason: Option<String>,
}

/// The container that a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedContainer {
    /// The id of the container.
    pub id: ContainerId,
    /// The name of the container. Untrusted text, because the owner of the container chose it.
    pub name: String,
}

impl RecentChange {
    /// Creates a change with the current time.
    pub(crate) fn new(kind: ChangeKind) -> Self {
        Self { at: Instant::now(), kind, container: None, key: None, reason: None }
    }

    /// Sets the container.
    pub(crate) fn with_container(self, id: &ContainerId, name: &str) -> Self {
        let container = ChangedContainer { id: id.clone(), name: name.to_owned() };
        Self { container: Some(container), ..self }
    }

    /// Sets the key of the record.
    pub(crate) fn with_key(self, key: &RecordKey) -> Self {
        Self { key: Some(key.clone()), ..self }
    }

    /// Sets the reason.
    pub(crate) fn with_reason(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }
}

/// The latest [`CHANGES_MAX`] changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentChanges(VecDeque<RecentChange>);

impl RecentChanges {
    pub fn add(&mut self, change: RecentChange) {
        if self.0.len() == CHANGES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    pub fn all(&self) -> Vec<RecentChange> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_only_latest_changes() {
        let mut changes = RecentChanges::default();
        for n in 0..=CHANGES_MAX {
            changes.add(RecentChange::new(ChangeKind::RecordPublished).with_reason(n.to_string()));
        }
        let all = changes.all();
        assert_eq!(all.len(), CHANGES_MAX);
        assert_eq!(all[0].reason.as_deref(), Some("1"));
        assert_eq!(all[CHANGES_MAX - 1].reason, Some(CHANGES_MAX.to_string()));
    }
}
