//! Sends tens of thousands of malformed packets over UDP and TCP. The standalone server must
//! answer valid queries all the time, must not panic, and must not leak memory.
//!
//! `HIGHHOCK_TEST_SEED=n` repeats a run. `HIGHHOCK_TEST_LONG=n` sets the duration in seconds. A
//! value that is not above 1 means one minute.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod malformed_cases;
mod mutate;
#[path = "../../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use hickory_proto::rr::RecordType;
use highhock::dns::{DnsServer, DnsSettings};
use highhock::zone::Zone;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;
use tokio::time::Instant;

use support::dns_wire::{DnsClient, DnsQuery, Transport, exchange_tcp};

/// The number of mutated packets in the normal run.
const UDP_PACKETS: usize = 40_000;
const TCP_CONNECTIONS: usize = 1_500;

/// The number of packets between two valid queries. The queries also keep the server's receive
/// buffer from overflowing.
const BURST: usize = 32;

/// The permitted growth of the process in bytes.
const MEMORY_GROWTH_MAX: u64 = 48 << 20;

const ADDRESS: &str = "10.0.0.1";

#[test]
fn survives_malformed_udp_packets() {
    let server = Server::start();
    let malformed_packets = malformed_cases::malformed_packets();
    // Uses a socket of its own, because responses to malformed packets may have any id.
    let sender = DnsClient::new(server.address);
    let mut client = DnsClient::new(server.address);
    for (description, packet) in &malformed_packets {
        sender.send(packet);
        server.assert_answers(&mut client, description);
    }
    let mut rng = seeded();
    server.assert_no_growth(|| {
        repeat(UDP_PACKETS / BURST, || {
            for _ in 0..BURST {
                sender.send(&mutate::malformed_packet(&malformed_packets, &mut rng));
            }
            server.assert_answers(&mut client, "mutated packets");
        });
    });
}

#[test]
fn every_response_matches_its_query() {
    let server = Server::start();
    let client = DnsClient::new(server.address);
    for (description, packet) in malformed_cases::malformed_packets() {
        let Some(answer) = client.exchange_udp(&packet, Duration::from_millis(20)) else {
            continue;
        };
        assert!(answer.len() >= 12, "{description}: {answer:02x?}");
        assert!(packet[2] & 0x80 == 0, "{description}: a response got a response");
        assert!(answer[2] & 0x80 != 0, "{description}: the response is marked as a query");
        assert_eq!(
            answer[2] & 0x78,
            packet[2] & 0x78,
            "{description}: the response has another opcode"
        );
        assert!(answer.len() <= packet.len().max(512), "{description}: {} bytes", answer.len());
    }
}

#[test]
fn survives_malformed_tcp_streams() {
    let server = Server::start();
    let malformed_packets = malformed_cases::malformed_packets();
    let mut client = DnsClient::new(server.address);
    for (description, packet) in &malformed_packets {
        let _ = exchange_tcp(server.address, packet, Duration::from_millis(20));
        server.assert_answers(&mut client, description);
    }
    let mut rng = seeded();
    server.assert_no_growth(|| {
        repeat(TCP_CONNECTIONS, || {
            send_malformed_stream(server.address, &malformed_packets, &mut rng);
            server.assert_answers(&mut client, "mutated streams");
        });
    });
}

#[test]
fn idle_connections_do_not_block_new_ones() {
    let server = Server::start();
    let mut client = DnsClient::new(server.address);
    let query = DnsQuery::new("httpd.skydns.local", RecordType::A).to_bytes(1);
    let length = u16::try_from(query.len()).unwrap().to_be_bytes();
    // The connections send nothing, half a length, a length, or a query without its last byte.
    let whole = [&length[..], &query].concat();
    let idle: Vec<_> = (0..400)
        .filter_map(|at| {
            let mut stream = TcpStream::connect(server.address).ok()?;
            stream.write_all(&whole[..[0, 1, 2, whole.len() - 1][at % 4]]).ok()?;
            Some(stream)
        })
        .collect();
    server.assert_answers(&mut client, "400 idle connections");

    // A query sent one byte at a time is slow but valid.
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.set_nodelay(true).unwrap();
    for byte in &whole {
        slow.write_all(&[*byte]).unwrap();
        server.assert_answers(&mut client, "a slow query");
    }
    slow.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = [0; 4];
    slow.read_exact(&mut answer).expect("a response to the slow query");
    assert_eq!(answer[2..], query[..2]);
    drop(idle);
}

#[test]
fn answers_many_queries_in_one_connection() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for id in 0..200_u16 {
        let query = DnsQuery::new("httpd.skydns.local", RecordType::A).to_bytes(id);
        let length = u16::try_from(query.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &query].concat()).unwrap();
    }
    let mut seen = [false; 200];
    for _ in 0..200 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer).unwrap();
        seen[usize::from(u16::from_be_bytes([answer[0], answer[1]]))] = true;
    }
    assert!(seen.into_iter().all(|seen| seen));
}

