//! HighHock's core: from what a Docker engine says runs to what etcd should hold.
//!
//! Data flows one way: a [`ContainerSource`] tells what runs, a [`RecordStore`]
//! holds what is published, and the actors between them keep the second true to
//! the first. Nothing here knows HTTP, files or the environment.

#[macro_use]
pub mod log;

/// Where a bug would be: whether this one is planted.
#[cfg(feature = "planted-bugs")]
macro_rules! planted {
    ($bug:ident) => {
        $crate::runtime::planted_bugs::is($crate::runtime::planted_bugs::Mutation::$bug)
    };
}

/// Where a bug would be: none is planted but for tests of what finds them.
#[cfg(not(feature = "planted-bugs"))]
macro_rules! planted {
    ($bug:ident) => {
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
pub use model::record::{Host, RecordKey, RecordValue};
pub use model::service::{Attributes, Service, SkippedEntry};
pub use ports::container_source::{
    ContainerSource, EngineIdentity, EventStream, SourceError, SourceErrorKind,
};
pub use ports::record_store::{
    Change, ChangeStream, ExpectedValue, Expiry, GrantOutcome, KeepAliveMode, KeptAlive, Lease,
    LeaseId, LeaseNamespace, Precondition, RecordStore, StoreError, StoreErrorKind, StoredRecord,
    Write, WriteOutcome,
};
pub use status::{RecordCounts, RecordReport, RecordState, StandbyReason};
