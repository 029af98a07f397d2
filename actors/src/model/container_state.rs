//! The state of a container as operators see it.

use super::container::{Container, Health, Life};

/// From this restart by its policy on, a container that ended again is in a loop.
const RESTARTS: u64 = 3;

/// What a container under watch is doing, as far as it decides whether it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerState {
    /// Not inspected yet.
    Unknown,
    /// Running; and healthy, where it has a health check.
    Running,
    /// Running, but no health check has passed yet.
    Starting,
    /// Running, but its health check fails.
    Unhealthy,
    /// Frozen.
    Paused,
    /// It got its stop signal.
    Draining,
    /// It restarts again and again: it is about to be started once more, or is left out
    /// for a few seconds although it runs.
    CrashLooping,
    /// About to be started again by its restart policy.
    Restarting,
    /// Made, but not started.
    Created,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Ended, and could not be removed.
    Dead,
}

impl ContainerState {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Unknown,
        Self::Running,
        Self::Starting,
        Self::Unhealthy,
        Self::Paused,
        Self::Draining,
        Self::CrashLooping,
        Self::Restarting,
        Self::Created,
        Self::Removing,
        Self::Exited,
        Self::Dead,
    ];

    /// The name for reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Unhealthy => "unhealthy",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::CrashLooping => "crash_looping",
            Self::Restarting => "restarting",
            Self::Created => "created",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// What an inspection tells.
    pub(crate) fn of(container: &Container) -> Self {
        match (container.life, container.health) {
            (Life::Running, Health::Starting) => Self::Starting,
            (Life::Running, Health::Unhealthy) => Self::Unhealthy,
            (Life::Running, Health::Unchecked | Health::Healthy) => Self::Running,
            (Life::Created, _) => Self::Created,
            (Life::Paused, _) => Self::Paused,
            (Life::Restarting, _) if container.restarts >= RESTARTS => Self::CrashLooping,
            (Life::Restarting, _) => Self::Restarting,
            (Life::Removing, _) => Self::Removing,
            (Life::Exited, _) => Self::Exited,
            (Life::Dead, _) => Self::Dead,
        }
    }
}
