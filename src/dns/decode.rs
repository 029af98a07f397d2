//! What came in a packet: a question, or why it is none.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};

/// The bytes of a message's header (RFC 1035, section 4.1.1).
pub(super) const HEADER: usize = 12;

/// The largest UDP answer to who doesn't say what he takes (RFC 1035, section 4.2.1).
const PLAIN_SIZE: u16 = 512;

/// The largest UDP answer to anybody: it passes every path without fragments (DNS
/// flag day 2020).
pub(super) const UDP_SIZE: u16 = 1232;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// A question, as far as its answer's frame needs it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) id: u16,
    pub(super) operation: OpCode,
    pub(super) query: Query,
    pub(super) recursion_desired: bool,
    pub(super) checking_disabled: bool,
    /// Whether it came with EDNS, and then, whether it asks for DNSSEC's records.
    pub(super) edns: Option<bool>,
    /// How large the answer may be, in bytes.
    pub(super) size: u16,
}

/// What came in a packet.
#[derive(Debug)]
pub(super) enum Packet {
    /// A question that can be answered.
    Question(Question),
    /// A question whose answer is this code.
    Refused(Question, ResponseCode),
    /// What only its header can be answered of.
    Broken { id: u16, operation: OpCode, recursion_desired: bool, code: ResponseCode },
    /// What is not to be answered: no message, or itself an answer.
    Nothing,
}

impl Packet {
    /// Reads a packet.
    pub(super) fn read(bytes: &[u8], transport: Transport) -> Self {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Self::Nothing };
        let [high, low, flags, ..] = *header;
        let id = u16::from_be_bytes([high, low]);
        if flags & 0x80 != 0 {
            return Self::Nothing;
        }
        let operation = OpCode::from_u8(flags >> 3 & 0x0f);
        let recursion_desired = flags & 1 != 0;
        let broken = |code| Self::Broken { id, operation, recursion_desired, code };
        let code =
            if operation == OpCode::Query { ResponseCode::FormErr } else { ResponseCode::NotImp };
        // As CoreDNS: one question, at most the SOA record of an IXFR, and EDNS and a
        // signature.
        let [_, _, _, _, q0, q1, a0, a1, n0, n1, d0, d1] = *header;
        let counts = [[q0, q1], [a0, a1], [n0, n1], [d0, d1]].map(u16::from_be_bytes);
        if !matches!(counts, [1, 0..=1, 0..=1, 0..=2]) {
            return broken(code);
        }
        match Message::from_vec(bytes) {
            Ok(message) if message.metadata.message_type == MessageType::Query => {
                Self::sorted(message, transport)
            }
            _ => broken(code),
        }
    }

    fn sorted(mut message: Message, transport: Transport) -> Self {
        let metadata = message.metadata;
        let (id, operation) = (metadata.id, metadata.op_code);
        let Some(query) = message.queries.pop() else { return Self::Nothing };
        let asked_size = message.edns.as_ref().map_or(PLAIN_SIZE, |edns| edns.max_payload());
        let question = Question {
            id,
            operation,
            recursion_desired: metadata.recursion_desired,
            checking_disabled: metadata.checking_disabled,
            edns: message.edns.as_ref().map(|edns| edns.flags().dnssec_ok),
            size: match transport {
                Transport::Udp => asked_size.clamp(PLAIN_SIZE, UDP_SIZE),
                Transport::Tcp => u16::MAX,
            },
            query,
        };
        if message.edns.is_some_and(|edns| edns.version() > 0) {
            return Self::Refused(question, ResponseCode::BADVERS);
        }
        if operation != OpCode::Query {
            return Self::Refused(question, ResponseCode::NotImp);
        }
        let transfer = matches!(question.query.query_type, RecordType::AXFR | RecordType::IXFR);
        if transfer || question.query.query_class != DNSClass::IN {
            return Self::Refused(question, ResponseCode::Refused);
        }
        Self::Question(question)
    }
}
