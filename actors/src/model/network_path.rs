//! The containers through which a container has its network.

use super::container::ContainerId;

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

    /// Returns `true` if both chains lead to the network of one container.
    pub fn meets(&self, other: &Self) -> bool {
        let shares_target = self.target.is_some() && self.target == other.target;
        shares_target
            || self.hops.iter().any(|hop| other.contains(hop, None))
            || other.hops.iter().any(|hop| self.contains(hop, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(hops: &[&str], target: Option<&str>) -> NetworkChain {
        let hops = hops.iter().map(|hop| ContainerId::new(hop)).collect();
        NetworkChain { hops, target: target.map(str::to_owned) }
    }

    #[test]
    fn chains_meet_at_a_common_container() {
        for (one, other, expected) in [
            (chain(&["vpn"], None), chain(&["vpn"], None), true),
            (chain(&["vpn"], None), chain(&[], Some("vpn")), true),
            (chain(&[], Some("vpn")), chain(&[], Some("vpn")), true),
            (chain(&["between", "vpn"], None), chain(&["vpn"], None), true),
            (chain(&["vpn"], None), chain(&["db"], None), false),
            (chain(&["vpn"], None), chain(&[], None), false),
            (chain(&[], None), chain(&[], None), false),
        ] {
            assert_eq!(one.meets(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.meets(&one), expected, "{one:?} {other:?}");
        }
    }
}
