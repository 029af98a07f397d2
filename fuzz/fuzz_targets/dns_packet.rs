//! Sends arbitrary bytes to the standalone DNS server. It must not panic, must not answer a
//! response, and must not exceed the maximum length of a response.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use highhock::dns::PacketResponder;
use highhock::zone::Zone;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;
use libfuzzer_sys::fuzz_target;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Records of every kind, below `skydns.local`.
const RECORDS: [(&str, &str); 8] = [
    ("httpd", r#"{"host":"10.0.0.1","port":80,"ttl":60}"#),
    ("six", r#"{"host":"fd00::1","port":80,"ttl":60}"#),
    ("alias", r#"{"host":"httpd.skydns.local","port":80}"#),
    ("away", r#"{"host":"www.example.com","port":80}"#),
    ("round", r#"{"host":"about.skydns.local","port":80}"#),
    ("about", r#"{"host":"round.skydns.local","port":80}"#),
    ("text", r#"{"host":"here.skydns.local","text":"a text"}"#),
    ("dns/ns", r#"{"host":"10.0.0.53"}"#),
];

static RESPONDER: LazyLock<PacketResponder> = LazyLock::new(|| {
    let zone = Zone::new();
    let put = |path: &str, value: &str| {
        let key = RecordKey::from_path(&format!("skydns/local/skydns/{path}"));
        zone.put(&key, value, None).expect("valid record");
    };
    RECORDS.into_iter().for_each(|(path, value)| put(path, value));
    for at in 0..200 {
        put(&format!("many/{at}"), &format!(r#"{{"host":"10.1.0.{at}","port":{}}}"#, 1000 + at));
    }
    zone.mark_complete();
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let domain = DomainName::parse("skydns.local").expect("valid domain");
    PacketResponder::new(domain, "skydns", zone, &log).expect("short domain")
});

fuzz_target!(|packet: &[u8]| {
    if let Some(response) = RESPONDER.respond_udp(packet, SOURCE) {
        assert!(packet[2] & 0x80 == 0, "a response got a response");
        assert!(response[..2] == packet[..2] && response[2] & 0x80 != 0, "a query got no response");
        assert!(response.len() <= 1232, "{} bytes", response.len());
    }
    let _ = RESPONDER.respond_tcp(packet, SOURCE);
});
