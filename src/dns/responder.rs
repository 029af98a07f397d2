//! From a packet to its answer.

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

/// What is to be done about a packet.
#[derive(Debug)]
pub(super) enum Reply {
    /// Send what was written.
    Send,
    /// Ask other servers first.
    Forward(Box<PendingReply>),
    /// Send nothing.
    Drop,
}

/// A question that other servers must be asked about.
#[derive(Debug)]
pub(super) struct PendingReply {
    client_query: ClientQuery,
    /// What is known of the answer; none: nothing is, it lies outside the domain.
    local: Option<Response>,
}

/// Answers packets, wherever they come from.
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

    /// Works on a packet; an answer is written in place of what `bytes` holds.
    ///
    /// Should a packet be found one day that makes it panic, it is that packet that is
    /// lost, and not the thread.
    pub(super) fn respond(
        &self,
        packet: &[u8],
        source: IpAddr,
        transport: Transport,
        bytes: &mut Vec<u8>,
    ) -> Reply {
        let work = || self.decode_and_respond(packet, source, transport, bytes);
        panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            error!(self.log, "a packet made the DNS server panic";
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
        debug!(self.log, "asked by DNS";
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

    /// What the records say; none: the name is not theirs to answer for.
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
        // `00.` is read as `0.`, and is another name.
        if *name != Name::from(address) {
            return None;
        }
        reverse_response(&self.names, name, address)
    }

    /// Asks other servers for what is missing, and writes the answer.
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

    /// Another server's answer as it is, but for the number and the letters that this
    /// question has, and that it comes from who answers such questions.
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

/// What can't be written is no answer: the client asks again, or gives up.
fn reply_if_encoded<E>(written: Result<(), E>) -> Reply {
    match written {
        Ok(()) => Reply::Send,
        Err(_) => Reply::Drop,
    }
}

#[cfg(test)]
mod tests;
