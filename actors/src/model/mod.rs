//! The types that all steps share: containers, services, names, records.

pub mod container;
pub(crate) mod event_history;
pub mod record;
pub mod service;
pub mod stable_hash;
