//! The DNS server.

mod counts;
mod server;

pub use counts::{CODES, Counts, DnsCounts};
pub use server::{DnsError, DnsServer, DnsSettings};
