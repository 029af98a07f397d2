//! Standalone: the records stay in this process, which answers DNS for them itself.

pub mod dns;
mod ends;
mod published;
mod store;
mod table;
mod zone;

pub use dns::{CODES, Counts, DnsCounts, DnsError, DnsPackets, DnsServer, DnsSettings};
pub use ends::Ends;
pub use store::MemoryStore;
pub use zone::Zone;
