//! [`DisplayState`]: the state of a container in reports and metrics.

use super::container::{Container, ContainerState, Health};

/// The number of restarts by its policy from which a container is in a crash loop.
const CRASH_LOOP_RESTARTS: u64 = 3;

/// The state of a watched container, in as much detail as decides about its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DisplayState {
    /// Not inspected yet.
    Unknown,
    /// Running, and healthy if it has a health check.
    Running,
    /// Running, but no health check has passed yet.
    Starting,
    /// Running, but its health check fails.
    Unhealthy,
    /// Paused.
    Paused,
    /// Running, but its stop signal was sent.
    Draining,
    /// In a crash loop: about to be restarted, or running but not published for a few seconds.
    CrashLooping,
    /// About to be restarted by its restart policy.
    Restarting,
    /// Created, but not started.
    Created,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// Ended, and its removal failed.
    Dead,
}

impl DisplayState {
    /// All states, in the order of their declaration.
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

    /// Returns the state's name in reports and metrics.
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

    /// Returns the state of an inspected container.
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
