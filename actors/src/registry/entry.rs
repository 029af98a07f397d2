//! [`WatcherEntry`]: the registry's state of one container and its watcher.

use std::sync::Arc;

use actix::Addr;
use tokio::time::Instant;

use crate::container_watcher::ContainerWatcher;
use crate::messages::Observation;
use crate::model::container::ContainerSummary;
use crate::model::network_path::{GuestPorts, NetworkChain, NetworkGuests};
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::RecordStore;
use crate::runtime::failure_window::FailureWindow;
use crate::runtime::latest_sender::{LatestSender, earlier};
use crate::runtime::metered_context::AbortOnDrop;

/// One container and its watcher.
pub(super) struct WatcherEntry<S: ContainerSource, R: RecordStore> {
    pub name: String,
    /// The latest information from listings and events. `since` in it is set only while there
    /// is no watcher to send it to.
    pub observation: Observation,
    /// The containers through which the container has its network, as far as they are known.
    pub chain: NetworkChain,
    /// The ports that the container exposes, if it uses the network of another container.
    pub exposed: GuestPorts,
    /// `true` if the last inspection found the container reachable through `chain`. `None` if
    /// the container was not inspected yet, or has its own network.
    pub is_reachable: Option<bool>,
    /// `None` before the first start, and while a crashed watcher waits for its restart.
    pub watcher: Option<Addr<ContainerWatcher<S, R>>>,
    pub observations: Option<LatestSender<Observation>>,
    pub task: Option<AbortOnDrop>,
    pub failures: FailureWindow,
    /// `true` if the container is missing in a listing and its removal is in progress.
    pub removing: bool,
    /// Counts the observations, so that a removal detects a newer observation.
    pub updates_sent: u64,
}

impl<S: ContainerSource, R: RecordStore> WatcherEntry<S, R> {
    /// An entry without a watcher and without information about the container.
    pub fn new(name: String) -> Self {
        Self {
            name,
            observation: Observation::default(),
            chain: NetworkChain::default(),
            exposed: None,
            is_reachable: None,
            watcher: None,
            observations: None,
            task: None,
            failures: FailureWindow::default(),
            removing: false,
            updates_sent: 0,
        }
    }

    /// Sends the latest information to the watcher. `since` is the time of the change.
    ///
    /// A watcher that is being restarted gets the information when it starts.
    pub fn push_state(&mut self, since: Option<Instant>) {
        self.updates_sent += 1;
        match &mut self.observations {
            Some(observations) => {
                observations.send(Observation { since, ..self.observation.clone() })
            }
            None => self.observation.since = earlier(self.observation.since, since),
        }
    }

    /// Stores a new row of the container. It does not send the row to the watcher.
    pub fn set_summary(&mut self, summary: Arc<ContainerSummary>) {
        if self.chain == NetworkChain::default() {
            self.chain.target = summary.network.target();
        }
        self.name.clone_from(&summary.name);
        self.observation.summary = Some(summary);
    }

    /// Sends the guests of the container's network to the watcher, unless it knows them.
    pub fn set_guests(&mut self, guests: &Arc<NetworkGuests>, since: Option<Instant>) {
        if self.observation.guests.as_ref() != Some(guests) {
            self.observation.guests = Some(Arc::clone(guests));
            self.push_state(since);
        }
    }

    /// Has the watcher inspect the container, even if its row has not changed.
    pub fn mark_stale(&mut self, since: Option<Instant>) {
        self.observation.refresh_generation += 1;
        self.push_state(since);
    }
}
