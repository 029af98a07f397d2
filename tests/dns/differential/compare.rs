//! Whether two answers to one question say the same.

use hickory_proto::rr::RecordType;

use super::ServerPair;
use super::differences::{Difference, known_difference};
use super::fixtures::RecordSet;
use super::support::dns_wire::{DnsQuery, DnsResponse, ResponseRecord, Transport};

/// One question, and what each of the two said.
#[derive(Clone)]
pub struct QueryCase {
    pub query: DnsQuery,
    pub coredns: DnsResponse,
    pub ours: DnsResponse,
}

/// What came of it.
pub enum Comparison {
    Equal,
    KnownDifferences(Vec<Difference>),
    /// Why, and the answers that were compared: those by TCP, where one was cut.
    Mismatch(String, Box<QueryCase>),
}

/// Seconds by which a lease's rest and the time may differ: both round, and one is asked first.
const TTL_ROUNDING_SECS: u32 = 2;

/// The largest answer that HighHock gives by UDP, in bytes.
const UDP_RESPONSE_BYTES_MAX: u16 = 1232;

pub fn compare(record_set: &RecordSet, case: &QueryCase, pair: &mut ServerPair) -> Comparison {
    if let Err(why) = check_response(&case.query, &case.ours) {
        return Comparison::Mismatch(why, case.clone().into());
    }
    let mut case = case.clone();
    let mut differences = Vec::new();
    if case.coredns.truncated || case.ours.truncated {
        let cut = case;
        case = pair.query(&DnsQuery { transport: Transport::Tcp, ..cut.query.clone() });
        if let Err(why) = check_truncation(&cut.ours, &case.ours) {
            return Comparison::Mismatch(why, case.into());
        }
        // What failed was not cut.
        if cut.coredns.truncated != cut.ours.truncated && cut.coredns.code != "ServFail" {
            let Some(why) = truncation_reason(&cut, &case) else {
                return Comparison::Mismatch("only one of the answers is cut".into(), cut.into());
            };
            differences.push(why);
        }
        // Both answers are whole now, and only one of them had EDNS's record.
        case.coredns.edns = case.ours.edns;
    }
    mask_serials(&mut case);
    if record_set.lease.is_some() {
        round_ttls(&mut case);
    }
    if !is_equal(&case) {
        let Some(found) = known_difference(record_set, &case, pair) else {
            return Comparison::Mismatch("the answers differ".into(), case.into());
        };
        differences.push(found);
    }
    if differences.is_empty() {
        Comparison::Equal
    } else {
        Comparison::KnownDifferences(differences)
    }
}

/// What must hold of an answer whatever CoreDNS says.
fn check_response(query: &DnsQuery, response: &DnsResponse) -> Result<(), String> {
    let limit = match query.transport {
        Transport::Udp => 512,
        Transport::Edns(size) => usize::from(size.clamp(512, UDP_RESPONSE_BYTES_MAX)),
        Transport::Tcp => usize::from(u16::MAX),
    };
    let asked = query.name();
    let repeats = |rows: &[ResponseRecord]| rows.windows(2).any(|pair| pair[0] == pair[1]);
    let faults = [
        (response.bytes > limit, "longer than was asked for"),
        (response.query != asked, "the question did not come back as it was"),
        (
            response.edns != matches!(query.transport, Transport::Edns(_)),
            "EDNS is answered by EDNS only",
        ),
        (
            response.recursion_desired != query.recursion_desired,
            "recursion was asked for otherwise",
        ),
        (response.recursion_available, "offers recursion that it doesn't do"),
        (response.truncated && query.transport == Transport::Tcp, "cut where there is room"),
        (
            repeats(&response.answer)
                || repeats(&response.authority)
                || repeats(&response.additional),
            "a record comes twice",
        ),
    ];
    match faults.into_iter().find(|(is_so, _)| *is_so) {
        Some((_, why)) => Err(why.into()),
        None => Ok(()),
    }
}

