//! The store of standalone mode. Records stay in this process, and its DNS server answers from
//! them.

mod store;
mod table;

pub use store::MemoryStore;
