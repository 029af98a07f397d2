//! Answers without a socket, for what has packets from elsewhere: a fuzzer, say.

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

/// Answers packets from a zone as [`DnsServer`](super::DnsServer) does that are read from
/// its sockets. It asks no other server, and has no limit.
pub struct PacketResponder(Responder);

impl PacketResponder {
    /// For a domain whose keys begin with the prefix.
    ///
    /// # Errors
    /// The domain leaves no room for names in it.
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

    /// The bytes that answer these, which came by UDP; `None`: they are not to be answered.
    pub fn respond_udp(&self, packet: &[u8], source: IpAddr) -> Option<Vec<u8>> {
        self.respond(Transport::Udp, packet, source)
    }

    /// The same for a message that came by TCP, both without their lengths in front.
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
