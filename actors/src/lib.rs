//! HighHock's core: from what a Docker engine says runs to what etcd should hold.
//!
//! Data flows one way: a [`ContainerSource`] tells what runs, a [`RecordStore`]
//! holds what is published, and the actors between them keep the second true to
//! the first. Nothing here knows HTTP, files or the environment.

#[macro_use]
pub mod log;

pub mod backoff;
pub mod container;
pub mod endpoint;
pub mod extract;
pub mod publish;
pub mod record;
pub mod service;
pub mod source;
pub mod store;

pub use container::{
    Binding, Container, ContainerId, ContainerRow, Health, Life, NetworkMode, Proto, StartedAt,
};
pub use record::{Host, RecordKey, RecordValue};
pub use service::{Attributes, Service, ServiceName, Skipped};
pub use source::{ContainerSource, SourceError, SourceErrorKind};
pub use store::{Found, Guard, RecordStore, StoreError, StoreErrorKind, Write, Written};
