//! Decodes a packet into a query, or into the reason for its rejection.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};

use super::edns_options::{self, ForwardedOption};

/// The length of a message header in bytes (RFC 1035, section 4.1.1).
pub(super) const HEADER_BYTES: usize = 12;

/// The largest UDP response in bytes for a client without EDNS (RFC 1035, section 4.2.1).
const PLAIN_UDP_BYTES: u16 = 512;

/// The largest UDP response in bytes for any client. Packets of this size pass every network
/// without fragments (DNS flag day 2020).
pub(super) const UDP_BYTES_MAX: u16 = 1232;

/// The transport protocol of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// A query, with the fields that its response depends on.
#[derive(Clone, Debug)]
pub(super) struct ClientQuery {
    pub(super) id: u16,
    pub(super) operation: OpCode,
    pub(super) question: Query,
    pub(super) recursion_desired: bool,
    /// The AD bit, which requests the AD bit in the response (RFC 6840, section 5.7).
    pub(super) authentic_data: bool,
    pub(super) checking_disabled: bool,
    /// `None` without EDNS, otherwise the DO bit, which requests DNSSEC records (RFC 6891,
    /// section 6.1.4).
    pub(super) edns: Option<bool>,
    /// The options that are forwarded.
    pub(super) edns_options: Vec<ForwardedOption>,
    /// The maximum length of the response in bytes.
    pub(super) size: u16,
}

/// A decoded packet.
#[derive(Debug)]
pub(super) enum Packet {
    /// A valid query.
    Query(ClientQuery),
    /// A query to be answered with this code and without records.
    Rejected(ClientQuery, ResponseCode),
    /// A message of which only the header is readable. The response repeats the header's fields
    /// and contains no question.
    Malformed { id: u16, operation: OpCode, recursion_desired: bool, code: ResponseCode },
    /// A packet that gets no response: not a DNS message, or itself a response.
    Ignored,
}

impl Packet {
    /// Decodes a packet.
    pub(super) fn read(bytes: &[u8], transport: Transport) -> Self {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Self::Ignored };
        let [high, low, flags, ..] = *header;
        let id = u16::from_be_bytes([high, low]);
        if flags & 0x80 != 0 {
            return Self::Ignored;
        }
        let operation = OpCode::from_u8(flags >> 3 & 0x0f);
        let recursion_desired = flags & 1 != 0;
        let malformed = |code| Self::Malformed { id, operation, recursion_desired, code };
        let code =
            if operation == OpCode::Query { ResponseCode::FormErr } else { ResponseCode::NotImp };
        // The limits of CoreDNS: one question, at most the SOA record of an IXFR (RFC 1995,
        // section 3), and in the additional section EDNS and a signature.
        let [_, _, _, _, q0, q1, a0, a1, n0, n1, d0, d1] = *header;
        let counts = [[q0, q1], [a0, a1], [n0, n1], [d0, d1]].map(u16::from_be_bytes);
        if !matches!(counts, [1, 0..=1, 0..=1, 0..=2]) {
            return malformed(code);
        }
        match Message::from_vec(bytes) {
            Ok(message) if message.metadata.message_type == MessageType::Query => {
                Self::classify(message, transport)
            }
            _ => malformed(code),
        }
    }

    fn classify(mut message: Message, transport: Transport) -> Self {
        let metadata = message.metadata;
        let (id, operation) = (metadata.id, metadata.op_code);
        let Some(question) = message.queries.pop() else { return Self::Ignored };
        let requested_size =
            message.edns.as_ref().map_or(PLAIN_UDP_BYTES, |edns| edns.max_payload());
        let client_query = ClientQuery {
            id,
            operation,
            recursion_desired: metadata.recursion_desired,
            authentic_data: metadata.authentic_data,
            checking_disabled: metadata.checking_disabled,
            edns_options: message.edns.as_ref().map_or_else(Vec::new, edns_options::forwarded),
            edns: message.edns.as_ref().map(|edns| edns.flags().dnssec_ok),
            size: match transport {
                Transport::Udp => requested_size.clamp(PLAIN_UDP_BYTES, UDP_BYTES_MAX),
                Transport::Tcp => u16::MAX,
            },
            question,
        };
        if message.edns.is_some_and(|edns| edns.version() > 0) {
            return Self::Rejected(client_query, ResponseCode::BADVERS);
        }
        if operation != OpCode::Query {
            return Self::Rejected(client_query, ResponseCode::NotImp);
        }
        let transfer =
            matches!(client_query.question.query_type, RecordType::AXFR | RecordType::IXFR);
        if transfer || client_query.question.query_class != DNSClass::IN {
            return Self::Rejected(client_query, ResponseCode::Refused);
        }
        Self::Query(client_query)
    }
}
