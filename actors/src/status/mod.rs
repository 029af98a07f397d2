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

pub use crate::model::container_state::DisplayState;
pub use changes::{ChangeKind, ChangedContainer, RecentChange};
pub(crate) use container_counts::StateGauge;
pub use core_handle::CoreHandle;
pub(crate) use core_handle::Queries;
pub use readiness::NotReady;
pub(crate) use recorder::StatusRecorder;
pub use reports::{ContainerReport, RecordCounts, RecordReport, RecordState, StandbyReason};
pub(crate) use shared_request::SharedRequest;
pub use snapshot::{CoreStatus, RecordsStatus, SourceStatus, StoreStatus};
