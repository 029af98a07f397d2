//! [`Claim`]: a desired record of a container at a key.

use crate::model::container::{ContainerId, EngineTime};
use crate::model::record::{DesiredRecord, has_same_endpoint};

/// A desired record of a container at a key. The claim with the lowest rank holds the key.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub started: EngineTime,
    pub container: ContainerId,
    /// The container's name, for messages.
    pub name: std::sync::Arc<str>,
    /// The position of the record in the container's list.
    pub position: usize,
    pub record: DesiredRecord,
    pub json: String,
}

/// The order of claims to one key: the lowest rank holds the key. The fields are compared in
/// this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClaimRank<'a> {
    started: EngineTime,
    container: &'a ContainerId,
    position: usize,
}

impl Claim {
    /// Returns `true` if a value in the store leads to the same endpoint as this claim. Other
    /// settings may have changed the rest of the value.
    pub fn has_endpoint_of(&self, value: &str) -> bool {
        self.json == value || has_same_endpoint(&self.json, value)
    }

    /// Returns the rank of this claim. The container that started first has the lowest rank, and
    /// among the claims of one container the first listed (config/README.md, "Order of claims").
    pub fn rank(&self) -> ClaimRank<'_> {
        let rank = ClaimRank {
            started: self.started,
            container: &self.container,
            position: self.position,
        };
        if mutated!(LaterContainerHoldsKey) {
            return ClaimRank { started: EngineTime(-rank.started.0), ..rank };
        }
        rank
    }
}
