//! [`OldLeases`]: the leases of this publisher before the current one.

use crate::ports::record_store::LeaseId;

/// The older leases of this publisher, for example with another TTL from before a change of the
/// settings.
///
/// Records attached to an older lease are owned like those on the current lease, until they are
/// written again with the current one. The current lease is never among the older leases. An
/// older lease is removed when it is lost, or when it is revoked because no record is attached to
/// it any more.
#[derive(Default)]
pub(super) struct OldLeases {
    ids: Vec<LeaseId>,
}

impl OldLeases {
    /// Replaces all older leases.
    pub fn replace(&mut self, ids: Vec<LeaseId>) {
        self.ids = ids;
    }

    /// Removes a lease that was lost or revoked. Does nothing if the lease is unknown.
    pub fn remove(&mut self, id: LeaseId) {
        self.ids.retain(|known| *known != id);
    }

    /// Returns `true` if `id` is an older lease of this publisher.
    pub fn contains(&self, id: LeaseId) -> bool {
        self.ids.contains(&id)
    }

    /// Returns the first older lease that is not in use.
    pub fn first_unused(&self, in_use: impl Fn(LeaseId) -> bool) -> Option<LeaseId> {
        self.ids.iter().copied().find(|id| !in_use(*id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_first_unused_lease_until_removed() {
        let mut older = OldLeases::default();
        older.replace(vec![LeaseId(1), LeaseId(2), LeaseId(3)]);
        let in_use = |id| id == LeaseId(1);
        assert_eq!(older.first_unused(in_use), Some(LeaseId(2)));
        older.remove(LeaseId(2));
        assert!(!older.contains(LeaseId(2)));
        assert_eq!(older.first_unused(in_use), Some(LeaseId(3)));
        older.remove(LeaseId(3));
        assert_eq!(older.first_unused(in_use), None);
    }
}