/// Why only one of two answers was cut, by the whole ones; `None`: there is no reason.
fn truncation_reason(cut: &QueryCase, whole: &QueryCase) -> Option<Difference> {
    let records = |response: &DnsResponse| response.answer.len() + response.additional.len();
    match cut.query.transport {
        Transport::Edns(size) if size > UDP_RESPONSE_BYTES_MAX && cut.ours.truncated => {
            Some(Difference::AtMost1232)
        }
        _ if cut.ours.truncated && cut.query.kind == RecordType::SRV => {
            Some(Difference::LongerNames)
        }
        _ if cut.coredns.truncated && records(&whole.coredns) > records(&whole.ours) => {
            Some(Difference::Twice)
        }
        _ => None,
    }
}

/// What there was room for is a part of the whole.
fn check_truncation(cut: &DnsResponse, whole: &DnsResponse) -> Result<(), String> {
    let is_part = |part: &[ResponseRecord], of: &[ResponseRecord]| {
        let same = |a: &ResponseRecord, b: &ResponseRecord| {
            (&a.name, &a.kind, &a.data) == (&b.name, &b.kind, &b.data)
        };
        part.iter().all(|row| of.iter().any(|other| same(row, other)))
    };
    let is_so = is_part(&cut.answer, &whole.answer)
        && is_part(&cut.additional, &whole.additional)
        && cut.code == whole.code;
    if is_so { Ok(()) } else { Err(format!("cut to what the whole answer lacks: {cut:#?}")) }
}

/// Both tell the time, the one a little later.
fn mask_serials(case: &mut QueryCase) {
    let mut seen: Vec<u32> = Vec::new();
    for response in [&mut case.coredns, &mut case.ours] {
        for row in response.answer.iter_mut().chain(&mut response.authority) {
            if row.kind == "SOA" {
                let mut parts: Vec<_> = row.data.split(' ').collect();
                let serial = parts[2].parse().unwrap();
                if seen.iter().all(|other| other.abs_diff(serial) <= TTL_ROUNDING_SECS) {
                    parts[2] = "now";
                }
                seen.push(serial);
                row.data = parts.join(" ");
            }
        }
    }
}

fn round_ttls(case: &mut QueryCase) {
    let QueryCase { coredns, ours, .. } = case;
    for (theirs, ours) in sections(coredns, ours) {
        for row in ours.iter_mut() {
            let is_near = |other: &&ResponseRecord| {
                let rounded = ResponseRecord { ttl: other.ttl, ..row.clone() };
                rounded == **other && row.ttl.abs_diff(other.ttl) <= TTL_ROUNDING_SECS
            };
            if let Some(near) =
                theirs.iter().filter(is_near).min_by_key(|other| row.ttl.abs_diff(other.ttl))
            {
                row.ttl = near.ttl;
            }
        }
        ours.sort();
    }
}

fn sections<'a>(
    coredns: &'a DnsResponse,
    ours: &'a mut DnsResponse,
) -> [(&'a Vec<ResponseRecord>, &'a mut Vec<ResponseRecord>); 3] {
    [
        (&coredns.answer, &mut ours.answer),
        (&coredns.authority, &mut ours.authority),
        (&coredns.additional, &mut ours.additional),
    ]
}

/// The same code, flags and sets of records.
pub fn is_equal(case: &QueryCase) -> bool {
    let QueryCase { coredns, ours, .. } = case;
    coredns.code == ours.code
        && coredns.authoritative == ours.authoritative
        && same_rows(&coredns.answer, &ours.answer)
        && same_rows(&coredns.authority, &ours.authority)
        && same_rows(&coredns.additional, &ours.additional)
}

/// CoreDNS says some records twice.
pub fn same_rows(coredns: &[ResponseRecord], ours: &[ResponseRecord]) -> bool {
    let mut once = coredns.to_vec();
    once.dedup();
    once == ours
}
