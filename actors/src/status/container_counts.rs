//! [`ContainerCounts`]: the number of watched containers in each state.

use std::cell::Cell;
use std::rc::Rc;

use crate::model::container_state::DisplayState;

/// The number of watched containers in each state. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerCounts(Rc<[Cell<usize>; DisplayState::ALL.len()]>);

impl ContainerCounts {
    /// Counts a container until the returned guard is dropped.
    pub fn count(&self, state: DisplayState) -> StateGauge {
        let gauge = StateGauge { counts: self.clone(), state };
        gauge.add(1);
        gauge
    }

    /// Returns the count of every state, including zeros, in the order of the states.
    pub fn read(&self) -> Vec<(DisplayState, usize)> {
        let count = |state: DisplayState| self.0[state as usize].get();
        DisplayState::ALL.map(|state| (state, count(state))).into()
    }
}

/// The guard of one counted container. The watcher of the container holds the guard, so the
/// count stays correct even if the watcher crashes.
#[derive(Debug)]
pub(crate) struct StateGauge {
    counts: ContainerCounts,
    state: DisplayState,
}

impl StateGauge {
    /// Moves the container to another state.
    pub fn set_state(&mut self, state: DisplayState) {
        self.add(-1);
        self.state = state;
        self.add(1);
    }

    /// Returns the state in which the container is counted.
    pub fn state(&self) -> DisplayState {
        self.state
    }

    fn add(&self, change: isize) {
        let count = &self.counts.0[self.state as usize];
        count.set(count.get().saturating_add_signed(change));
    }
}

impl Drop for StateGauge {
    fn drop(&mut self) {
        self.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::container::{Container, ContainerState};

    #[test]
    fn lists_all_states_in_order() {
        for (index, state) in DisplayState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index, "{state:?}");
        }
    }

    #[test]
    fn third_restart_is_a_crash_loop_while_waiting() {
        for (state, restarts, displayed) in [
            (ContainerState::Restarting, 2, DisplayState::Restarting),
            (ContainerState::Restarting, 3, DisplayState::CrashLooping),
            (ContainerState::Running, 3, DisplayState::Running),
            (ContainerState::Exited, 3, DisplayState::Exited),
        ] {
            let container = Container { state, restarts, ..Container::sample() };
            assert_eq!(DisplayState::from_container(&container), displayed, "{state:?} {restarts}");
        }
    }

    #[test]
    fn gauge_counts_each_container_once() {
        let counts = ContainerCounts::default();
        let filled = || -> Vec<_> {
            let all = counts.read().into_iter();
            all.filter(|(_, count)| *count > 0).collect()
        };
        let mut one = counts.count(DisplayState::Unknown);
        let other = counts.count(DisplayState::Running);
        one.set_state(DisplayState::Running);
        assert_eq!(filled(), [(DisplayState::Running, 2)]);
        one.set_state(DisplayState::Paused);
        drop(other);
        assert_eq!(filled(), [(DisplayState::Paused, 1)]);
        drop(one);
        assert_eq!(filled(), []);
    }
}
