//! The bytes of an answer.

use hickory_proto::ProtoError;
use hickory_proto::op::{
    Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode, emit_message_parts,
};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use super::answer::Response;
use super::decode::{ClientQuery, HEADER_BYTES, UDP_BYTES_MAX};

/// The bytes of an OPT record without options (RFC 6891, section 6.1.2).
const OPT_RECORD_BYTES: u16 = 11;

/// The bit in a header's fourth byte that says that recursion is available.
const RECURSION_AVAILABLE: u8 = 0x80;

/// Where a header counts the additional records.
const ADDITIONAL_COUNT_RANGE: std::ops::Range<usize> = 10..12;

/// What the header says beside the answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResponseFlags {
    /// It comes from who is responsible for the domain.
    pub(super) authoritative: bool,
    /// Questions about other domains are answered to who asked.
    pub(super) recursion_available: bool,
    /// It is cut, whatever it holds.
    pub(super) truncated: bool,
}

/// Writes the answer to a question in place of what `bytes` holds; what doesn't fit
/// is left out, and the header says so.
///
/// # Errors
/// A record can't be written.
pub(super) fn encode(
    client_query: &ClientQuery,
    response: &Response,
    flags: ResponseFlags,
    bytes: &mut Vec<u8>,
) -> Result<(), ProtoError> {
    let mut metadata =
        Metadata::new(client_query.id, MessageType::Response, client_query.operation);
    metadata.response_code = response.code;
    metadata.authoritative = flags.authoritative;
    metadata.truncation = flags.truncated;
    metadata.recursion_desired = client_query.recursion_desired;
    metadata.recursion_available = flags.recursion_available;
    metadata.checking_disabled = client_query.checking_disabled;
    bytes.clear();
    let mut encoder = BinEncoder::new(bytes);
    let room_for_edns = if client_query.edns.is_some() { OPT_RECORD_BYTES } else { 0 };
    encoder.set_max_size(client_query.size.saturating_sub(room_for_edns));
    emit_message_parts(
        &metadata,
        &mut std::iter::once(&client_query.question),
        &mut response.answers.iter(),
        &mut response.authorities.iter(),
        &mut response.additionals.iter(),
        None,
        None,
        &mut encoder,
    )?;
    // Of a record that didn't fit, the beginning is still there.
    let end = encoder.offset();
    bytes.truncate(end);
    if let Some(dnssec) = client_query.edns {
        add_edns(bytes, response.code, dnssec);
    }
    Ok(())
}

/// Writes the answer to what has no question that could be repeated.
///
/// # Errors
/// It can't be written.
pub(super) fn encode_code(
    id: u16,
    operation: OpCode,
    recursion_desired: bool,
    code: ResponseCode,
    bytes: &mut Vec<u8>,
) -> Result<(), ProtoError> {
    let mut metadata = Metadata::new(id, MessageType::Response, operation);
    metadata.response_code = code;
    metadata.recursion_desired = recursion_desired;
    bytes.clear();
    Header { metadata, counts: HeaderCounts::default() }.emit(&mut BinEncoder::new(bytes))
}

/// Adds the OPT record behind the last one, which room was left for: an answer that
/// is cut has to have it, too (RFC 6891, section 7).
fn add_edns(bytes: &mut Vec<u8>, code: ResponseCode, dnssec: bool) {
    let [size_high, size_low] = UDP_BYTES_MAX.to_be_bytes();
    let dnssec = if dnssec { 0x80 } else { 0 };
    let opt = [0, 0, 41, size_high, size_low, code.high(), 0, dnssec, 0, 0, 0];
    bytes.extend_from_slice(&opt);
    let count = bytes
        .get_mut(ADDITIONAL_COUNT_RANGE)
        .and_then(|bytes| <&mut [u8; 2]>::try_from(bytes).ok());
    if let Some(count) = count {
        *count = u16::from_be_bytes(*count).saturating_add(1).to_be_bytes();
    }
}

/// Gives another server's answer the number and the letters of the question that it now
/// answers, and says that recursion is available.
pub(super) fn rewrite_for_client(response: &mut [u8], client_query: &ClientQuery) {
    if let Some([high, low, _, flags]) = response.first_chunk_mut::<4>() {
        [*high, *low] = client_query.id.to_be_bytes();
        *flags |= RECURSION_AVAILABLE;
    }
    let mut rest = response.get_mut(HEADER_BYTES..).unwrap_or_default();
    for label in client_query.question.name.iter() {
        // Behind the byte that says how long it is.
        let Some((label_bytes, remainder)) = rest.split_at_mut_checked(1 + label.len()) else {
            return;
        };
        match label_bytes.split_first_mut() {
            Some((length, label_bytes)) if usize::from(*length) == label.len() => {
                label_bytes.copy_from_slice(label);
            }
            _ => return,
        }
        rest = remainder;
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, RecordType};

    use super::*;
    use crate::dns::decode::{Packet, Transport};

    fn message(id: u16, name: &str) -> Message {
        let mut message = Message::query();
        message.metadata.id = id;
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), RecordType::A));
        message
    }

    #[test]
    fn forwarded_responses_get_the_id_and_case_of_the_query() {
        let packet = message(7, "wWw.Example.ORG.").to_vec().expect("a packet");
        let Packet::Query(client_query) = Packet::read(&packet, Transport::Udp) else {
            panic!("no question");
        };
        let mut response = message(9, "www.example.org.").to_vec().expect("a packet");
        rewrite_for_client(&mut response, &client_query);
        let read = Message::from_vec(&response).expect("a message");
        assert_eq!((read.metadata.id, read.metadata.recursion_available), (7, true));
        assert_eq!(read.queries[0].name.to_ascii(), "wWw.Example.ORG.");

        for length in 0..response.len() {
            rewrite_for_client(&mut response[..length], &client_query);
        }
    }
}