/// A server with some records. Tests run one at a time, because they measure the memory of the
/// process.
struct Server {
    address: SocketAddr,
    _server: DnsServer,
    _alone: MutexGuard<'static, ()>,
}

impl Server {
    fn start() -> Self {
        static SERIALIZE: Mutex<()> = Mutex::new(());
        let alone = SERIALIZE.lock().unwrap_or_else(PoisonError::into_inner);
        count_panics();
        let zone = Zone::new();
        let put = |path: &str, host: &str| {
            let key = RecordKey::from_path(&format!("skydns/local/skydns/{path}"));
            zone.put(&key, &format!(r#"{{"host":"{host}","port":80,"ttl":60}}"#), None).unwrap();
        };
        put("httpd", ADDRESS);
        put("alias", "httpd.skydns.local");
        (0..100).for_each(|at| put(&format!("many/host-{at}"), &format!("10.1.0.{at}")));
        zone.mark_complete();
        let settings = DnsSettings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            forward: Vec::new(),
            domain: DomainName::parse("skydns.local").unwrap(),
            prefix: "skydns".to_owned(),
            rate_limit: 0,
        };
        let log = slog::Logger::root(slog::Discard, slog::o!());
        let server = DnsServer::start(settings, zone, &log).unwrap();
        Self { address: server.addresses()[0], _server: server, _alone: alone }
    }

    /// Checks that a valid query gets the right response, and that no thread panicked.
    #[track_caller]
    fn assert_answers(&self, client: &mut DnsClient, after: &str) {
        let response = client.try_query(&DnsQuery::new("httpd.skydns.local", RecordType::A));
        let response = response.unwrap_or_else(|error| panic!("after {after}: {error}"));
        assert_eq!(response.data("A"), [ADDRESS], "after {after}: {response:?}");
        assert_eq!(count_panics(), 0, "after {after}");
    }

    /// Runs `work` once to warm up, and once to measure the growth of memory.
    #[track_caller]
    fn assert_no_growth(&self, mut work: impl FnMut()) {
        work();
        let before = memory();
        work();
        let after = memory();
        let mib = |bytes: u64| bytes >> 20;
        println!("memory before and after: {} and {} MiB", mib(before), mib(after));
        assert!(after < before + MEMORY_GROWTH_MAX, "from {} to {} MiB", mib(before), mib(after));
        // TCP must work afterwards too.
        let query = DnsQuery {
            transport: Transport::Tcp,
            ..DnsQuery::new("httpd.skydns.local", RecordType::A)
        };
        assert_eq!(DnsClient::new(self.address).query(&query).data("A"), [ADDRESS]);
    }
}

/// Returns the resident memory of this process in bytes.
fn memory() -> u64 {
    let stat = procfs::process::Process::myself().unwrap().statm().unwrap();
    stat.resident * procfs::page_size()
}

/// Returns the number of panics in the server's threads since the first call.
fn count_panics() -> usize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let default_hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            if thread.name().is_some_and(|name| name.starts_with("dns")) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            default_hook(panic);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}

fn seeded() -> Rng {
    let seed = std::env::var("HIGHHOCK_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| Rng::new().u64(..1_000_000_000));
    println!("HIGHHOCK_TEST_SEED={seed}");
    Rng::with_seed(seed)
}

/// Calls `step` half of the normal number of times, because the caller runs twice. In the long
/// run, calls it until half of the time has passed.
fn repeat(times: usize, mut step: impl FnMut()) {
    let Ok(long) = std::env::var("HIGHHOCK_TEST_LONG") else {
        (0..times / 2).for_each(|_| step());
        return;
    };
    let seconds = long.parse().ok().filter(|seconds| *seconds > 1).unwrap_or(60);
    let end = Instant::now() + Duration::from_secs(seconds) / 2;
    let mut count = 0_u64;
    while Instant::now() < end {
        step();
        count += 1;
    }
    println!("{count} steps in half of {seconds} s");
}

/// Sends packets over one connection, with wrong lengths and cut at any byte.
fn send_malformed_stream(server: SocketAddr, malformed_packets: &[(&str, Vec<u8>)], rng: &mut Rng) {
    let Ok(mut stream) = TcpStream::connect(server) else { return };
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..12) {
        let packet = if rng.bool() {
            mutate::malformed_packet(malformed_packets, rng)
        } else {
            mutate::random_query(rng).to_bytes(rng.u16(..))
        };
        let length = match rng.u8(..8) {
            0 => rng.u16(..),
            1 => 0,
            2 => u16::MAX,
            _ => packet.len() as u16,
        };
        bytes.extend(length.to_be_bytes());
        bytes.extend(packet);
    }
    bytes.truncate(rng.usize(..=bytes.len()));
    // The server may have closed the connection already.
    let _ = stream.write_all(&bytes);
    if rng.bool() {
        let _ = stream.shutdown(Shutdown::Write);
    }
    if rng.bool() {
        let _ = stream.set_read_timeout(Some(Duration::from_millis(2)));
        let _ = stream.read(&mut [0; 4096]);
    }
}
