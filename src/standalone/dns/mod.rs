//! The DNS server.

mod counts;
mod server;

pub use counts::{Counts, DnsCounts};
pub use server::{DnsError, DnsServer, DnsSettings};
