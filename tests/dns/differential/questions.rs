//! Random queries about the names of a record set, and about names near them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use hickory_proto::rr::RecordType::{self, A, AAAA, ANY, CNAME, HINFO, MX, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name};

use super::fixtures::{DOMAIN, RecordSet};
use super::support::dns_wire::{DnsQuery, Transport};

/// Repeated types are chosen more often, as by real clients.
const KINDS: [RecordType; 17] =
    [A, A, A, AAAA, AAAA, SRV, SRV, SRV, TXT, TXT, CNAME, NS, SOA, PTR, MX, HINFO, ANY];

/// Returns the queries for the fixed record set.
pub fn fixed() -> Vec<DnsQuery> {
    vec![DnsQuery::new(&format!("twice.{DOMAIN}"), A)]
}

/// Returns `count` random queries.
pub fn random_queries(record_set: &RecordSet, count: usize, rng: &mut Rng) -> Vec<DnsQuery> {
    let names = record_set.names();
    (0..count).map(|_| random_query(&names, rng)).collect()
}

fn random_query(names: &[Vec<String>], rng: &mut Rng) -> DnsQuery {
    let known = &names[rng.usize(..names.len())];
    let kind = KINDS[rng.usize(..KINDS.len())];
    let labels = if kind == PTR && rng.bool() { reverse(rng) } else { labels(known, rng) };
    let transport = match rng.u8(..10) {
        0 | 1 => Transport::Udp,
        2 => Transport::Tcp,
        3 => Transport::Edns(512),
        4 => Transport::Edns(1232),
        5 => Transport::Edns([0, 100, 700, 1410, 1500, 65535][rng.usize(..6)]),
        _ => Transport::Edns(4096),
    };
    DnsQuery {
        labels,
        kind,
        class: if rng.u8(..100) == 0 { DNSClass::CH } else { DNSClass::IN },
        transport,
        recursion_desired: rng.bool(),
    }
}

/// Returns a name similar to a known one.
fn labels(known: &[String], rng: &mut Rng) -> Vec<String> {
    let mut name = known.to_vec();
    match rng.u8(..24) {
        // A parent of the name.
        0..=3 => drop(name.drain(..rng.usize(..=name.len()))),
        4 => name.insert(0, "nobody".into()),
        5 => name[0] = "nobody".into(),
        6 => name[0].push('x'),
        7 => drop(name[0].pop()),
        8..=10 => {
            let at = rng.usize(..name.len());
            name[at] = wildcard(rng);
        }
        11 => name.insert(rng.usize(..=name.len()), wildcard(rng)),
        12 => name.iter_mut().for_each(|label| *label = wildcard(rng)),
        13 => name = Vec::new(),
        14 => name = vec![["dns", "ns.dns", "apex.dns"][rng.usize(..3)].into()],
        // A label that contains the slashes of the key.
        15 if rng.bool() => name = vec![known.iter().rev().cloned().collect::<Vec<_>>().join("/")],
        16 if rng.bool() => return elsewhere(known, rng),
        _ => {}
    }
    let mut labels: Vec<String> = name.join(".").split('.').map(str::to_owned).collect();
    labels.extend(DOMAIN.split('.').map(str::to_owned));
    labels.retain(|label| !label.is_empty());
    if rng.u8(..4) == 0 {
        labels.iter_mut().for_each(|label| *label = other_case(label, rng));
    }
    labels
}

fn wildcard(rng: &mut Rng) -> String {
    if rng.bool() { "*".into() } else { "any".into() }
}

fn other_case(label: &str, rng: &mut Rng) -> String {
    let turn = |letter: char| if rng.bool() { letter.to_ascii_uppercase() } else { letter };
    label.chars().map(turn).collect()
}

/// Returns the reverse name of an address, published or not.
fn reverse(rng: &mut Rng) -> Vec<String> {
    let address = match rng.u8(..4) {
        0 => Ipv4Addr::from([10, 0, 99, 99]).into(),
        1 => IpAddr::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
        2 => Ipv4Addr::from([10, 1, 0, rng.u8(..12)]).into(),
        _ => Ipv4Addr::from([10, 0, 0, rng.u8(1..4)]).into(),
    };
    let name = Name::from(address).to_ascii();
    name.split('.').filter(|label| !label.is_empty()).map(str::to_owned).collect()
}

/// Returns a name outside the domain.
fn elsewhere(known: &[String], rng: &mut Rng) -> Vec<String> {
    let text = match rng.u8(..6) {
        0 => "www.example.com".to_owned(),
        1 => "local".to_owned(),
        2 => format!("{}.notskydns.local", known[0]),
        3 => "2.0.0.10.in-addr.arpa".to_owned(),
        4 => String::new(),
        _ => "99.99.99.10.in-addr.arpa".to_owned(),
    };
    text.split('.').filter(|label| !label.is_empty()).map(str::to_owned).collect()
}
