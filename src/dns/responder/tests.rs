use std::net::SocketAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use slog::Discard;

use super::*;
use crate::dns::DnsCounts;
use crate::dns::test_zone::{name, names};

const HTTPD: &[(&str, &str)] = &[("httpd", r#"{"host":"10.0.0.1","port":80}"#)];

fn responder_with(records: &[(&str, &str)], forward: &[&str], rate_limit: u32) -> Responder {
    let forward = forward.iter().map(|it| it.parse::<SocketAddr>().expect("an address"));
    let (counts, log) = (Counts::default(), Logger::root(Discard, slog::o!()));
    Responder::new(
        names(records),
        Forwarder::new(forward.collect(), counts.clone(), log.clone()),
        Limit::new(rate_limit),
        counts,
        log,
    )
}

fn question(name: Name, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    message
}

fn httpd() -> Message {
    question(name("httpd"), RecordType::A)
}

/// The answer to a packet's bytes from this source.
fn reply(
    responder: &Responder,
    packet: &[u8],
    source: &str,
    transport: Transport,
) -> Option<Vec<u8>> {
    let source = source.parse().expect("an address");
    let mut bytes = Vec::new();
    match responder.respond(packet, source, transport, &mut bytes) {
        Reply::Send => Some(bytes),
        Reply::Silence => None,
        Reply::Ask(open) => panic!("other servers are to be asked: {open:?}"),
    }
}

fn read(bytes: &[u8]) -> Message {
    Message::from_vec(bytes).expect("a message")
}

fn answered(responder: &Responder, question: &Message, transport: Transport) -> Message {
    let packet = question.to_vec().expect("a packet");
    read(&reply(responder, &packet, "127.0.0.1", transport).expect("an answer"))
}

fn code(question: &Message) -> ResponseCode {
    answered(&responder_with(HTTPD, &[], 0), question, Transport::Udp).metadata.response_code
}

fn counted(responder: &Responder) -> DnsCounts {
    responder.counts.read()
}

#[test]
fn an_answer_repeats_the_question_and_its_letters() {
    let asked = question(name("HTTPd.SKYdns.local."), RecordType::A);
    let answer = answered(&responder_with(HTTPD, &[], 0), &asked, Transport::Udp);
    assert_eq!(answer.metadata.id, 0x1234);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    assert!(answer.metadata.authoritative && answer.metadata.recursion_desired);
    assert!(!answer.metadata.recursion_available && !answer.metadata.truncation);
    let repeated = answer.queries.first().map(|query| query.name.to_ascii());
    assert_eq!(repeated.as_deref(), Some("HTTPd.SKYdns.local."));
    let owner = answer.answers.first().map(|record| record.name.to_ascii());
    assert_eq!(owner.as_deref(), Some("HTTPd.SKYdns.local."));
    assert!(answer.edns.is_none());
}

#[test]
fn what_is_no_question_is_not_answered() {
    let responder = responder_with(HTTPD, &[], 0);
    let mut response = httpd();
    response.metadata.message_type = MessageType::Response;
    let response = response.to_vec().expect("a packet");
    for packet in [&[] as &[u8], b"x", &[0; 11], &response] {
        assert_eq!(reply(&responder, packet, "127.0.0.1", Transport::Udp), None);
    }
    assert_eq!((counted(&responder).dropped, counted(&responder).questions_udp), (4, 0));
}

#[test]
fn a_broken_question_is_a_format_error() {
    let responder = responder_with(HTTPD, &[], 0);
    let whole = httpd().to_vec().expect("a packet");
    let mut none = whole.clone();
    none[5] = 0;
    let mut two = whole.clone();
    two[5] = 2;
    let mut looped = whole[..12].to_vec();
    looped.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
    for packet in [&whole[..12], &whole[..20], &whole[..whole.len() - 1], &none, &two, &looped] {
        let bytes = reply(&responder, packet, "127.0.0.1", Transport::Udp).expect("an answer");
        let answer = read(&bytes);
        assert_eq!(answer.metadata.response_code, ResponseCode::FormErr, "{packet:?}");
        assert_eq!((answer.metadata.id, bytes.len()), (0x1234, 12));
        assert!(answer.metadata.recursion_desired);
    }
    assert_eq!(counted(&responder).answers, [0, 6, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn no_packet_whatever_ends_in_a_panic() {
    let responder = responder_with(HTTPD, &[], 0);
    let mut with_edns = httpd();
    with_edns.set_edns(Edns::new());
    let whole = with_edns.to_vec().expect("a packet");
    for (at, to) in (0..whole.len()).flat_map(|at| (0..=255).map(move |to| (at, to))) {
        let mut packet = whole.clone();
        packet[at] = to;
        let mut bytes = Vec::new();
        let source = IpAddr::from([127, 0, 0, 1]);
        responder.respond(&packet, source, Transport::Udp, &mut bytes);
        responder.respond(&packet[..at], source, Transport::Tcp, &mut bytes);
    }
}

#[test]
fn other_operations_are_not_implemented() {
    for operation in [OpCode::Status, OpCode::Notify, OpCode::Update] {
        let mut asked = httpd();
        asked.metadata.op_code = operation;
        asked.set_edns(Edns::new());
        let answer = answered(&responder_with(HTTPD, &[], 0), &asked, Transport::Udp);
        assert_eq!(answer.metadata.response_code, ResponseCode::NotImp, "{operation}");
        assert_eq!(answer.metadata.op_code, operation);
        assert!(answer.metadata.recursion_desired && answer.edns.is_some());
        assert_eq!(answer.queries, asked.queries);
    }
}

#[test]
fn other_classes_transfers_and_other_domains_are_refused() {
    let mut chaos = httpd();
    chaos.queries[0].query_class = DNSClass::CH;
    assert_eq!(code(&chaos), ResponseCode::Refused);
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(code(&question(name("skydns.local."), kind)), ResponseCode::Refused);
    }
    for text in ["example.org.", "xskydns.local.", ".", "9.0.0.10.in-addr.arpa."] {
        assert_eq!(code(&question(name(text), RecordType::PTR)), ResponseCode::Refused, "{text}");
    }
}

#[test]
fn a_published_address_has_a_name_and_nothing_else() {
    let reverse = name("1.0.0.10.in-addr.arpa.");
    assert_eq!(code(&question(reverse.clone(), RecordType::PTR)), ResponseCode::NoError);
    assert_eq!(code(&question(reverse, RecordType::A)), ResponseCode::Refused);
    let other = name("01.0.0.10.in-addr.arpa.");
    assert_eq!(code(&question(other, RecordType::PTR)), ResponseCode::Refused);
    assert_eq!(
        code(&question(name("0.0.10.in-addr.arpa."), RecordType::PTR)),
        ResponseCode::Refused
    );
}

#[test]
fn edns_is_answered_with_edns_and_an_unknown_version_with_badvers() {
    let responder = responder_with(HTTPD, &[], 0);
    let mut asked = httpd();
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    asked.set_edns(edns.clone());
    let answer = answered(&responder, &asked, Transport::Udp);
    let said = answer.edns.expect("EDNS in the answer");
    assert_eq!((said.version(), said.max_payload(), said.flags().dnssec_ok), (0, 1232, true));
    assert_eq!(answer.answers.len(), 1);

    edns.set_version(1);
    asked.set_edns(edns);
    let answer = answered(&responder, &asked, Transport::Udp);
    // Its code is the number of two: of a signature's failure, too.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.map(|edns| edns.version()), Some(0));
    assert!(answer.answers.is_empty());
    assert_eq!(counted(&responder).answers[6], 1);
}

/// A hundred addresses under one name.
fn hundred() -> Responder {
    let records = (0..100).map(|i| (format!("many/{i}"), format!(r#"{{"host":"10.0.1.{i}"}}"#)));
    let records = records.collect::<Vec<_>>();
    let records = records.iter().map(|(path, value)| (path.as_str(), value.as_str()));
    responder_with(&records.collect::<Vec<_>>(), &[], 0)
}

#[test]
fn an_answer_that_is_too_large_for_udp_is_cut_and_says_so() {
    let many = question(name("many"), RecordType::A);
    let length = |answer: &Message| answer.to_vec().expect("a packet").len();

    let plain = answered(&hundred(), &many, Transport::Udp);
    assert!(plain.metadata.truncation);
    assert!((480..=512).contains(&length(&plain)), "{}", length(&plain));

    for (asked_size, most) in [(0, 512), (600, 600), (4096, 1232)] {
        let mut asked = many.clone();
        let mut edns = Edns::new();
        edns.set_max_payload(asked_size);
        asked.set_edns(edns);
        let answer = answered(&hundred(), &asked, Transport::Udp);
        assert!(answer.metadata.truncation && answer.edns.is_some(), "{asked_size}");
        assert!((most - 32..=most).contains(&length(&answer)), "{asked_size}: {}", length(&answer));
    }
    let whole = answered(&hundred(), &many, Transport::Tcp);
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 100);
}

#[test]
fn each_question_begins_its_answer_with_another_record() {
    let responder = hundred();
    let many = question(name("many"), RecordType::A);
    let first = || answered(&responder, &many, Transport::Tcp).answers[0].data.to_string();
    let firsts = (0..100).map(|_| first()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(firsts.len(), 100);
}

#[test]
fn round_robin_turns_for_who_asks_for_both_kinds_of_addresses_and_other_names_between() {
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
        let answer = answered(&responder, &question(name(text), kind), Transport::Udp);
        answer.answers.first().map(|record| record.data.to_string())
    };
    let asked = [("web", RecordType::A), ("web", RecordType::AAAA), ("four", RecordType::A)];
    let round = || asked.map(|(text, kind)| first(text, kind));
    let rounds = [round(), round()];
    assert!((0..3).all(|at| rounds[0][at] != rounds[1][at]), "{rounds:?}");
    first("four", RecordType::AAAA);
    assert_eq!(first("four", RecordType::A), rounds[0][2]);
}

#[test]
fn an_alias_stays_in_front_of_what_it_leads_to() {
    let records = [
        ("www", r#"{"host":"web.skydns.local"}"#),
        ("web/a", r#"{"host":"10.0.0.1"}"#),
        ("web/b", r#"{"host":"10.0.0.2"}"#),
    ];
    let responder = responder_with(&records, &[], 0);
    for _ in 0..4 {
        let asked = question(name("www"), RecordType::A);
        let answer = answered(&responder, &asked, Transport::Udp);
        let kinds = answer.answers.iter().map(hickory_proto::rr::Record::record_type);
        let expected = [RecordType::CNAME, RecordType::A, RecordType::A];
        assert_eq!(kinds.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn over_the_limit_a_stranger_gets_empty_truncated_answers_and_none() {
    let responder = responder_with(HTTPD, &[], 3);
    let packet = httpd().to_vec().expect("a packet");
    let ask = |source, transport| reply(&responder, &packet, source, transport);
    // At worst two seconds are met, each with its three whole answers.
    let answers = (0..20).map(|_| ask("192.0.2.7", Transport::Udp)).collect::<Vec<_>>();
    let whole = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().is_some_and(|bytes| !read(bytes).metadata.truncation)
    };
    assert!((3..=6).contains(&answers.iter().filter(|answer| whole(answer)).count()));
    let empty = answers.iter().filter(|it| !whole(it)).flatten().collect::<Vec<_>>();
    assert!((6..=9).contains(&empty.len()), "{}", empty.len());
    for bytes in empty {
        let answer = read(bytes);
        assert!(answer.answers.is_empty() && answer.queries.len() == 1);
        assert!(bytes.len() <= packet.len());
    }
    assert!(whole(&ask("192.0.2.7", Transport::Tcp)));
    assert!((0..20).all(|_| whole(&ask("127.0.0.1", Transport::Udp))));
    assert!(counted(&responder).limited >= 14);
}

#[test]
fn only_the_neighbourhood_has_its_questions_forwarded() {
    let responder = responder_with(HTTPD, &["127.0.0.1:9"], 0);
    let packet = question(name("example.org."), RecordType::A).to_vec().expect("a packet");
    let asks = |source: &str| {
        let source = source.parse().expect("an address");
        let reply = responder.respond(&packet, source, Transport::Udp, &mut Vec::new());
        matches!(reply, Reply::Ask(_))
    };
    assert!(asks("127.0.0.1") && asks("10.0.0.9") && asks("fd00::9"));
    assert!(!asks("192.0.2.7") && !asks("2001:db8::7"));
    assert_eq!(counted(&responder).answers[5], 2);
}
