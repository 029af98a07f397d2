//! Compares the responses of both servers to one query.

use hickory_proto::rr::RecordType;

use super::ServerPair;
use super::differences::{Difference, known_difference};
use super::fixtures::RecordSet;
use super::support::dns_wire::{DnsQuery, DnsResponse, ResponseRecord, Transport};

/// One query and the responses of both servers.
#[derive(Clone)]
pub struct QueryCase {
    pub query: DnsQuery,
    pub coredns: DnsResponse,
    pub ours: DnsResponse,
}

/// The result of a comparison.
pub enum Comparison {
    Equal,
    KnownDifferences(Vec<Difference>),
    /// The reason, and the compared responses. These are the TCP responses if one was truncated.
    Mismatch(String, Box<QueryCase>),
}

/// The permitted difference of TTLs and serial numbers in seconds. Both servers round, and one
/// is queried first.
const TTL_ROUNDING_SECS: u32 = 2;

/// The largest UDP response of HighHock in bytes.
const UDP_RESPONSE_BYTES_MAX: u16 = 1232;

pub fn compare(record_set: &RecordSet, case: &QueryCase, pair: &mut ServerPair) -> Comparison {
    if let Err(reason) = check_response(&case.query, &case.ours) {
        return Comparison::Mismatch(reason, case.clone().into());
    }
    let mut case = case.clone();
    let mut differences = Vec::new();
    if case.coredns.truncated || case.ours.truncated {
        let truncated = case;
        case = pair.query(&DnsQuery { transport: Transport::Tcp, ..truncated.query.clone() });
        if let Err(reason) = check_truncation(&truncated.ours, &case.ours) {
            return Comparison::Mismatch(reason, case.into());
        }
        // A SERVFAIL response is not truncated.
        if truncated.coredns.truncated != truncated.ours.truncated
            && truncated.coredns.code != "ServFail"
        {
            let Some(difference) = truncation_reason(&truncated, &case) else {
                return Comparison::Mismatch(
                    "only one of the responses is truncated".into(),
                    truncated.into(),
                );
            };
            differences.push(difference);
        }
        // The OPT records of the repeated query are not compared.
        case.coredns.edns = case.ours.edns;
    }
    mask_serials(&mut case);
    if record_set.lease.is_some() {
        round_ttls(&mut case);
    }
    if !is_equal(&case) && unify_ttls(&mut case.coredns) {
        differences.push(Difference::RrsetTtl);
        if record_set.lease.is_some() {
            round_ttls(&mut case);
        }
    }
    if !is_equal(&case) {
        let Some(found) = known_difference(record_set, &case, pair) else {
            return Comparison::Mismatch("the responses differ".into(), case.into());
        };
        differences.push(found);
    }
    if differences.is_empty() {
        Comparison::Equal
    } else {
        Comparison::KnownDifferences(differences)
    }
}

/// Checks the rules for a response that do not depend on CoreDNS.
fn check_response(query: &DnsQuery, response: &DnsResponse) -> Result<(), String> {
    let limit = match query.transport {
        Transport::Udp => 512,
        Transport::Edns(size) => usize::from(size.clamp(512, UDP_RESPONSE_BYTES_MAX)),
        Transport::Tcp => usize::from(u16::MAX),
    };
    let queried_name = query.name();
    let repeats = |rows: &[ResponseRecord]| rows.windows(2).any(|pair| pair[0] == pair[1]);
    let faults = [
        (response.bytes > limit, "the response is longer than permitted"),
        (response.query != queried_name, "the response repeats another question"),
        (
            response.edns != matches!(query.transport, Transport::Edns(_)),
            "EDNS in only one of query and response",
        ),
        (
            response.recursion_desired != query.recursion_desired,
            "the flag RD differs from the query",
        ),
        (response.recursion_available, "the flag RA is set without forwarding"),
        (
            response.truncated && query.transport == Transport::Tcp,
            "the response is truncated over TCP",
        ),
        (
            repeats(&response.answer)
                || repeats(&response.authority)
                || repeats(&response.additional),
            "the response repeats a record",
        ),
    ];
    match faults.into_iter().find(|(is_present, _)| *is_present) {
        Some((_, reason)) => Err(reason.into()),
        None => Ok(()),
    }
}

/// Explains why only one response was truncated, by comparing the complete responses. Returns
/// `None` without an explanation.
fn truncation_reason(truncated: &QueryCase, complete: &QueryCase) -> Option<Difference> {
    let records = |response: &DnsResponse| response.answer.len() + response.additional.len();
    match truncated.query.transport {
        Transport::Edns(size) if size > UDP_RESPONSE_BYTES_MAX && truncated.ours.truncated => {
            Some(Difference::UdpSizeLimit)
        }
        _ if truncated.ours.truncated && truncated.query.kind == RecordType::SRV => {
            Some(Difference::UncompressedTargets)
        }
        _ if truncated.coredns.truncated
            && records(&complete.coredns) > records(&complete.ours) =>
        {
            Some(Difference::RepeatedRecord)
        }
        _ => None,
    }
}

/// Checks that a truncated response is a part of the complete response.
fn check_truncation(truncated: &DnsResponse, complete: &DnsResponse) -> Result<(), String> {
    let is_part = |part: &[ResponseRecord], of: &[ResponseRecord]| {
        let same = |a: &ResponseRecord, b: &ResponseRecord| {
            (&a.name, &a.kind, &a.data) == (&b.name, &b.kind, &b.data)
        };
        part.iter().all(|row| of.iter().any(|other| same(row, other)))
    };
    let is_complete_part = is_part(&truncated.answer, &complete.answer)
        && is_part(&truncated.additional, &complete.additional)
        && truncated.code == complete.code;
    if is_complete_part {
        Ok(())
    } else {
        Err(format!("records that are missing in the complete response: {truncated:#?}"))
    }
}

/// Both servers derive the serial number from the time, one a little later.
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

/// Sets the TTL of each record to the least TTL of its name and type. Returns `true` if this
/// changes a TTL.
fn unify_ttls(response: &mut DnsResponse) -> bool {
    let mut changed = false;
    for rows in [&mut response.answer, &mut response.additional] {
        let all = rows.clone();
        for row in rows.iter_mut() {
            let is_same_set = |other: &&ResponseRecord| {
                other.kind == row.kind && other.name.eq_ignore_ascii_case(&row.name)
            };
            let least = all.iter().filter(is_same_set).map(|other| other.ttl).min();
            let least = least.unwrap_or(row.ttl);
            changed |= least != row.ttl;
            row.ttl = least;
        }
        rows.sort();
    }
    changed
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

/// Returns `true` if the codes, flags and sets of records are equal.
pub fn is_equal(case: &QueryCase) -> bool {
    let QueryCase { coredns, ours, .. } = case;
    coredns.code == ours.code
        && coredns.authoritative == ours.authoritative
        && same_rows(&coredns.answer, &ours.answer)
        && same_rows(&coredns.authority, &ours.authority)
        && same_rows(&coredns.additional, &ours.additional)
}

/// Compares records, ignoring repeated records of CoreDNS.
pub fn same_rows(coredns: &[ResponseRecord], ours: &[ResponseRecord]) -> bool {
    let mut distinct = coredns.to_vec();
    distinct.dedup();
    distinct == ours
}
