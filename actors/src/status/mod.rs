//! The state of the running core, for the admin interface and the metrics.
//!
//! Actors write events and counters into a `StatusRecorder`. Readers use a [`CoreHandle`],
//! which returns plain data and sends each actor at most one request at a time, so that
//! readers never delay the work of an actor.

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
