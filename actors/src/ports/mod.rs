//! The two traits to the outside: a source of containers and a store of records.

pub mod container_source;
pub mod record_store;
