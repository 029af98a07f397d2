//! What an operator may ask of the running core: plain data, got without keeping an actor
//! from its work.

mod changes;
mod container_counts;
mod core_handle;
mod readiness;
mod recorder;
mod reports;
mod shared_request;
mod snapshot;

pub use crate::model::container_state::ContainerState;
pub use changes::{ChangeKind, ChangedContainer, RecentChange};
pub(crate) use container_counts::Counted;
pub use core_handle::Observer;
pub(crate) use core_handle::Questions;
pub use readiness::NotReady;
pub(crate) use recorder::Chronicle;
pub use reports::{ContainerReport, Counts, RecordReport, RecordState, StandbyReason};
pub(crate) use shared_request::Question;
pub use snapshot::{DockerStanding, RecordsStanding, Standing, StoreStanding};
