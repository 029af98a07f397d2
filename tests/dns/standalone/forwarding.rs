//! Questions about other domains.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::RecordType;
use highhock::dns::DnsServer;
use highhock_actors::model::names::DomainName;
use network_interface::{NetworkInterface, NetworkInterfaceConfig};

use crate::query::{ask_tcp, ask_udp, question, server_with, zone};
use crate::upstream::{Manner, Upstream};

fn forwarding(records: &[(&str, &str)], servers: &[SocketAddr]) -> DnsServer {
    server_with(|settings| settings.forward = servers.to_vec(), zone(records))
}

fn address(server: &DnsServer) -> SocketAddr {
    server.addresses()[0]
}

fn example() -> Message {
    question("WWW.example.org.", RecordType::A)
}

#[test]
fn another_domain_is_asked_of_the_first_server() {
    let (first, second) =
        (Upstream::start(Manner::Addresses(2)), Upstream::start(Manner::Addresses(9)));
    let server = forwarding(&[], &[first.address, second.address]);
    for answer in [ask_udp(address(&server), &example()), ask_tcp(address(&server), &example())] {
        assert_eq!(answer.answers.len(), 2);
        assert_eq!(answer.queries[0].name.to_ascii(), "WWW.example.org.");
        assert_eq!(answer.answers[0].ttl, 77);
        assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
    }
    assert_eq!(second.asked(), 0);
    assert_eq!(server.counts().read().forwarded, 2);
}

#[test]
fn a_server_that_fails_or_says_nothing_is_passed_over() {
    let servers = [
        Upstream::start(Manner::Code(ResponseCode::ServFail)),
        Upstream::start(Manner::Code(ResponseCode::Refused)),
        Upstream::start(Manner::Silent),
        Upstream::start(Manner::Addresses(1)),
    ];
    let server = forwarding(&[], &servers.each_ref().map(|server| server.address));
    assert_eq!(ask_tcp(address(&server), &example()).answers.len(), 1);
    assert!(servers.iter().all(|server| server.asked() > 0));
}

#[test]
fn that_a_name_is_not_there_is_an_answer() {
    let first = Upstream::start(Manner::Code(ResponseCode::NXDomain));
    let second = Upstream::start(Manner::Addresses(1));
    let server = forwarding(&[], &[first.address, second.address]);
    let answer = ask_udp(address(&server), &example());
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(second.asked(), 0);
}

#[test]
fn where_all_servers_fail_the_answer_is_that_it_failed() {
    let failing = Upstream::start(Manner::Code(ResponseCode::ServFail));
    let server = forwarding(&[], &[failing.address]);
    let answer = ask_udp(address(&server), &example());
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[test]
fn a_cut_answer_is_asked_for_again_over_tcp() {
    let upstream = Upstream::start(Manner::Addresses(200));
    let server = forwarding(&[], &[upstream.address]);
    assert_eq!(ask_tcp(address(&server), &example()).answers.len(), 200);

    let cut = ask_udp(address(&server), &example());
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    let mut asked = example();
    asked.set_edns(Edns::new());
    let cut = ask_udp(address(&server), &asked);
    assert!(cut.metadata.truncation && cut.edns.is_some());
}

#[test]
fn another_highhock_answers_for_its_own_domain() {
    let domain = DomainName::parse("other.local").unwrap();
    let records = zone(&[]);
    let key = highhock_actors::RecordKey::from_path("skydns/local/other/db");
    records.put(&key, r#"{"host":"10.0.0.7"}"#, None).unwrap();
    let other = server_with(|settings| settings.domain = domain, records);
    let server = forwarding(&[], other.addresses());
    let answer = ask_udp(address(&server), &question("db.other.local.", RecordType::A));
    assert_eq!(answer.answers[0].data.to_string(), "10.0.0.7");
    // The other one, which forwards nothing, says that it has no recursion.
    assert!(answer.metadata.recursion_available);
}

#[test]
fn an_alias_outside_the_domain_is_answered_with_its_addresses() {
    let upstream = Upstream::start(Manner::Addresses(2));
    let records = [("db", r#"{"host":"db.example.org","port":5432}"#)];
    let server = forwarding(&records, &[upstream.address]);
    let kinds = |records: &[hickory_proto::rr::Record]| {
        records.iter().map(|record| record.record_type().to_string()).collect::<Vec<_>>()
    };
    let answer = ask_udp(address(&server), &question("db.skydns.local.", RecordType::A));
    assert_eq!(kinds(&answer.answers), ["CNAME", "A", "A"]);
    assert!(answer.metadata.authoritative);
    let answer = ask_udp(address(&server), &question("db.skydns.local.", RecordType::SRV));
    assert_eq!(kinds(&answer.answers), ["SRV"]);
    assert!(answer.additionals.len() >= 2);
}

#[test]
fn an_alias_whose_addresses_nobody_tells_is_answered_alone() {
    let failing = Upstream::start(Manner::Code(ResponseCode::ServFail));
    let records = [("db", r#"{"host":"db.example.org"}"#)];
    for server in [forwarding(&records, &[failing.address]), forwarding(&records, &[])] {
        let answer = ask_udp(address(&server), &question("db.skydns.local.", RecordType::A));
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(answer.answers.len(), 1);
    }
}

#[test]
fn whatever_address_of_this_host_asks_is_answered() {
    let upstream = Upstream::start(Manner::Addresses(1));
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
        let answer = ask_udp(SocketAddr::new(address, self::address(&server).port()), &example());
        assert_eq!(answer.answers.len(), 1, "{address}: {answer}");
    }
}
