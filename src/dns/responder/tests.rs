use std::net::SocketAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use slog::Discard;

use super::*;
use crate::dns::DnsStatsSnapshot;
use crate::dns::test_zone::{name, names};

const HTTPD: &[(&str, &str)] = &[("httpd", r#"{"host":"10.0.0.1","port":80}"#)];

fn responder_with(records: &[(&str, &str)], forward: &[&str], rate_limit: u32) -> Responder {
    let forward =
        forward.iter().map(|address| address.parse::<SocketAddr>().expect("valid address"));
    let (stats, log) = (DnsStats::default(), Logger::root(Discard, slog::o!()));
    Responder::new(
        names(records),
        Forwarder::new(forward.collect(), stats.clone(), log.clone()),
        RateLimiter::new(rate_limit),
        stats,
        log,
    )
}

fn query(name: Name, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    message
}

fn httpd() -> Message {
    query(name("httpd"), RecordType::A)
}

/// Handles a packet from this source.
fn reply(
    responder: &Responder,
    packet: &[u8],
    source: &str,
    transport: Transport,
) -> Option<Vec<u8>> {
    let source = source.parse().expect("valid address");
    let mut bytes = Vec::new();
    match responder.respond(packet, source, transport, &mut bytes) {
        Reply::Send => Some(bytes),
        Reply::Drop => None,
        Reply::Forward(pending) => panic!("unexpected forwarding: {pending:?}"),
    }
}

fn read(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).expect("valid message")
}

fn answered(responder: &Responder, query: &Message, transport: Transport) -> Message {
    let packet = query.to_vec().expect("valid packet");
    read(&reply(responder, &packet, "127.0.0.1", transport).expect("a response"))
}

fn code(query: &Message) -> ResponseCode {
    answered(&responder_with(HTTPD, &[], 0), query, Transport::Udp).metadata.response_code
}

fn counted(responder: &Responder) -> DnsStatsSnapshot {
    responder.stats.read()
}

#[test]
fn responses_repeat_the_question_and_its_case() {
    let query = query(name("HTTPd.SKYdns.local."), RecordType::A);
    let response = answered(&responder_with(HTTPD, &[], 0), &query, Transport::Udp);
    assert_eq!(response.metadata.id, 0x1234);
    assert_eq!(response.metadata.message_type, MessageType::Response);
    assert!(response.metadata.authoritative && response.metadata.recursion_desired);
    assert!(!response.metadata.recursion_available && !response.metadata.truncation);
    let repeated = response.queries.first().map(|query| query.name.to_ascii());
    assert_eq!(repeated.as_deref(), Some("HTTPd.SKYdns.local."));
    let owner = response.answers.first().map(|record| record.name.to_ascii());
    assert_eq!(owner.as_deref(), Some("HTTPd.SKYdns.local."));
    assert!(response.edns.is_none());
}

#[test]
fn ignores_packets_that_are_no_queries() {
    let responder = responder_with(HTTPD, &[], 0);
    let mut response = httpd();
    response.metadata.message_type = MessageType::Response;
    let response = response.to_vec().expect("valid packet");
    for packet in [&[] as &[u8], b"x", &[0; 11], &response] {
        assert_eq!(reply(&responder, packet, "127.0.0.1", Transport::Udp), None);
    }
    assert_eq!((counted(&responder).dropped, counted(&responder).queries_udp), (4, 0));
}

#[test]
fn malformed_queries_are_a_format_error() {
    let responder = responder_with(HTTPD, &[], 0);
    let packet_bytes = httpd().to_vec().expect("valid packet");
    let mut none = packet_bytes.clone();
    none[5] = 0;
    let mut two = packet_bytes.clone();
    two[5] = 2;
    let mut looped = packet_bytes[..12].to_vec();
    looped.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    for packet in [
        &packet_bytes[..12],
        &packet_bytes[..20],
        &packet_bytes[..packet_bytes.len() - 1],
        &none,
        &two,
        &looped,
    ] {
        let bytes = reply(&responder, packet, "127.0.0.1", Transport::Udp).expect("a response");
        let response = read(&bytes);
        assert_eq!(response.metadata.response_code, ResponseCode::FormErr, "{packet:?}");
        assert_eq!((response.metadata.id, bytes.len()), (0x1234, 12));
        assert!(response.metadata.recursion_desired);
    }
    assert_eq!(counted(&responder).responses, [0, 6, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn never_panics_on_malformed_packets() {
    let responder = responder_with(HTTPD, &[], 0);
    let mut with_edns = httpd();
    with_edns.set_edns(Edns::new());
    let packet_bytes = with_edns.to_vec().expect("valid packet");
    for (at, to) in (0..packet_bytes.len()).flat_map(|at| (0..=255).map(move |to| (at, to))) {
        let mut packet = packet_bytes.clone();
        packet[at] = to;
        let mut bytes = Vec::new();
        let source = IpAddr::from([127, 0, 0, 1]);
        responder.respond(&packet, source, Transport::Udp, &mut bytes);
        responder.respond(&packet[..at], source, Transport::Tcp, &mut bytes);
    }
}

#[test]
fn other_opcodes_get_notimp() {
    for operation in [OpCode::Status, OpCode::Notify, OpCode::Update] {
        let mut query = httpd();
        query.metadata.op_code = operation;
        query.set_edns(Edns::new());
        let response = answered(&responder_with(HTTPD, &[], 0), &query, Transport::Udp);
        assert_eq!(response.metadata.response_code, ResponseCode::NotImp, "{operation}");
        assert_eq!(response.metadata.op_code, operation);
        assert!(response.metadata.recursion_desired && response.edns.is_some());
        assert_eq!(response.queries, query.queries);
    }
}

#[test]
fn refuses_other_classes_transfers_and_domains() {
    let mut chaos = httpd();
    chaos.queries[0].query_class = DNSClass::CH;
    assert_eq!(code(&chaos), ResponseCode::Refused);
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(code(&query(name("skydns.local."), kind)), ResponseCode::Refused);
    }
    for text in ["example.org.", "xskydns.local.", ".", "9.0.0.10.in-addr.arpa."] {
        assert_eq!(code(&query(name(text), RecordType::PTR)), ResponseCode::Refused, "{text}");
    }
}

#[test]
fn published_addresses_have_only_ptr_records() {
    let reverse = name("1.0.0.10.in-addr.arpa.");
    assert_eq!(code(&query(reverse.clone(), RecordType::PTR)), ResponseCode::NoError);
    assert_eq!(code(&query(reverse, RecordType::A)), ResponseCode::Refused);
    let other = name("01.0.0.10.in-addr.arpa.");
    assert_eq!(code(&query(other, RecordType::PTR)), ResponseCode::Refused);
    assert_eq!(code(&query(name("0.0.10.in-addr.arpa."), RecordType::PTR)), ResponseCode::Refused);
}

#[test]
fn answers_edns_and_rejects_unknown_versions() {
    let responder = responder_with(HTTPD, &[], 0);
    let mut query = httpd();
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    query.set_edns(edns.clone());
    let response = answered(&responder, &query, Transport::Udp);
    let response_edns = response.edns.expect("EDNS in the response");
    assert_eq!(
        (response_edns.version(), response_edns.max_payload(), response_edns.flags().dnssec_ok),
        (0, 1232, true)
    );
    assert_eq!(response.answers.len(), 1);

    edns.set_version(1);
    query.set_edns(edns);
    let response = answered(&responder, &query, Transport::Udp);
    // Code 16 means BADVERS and BADSIG (RFC 6891, section 9).
    assert_eq!(u16::from(response.metadata.response_code), 16);
    assert_eq!(response.edns.map(|edns| edns.version()), Some(0));
    assert!(response.answers.is_empty());
    assert_eq!(counted(&responder).responses[6], 1);
}

/// Creates a responder with a hundred addresses under one name.
fn responder_with_100_records() -> Responder {
    let records = (0..100).map(|i| (format!("many/{i}"), format!(r#"{{"host":"10.0.1.{i}"}}"#)));
    let records = records.collect::<Vec<_>>();
    let records = records.iter().map(|(path, value)| (path.as_str(), value.as_str()));
    responder_with(&records.collect::<Vec<_>>(), &[], 0)
}

#[test]
fn large_udp_responses_are_truncated() {
    let many = query(name("many"), RecordType::A);
    let length = |response: &Message| response.to_vec().expect("valid packet").len();

    let plain = answered(&responder_with_100_records(), &many, Transport::Udp);
    assert!(plain.metadata.truncation);
    assert!((480..=512).contains(&length(&plain)), "{}", length(&plain));

    for (requested_size, limit) in [(0, 512), (600, 600), (4096, 1232)] {
        let mut query = many.clone();
        let mut edns = Edns::new();
        edns.set_max_payload(requested_size);
        query.set_edns(edns);
        let response = answered(&responder_with_100_records(), &query, Transport::Udp);
        assert!(response.metadata.truncation && response.edns.is_some(), "{requested_size}");
        assert!(
            (limit - 32..=limit).contains(&length(&response)),
            "{requested_size}: {}",
            length(&response)
        );
    }
    let complete = answered(&responder_with_100_records(), &many, Transport::Tcp);
    assert!(!complete.metadata.truncation);
    assert_eq!(complete.answers.len(), 100);
}

#[test]
fn rotates_the_first_record() {
    let responder = responder_with_100_records();
    let many = query(name("many"), RecordType::A);
    let first = || answered(&responder, &many, Transport::Tcp).answers[0].data.to_string();
    let firsts = (0..100).map(|_| first()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(firsts.len(), 100);
}

#[test]
fn round_robin_is_independent_per_question() {
    let records = [
        ("web/a", r#"{"host":"10.0.0.1"}"#),
        ("web/b", r#"{"host":"10.0.0.2"}"#),
        ("web/c", r#"{"host":"fd00::1"}"#),
        ("web/d", r#"{"host":"fd00::2"}"#),
        ("four/a", r#"{"host":"10.0.0.1"}"#),
        ("four/b", r#"{"host":"10.0.0.2"}"#),
    ];
    let responder = responder_with(&records, &[], 0);
    let first = |text: &str, kind| {
        let response = answered(&responder, &query(name(text), kind), Transport::Udp);
        response.answers.first().map(|record| record.data.to_string())
    };
    let query = [("web", RecordType::A), ("web", RecordType::AAAA), ("four", RecordType::A)];
    let round = || query.map(|(text, kind)| first(text, kind));
    let rounds = [round(), round()];
    assert!((0..3).all(|at| rounds[0][at] != rounds[1][at]), "{rounds:?}");
    first("four", RecordType::AAAA);
    assert_eq!(first("four", RecordType::A), rounds[0][2]);
}

#[test]
fn aliases_precede_their_targets() {
    let records = [
        ("www", r#"{"host":"web.skydns.local"}"#),
        ("web/a", r#"{"host":"10.0.0.1"}"#),
        ("web/b", r#"{"host":"10.0.0.2"}"#),
    ];
    let responder = responder_with(&records, &[], 0);
    for _ in 0..4 {
        let query = query(name("www"), RecordType::A);
        let response = answered(&responder, &query, Transport::Udp);
        let kinds = response.answers.iter().map(hickory_proto::rr::Record::record_type);
        let expected = [RecordType::CNAME, RecordType::A, RecordType::A];
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn remote_clients_are_rate_limited() {
    let responder = responder_with(HTTPD, &[], 3);
    let packet = httpd().to_vec().expect("valid packet");
    let ask = |source, transport| reply(&responder, &packet, source, transport);
    // The queries span at most two seconds, each with three complete responses.
    let answers = (0..20).map(|_| ask("192.0.2.7", Transport::Udp)).collect::<Vec<_>>();
    let is_complete = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().is_some_and(|bytes| !read(bytes).metadata.truncation)
    };
    assert!((3..=6).contains(&answers.iter().filter(|response| is_complete(response)).count()));
    let empty = answers.iter().filter(|it| !is_complete(it)).flatten().collect::<Vec<_>>();
    assert!((6..=9).contains(&empty.len()), "{}", empty.len());
    for bytes in empty {
        let response = read(bytes);
        assert!(response.answers.is_empty() && response.queries.len() == 1);
        assert!(bytes.len() <= packet.len());
    }
    assert!(is_complete(&ask("192.0.2.7", Transport::Tcp)));
    assert!((0..20).all(|_| is_complete(&ask("127.0.0.1", Transport::Udp))));
    assert!(counted(&responder).rate_limited >= 14);
}

#[test]
fn forwards_queries_of_allowed_clients_only() {
    let responder = responder_with(HTTPD, &["127.0.0.1:9"], 0);
    let packet = query(name("example.org."), RecordType::A).to_vec().expect("valid packet");
    let is_forwarded = |source: &str| {
        let source = source.parse().expect("valid address");
        let reply = responder.respond(&packet, source, Transport::Udp, &mut Vec::new());
        matches!(reply, Reply::Forward(_))
    };
    assert!(is_forwarded("127.0.0.1") && is_forwarded("10.0.0.9") && is_forwarded("fd00::9"));
    assert!(!is_forwarded("192.0.2.7") && !is_forwarded("2001:db8::7"));
    assert_eq!(counted(&responder).responses[5], 2);
}
