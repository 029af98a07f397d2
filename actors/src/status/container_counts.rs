//! What a container is doing, in an operator's words.

use std::cell::Cell;
use std::rc::Rc;

use crate::model::container::{Container, Health, Life};

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

/// How many containers are in which state.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerCounts(Rc<[Cell<usize>; ContainerState::ALL.len()]>);

impl ContainerCounts {
    /// Counts a container for as long as the guard lives.
    pub fn count(&self, state: ContainerState) -> Counted {
        let counted = Counted { counts: self.clone(), state };
        counted.add(1);
        counted
    }

    pub fn read(&self) -> Vec<(ContainerState, usize)> {
        let count = |state: ContainerState| self.0[state as usize].get();
        ContainerState::ALL.map(|state| (state, count(state))).into()
    }
}

/// A container that is counted in a state.
#[derive(Debug)]
pub(crate) struct Counted {
    counts: ContainerCounts,
    state: ContainerState,
}

impl Counted {
    /// Counts it in another state from now on.
    pub fn move_to(&mut self, state: ContainerState) {
        self.add(-1);
        self.state = state;
        self.add(1);
    }

    /// Where it is counted.
    pub fn state(&self) -> ContainerState {
        self.state
    }

    fn add(&self, change: isize) {
        let count = &self.counts.0[self.state as usize];
        count.set(count.get().saturating_add_signed(change));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_states_are_listed_in_their_order() {
        for (place, state) in ContainerState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, place, "{state:?}");
        }
    }

    #[test]
    fn the_third_restart_in_a_row_is_a_loop_for_as_long_as_it_waits_for_the_next() {
        for (life, restarts, state) in [
            (Life::Restarting, 2, ContainerState::Restarting),
            (Life::Restarting, 3, ContainerState::CrashLooping),
            (Life::Running, 3, ContainerState::Running),
            (Life::Exited, 3, ContainerState::Exited),
        ] {
            let container = Container { life, restarts, ..Container::sample() };
            assert_eq!(ContainerState::of(&container), state, "{life:?} {restarts}");
        }
    }

    #[test]
    fn each_is_counted_once_wherever_it_moves_and_no_more_once_it_is_gone() {
        let counts = ContainerCounts::default();
        let filled = || -> Vec<_> {
            let all = counts.read().into_iter();
            all.filter(|(_, count)| *count > 0).collect()
        };
        let mut one = counts.count(ContainerState::Unknown);
        let other = counts.count(ContainerState::Running);
        one.move_to(ContainerState::Running);
        assert_eq!(filled(), [(ContainerState::Running, 2)]);
        one.move_to(ContainerState::Paused);
        drop(other);
        assert_eq!(filled(), [(ContainerState::Paused, 1)]);
        drop(one);
        assert_eq!(filled(), []);
    }
}
