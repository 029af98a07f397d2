//! Which address and port stand for a container's port outside of it.

use crate::container::{Binding, Container};

/// How a container's ports can be reached from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Through these bindings of the engine's.
    Bindings(Vec<Binding>),
    /// It shares the host's network: a port outside is the port inside.
    HostNetwork,
    /// Not at all, for this reason.
    Nowhere(String),
}

impl Reach {
    /// How this container can be reached by what its own inspection says. A
    /// container in another's network (`NetworkMode::Container`) has no answer of
    /// its own: `Nowhere`, until the caller looked at that other.
    pub fn of(_container: &Container) -> Self {
        todo!()
    }
}
