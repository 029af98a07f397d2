//! What an operator may ask of the running core: plain data, got without keeping an actor
//! from its work.

mod changes;
mod chronicle;
mod container_state;
mod observer;
mod question;
mod readiness;
mod standing;

pub use changes::{ChangeKind, ChangedContainer, RecentChange};
pub(crate) use chronicle::Chronicle;
pub use container_state::ContainerState;
pub(crate) use container_state::Counted;
pub use observer::Observer;
pub(crate) use observer::Questions;
pub(crate) use question::Question;
pub use readiness::NotReady;
pub use standing::{DockerStanding, RecordsStanding, Standing, StoreStanding};
