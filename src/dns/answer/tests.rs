use super::*;
use crate::dns::test_zone::{name, names, some_names};

/// What is answered: `owner ttl type data`, one a line, in their order.
fn lines(records: &[Record]) -> Vec<String> {
    let line = |record: &Record| {
        let kind = record.record_type();
        format!("{} {} {kind} {}", record.name, record.ttl, record.data)
    };
    records.iter().map(line).collect()
}

fn asked(records: &[(&str, &str)], text: &str, kind: RecordType) -> Answer {
    answer(&names(records), &name(text), kind)
}

fn is_soa(records: &[Record]) -> bool {
    matches!(records, [record] if record.record_type() == RecordType::SOA)
}

const TWO: &[(&str, &str)] = &[
    ("httpd/a", r#"{"host":"10.0.0.1","port":80}"#),
    ("httpd/b", r#"{"host":"10.0.0.2","port":81}"#),
];

#[test]
fn an_address_is_answered_once_however_many_publish_it() {
    let records = [
        ("httpd/a", r#"{"host":"10.0.0.1","port":80,"ttl":60}"#),
        ("httpd/b", r#"{"host":"10.0.0.1","port":81,"ttl":70}"#),
        ("httpd/c", r#"{"host":"fd00::1","port":81}"#),
    ];
    let answer = asked(&records, "httpd", RecordType::A);
    assert_eq!(lines(&answer.answers), ["httpd.skydns.local. 60 A 10.0.0.1"]);
    let answer = asked(&records, "httpd", RecordType::AAAA);
    assert_eq!(lines(&answer.answers), ["httpd.skydns.local. 300 AAAA fd00::1"]);
}

#[test]
fn the_name_is_answered_in_the_letters_that_it_was_asked_in() {
    let answer = asked(TWO, "HttPD.SkyDNS.local.", RecordType::A);
    assert_eq!(answer.answers.len(), 2);
    assert!(answer.answers.iter().all(|it| it.name.to_ascii() == "HttPD.SkyDNS.local."));
}

#[test]
fn a_service_names_its_instance_and_the_address_is_beside_it() {
    let answer = asked(TWO, "httpd", RecordType::SRV);
    assert_eq!(
        lines(&answer.answers),
        [
            "httpd.skydns.local. 300 SRV 10 50 80 a.httpd.skydns.local.",
            "httpd.skydns.local. 300 SRV 10 50 81 b.httpd.skydns.local.",
        ],
    );
    assert_eq!(
        lines(&answer.additionals),
        ["a.httpd.skydns.local. 300 A 10.0.0.1", "b.httpd.skydns.local. 300 A 10.0.0.2"],
    );
}

#[test]
fn weights_are_shares_of_those_with_the_same_priority() {
    let records = [
        ("s/a", r#"{"host":"10.0.0.1","port":1,"priority":20,"weight":10}"#),
        ("s/b", r#"{"host":"10.0.0.2","port":1,"priority":20,"weight":30}"#),
        ("s/c", r#"{"host":"10.0.0.3","port":1}"#),
        ("s/d", r#"{"host":"10.0.0.4","port":1,"priority":20,"weight":10000}"#),
        ("s/e", r#"{"host":"10.0.0.5","port":1,"weight":50}"#),
    ];
    let answer = asked(&records, "s", RecordType::SRV);
    let weights = answer.answers.iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some((srv.priority, srv.weight)),
        _ => None,
    });
    // The least is 1; no weight counts as 100, no priority as 10.
    let expected = [(20, 1), (20, 1), (10, 66), (20, 99), (10, 33)];
    assert_eq!(weights.collect::<Vec<_>>(), expected);
}

#[test]
fn a_record_that_loses_labels_shares_its_target_with_its_likes() {
    let records = [
        ("s/a", r#"{"host":"10.0.0.1","port":80,"targetstrip":1}"#),
        ("s/b", r#"{"host":"10.0.0.2","port":80,"targetstrip":1}"#),
    ];
    let answer = asked(&records, "s", RecordType::SRV);
    assert_eq!(lines(&answer.answers), ["s.skydns.local. 300 SRV 10 50 80 s.skydns.local."]);
    assert_eq!(
        lines(&answer.additionals),
        ["s.skydns.local. 300 A 10.0.0.1", "s.skydns.local. 300 A 10.0.0.2"],
    );
}

#[test]
fn an_alias_in_the_domain_is_followed_to_its_addresses() {
    let records = [
        ("www", r#"{"host":"web.skydns.local","ttl":20}"#),
        ("web", r#"{"host":"httpd.skydns.local.","ttl":30}"#),
        ("httpd/a", r#"{"host":"10.0.0.1"}"#),
    ];
    let answer = asked(&records, "www", RecordType::A);
    assert_eq!(
        lines(&answer.answers),
        [
            "www.skydns.local. 20 CNAME web.skydns.local.",
            "web.skydns.local. 30 CNAME httpd.skydns.local.",
            "httpd.skydns.local. 300 A 10.0.0.1",
        ],
    );
    let answer = asked(&records, "www", RecordType::CNAME);
    assert_eq!(lines(&answer.answers), ["www.skydns.local. 20 CNAME web.skydns.local."]);
    let answer = asked(&records, "www", RecordType::SRV);
    assert_eq!(
        lines(&answer.additionals),
        ["web.skydns.local. 30 CNAME httpd.skydns.local.", "httpd.skydns.local. 300 A 10.0.0.1"],
    );
}

#[test]
fn aliases_that_lead_to_nothing_or_in_a_circle_are_no_answer() {
    let records = [
        ("lost", r#"{"host":"nowhere.skydns.local"}"#),
        ("self", r#"{"host":"self.skydns.local"}"#),
        ("a", r#"{"host":"b.skydns.local"}"#),
        ("b", r#"{"host":"a.skydns.local"}"#),
    ];
    for text in ["lost", "self", "a"] {
        let answer = asked(&records, text, RecordType::A);
        assert_eq!(answer.code, ResponseCode::NoError, "{text}");
        assert!(answer.answers.is_empty() && is_soa(&answer.authorities), "{text}");
    }
}

#[test]
fn aliases_that_all_name_each_other_are_given_up() {
    let paths = (0..400).map(|i| format!("{}/{i}", i % 20)).collect::<Vec<_>>();
    let values = (0..400).map(|i| format!(r#"{{"host":"{}.skydns.local"}}"#, i / 20));
    let values = values.collect::<Vec<_>>();
    let records = paths.iter().zip(&values).map(|(path, value)| (path.as_str(), value.as_str()));
    let answer = asked(&records.collect::<Vec<_>>(), "0", RecordType::A);
    assert!(answer.answers.is_empty());
}

#[test]
fn an_alias_outside_the_domain_is_answered_alone_and_noted_to_be_asked_for() {
    let records = [
        ("db/a", r#"{"host":"db.example.org","port":5432}"#),
        ("db/b", r#"{"host":"db.example.org","port":5433}"#),
    ];
    let answer = asked(&records, "db", RecordType::A);
    assert_eq!(lines(&answer.answers), ["db.skydns.local. 300 CNAME db.example.org."]);
    let elsewhere = |kind, section| Elsewhere { name: name("db.example.org."), kind, section };
    assert_eq!(answer.elsewhere, [elsewhere(RecordType::A, Section::Answer)]);

    let answer = asked(&records, "db", RecordType::SRV);
    assert_eq!(answer.answers.len(), 2);
    let beside = [RecordType::A, RecordType::AAAA].map(|kind| elsewhere(kind, Section::Additional));
    assert_eq!(answer.elsewhere, beside);
}

#[test]
fn a_text_is_answered_where_there_is_no_address() {
    let records = [
        ("t/a", r#"{"text":"one"}"#),
        ("t/b", r#"{"text":"one"}"#),
        ("t/c", r#"{"host":"10.0.0.1","text":"of an address"}"#),
    ];
    let answer = asked(&records, "t", RecordType::TXT);
    assert_eq!(lines(&answer.answers), ["t.skydns.local. 300 TXT one"]);
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(300));
    let answer = asked(&[("t", &long)], "t", RecordType::TXT);
    let Some(RData::TXT(text)) = answer.answers.first().map(|record| &record.data) else {
        panic!("no text in {answer:?}");
    };
    assert_eq!(text.txt_data.iter().map(|string| string.len()).collect::<Vec<_>>(), [255, 45]);
}

#[test]
fn a_name_without_records_of_a_kind_is_told_from_one_that_is_not_there() {
    for kind in [RecordType::AAAA, RecordType::TXT, RecordType::CNAME, RecordType::MX] {
        let answer = asked(TWO, "httpd", kind);
        assert_eq!((answer.code, answer.answers.len()), (ResponseCode::NoError, 0), "{kind}");
        assert!(is_soa(&answer.authorities), "{kind}");

        let answer = asked(TWO, "nginx", kind);
        assert_eq!((answer.code, answer.answers.len()), (ResponseCode::NXDomain, 0), "{kind}");
        assert!(is_soa(&answer.authorities), "{kind}");
    }
}

#[test]
fn that_there_is_nothing_may_be_kept_for_30_seconds() {
    let answer = asked(TWO, "nginx", RecordType::A);
    let [authority] = answer.authorities.as_slice() else { panic!("no authority: {answer:?}") };
    let RData::SOA(soa) = &authority.data else { panic!("no SOA record: {answer:?}") };
    assert_eq!((authority.ttl, soa.minimum), (30, 30));
    assert_eq!(authority.name, name("skydns.local."));
    assert_eq!((&soa.mname, &soa.rname), (&name("ns.dns"), &name("hostmaster")));
}

#[test]
fn the_domains_own_name_is_there_without_any_record() {
    for kind in [RecordType::A, RecordType::NS, RecordType::SRV, RecordType::MX] {
        let answer = asked(&[], "skydns.local.", kind);
        assert_eq!((answer.code, answer.answers.len()), (ResponseCode::NoError, 0), "{kind}");
    }
    assert!(is_soa(&asked(&[], "skydns.local.", RecordType::SOA).answers));
}

#[test]
fn the_domains_own_addresses_are_those_at_apex_dns_else_all() {
    let answer = asked(TWO, "skydns.local.", RecordType::A);
    assert_eq!(answer.answers.len(), 2);
    let records = [TWO, &[("dns/apex", r#"{"host":"10.9.9.9"}"#)]].concat();
    let answer = asked(&records, "skydns.local.", RecordType::A);
    assert_eq!(lines(&answer.answers), ["skydns.local. 300 A 10.9.9.9"]);
}

#[test]
fn name_servers_are_those_at_ns_dns_with_their_addresses() {
    let records = [
        ("dns/ns/a", r#"{"host":"10.0.0.1"}"#),
        ("dns/ns/c/1", r#"{"host":"10.0.0.2","targetstrip":1}"#),
        ("dns/ns/c/2", r#"{"host":"10.0.0.3","targetstrip":1}"#),
    ];
    let answer = asked(&records, "skydns.local.", RecordType::NS);
    assert_eq!(
        lines(&answer.answers),
        [
            "skydns.local. 300 NS a.ns.dns.skydns.local.",
            "skydns.local. 300 NS c.ns.dns.skydns.local.",
        ],
    );
    assert_eq!(answer.additionals.len(), 3);
    let alias = [("dns/ns/a", r#"{"host":"ns.example.org"}"#)];
    let answer = asked(&alias, "skydns.local.", RecordType::NS);
    assert_eq!(answer.code, ResponseCode::ServFail);
    assert_eq!(asked(TWO, "httpd", RecordType::NS).code, ResponseCode::NoError);
    assert_eq!(asked(TWO, "nginx", RecordType::NS).code, ResponseCode::NXDomain);
}

#[test]
fn any_is_answered_with_next_to_nothing() {
    let answer = asked(TWO, "httpd", RecordType::ANY);
    assert_eq!(lines(&answer.answers), ["httpd.skydns.local. 300 HINFO RFC8482 "]);
    assert_eq!(asked(TWO, "nginx", RecordType::ANY).code, ResponseCode::NXDomain);
}

#[test]
fn an_address_has_the_names_that_it_is_published_under() {
    let records = [TWO, &[("ssh/a", r#"{"host":"10.0.0.1"}"#)]].concat();
    let names = names(&records);
    let reverse = name("1.0.0.10.in-addr.arpa.");
    let found = |address: [u8; 4]| names_of_address(&names, &reverse, IpAddr::from(address));
    assert_eq!(
        lines(&found([10, 0, 0, 1]).expect("a published address").answers),
        [
            "1.0.0.10.in-addr.arpa. 300 PTR a.httpd.skydns.local.",
            "1.0.0.10.in-addr.arpa. 300 PTR a.ssh.skydns.local.",
        ],
    );
    assert_eq!(found([10, 0, 0, 9]), None);
}

#[test]
fn until_all_records_are_known_what_is_not_here_may_still_come() {
    let names = some_names(TWO);
    let asked = |text: &str, kind| answer(&names, &name(text), kind);
    for (text, kind) in [
        ("nosuch", RecordType::A),
        ("nosuch", RecordType::ANY),
        ("httpd", RecordType::AAAA),
        ("skydns.local.", RecordType::NS),
    ] {
        let failed = Answer { code: ResponseCode::ServFail, ..Answer::default() };
        assert_eq!(asked(text, kind), failed, "{text} {kind}");
    }
    assert_eq!(asked("httpd", RecordType::A).answers.len(), 2);
    assert_eq!(asked("skydns.local.", RecordType::SOA).answers.len(), 1);

    names.zone.complete();
    assert_eq!(asked("nosuch", RecordType::A).code, ResponseCode::NXDomain);
    assert_eq!(asked("httpd", RecordType::AAAA).code, ResponseCode::NoError);
    assert!(is_soa(&asked("httpd", RecordType::AAAA).authorities));
}

#[test]
fn only_the_domain_itself_has_a_soa_record() {
    assert!(is_soa(&asked(TWO, "skydns.local.", RecordType::SOA).answers));
    for (text, code) in [("nosuch", ResponseCode::NXDomain), ("httpd", ResponseCode::NoError)] {
        let answer = asked(TWO, text, RecordType::SOA);
        assert_eq!((answer.code, answer.answers.len()), (code, 0), "{text}");
        assert!(is_soa(&answer.authorities), "{text}");
    }
}

#[test]
fn an_alias_is_left_out_beside_addresses_of_its_name() {
    let records = [("httpd/a", r#"{"host":"10.0.0.1"}"#), ("db/x", r#"{"host":"db.example.org"}"#)];
    let lines = |text, kind| lines(&asked(&records, text, kind).answers);
    assert_eq!(lines("skydns.local.", RecordType::A), ["skydns.local. 300 A 10.0.0.1"]);
    // A cache that got the alias for this one could follow it for that one.
    assert!(lines("skydns.local.", RecordType::AAAA).is_empty());
    assert!(lines("skydns.local.", RecordType::TXT).is_empty());
    assert_eq!(lines("db", RecordType::A), ["db.skydns.local. 300 CNAME db.example.org."]);
}
