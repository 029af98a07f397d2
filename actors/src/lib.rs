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
        $crate::planted::is($crate::planted::Bug::$bug)
    };
}

/// Where a bug would be: none is planted but for tests of what finds them.
#[cfg(not(feature = "planted-bugs"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

pub mod backoff;
pub mod container;
mod courier;
mod damper;
pub mod endpoint;
pub mod explain;
pub mod extract;
mod failures;
mod hearsay;
pub mod identity;
pub mod inserter;
mod ledger;
pub mod life;
pub mod meter;
pub mod metered;
pub mod observe;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod poller;
pub mod preview;
pub mod publish;
pub mod record;
pub mod registry;
pub mod seat;
pub mod service;
pub mod source;
pub mod store;
pub mod watcher;

pub use container::{
    Attachment, Binding, Condition, Container, ContainerId, ContainerRow, EngineTime, Health, Life,
    NetworkMode, Proto,
};
pub use ledger::{Counts, RecordReport, RecordState, StandbyReason};
pub use life::{Core, CoreSettings, Memory, Stopped};
pub use record::{Host, RecordKey, RecordValue};
pub use service::{Attributes, Service, ServiceName, Skipped};
pub use source::{
    ContainerSource, EngineIdentity, Event, Events, Happening, SourceError, SourceErrorKind,
};
pub use store::{
    Change, Changes, Expected, Found, Granted, Guard, KeptAlive, Lease, LeaseFamily, LeaseId,
    RecordStore, StoreError, StoreErrorKind, Tie, Upkeep, Write, Written,
};
