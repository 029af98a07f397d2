//! Upstreams that are dead, and upstreams that forward back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use highhock::dns::DnsServer;
use slog::{Drain, Logger, OwnedKVList, Record};
use tokio::time::Instant;

use crate::query::{self, free_address, query_message, query_udp, server_with, zone};
use crate::upstream::{Behaviour, Upstream};

/// The time limit of one upstream.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

fn forwarding(records: &[(&str, &str)], servers: &[SocketAddr]) -> DnsServer {
    server_with(|settings| settings.forward = servers.to_vec(), zone(records))
}

fn timed_query(server: &DnsServer, name: &str) -> (Message, Duration) {
    let begun = Instant::now();
    let answer = query_udp(server.addresses()[0], &query_message(name, RecordType::A));
    (answer, begun.elapsed())
}

/// Records the messages of a log.
#[derive(Clone, Default)]
struct LogLines(Arc<Mutex<Vec<String>>>);

impl LogLines {
    fn upstream_lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains("upstream")).cloned().collect()
    }
}

impl Drain for LogLines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
        self.0.lock().unwrap().push(format!("{} {}", record.level(), record.msg()));
        Ok(())
    }
}

#[test]
fn silent_upstream_is_waited_for_once() {
    let dead = Upstream::start(Behaviour::Silent);
    let other = Upstream::start(Behaviour::Addresses(1));
    let lines = LogLines::default();
    let settings = query::settings(|settings| settings.forward = vec![dead.address, other.address]);
    let log = Logger::root(lines.clone(), slog::o!());
    let server = DnsServer::start(settings, zone(&[]), &log).unwrap();
    assert_eq!(timed_query(&server, "a.example.org.").0.answers.len(), 1);
    let queries = dead.query_count();
    assert!(queries > 0);
    for name in ["b.example.org.", "c.example.org."] {
        let (answer, took) = timed_query(&server, name);
        assert_eq!(answer.answers.len(), 1);
        assert!(took < UPSTREAM_TIMEOUT, "{took:?}");
    }
    assert_eq!(dead.query_count(), queries);
    assert_eq!(server.stats().read().forward_failures, 1);
    let logged = lines.upstream_lines();
    let expected = "WARN upstream does not respond; using it last until it responds";
    assert_eq!(logged, [expected]);
}

#[test]
fn upstream_outage_and_recovery_are_logged_once() {
    let gone = free_address();
    let lines = LogLines::default();
    let settings = query::settings(|settings| settings.forward = vec![gone]);
    let log = Logger::root(lines.clone(), slog::o!());
    let server = DnsServer::start(settings, zone(&[]), &log).unwrap();
    for name in ["a.example.org.", "b.example.org."] {
        assert_eq!(timed_query(&server, name).0.metadata.response_code, ResponseCode::ServFail);
    }
    assert_eq!(server.stats().read().forward_failures, 2);
    let _other = server_with(|settings| settings.listen = vec![gone], zone(&[]));
    assert_eq!(
        timed_query(&server, "c.skydns.local.").0.metadata.response_code,
        ResponseCode::NXDomain
    );
    assert_eq!(
        timed_query(&server, "c.example.org.").0.metadata.response_code,
        ResponseCode::ServFail
    );
    let logged = lines.upstream_lines();
    let expected = [
        "WARN upstream does not respond; using it last until it responds",
        "INFO upstream responds again",
    ];
    assert_eq!(logged, expected);
}

#[test]
fn local_answers_do_not_wait_for_upstreams() {
    let dead = Upstream::start(Behaviour::Silent);
    let records = [("db", r#"{"host":"db.example.org"}"#)];
    let server = forwarding(&records, &[dead.address]);
    let (answer, took) = timed_query(&server, "db.skydns.local.");
    assert_eq!(answer.answers.len(), 1);
    assert!(took < UPSTREAM_TIMEOUT, "{took:?}");
    assert!(dead.query_count() > 0);
}

#[test]
fn forwarding_loop_does_not_multiply_queries() {
    let (one, two) = (free_address(), free_address());
    let server = |listen, forward| {
        let change = |settings: &mut highhock::dns::DnsSettings| {
            (settings.listen, settings.forward) = (vec![listen], vec![forward]);
        };
        server_with(change, zone(&[]))
    };
    let servers = [server(one, two), server(two, one)];
    let (answer, _) = timed_query(&servers[0], "www.example.org.");
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    // Each server retries some times without a response.
    let forwarded = servers.each_ref().map(|server| server.stats().read().forwarded);
    assert!(forwarded.iter().sum::<u64>() <= 20, "{forwarded:?}");
}

#[test]
fn identical_concurrent_queries_are_forwarded_once() {
    let dead = Upstream::start(Behaviour::Silent);
    let server = forwarding(&[], &[dead.address]);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| timed_query(&server, "www.example.org."));
        }
    });
    // The forwarder retries some times without a response.
    assert!((1..=8).contains(&dead.query_count()), "{}", dead.query_count());
}
