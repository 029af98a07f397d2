//! Fault injection into a running core, for tests of supervision and of the watchdog.

use std::time::Duration;

use super::Core;
use crate::messages::{InjectDelay, InjectHang, InjectPanic, InjectWatcherPanic};
use crate::ports::container_source::ContainerSource;
use crate::ports::record_store::RecordStore;

impl<S: ContainerSource, R: RecordStore> Core<S, R> {
    /// Makes the registry panic.
    pub fn inject_registry_panic(&self) {
        self.registry.notify(InjectPanic);
    }

    /// Makes the watcher of the container with this name panic.
    pub fn inject_watcher_panic(&self, container: &str) {
        self.registry.notify(InjectWatcherPanic(container.to_owned()));
    }

    /// Makes an actor handle no further message. `actor` is its name in metrics. Any name other
    /// than `DockerPoller` and `Registry` selects the inserter.
    pub fn inject_hang(&self, actor: &str) {
        match actor {
            "DockerPoller" => self.poller.notify(InjectHang),
            "Registry" => self.registry.notify(InjectHang),
            _ => self.inserter.notify(InjectHang),
        }
    }

    /// Makes the inserter handle no message for this time.
    pub fn inject_inserter_delay(&self, time: Duration) {
        self.inserter.notify(InjectDelay(time));
    }
}
