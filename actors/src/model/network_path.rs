//! The containers through which a container has its network, and those that share it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::container::{ContainerId, Protocol};

/// The largest number of containers that are followed in a network chain.
pub const CHAIN_LENGTH_MAX: usize = 8;

/// The guests of one network: the containers that use the network of another container, by id.
pub type NetworkGuests = BTreeMap<ContainerId, GuestPorts>;

/// The ports that a guest exposes, or `None` until it was inspected.
pub type GuestPorts = Option<Arc<[(u16, Protocol)]>>;

/// The chain of `--network container:` references from a container to its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkChain {
    /// The containers of the chain that were inspected, the nearest first.
    pub hops: Vec<ContainerId>,
    /// The id or name of the next container, which was not inspected or not found.
    pub target: Option<String>,
}

impl NetworkChain {
    /// Returns `true` if a container with this id and name is part of the chain.
    pub fn contains(&self, id: &ContainerId, name: Option<&str>) -> bool {
        let is_it = |target: &String| target == id.as_str() || Some(target.as_str()) == name;
        self.hops.contains(id) || self.target.as_ref().is_some_and(is_it)
    }
}
