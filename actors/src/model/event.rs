//! Events of the container engine.

use super::container::{ContainerId, EngineTime};

/// An event of a container, as reported by the engine. Events may arrive late, repeatedly, in
/// another order, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The id of the container.
    pub container: ContainerId,
    /// The name of the container, if the engine reports it.
    pub name: Option<String>,
    /// The time of the event, by the engine's clock.
    pub at: EngineTime,
    /// The kind of event.
    pub kind: EventKind,
}

/// The kind of an event, as far as it affects records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The container was started.
    Started,
    /// Another property changed: paused or not, health, name, or networks.
    Changed,
    /// The container was sent the signal with this number.
    Signalled(u8),
    /// The container ended or was removed.
    Ended,
}
