//! What a container is doing, in an operator's words.

use std::cell::Cell;
use std::rc::Rc;

use crate::model::container_state::ContainerState;

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
    use crate::model::container::{Container, Life};

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
