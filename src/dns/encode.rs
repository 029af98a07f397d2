//! Encodes responses.

use hickory_proto::ProtoError;
use hickory_proto::op::{
    Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode, emit_message_parts,
};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};

use super::answer::Response;
use super::decode::{ClientQuery, HEADER_BYTES, UDP_BYTES_MAX};

/// The length of an OPT record without options, in bytes (RFC 6891, section 6.1.2).
const OPT_RECORD_BYTES: u16 = 11;

/// The bit "recursion available" in the fourth byte of a header (RFC 1035, section 4.1.1).
const RECURSION_AVAILABLE: u8 = 0x80;

/// The position of the additional record count in a header (RFC 1035, section 4.1.1).
const ADDITIONAL_COUNT_RANGE: std::ops::Range<usize> = 10..12;

/// The header flags that depend on the server and the client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResponseFlags {
    /// The response comes from the zone of this server.
    pub(super) authoritative: bool,
    /// Queries of this client for other domains are forwarded.
    pub(super) recursion_available: bool,
    /// The response is marked as truncated even if all records fit.
    pub(super) truncated: bool,
}

/// Encodes the response to a query, replacing the content of `bytes`. Records that do not fit
/// are removed, and the response is then marked as truncated (RFC 2181, section 9).
///
/// # Errors
/// Returns an error if a record cannot be encoded.
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
    // The buffer still contains the beginning of the record that did not fit.
    let end = encoder.offset();
    bytes.truncate(end);
    if let Some(dnssec) = client_query.edns {
        add_edns(bytes, response.code, dnssec);
    }
    Ok(())
}

/// Encodes a response without a question section, for a message whose question is unreadable.
///
/// # Errors
/// Returns an error if the header cannot be encoded.
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

/// Appends the OPT record, for which the encoder reserved space. A truncated response must
/// contain the OPT record too (RFC 6891, section 7).
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

/// Adapts the response of an upstream to this client: sets the id and the letter case of the
/// client's query, and the flag "recursion available".
pub(super) fn rewrite_for_client(response: &mut [u8], client_query: &ClientQuery) {
    if let Some([high, low, _, flags]) = response.first_chunk_mut::<4>() {
        [*high, *low] = client_query.id.to_be_bytes();
        *flags |= RECURSION_AVAILABLE;
    }
    let mut rest = response.get_mut(HEADER_BYTES..).unwrap_or_default();
    for label in client_query.question.name.iter() {
        // A label starts with a length byte (RFC 1035, section 3.1).
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
        message.add_query(Query::query(Name::from_ascii(name).expect("valid name"), RecordType::A));
        message
    }

    #[test]
    fn forwarded_responses_get_the_id_and_case_of_the_query() {
        let packet = message(7, "wWw.Example.ORG.").to_vec().expect("valid packet");
        let Packet::Query(client_query) = Packet::read(&packet, Transport::Udp) else {
            panic!("a question");
        };
        let mut response = message(9, "www.example.org.").to_vec().expect("valid packet");
        rewrite_for_client(&mut response, &client_query);
        let read = Message::from_vec(&response).expect("valid message");
        assert_eq!((read.metadata.id, read.metadata.recursion_available), (7, true));
        assert_eq!(read.queries[0].name.to_ascii(), "wWw.Example.ORG.");

        for length in 0..response.len() {
            rewrite_for_client(&mut response[..length], &client_query);
        }
    }
}
