//! Servers of `dns.forward` that are dead, and such that ask back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use highhock::dns::DnsServer;
use slog::{Drain, Logger, OwnedKVList, Record};
use tokio::time::Instant;

use crate::query::{self, ask_udp, free_address, question, server_with, zone};
use crate::upstream::{Manner, Upstream};

/// What one server is given before the next is asked.
const ONE_SERVER: Duration = Duration::from_secs(2);

fn forwarding(records: &[(&str, &str)], servers: &[SocketAddr]) -> DnsServer {
    server_with(|settings| settings.forward = servers.to_vec(), zone(records))
}

fn ask(server: &DnsServer, name: &str) -> (Message, Duration) {
    let begun = Instant::now();
    let answer = ask_udp(server.addresses()[0], &question(name, RecordType::A));
    (answer, begun.elapsed())
}

/// The messages of a log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn about_servers(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains("a server of dns.forward")).cloned().collect()
    }
}

impl Drain for Lines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
        self.0.lock().unwrap().push(format!("{} {}", record.level(), record.msg()));
        Ok(())
    }
}

#[test]
fn a_server_that_says_nothing_is_waited_for_once() {
    let dead = Upstream::start(Manner::Silent);
    let other = Upstream::start(Manner::Addresses(1));
    let lines = Lines::default();
    let settings = query::settings(|it| it.forward = vec![dead.address, other.address]);
    let log = Logger::root(lines.clone(), slog::o!());
    let server = DnsServer::start(settings, zone(&[]), &log).unwrap();
    assert_eq!(ask(&server, "a.example.org.").0.answers.len(), 1);
    let asked = dead.asked();
    assert!(asked > 0);
    for name in ["b.example.org.", "c.example.org."] {
        let (answer, took) = ask(&server, name);
        assert_eq!(answer.answers.len(), 1);
        assert!(took < ONE_SERVER, "{took:?}");
    }
    assert_eq!(dead.asked(), asked);
    assert_eq!(server.counts().read().forward_failures, 1);
    let said = lines.about_servers();
    let expected = "WARN a server of dns.forward does not answer; it is asked last until it does";
    assert_eq!(said, [expected]);
}

#[test]
fn a_server_that_is_gone_and_comes_back_is_told_of_once_each() {
    let gone = free_address();
    let lines = Lines::default();
    let settings = query::settings(|it| it.forward = vec![gone]);
    let log = Logger::root(lines.clone(), slog::o!());
    let server = DnsServer::start(settings, zone(&[]), &log).unwrap();
    for name in ["a.example.org.", "b.example.org."] {
        assert_eq!(ask(&server, name).0.metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(server.counts().read().forward_failures, 2);
    let _other = server_with(|settings| settings.listen = vec![gone], zone(&[]));
    assert_eq!(ask(&server, "c.skydns.local.").0.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(ask(&server, "c.example.org.").0.metadata.response_code, ResponseCode::ServFail);
    let said = lines.about_servers();
    let expected = [
        "WARN a server of dns.forward does not answer; it is asked last until it does",
        "INFO a server of dns.forward answers again",
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_is_known_here_does_not_wait_for_what_others_know() {
    let dead = Upstream::start(Manner::Silent);
    let records = [("db", r#"{"host":"db.example.org"}"#)];
    let server = forwarding(&records, &[dead.address]);
    let (answer, took) = ask(&server, "db.skydns.local.");
    assert_eq!(answer.answers.len(), 1);
    assert!(took < ONE_SERVER, "{took:?}");
    assert!(dead.asked() > 0);
}

#[test]
fn servers_that_forward_to_each_other_do_not_multiply_a_question() {
    let (one, two) = (free_address(), free_address());
    let server = |listen, forward| {
        let change = |settings: &mut highhock::dns::DnsSettings| {
            (settings.listen, settings.forward) = (vec![listen], vec![forward]);
        };
        server_with(change, zone(&[]))
    };
    let servers = [server(one, two), server(two, one)];
    let (answer, _) = ask(&servers[0], "www.example.org.");
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    // Each asks again some times for want of an answer.
    let forwarded = servers.each_ref().map(|server| server.counts().read().forwarded);
    assert!(forwarded.iter().sum::<u64>() <= 20, "{forwarded:?}");
}

#[test]
fn what_many_ask_at_once_is_asked_once() {
    let dead = Upstream::start(Manner::Silent);
    let server = forwarding(&[], &[dead.address]);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| ask(&server, "www.example.org."));
        }
    });
    // Asked again some times for want of an answer.
    assert!((1..=8).contains(&dead.asked()), "{}", dead.asked());
}
