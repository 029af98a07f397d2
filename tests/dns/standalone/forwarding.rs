//! Queries for other domains.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use highhock::dns::DnsServer;
use highhock_actors::model::names::DomainName;
use network_interface::{NetworkInterface, NetworkInterfaceConfig};

use crate::query::{query_message, query_tcp, query_udp, server_with, zone};
use crate::upstream::{Behaviour, Upstream};

fn forwarding(records: &[(&str, &str)], servers: &[SocketAddr]) -> DnsServer {
    server_with(|settings| settings.forward = servers.to_vec(), zone(records))
}

fn address(server: &DnsServer) -> SocketAddr {
    server.addresses()[0]
}

fn example() -> Message {
    query_message("WWW.example.org.", RecordType::A)
}

#[test]
fn forwards_other_domains_to_the_first_upstream() {
    let (first, second) =
        (Upstream::start(Behaviour::Addresses(2)), Upstream::start(Behaviour::Addresses(9)));
    let server = forwarding(&[], &[first.address, second.address]);
    for answer in [query_udp(address(&server), &example()), query_tcp(address(&server), &example())]
    {
        assert_eq!(answer.answers.len(), 2);
        assert_eq!(answer.queries[0].name.to_ascii(), "WWW.example.org.");
        assert_eq!(answer.answers[0].ttl, 77);
        assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
    }
    assert_eq!(second.query_count(), 0);
    assert_eq!(server.stats().read().forwarded, 2);
}

#[test]
fn forwards_the_flags_ad_and_cd() {
    let upstream = Upstream::start(Behaviour::Echo);
    let server = forwarding(&[], &[upstream.address]);
    for (authentic_data, checking_disabled) in
        [(true, false), (false, true), (true, true), (false, false)]
    {
        let mut query = example();
        query.metadata.authentic_data = authentic_data;
        query.metadata.checking_disabled = checking_disabled;
        for answer in [query_udp(address(&server), &query), query_tcp(address(&server), &query)] {
            assert_eq!(answer.metadata.authentic_data, authentic_data);
            assert_eq!(answer.metadata.checking_disabled, checking_disabled);
        }
    }
}

#[test]
fn forwards_unknown_edns_options() {
    let upstream = Upstream::start(Behaviour::Echo);
    let server = forwarding(&[], &[upstream.address]);
    let option = |code, data: &[u8]| (EdnsCode::from(code), EdnsOption::Unknown(code, data.into()));
    let mut edns = Edns::new();
    let cookie = option(10, b"8 bytes.");
    edns.options_mut().as_mut().extend([option(65_001, b"x"), cookie, option(65_002, b"")]);
    let mut query = example();
    query.set_edns(edns);
    let answer = query_udp(address(&server), &query);
    let answered = answer.edns.unwrap();
    let codes = answered.options().as_ref().iter().map(|(code, _)| u16::from(*code));
    // A cookie is between two neighbours.
    assert_eq!(codes.collect::<Vec<_>>(), [65_001, 65_002]);
}

#[test]
fn skips_failing_and_silent_upstreams() {
    let servers = [
        Upstream::start(Behaviour::Code(ResponseCode::ServFail)),
        Upstream::start(Behaviour::Code(ResponseCode::Refused)),
        Upstream::start(Behaviour::Silent),
        Upstream::start(Behaviour::Addresses(1)),
    ];
    let server = forwarding(&[], &servers.each_ref().map(|server| server.address));
    assert_eq!(query_tcp(address(&server), &example()).answers.len(), 1);
    assert!(servers.iter().all(|server| server.query_count() > 0));
}

#[test]
fn accepts_nxdomain_from_an_upstream() {
    let first = Upstream::start(Behaviour::Code(ResponseCode::NXDomain));
    let second = Upstream::start(Behaviour::Addresses(1));
    let server = forwarding(&[], &[first.address, second.address]);
    let answer = query_udp(address(&server), &example());
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(second.query_count(), 0);
}

#[test]
fn servfail_if_all_upstreams_fail() {
    let failing = Upstream::start(Behaviour::Code(ResponseCode::ServFail));
    let server = forwarding(&[], &[failing.address]);
    let answer = query_udp(address(&server), &example());
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn retries_truncated_responses_over_tcp() {
    let upstream = Upstream::start(Behaviour::Addresses(200));
    let server = forwarding(&[], &[upstream.address]);
    assert_eq!(query_tcp(address(&server), &example()).answers.len(), 200);

    let cut = query_udp(address(&server), &example());
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let mut query = example();
    query.set_edns(Edns::new());
    let cut = query_udp(address(&server), &query);
    assert!(cut.metadata.truncation && cut.edns.is_some());
}

#[test]
fn forwards_to_another_highhock() {
    let domain = DomainName::parse("other.local").unwrap();
    let records = zone(&[]);
    let key = highhock_actors::RecordKey::from_path("skydns/local/other/db");
    records.put(&key, r#"{"host":"10.0.0.7"}"#, None).unwrap();
    let other = server_with(|settings| settings.domain = domain, records);
    let server = forwarding(&[], other.addresses());
    let answer = query_udp(address(&server), &query_message("db.other.local.", RecordType::A));
    assert_eq!(answer.answers[0].data.to_string(), "10.0.0.7");
    // Set by this server. The upstream does not forward, so its own response lacks the flag.
    assert!(answer.metadata.recursion_available);
}

#[test]
fn resolves_external_alias_to_addresses() {
    let upstream = Upstream::start(Behaviour::Addresses(2));
    let records = [("db", r#"{"host":"db.example.org","port":5432}"#)];
    let server = forwarding(&records, &[upstream.address]);
    let kinds = |records: &[hickory_proto::rr::Record]| {
        records.iter().map(|record| record.record_type().to_string()).collect::<Vec<_>>()
    };
    let answer = query_udp(address(&server), &query_message("db.skydns.local.", RecordType::A));
    assert_eq!(kinds(&answer.answers), ["CNAME", "A", "A"]);
    assert!(answer.metadata.authoritative);
    let answer = query_udp(address(&server), &query_message("db.skydns.local.", RecordType::SRV));
    assert_eq!(kinds(&answer.answers), ["SRV"]);
    assert!(answer.additionals.len() >= 2);
}

#[test]
fn unresolvable_external_alias_is_returned_alone() {
    let failing = Upstream::start(Behaviour::Code(ResponseCode::ServFail));
    let records = [("db", r#"{"host":"db.example.org"}"#)];
    for server in [forwarding(&records, &[failing.address]), forwarding(&records, &[])] {
        let answer = query_udp(address(&server), &query_message("db.skydns.local.", RecordType::A));
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(answer.answers.len(), 1);
    }
}

#[test]
fn forwards_for_every_address_of_this_host() {
    let upstream = Upstream::start(Behaviour::Addresses(1));
    let server = server_with(
        |settings| {
            settings.listen = vec!["0.0.0.0:0".parse().unwrap()];
            settings.forward = vec![upstream.address];
        },
        zone(&[]),
    );
    let interfaces = NetworkInterface::show().unwrap();
    let own = interfaces.iter().flat_map(|interface| &interface.addr).map(|addr| addr.ip());
    let own = own.filter(IpAddr::is_ipv4).collect::<Vec<_>>();
    assert!(!own.is_empty());
    for address in own {
        let answer = query_udp(SocketAddr::new(address, self::address(&server).port()), &example());
        assert_eq!(answer.answers.len(), 1, "{address}: {answer}");
    }
}
