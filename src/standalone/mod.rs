//! Standalone: the records stay in this process, which answers DNS for them itself.

pub mod dns;
mod ends;
mod published;
mod zone;

pub use dns::{CODES, Counts, DnsCounts, DnsError, DnsPackets, DnsServer, DnsSettings};
pub use ends::Ends;
pub use zone::Zone;
