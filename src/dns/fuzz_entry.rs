//! [`PacketResponder`]: answers packets without a socket, for the fuzz target.

use std::net::IpAddr;

use highhock_actors::model::names::DomainName;
use slog::Logger;

use super::decode::Transport;
use super::error::DnsError;
use super::forward::Forwarder;
use super::lookup::NameIndex;
use super::rate_limit::RateLimiter;
use super::responder::{Reply, Responder};
use super::stats::DnsStats;
use super::zone_names::ZoneNames;
use crate::zone::Zone;

/// Answers packets like [`DnsServer`](super::DnsServer), but without sockets, upstreams and rate
/// limit.
pub struct PacketResponder(Responder);

impl PacketResponder {
    /// Creates a responder for a domain and the prefix of its keys.
    ///
    /// # Errors
    /// Returns an error if the domain name is too long for the names below it.
    pub fn new(
        domain: DomainName,
        prefix: &str,
        zone: Zone,
        log: &Logger,
    ) -> Result<Self, DnsError> {
        let zone_names = ZoneNames::new(&domain, prefix).map_err(|_| DnsError::Domain(domain))?;
        let stats = DnsStats::default();
        Ok(Self(Responder::new(
            NameIndex { zone, domain: zone_names },
            Forwarder::new(Vec::new(), stats.clone(), log.clone()),
            RateLimiter::new(0),
            stats,
            log.clone(),
        )))
    }

    /// Returns the response to a UDP packet, or `None` if the packet gets no response.
    pub fn respond_udp(&self, packet: &[u8], source: IpAddr) -> Option<Vec<u8>> {
        self.respond(Transport::Udp, packet, source)
    }

    /// Returns the response to a TCP message, or `None` if the message gets no response. Both
    /// are without the length prefix.
    pub fn respond_tcp(&self, packet: &[u8], source: IpAddr) -> Option<Vec<u8>> {
        self.respond(Transport::Tcp, packet, source)
    }

    fn respond(&self, transport: Transport, packet: &[u8], source: IpAddr) -> Option<Vec<u8>> {
        let mut response = Vec::new();
        match self.0.respond(packet, source, transport, &mut response) {
            Reply::Send => Some(response),
            Reply::Forward(_) | Reply::Drop => None,
        }
    }
}
