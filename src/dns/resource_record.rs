//! Builds resource records for responses.

use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, TXT};
use hickory_proto::rr::{Name, RData, Record};

/// A section of the response (RFC 1035, section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Additional,
}

/// Builds an A or AAAA record.
pub(super) fn address_record(name: &Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name.clone(), ttl, data)
}

/// Builds a TXT record. The text is split into strings of at most 255 bytes (RFC 1035, section
/// 3.3).
pub(super) fn text_record(name: &Name, ttl: u32, text: &str) -> Record {
    let strings = text.as_bytes().chunks(255).collect();
    Record::from_rdata(name.clone(), ttl, RData::TXT(TXT::from_bytes(strings)))
}
