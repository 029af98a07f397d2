//! [`Responder`]: turns a packet into a response.

use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use slog::{Logger, error};

use super::answer::{Response, build_response, reverse_response};
use super::client_acl::ClientAcl;
use super::decode::{ClientQuery, Packet, Transport};
use super::encode::{self, ResponseFlags};
use super::forward::Forwarder;
use super::lookup::NameIndex;
use super::rate_limit::{Decision, RateLimiter};
use super::round_robin::RoundRobin;
use super::stats::DnsStats;

/// The result of handling a packet.
#[derive(Debug)]
pub(super) enum Reply {
    /// Send the response that was written to the buffer.
    Send,
    /// Query the upstreams, then call [`Responder::finish`].
    Forward(Box<PendingReply>),
    /// Send nothing.
    Drop,
}

/// A query whose response needs the upstreams.
#[derive(Debug)]
pub(super) struct PendingReply {
    client_query: ClientQuery,
    /// The part of the response from the zone. `None` for a name outside the domain.
    local: Option<Response>,
}

/// Answers packets of any source. The sockets share one responder.
pub(super) struct Responder {
    names: NameIndex,
    forwarder: Forwarder,
    client_acl: ClientAcl,
    limiter: RateLimiter,
    stats: DnsStats,
    log: Logger,
    round_robin: RoundRobin,
}

impl Responder {
    pub(super) fn new(
        names: NameIndex,
        forwarder: Forwarder,
        limiter: RateLimiter,
        stats: DnsStats,
        log: Logger,
    ) -> Self {
        let (client_acl, round_robin) = (ClientAcl::new(), RoundRobin::new());
        Self { names, forwarder, client_acl, limiter, stats, log, round_robin }
    }

