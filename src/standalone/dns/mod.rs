//! The DNS server of standalone.

mod answer;
mod chain;
mod counts;
mod domain;
mod forward;
mod frame;
mod limit;
mod listen;
mod lookup;
mod question;
mod respond;
mod server;
mod tcp;
mod udp;

pub use counts::{CODES, Counts, DnsCounts};
pub use server::{DnsError, DnsServer, DnsSettings};
