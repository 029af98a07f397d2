//! The state of a container as operators see it.

use super::container::{Container, ContainerState, Health};

/// From this restart by its policy on, a container that ended again is in a loop.
const CRASH_LOOP_RESTARTS: u64 = 3;

/// What a container under watch is doing, as far as it decides whether it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DisplayState {
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

impl DisplayState {
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
    pub(crate) fn from_container(container: &Container) -> Self {
        match (container.state, container.health) {
            (ContainerState::Running, Health::Starting) => Self::Starting,
            (ContainerState::Running, Health::Unhealthy) => Self::Unhealthy,
            (ContainerState::Running, Health::Unchecked | Health::Healthy) => Self::Running,
            (ContainerState::Created, _) => Self::Created,
            (ContainerState::Paused, _) => Self::Paused,
            (ContainerState::Restarting, _) if container.restarts >= CRASH_LOOP_RESTARTS => {
                Self::CrashLooping
            }
            (ContainerState::Restarting, _) => Self::Restarting,
            (ContainerState::Removing, _) => Self::Removing,
            (ContainerState::Exited, _) => Self::Exited,
            (ContainerState::Dead, _) => Self::Dead,
        }
    }
}