    /// Handles a packet. A response replaces the content of `bytes`.
    ///
    /// If the handling panics, the packet is dropped and the thread continues.
    pub(super) fn respond(
        &self,
        packet: &[u8],
        source: IpAddr,
        transport: Transport,
        bytes: &mut Vec<u8>,
    ) -> Reply {
        let work = || self.decode_and_respond(packet, source, transport, bytes);
        panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            error!(self.log, "handling a dns packet panicked; packet dropped";
                "source" => %source, "bytes" => packet.len());
            self.stats.count(|counters| &counters.dropped);
            Reply::Drop
        })
    }

    fn decode_and_respond(
        &self,
        packet: &[u8],
        source: IpAddr,
        transport: Transport,
        bytes: &mut Vec<u8>,
    ) -> Reply {
        let packet = Packet::read(packet, transport);
        if matches!(packet, Packet::Ignored) {
            self.stats.count(|counters| &counters.dropped);
            return Reply::Drop;
        }
        self.stats.count(|counters| match transport {
            Transport::Udp => &counters.queries_udp,
            Transport::Tcp => &counters.queries_tcp,
        });
        let decision = match transport {
            Transport::Udp => self.limiter.decide(source),
            Transport::Tcp => Decision::Allow,
        };
        if decision != Decision::Allow {
            self.stats.count(|counters| &counters.rate_limited);
        }
        if decision == Decision::Drop {
            return Reply::Drop;
        }
        let may_forward = self.forwarder.is_configured() && self.client_acl.allows(source);
        let flags = ResponseFlags { recursion_available: may_forward, ..ResponseFlags::default() };
        match packet {
            Packet::Ignored => Reply::Drop,
            Packet::Malformed { id, operation, recursion_desired, code } => {
                self.stats.count_response(code);
                reply_if_encoded(encode::encode_code(id, operation, recursion_desired, code, bytes))
            }
            Packet::Query(client_query) | Packet::Rejected(client_query, _)
                if decision == Decision::Truncate =>
            {
                let flags = ResponseFlags { truncated: true, ..flags };
                self.write(&client_query, &Response::default(), flags, bytes)
            }
            Packet::Rejected(client_query, code) => {
                let response = Response { code, ..Response::default() };
                self.write(&client_query, &response, flags, bytes)
            }
            Packet::Query(client_query) => {
                self.respond_to_query(client_query, source, may_forward, bytes)
            }
        }
    }

    fn respond_to_query(
        &self,
        client_query: ClientQuery,
        source: IpAddr,
        may_forward: bool,
        bytes: &mut Vec<u8>,
    ) -> Reply {
        debug!(self.log, "dns query received";
            "name" => %client_query.question.name, "type" => %client_query.question.query_type,
            "source" => %source);
        let flags = ResponseFlags { recursion_available: may_forward, ..ResponseFlags::default() };
        let Some(mut local) = self.local_response(&client_query) else {
            if may_forward {
                return Reply::Forward(Box::new(PendingReply { client_query, local: None }));
            }
            let refused = Response { code: ResponseCode::Refused, ..Response::default() };
            return self.write(&client_query, &refused, flags, bytes);
        };
        if may_forward && !local.external_names.is_empty() {
            return Reply::Forward(Box::new(PendingReply { client_query, local: Some(local) }));
        }
        self.round_robin.rotate(&client_query.question, &mut local.answers);
        self.write(&client_query, &local, ResponseFlags { authoritative: true, ..flags }, bytes)
    }

    /// Returns the response from the zone, or `None` if the zone is not responsible for the
    /// name.
    fn local_response(&self, client_query: &ClientQuery) -> Option<Response> {
        let name = &client_query.question.name;
        let kind = client_query.question.query_type;
        if self.names.domain.contains(name) {
            return Some(build_response(&self.names, name, kind));
        }
        if kind != RecordType::PTR {
            return None;
        }
        let network = name.parse_arpa_name().ok()?;
        let address = (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())?;
        // `parse_arpa_name` reads the label `00` as `0`, but it is another name.
        if *name != Name::from(address) {
            return None;
        }
        reverse_response(&self.names, name, address)
    }

    /// Queries the upstreams for the missing records, and writes the response to `bytes`.
    pub(super) async fn finish(&self, pending: PendingReply, bytes: &mut Vec<u8>) -> Reply {
        let PendingReply { client_query, local } = pending;
        self.stats.count(|counters| &counters.forwarded);
        let Some(mut local) = local else {
            return match self.forwarder.forward(&client_query).await {
                Some(response) => self.relay(&client_query, response, bytes),
                None => {
                    let failed = Response { code: ResponseCode::ServFail, ..Response::default() };
                    let flags =
                        ResponseFlags { recursion_available: true, ..ResponseFlags::default() };
                    self.write(&client_query, &failed, flags, bytes)
                }
            };
        };
        self.forwarder.resolve_external(&client_query, &mut local).await;
        self.round_robin.rotate(&client_query.question, &mut local.answers);
        let flags =
            ResponseFlags { authoritative: true, recursion_available: true, truncated: false };
        self.write(&client_query, &local, flags, bytes)
    }

    /// Writes the response of an upstream, adapted to the client's query. A response that is too
    /// large for the client becomes an empty truncated response.
    fn relay(
        &self,
        client_query: &ClientQuery,
        mut response: Vec<u8>,
        bytes: &mut Vec<u8>,
    ) -> Reply {
        let code = response.get(3).map_or(0, |flags| flags & 0x0f);
        if response.len() > usize::from(client_query.size) {
            let truncated = Response { code: ResponseCode::from(0, code), ..Response::default() };
            let flags =
                ResponseFlags { truncated: true, recursion_available: true, authoritative: false };
            return self.write(client_query, &truncated, flags, bytes);
        }
        encode::rewrite_for_client(&mut response, client_query);
        self.stats.count_response(ResponseCode::from(0, code));
        *bytes = response;
        Reply::Send
    }

    fn write(
        &self,
        client_query: &ClientQuery,
        response: &Response,
        flags: ResponseFlags,
        bytes: &mut Vec<u8>,
    ) -> Reply {
        self.stats.count_response(response.code);
        reply_if_encoded(encode::encode(client_query, response, flags, bytes))
    }
}

/// A response that cannot be encoded is dropped. The client repeats the query or gives up.
fn reply_if_encoded<E>(written: Result<(), E>) -> Reply {
    match written {
        Ok(()) => Reply::Send,
        Err(_) => Reply::Drop,
    }
}

#[cfg(test)]
mod tests;
