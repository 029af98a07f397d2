use super::*;
use crate::dns::test_zone::{incomplete_names, name, names};

/// Formats each record as `owner ttl type data`, in order.
fn lines(records: &[Record]) -> Vec<String> {
    let line = |record: &Record| {
        let kind = record.record_type();
        format!("{} {} {kind} {}", record.name, record.ttl, record.data)
    };
    records.iter().map(line).collect()
}

fn respond(records: &[(&str, &str)], text: &str, kind: RecordType) -> Response {
    build_response(&names(records), &name(text), kind)
}

fn is_soa(records: &[Record]) -> bool {
    matches!(records, [record] if record.record_type() == RecordType::SOA)
}

const TWO: &[(&str, &str)] = &[
    ("httpd/a", r#"{"host":"10.0.0.1","port":80}"#),
    ("httpd/b", r#"{"host":"10.0.0.2","port":81}"#),
];

#[test]
fn each_address_appears_once() {
    let records = [
        ("httpd/a", r#"{"host":"10.0.0.1","port":80,"ttl":60}"#),
        ("httpd/b", r#"{"host":"10.0.0.1","port":81,"ttl":70}"#),
        ("httpd/c", r#"{"host":"fd00::1","port":81}"#),
    ];
    let response = respond(&records, "httpd", RecordType::A);
    assert_eq!(lines(&response.answers), ["httpd.skydns.local. 60 A 10.0.0.1"]);
    let response = respond(&records, "httpd", RecordType::AAAA);
    assert_eq!(lines(&response.answers), ["httpd.skydns.local. 300 AAAA fd00::1"]);
}

#[test]
fn records_of_one_name_and_type_have_the_least_ttl() {
    let records = [
        ("httpd/a", r#"{"host":"10.0.0.1","port":80,"ttl":60}"#),
        ("httpd/b", r#"{"host":"10.0.0.2","port":81,"ttl":20}"#),
        ("httpd/c", r#"{"host":"fd00::1","port":81,"ttl":90}"#),
        ("www/a", r#"{"host":"httpd.skydns.local","ttl":40}"#),
        ("www/b", r#"{"host":"httpd.skydns.local","ttl":10}"#),
    ];
    let response = respond(&records, "httpd", RecordType::A);
    let ttls = |records: &[Record]| records.iter().map(|record| record.ttl).collect::<Vec<_>>();
    assert_eq!(ttls(&response.answers), [20, 20]);
    let response = respond(&records, "httpd", RecordType::AAAA);
    assert_eq!(ttls(&response.answers), [90]);
    let response = respond(&records, "httpd", RecordType::SRV);
    assert_eq!(ttls(&response.answers), [20, 20, 20]);
    // The targets are different names.
    assert_eq!(ttls(&response.additionals), [60, 20, 90]);
    let response = respond(&records, "www", RecordType::A);
    assert_eq!(ttls(&response.answers), [10, 20, 20]);
    let published_twice =
        [("a", r#"{"host":"10.0.0.1","ttl":60}"#), ("b", r#"{"host":"10.0.0.1","ttl":20}"#)];
    let (reverse, address) = (name("1.0.0.10.in-addr.arpa."), IpAddr::from([10, 0, 0, 1]));
    let response = reverse_response(&names(&published_twice), &reverse, address).expect("names");
    assert_eq!(ttls(&response.answers), [20, 20]);
}

#[test]
fn responses_keep_the_case_of_the_query() {
    let response = respond(TWO, "HttPD.SkyDNS.local.", RecordType::A);
    assert_eq!(response.answers.len(), 2);
    assert!(response.answers.iter().all(|it| it.name.to_ascii() == "HttPD.SkyDNS.local."));
}

#[test]
fn srv_records_name_instances_with_addresses() {
    let response = respond(TWO, "httpd", RecordType::SRV);
    assert_eq!(
        lines(&response.answers),
        [
            "httpd.skydns.local. 300 SRV 10 50 80 a.httpd.skydns.local.",
            "httpd.skydns.local. 300 SRV 10 50 81 b.httpd.skydns.local.",
        ],
    );
    assert_eq!(
        lines(&response.additionals),
        ["a.httpd.skydns.local. 300 A 10.0.0.1", "b.httpd.skydns.local. 300 A 10.0.0.2"],
    );
}

#[test]
fn weights_are_shares_within_a_priority() {
    let records = [
        ("s/a", r#"{"host":"10.0.0.1","port":1,"priority":20,"weight":10}"#),
        ("s/b", r#"{"host":"10.0.0.2","port":1,"priority":20,"weight":30}"#),
        ("s/c", r#"{"host":"10.0.0.3","port":1}"#),
        ("s/d", r#"{"host":"10.0.0.4","port":1,"priority":20,"weight":10000}"#),
        ("s/e", r#"{"host":"10.0.0.5","port":1,"weight":50}"#),
    ];
    let response = respond(&records, "s", RecordType::SRV);
    let weights = response.answers.iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some((srv.priority, srv.weight)),
        _ => None,
    });
    // The minimum share is 1, the default weight is 100, and the default priority is 10.
    let expected = [(20, 1), (20, 1), (10, 66), (20, 99), (10, 33)];
    assert_eq!(weights.collect::<Vec<_>>(), expected);
}

#[test]
fn stripped_targets_are_shared() {
    let records = [
        ("s/a", r#"{"host":"10.0.0.1","port":80,"targetstrip":1}"#),
        ("s/b", r#"{"host":"10.0.0.2","port":80,"targetstrip":1}"#),
    ];
    let response = respond(&records, "s", RecordType::SRV);
    assert_eq!(lines(&response.answers), ["s.skydns.local. 300 SRV 10 50 80 s.skydns.local."]);
    assert_eq!(
        lines(&response.additionals),
        ["s.skydns.local. 300 A 10.0.0.1", "s.skydns.local. 300 A 10.0.0.2"],
    );
}

#[test]
fn follows_aliases_within_the_domain() {
    let records = [
        ("www", r#"{"host":"web.skydns.local","ttl":20}"#),
        ("web", r#"{"host":"httpd.skydns.local.","ttl":30}"#),
        ("httpd/a", r#"{"host":"10.0.0.1"}"#),
    ];
    let response = respond(&records, "www", RecordType::A);
    assert_eq!(
        lines(&response.answers),
        [
            "www.skydns.local. 20 CNAME web.skydns.local.",
            "web.skydns.local. 30 CNAME httpd.skydns.local.",
            "httpd.skydns.local. 300 A 10.0.0.1",
        ],
    );
    let response = respond(&records, "www", RecordType::CNAME);
    assert_eq!(lines(&response.answers), ["www.skydns.local. 20 CNAME web.skydns.local."]);
    let response = respond(&records, "www", RecordType::SRV);
    assert_eq!(
        lines(&response.additionals),
        ["web.skydns.local. 30 CNAME httpd.skydns.local.", "httpd.skydns.local. 300 A 10.0.0.1"],
    );
}

#[test]
fn dangling_and_circular_aliases_are_no_data() {
    let records = [
        ("lost", r#"{"host":"nowhere.skydns.local"}"#),
        ("self", r#"{"host":"self.skydns.local"}"#),
        ("a", r#"{"host":"b.skydns.local"}"#),
        ("b", r#"{"host":"a.skydns.local"}"#),
    ];
    for text in ["lost", "self", "a"] {
        let response = respond(&records, text, RecordType::A);
        assert_eq!(response.code, ResponseCode::NoError, "{text}");
        assert!(response.answers.is_empty() && is_soa(&response.authorities), "{text}");
    }
}

#[test]
fn limits_the_number_of_followed_aliases() {
    let paths = (0..400).map(|i| format!("{}/{i}", i % 20)).collect::<Vec<_>>();
    let values = (0..400).map(|i| format!(r#"{{"host":"{}.skydns.local"}}"#, i / 20));
    let values = values.collect::<Vec<_>>();
    let records = paths.iter().zip(&values).map(|(path, value)| (path.as_str(), value.as_str()));
    let response = respond(&records.collect::<Vec<_>>(), "0", RecordType::A);
    assert!(response.answers.is_empty());
}

#[test]
fn external_aliases_are_left_to_the_forwarder() {
    let records = [
        ("db/a", r#"{"host":"db.example.org","port":5432}"#),
        ("db/b", r#"{"host":"db.example.org","port":5433}"#),
    ];
    let response = respond(&records, "db", RecordType::A);
    assert_eq!(lines(&response.answers), ["db.skydns.local. 300 CNAME db.example.org."]);
    let external = |kind, section| ExternalName { name: name("db.example.org."), kind, section };
    assert_eq!(response.external_names, [external(RecordType::A, Section::Answer)]);

    let response = respond(&records, "db", RecordType::SRV);
    assert_eq!(response.answers.len(), 2);
    let additional =
        [RecordType::A, RecordType::AAAA].map(|kind| external(kind, Section::Additional));
    assert_eq!(response.external_names, additional);
}

#[test]
fn txt_records_come_from_records_without_address() {
    let records = [
        ("t/a", r#"{"text":"one"}"#),
        ("t/b", r#"{"text":"one"}"#),
        ("t/c", r#"{"host":"10.0.0.1","text":"of an address"}"#),
    ];
    let response = respond(&records, "t", RecordType::TXT);
    assert_eq!(lines(&response.answers), ["t.skydns.local. 300 TXT one"]);
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(300));
    let response = respond(&[("t", &long)], "t", RecordType::TXT);
    let Some(RData::TXT(text)) = response.answers.first().map(|record| &record.data) else {
        panic!("text without an alias: {response:?}");
    };
    assert_eq!(text.txt_data.iter().map(|string| string.len()).collect::<Vec<_>>(), [255, 45]);
}

#[test]
fn distinguishes_no_data_from_no_such_name() {
    for kind in [RecordType::AAAA, RecordType::TXT, RecordType::CNAME, RecordType::MX] {
        let response = respond(TWO, "httpd", kind);
        assert_eq!((response.code, response.answers.len()), (ResponseCode::NoError, 0), "{kind}");
        assert!(is_soa(&response.authorities), "{kind}");

        let response = respond(TWO, "nginx", kind);
        assert_eq!((response.code, response.answers.len()), (ResponseCode::NXDomain, 0), "{kind}");
        assert!(is_soa(&response.authorities), "{kind}");
    }
}

#[test]
fn negative_responses_have_a_ttl_of_30_seconds() {
    let response = respond(TWO, "nginx", RecordType::A);
    let [authority] = response.authorities.as_slice() else {
        panic!("no SOA record: {response:?}")
    };
    let RData::SOA(soa) = &authority.data else { panic!("no SOA record: {response:?}") };
    assert_eq!((authority.ttl, soa.minimum), (30, 30));
    assert_eq!(authority.name, name("skydns.local."));
    assert_eq!((&soa.mname, &soa.rname), (&name("ns.dns"), &name("hostmaster")));
}

#[test]
fn the_apex_exists_without_records() {
    for kind in [RecordType::A, RecordType::NS, RecordType::SRV, RecordType::MX] {
        let response = respond(&[], "skydns.local.", kind);
        assert_eq!((response.code, response.answers.len()), (ResponseCode::NoError, 0), "{kind}");
    }
    assert!(is_soa(&respond(&[], "skydns.local.", RecordType::SOA).answers));
}

#[test]
fn apex_addresses_come_from_apex_dns() {
    let response = respond(TWO, "skydns.local.", RecordType::A);
    assert_eq!(response.answers.len(), 2);
    let records = [TWO, &[("dns/apex", r#"{"host":"10.9.9.9"}"#)]].concat();
    let response = respond(&records, "skydns.local.", RecordType::A);
    assert_eq!(lines(&response.answers), ["skydns.local. 300 A 10.9.9.9"]);
}

#[test]
fn ns_records_come_from_ns_dns() {
    let records = [
        ("dns/ns/a", r#"{"host":"10.0.0.1"}"#),
        ("dns/ns/c/1", r#"{"host":"10.0.0.2","targetstrip":1}"#),
        ("dns/ns/c/2", r#"{"host":"10.0.0.3","targetstrip":1}"#),
    ];
    let response = respond(&records, "skydns.local.", RecordType::NS);
    assert_eq!(
        lines(&response.answers),
        [
            "skydns.local. 300 NS a.ns.dns.skydns.local.",
            "skydns.local. 300 NS c.ns.dns.skydns.local.",
        ],
    );
    assert_eq!(response.additionals.len(), 3);
    let alias = [("dns/ns/a", r#"{"host":"ns.example.org"}"#)];
    let response = respond(&alias, "skydns.local.", RecordType::NS);
    assert_eq!(response.code, ResponseCode::ServFail);
    assert_eq!(respond(TWO, "httpd", RecordType::NS).code, ResponseCode::NoError);
    assert_eq!(respond(TWO, "nginx", RecordType::NS).code, ResponseCode::NXDomain);
}

#[test]
fn any_queries_get_a_hinfo_record() {
    let response = respond(TWO, "httpd", RecordType::ANY);
    assert_eq!(lines(&response.answers), ["httpd.skydns.local. 300 HINFO RFC8482 "]);
    assert_eq!(respond(TWO, "nginx", RecordType::ANY).code, ResponseCode::NXDomain);
}

#[test]
fn addresses_have_ptr_records() {
    let records = [TWO, &[("ssh/a", r#"{"host":"10.0.0.1"}"#)]].concat();
    let names = names(&records);
    let reverse = name("1.0.0.10.in-addr.arpa.");
    let found = |address: [u8; 4]| reverse_response(&names, &reverse, IpAddr::from(address));
    assert_eq!(
        lines(&found([10, 0, 0, 1]).expect("published address").answers),
        [
            "1.0.0.10.in-addr.arpa. 300 PTR a.httpd.skydns.local.",
            "1.0.0.10.in-addr.arpa. 300 PTR a.ssh.skydns.local.",
        ],
    );
    assert_eq!(found([10, 0, 0, 9]), None);
}

#[test]
fn incomplete_zone_fails_instead_of_denying() {
    let names = incomplete_names(TWO);
    let respond = |text: &str, kind| build_response(&names, &name(text), kind);
    for (text, kind) in [
        ("nosuch", RecordType::A),
        ("nosuch", RecordType::ANY),
        ("httpd", RecordType::AAAA),
        ("skydns.local.", RecordType::NS),
    ] {
        let failed = Response { code: ResponseCode::ServFail, ..Response::default() };
        assert_eq!(respond(text, kind), failed, "{text} {kind}");
    }
    assert_eq!(respond("httpd", RecordType::A).answers.len(), 2);
    assert_eq!(respond("skydns.local.", RecordType::SOA).answers.len(), 1);

    names.zone.mark_complete();
    assert_eq!(respond("nosuch", RecordType::A).code, ResponseCode::NXDomain);
    assert_eq!(respond("httpd", RecordType::AAAA).code, ResponseCode::NoError);
    assert!(is_soa(&respond("httpd", RecordType::AAAA).authorities));
}

#[test]
fn only_the_apex_has_a_soa_record() {
    assert!(is_soa(&respond(TWO, "skydns.local.", RecordType::SOA).answers));
    for (text, code) in [("nosuch", ResponseCode::NXDomain), ("httpd", ResponseCode::NoError)] {
        let response = respond(TWO, text, RecordType::SOA);
        assert_eq!((response.code, response.answers.len()), (code, 0), "{text}");
        assert!(is_soa(&response.authorities), "{text}");
    }
}

#[test]
fn addresses_take_precedence_over_aliases() {
    let records = [("httpd/a", r#"{"host":"10.0.0.1"}"#), ("db/x", r#"{"host":"db.example.org"}"#)];
    let lines = |text, kind| lines(&respond(&records, text, kind).answers);
    assert_eq!(lines("skydns.local.", RecordType::A), ["skydns.local. 300 A 10.0.0.1"]);
    // A cache that follows the alias for AAAA would follow it for A as well.
    assert!(lines("skydns.local.", RecordType::AAAA).is_empty());
    assert!(lines("skydns.local.", RecordType::TXT).is_empty());
    assert_eq!(lines("db", RecordType::A), ["db.skydns.local. 300 CNAME db.example.org."]);
}
