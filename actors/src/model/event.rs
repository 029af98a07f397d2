//! Events of the container engine.

use super::container::{ContainerId, EngineTime};

/// Something that happened to a container, by the engine's word. Such a word may come
/// late, twice, in another order, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To which one.
    pub container: ContainerId,
    /// Its name, where the engine tells.
    pub name: Option<String>,
    /// When, by the engine's clock.
    pub at: EngineTime,
    /// What.
    pub kind: EventKind,
}

/// What happened to a container, as far as it concerns what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It was started.
    Started,
    /// Something else about it has changed: paused or not, health, name, networks.
    Changed,
    /// It was sent the signal of this number.
    Signalled(u8),
    /// It ended, or was removed.
    Ended,
}
