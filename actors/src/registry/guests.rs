//! The guests of each shared network, which the watchers of Compose services need.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::Registry;
use super::entry::WatcherEntry;
use crate::model::container::ContainerId;
use crate::model::network_path::{CHAIN_LENGTH_MAX, NetworkChain, NetworkGuests};
use crate::model::publish_config::DiscoveryMethod;
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::RecordStore;

impl<S: ContainerSource, R: RecordStore> Registry<S, R> {
    /// Sends the guests of each shared network to all of them, unless they know each other.
    ///
    /// The name of a Compose service depends on the ports that the other guests expose.
    pub(super) fn update_guests(&mut self, since: Option<Instant>) {
        if !self.setup.publish_config.methods.contains(&DiscoveryMethod::Compose) {
            return;
        }
        for guests in self.guests_by_owner().into_values().map(Arc::new) {
            for id in guests.keys() {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.set_guests(&guests, since);
                }
            }
        }
    }

    /// Sends the guests of each shared network again if the changed container is one of them.
    pub(super) fn update_guests_of(&mut self, changed: &ContainerId, since: Option<Instant>) {
        let is_guest = |entry: &WatcherEntry<S, R>| entry.chain != NetworkChain::default();
        if self.entries.get(changed).is_some_and(is_guest) {
            self.update_guests(since);
        }
    }

    /// Returns the guests that run, by the id or name of the container that owns their network.
    fn guests_by_owner(&self) -> BTreeMap<ContainerId, NetworkGuests> {
        let mut networks = BTreeMap::<_, NetworkGuests>::new();
        for (id, entry) in self.entries.iter().filter(|(_, entry)| self.is_present(entry)) {
            if let Some(owner) = self.network_owner(&entry.chain) {
                networks.entry(owner).or_default().insert(id.clone(), entry.exposed.clone());
            }
        }
        networks
    }

    fn is_present(&self, entry: &WatcherEntry<S, R>) -> bool {
        !entry.removing && !self.is_down(&entry.observation.history)
    }

    /// Returns the container at the end of a chain, as far as it is known. Returns `None` for a
    /// container that has its own network.
    fn network_owner<'a>(&'a self, mut chain: &'a NetworkChain) -> Option<ContainerId> {
        for _ in 0..CHAIN_LENGTH_MAX {
            let Some(target) = &chain.target else { break };
            match self.find(target) {
                Some((_, entry)) if entry.chain != NetworkChain::default() => chain = &entry.chain,
                Some((id, _)) => return Some(id.clone()),
                None => return Some(ContainerId::new(target)),
            }
        }
        chain.hops.last().cloned()
    }

    /// Returns the container with this id or name.
    fn find(&self, target: &str) -> Option<(&ContainerId, &WatcherEntry<S, R>)> {
        let by_name = || self.entries.iter().find(|(_, entry)| entry.name == target);
        self.entries.get_key_value(&ContainerId::new(target)).or_else(by_name)
    }
}
