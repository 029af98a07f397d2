//! Answers without a socket, for what has packets from elsewhere: a fuzzer, say.

use std::net::IpAddr;

use highhock_actors::model::names::DomainName;
use slog::Logger;

use super::decode::Transport;
use super::error::DnsError;
use super::forward::Forwarder;
use super::lookup::Names;
use super::rate_limit::Limit;
use super::responder::{Reply, Responder};
use super::stats::Counts;
use super::zone_names::Domain;
use crate::zone::Zone;

/// Answers packets from a zone as [`DnsServer`](super::DnsServer) does that are read from
/// its sockets. It asks no other server, and has no limit.
pub struct DnsPackets(Responder);

impl DnsPackets {
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
        let names = Domain::new(&domain, prefix).map_err(|_| DnsError::Domain(domain))?;
        let counts = Counts::default();
        Ok(Self(Responder::new(
            Names { zone, domain: names },
            Forwarder::new(Vec::new(), counts.clone(), log.clone()),
            Limit::new(0),
            counts,
            log.clone(),
        )))
    }

    /// The bytes that answer these, which came by UDP; `None`: they are not to be answered.
    pub fn answer(&self, packet: &[u8], source: IpAddr) -> Option<Vec<u8>> {
        self.by(Transport::Udp, packet, source)
    }

    /// The same for a message that came by TCP, both without their lengths in front.
    pub fn answer_by_tcp(&self, packet: &[u8], source: IpAddr) -> Option<Vec<u8>> {
        self.by(Transport::Tcp, packet, source)
    }

    fn by(&self, transport: Transport, packet: &[u8], source: IpAddr) -> Option<Vec<u8>> {
        let mut answer = Vec::new();
        match self.0.respond(packet, source, transport, &mut answer) {
            Reply::Send => Some(answer),
            Reply::Ask(_) | Reply::Silence => None,
        }
    }
}
