//! Standalone: the records stay in this process, which answers DNS for them itself.

mod store;
mod table;

pub use store::MemoryStore;
