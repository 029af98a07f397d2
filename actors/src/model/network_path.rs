//! The containers through which a container has its network.

use super::container::ContainerId;

/// Through which others a container has its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkChain {
    /// Those that were found, the nearest first.
    pub hops: Vec<ContainerId>,
    /// The one behind them that was not looked at or not found: its id or its name.
    pub target: Option<String>,
}

impl NetworkChain {
    /// Whether a container of this id and name is on the path.
    pub fn contains(&self, id: &ContainerId, name: Option<&str>) -> bool {
        let is_it = |target: &String| target == id.as_str() || Some(target.as_str()) == name;
        self.hops.contains(id) || self.target.as_ref().is_some_and(is_it)
    }
}
