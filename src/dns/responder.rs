//! From a packet to its answer.

use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use slog::{Logger, error};

use super::answer::{Answer, answer, names_of_address};
use super::client_acl::Neighbours;
use super::decode::{Packet, Question, Transport};
use super::encode::{self, Says};
use super::forward::Forwarder;
use super::lookup::Names;
use super::rate_limit::{Grant, Limit};
use super::round_robin::Turns;
use super::stats::Counts;

/// What is to be done about a packet.
#[derive(Debug)]
pub(super) enum Reply {
    /// Send what was written.
    Send,
    /// Ask other servers first.
    Ask(Box<Open>),
    /// Send nothing.
    Silence,
}

/// A question that other servers must be asked about.
#[derive(Debug)]
pub(super) struct Open {
    question: Question,
    /// What is known of the answer; none: nothing is, it lies outside the domain.
    known: Option<Answer>,
}

/// Answers packets, wherever they come from.
pub(super) struct Responder {
    names: Names,
    forwarder: Forwarder,
    neighbours: Neighbours,
    limit: Limit,
    counts: Counts,
    log: Logger,
    turns: Turns,
}

impl Responder {
    pub(super) fn new(
        names: Names,
        forwarder: Forwarder,
        limit: Limit,
        counts: Counts,
        log: Logger,
    ) -> Self {
        let (neighbours, turns) = (Neighbours::new(), Turns::new());
        Self { names, forwarder, neighbours, limit, counts, log, turns }
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
        let work = || self.respond_to(packet, source, transport, bytes);
        panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            error!(self.log, "a packet made the DNS server panic";
                "source" => %source, "bytes" => packet.len());
            self.counts.count(|counters| &counters.dropped);
            Reply::Silence
        })
    }

    fn respond_to(
        &self,
        packet: &[u8],
        source: IpAddr,
        transport: Transport,
        bytes: &mut Vec<u8>,
    ) -> Reply {
        let packet = Packet::read(packet, transport);
        if matches!(packet, Packet::Nothing) {
            self.counts.count(|counters| &counters.dropped);
            return Reply::Silence;
        }
        self.counts.count(|counters| match transport {
            Transport::Udp => &counters.questions_udp,
            Transport::Tcp => &counters.questions_tcp,
        });
        let grant = match transport {
            Transport::Udp => self.limit.grant(source),
            Transport::Tcp => Grant::Answer,
        };
        if grant != Grant::Answer {
            self.counts.count(|counters| &counters.limited);
        }
        if grant == Grant::Nothing {
            return Reply::Silence;
        }
        let forwards = self.forwarder.is_there() && self.neighbours.include(source);
        let says = Says { recursion_available: forwards, ..Says::default() };
        match packet {
            Packet::Nothing => Reply::Silence,
            Packet::Broken { id, operation, recursion_desired, code } => {
                self.counts.count_answer(code);
                sent(encode::write_code(id, operation, recursion_desired, code, bytes))
            }
            Packet::Question(question) | Packet::Refused(question, _)
                if grant == Grant::Truncated =>
            {
                let says = Says { truncated: true, ..says };
                self.write(&question, &Answer::default(), says, bytes)
            }
            Packet::Refused(question, code) => {
                let answer = Answer { code, ..Answer::default() };
                self.write(&question, &answer, says, bytes)
            }
            Packet::Question(question) => self.answer(question, source, forwards, bytes),
        }
    }

    fn answer(
        &self,
        question: Question,
        source: IpAddr,
        forwards: bool,
        bytes: &mut Vec<u8>,
    ) -> Reply {
        debug!(self.log, "asked by DNS";
            "name" => %question.query.name, "type" => %question.query.query_type,
            "source" => %source);
        let says = Says { recursion_available: forwards, ..Says::default() };
        let Some(mut known) = self.known(&question) else {
            if forwards {
                return Reply::Ask(Box::new(Open { question, known: None }));
            }
            let refused = Answer { code: ResponseCode::Refused, ..Answer::default() };
            return self.write(&question, &refused, says, bytes);
        };
        if forwards && !known.elsewhere.is_empty() {
            return Reply::Ask(Box::new(Open { question, known: Some(known) }));
        }
        self.turns.rotate(&question.query, &mut known.answers);
        self.write(&question, &known, Says { authoritative: true, ..says }, bytes)
    }

    /// What the records say; none: the name is not theirs to answer for.
    fn known(&self, question: &Question) -> Option<Answer> {
        let name = &question.query.name;
        let kind = question.query.query_type;
        if self.names.domain.holds(name) {
            return Some(answer(&self.names, name, kind));
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
        names_of_address(&self.names, name, address)
    }

    /// Asks other servers for what is missing, and writes the answer.
    pub(super) async fn close(&self, open: Open, bytes: &mut Vec<u8>) -> Reply {
        let Open { question, known } = open;
        self.counts.count(|counters| &counters.forwarded);
        let Some(mut known) = known else {
            return match self.forwarder.ask(&question).await {
                Some(response) => self.pass_on(&question, response, bytes),
                None => {
                    let failed = Answer { code: ResponseCode::ServFail, ..Answer::default() };
                    let says = Says { recursion_available: true, ..Says::default() };
                    self.write(&question, &failed, says, bytes)
                }
            };
        };
        self.forwarder.complete(&question, &mut known).await;
        self.turns.rotate(&question.query, &mut known.answers);
        let says = Says { authoritative: true, recursion_available: true, truncated: false };
        self.write(&question, &known, says, bytes)
    }

    /// Another server's answer as it is, but for the number and the letters that this
    /// question has, and that it comes from who answers such questions.
    fn pass_on(&self, question: &Question, mut response: Vec<u8>, bytes: &mut Vec<u8>) -> Reply {
        let code = response.get(3).map_or(0, |flags| flags & 0x0f);
        if response.len() > usize::from(question.size) {
            let cut = Answer { code: ResponseCode::from(0, code), ..Answer::default() };
            let says = Says { truncated: true, recursion_available: true, authoritative: false };
            return self.write(question, &cut, says, bytes);
        }
        encode::readdress(&mut response, question);
        self.counts.count_answer(ResponseCode::from(0, code));
        *bytes = response;
        Reply::Send
    }

    fn write(
        &self,
        question: &Question,
        answer: &Answer,
        says: Says,
        bytes: &mut Vec<u8>,
    ) -> Reply {
        self.counts.count_answer(answer.code);
        sent(encode::write(question, answer, says, bytes))
    }
}

/// What can't be written is no answer: the client asks again, or gives up.
fn sent<E>(written: Result<(), E>) -> Reply {
    match written {
        Ok(()) => Reply::Send,
        Err(_) => Reply::Silence,
    }
}

#[cfg(test)]
mod tests;
