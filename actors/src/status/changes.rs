//! What happened to containers and records lately.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::model::container::ContainerId;
use crate::model::record::RecordKey;

/// How many changes are kept.
const CHANGES_MAX: usize = 200;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChangeKind {
    /// A container is watched from now on.
    ContainerSeen,
    /// A container is gone.
    ContainerGone,
    /// A container got its stop signal, and its records are withdrawn.
    ContainerDrained,
    /// A container is left out for now, for another reason (paused, unhealthy …).
    ContainerWithheld,
    /// A record was put, or its value replaced.
    RecordPut,
    /// A record was withdrawn.
    RecordWithdrawn,
    /// A record of an earlier life of ours was found, and is kept from now on.
    RecordAdopted,
    /// A record stands by: another holds its key.
    RecordStandsBy,
    /// The store won't take a record.
    RecordFailed,
}

impl ChangeKind {
    /// The name for reports, in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ContainerSeen => "container seen",
            Self::ContainerGone => "container gone",
            Self::ContainerDrained => "container drained",
            Self::ContainerWithheld => "container withheld",
            Self::RecordPut => "record put",
            Self::RecordWithdrawn => "record withdrawn",
            Self::RecordAdopted => "record adopted",
            Self::RecordStandsBy => "record stands by",
            Self::RecordFailed => "record failed",
        }
    }
}

/// Something that happened to a container or a record.
#[derive(Clone, Debug)]
pub struct RecentChange {
    /// When.
    pub at: Instant,
    /// What.
    pub kind: ChangeKind,
    /// To which container, or for which; `None` where that is not known.
    pub container: Option<ChangedContainer>,
    /// To which record; `None`: to a container.
    pub key: Option<RecordKey>,
    /// Why, where that doesn't go without saying.
    pub reason: Option<String>,
}

/// The container that a change concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedContainer {
    /// Which.
    pub id: ContainerId,
    /// Its name. Not trustworthy: its owner chose it.
    pub name: String,
}

impl RecentChange {
    /// Something that happened now.
    pub(crate) fn new(kind: ChangeKind) -> Self {
        Self { at: Instant::now(), kind, container: None, key: None, reason: None }
    }

    /// To this container, or for it.
    pub(crate) fn with_container(self, id: &ContainerId, name: &str) -> Self {
        let container = ChangedContainer { id: id.clone(), name: name.to_owned() };
        Self { container: Some(container), ..self }
    }

    /// To this record.
    pub(crate) fn with_key(self, key: &RecordKey) -> Self {
        Self { key: Some(key.clone()), ..self }
    }

    /// For this reason.
    pub(crate) fn with_reason(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }
}

/// The last changes, the oldest first.
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
            changes.add(RecentChange::new(ChangeKind::RecordPut).with_reason(n.to_string()));
        }
        let all = changes.all();
        assert_eq!(all.len(), CHANGES_MAX);
        assert_eq!(all[0].reason.as_deref(), Some("1"));
        assert_eq!(all[CHANGES_MAX - 1].reason, Some(CHANGES_MAX.to_string()));
    }
}
