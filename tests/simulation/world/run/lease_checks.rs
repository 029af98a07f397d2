//! The check of leases: a process attaches every record to a lease with its own TTL.

use highhock_actors::KeepAliveMode;

use super::World;
use crate::world::etcd::{Node, NodeExpiry};

impl World {
    /// Checks the records that are attached to a lease with another TTL.
    pub(super) fn check_leases(&self) {
        let uses_leases = self.conditions.keep_alive_mode == KeepAliveMode::Lease;
        if !uses_leases || self.core.is_none() || self.duplicate.is_some() {
            return;
        }
        let etcd = self.etcd.borrow();
        let has_other_ttl = |node: &Node| match node.expiry {
            NodeExpiry::Lease(id) => {
                etcd.model.leases.get(&id).is_some_and(|lease| lease.ttl != self.ttl)
            }
            NodeExpiry::Never | NodeExpiry::At(_) => false,
        };
        for (key, node) in etcd.model.nodes.iter().filter(|(_, node)| has_other_ttl(node)) {
            self.checker.borrow_mut().check_other_lease(key, node);
        }
    }
}
