//! HighHock's core: keeps the DNS records in a store equal to the services that the running
//! containers declare.
//!
//! Data flows one way. A [`ContainerSource`] lists the containers, the actors derive the
//! desired records and compare them with the store, and a [`RecordStore`] contains the
//! published records. The core performs no I/O itself: it knows neither HTTP nor files nor
//! the environment. `ARCHITECTURE.md` describes the flow and the messages.

#[macro_use]
pub mod log;

/// Returns `true` if the named [`Mutation`](runtime::mutations::Mutation) is active in this
/// thread: `if mutated!(PausedContainerPublished) { … }`.
///
/// The macro marks the place of a deliberate mistake. A test activates one mistake at a time
/// and checks that the simulation detects it, so the simulation cannot become blind unnoticed.
/// Place the hook at the border of a function, not inside an expression.
#[cfg(feature = "mutations")]
macro_rules! mutated {
    ($mutation:ident) => {
        $crate::runtime::mutations::is_active($crate::runtime::mutations::Mutation::$mutation)
    };
}

/// Returns `false`: without the feature `mutations`, which no release has, the compiler
/// removes every hook.
#[cfg(not(feature = "mutations"))]
macro_rules! mutated {
    ($mutation:ident) => {
        false
    };
}

pub mod container_watcher;
pub mod core;
pub mod discovery;
pub mod docker_poller;
pub mod etcd_inserter;
pub mod messages;
pub mod model;
pub mod ports;
pub mod preview;
pub mod publish;
mod reconciler;
pub mod registry;
pub mod runtime;
pub mod status;

pub use self::core::{CarriedState, Core, CoreSettings, Shutdown};
pub use model::container::{
    Condition, Container, ContainerId, ContainerState, ContainerSummary, EngineTime, Health,
    NetworkAttachment, NetworkMode, PortBinding, Protocol,
};
pub use model::event::{Event, EventKind};
pub use model::names::ServiceName;
pub use model::port_request::PortRequest;
pub use model::record::{Host, RecordKey, RecordValue};
pub use model::service::{Attributes, Service, SkippedEntry};
pub use ports::container_source::{
    ContainerListing, ContainerSource, EngineIdentity, EventStream, LOSS_WITHOUT_EVENTS,
    SourceError, SourceErrorKind, UnreadableRow,
};
pub use ports::record_store::{
    Change, ChangeStream, ExpectedValue, Expiry, GrantOutcome, KeepAliveMode, KeptAlive, Lease,
    LeaseId, LeaseNamespace, LeasedRecords, Precondition, RecordStore, StoreError, StoreErrorKind,
    StoredRecord, Write, WriteOutcome,
};
pub use status::{RecordCounts, RecordReport, RecordState, StandbyReason};
