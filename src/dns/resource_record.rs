//! Resource records of an answer.

use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, TXT};
use hickory_proto::rr::{Name, RData, Record};

/// Which of the answer's sections a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer,
    Additional,
}

/// An A or AAAA record.
pub(super) fn address_record(name: &Name, ttl: u32, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    Record::from_rdata(name.clone(), ttl, data)
}

/// A TXT record, the text cut into the strings that DNS allows.
pub(super) fn text_record(name: &Name, ttl: u32, text: &str) -> Record {
    let strings = text.as_bytes().chunks(255).collect();
    Record::from_rdata(name.clone(), ttl, RData::TXT(TXT::from_bytes(strings)))
}
