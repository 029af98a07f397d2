//! Measures writes and keep-alives of a thousand records in etcd by v2 and v3, and the same
//! writes by a plain client that sends one request after the other over one kept-alive
//! connection. Both are measured in turns, in one run.
//!
//! Run `cargo bench --bench etcd`. The benchmark starts an etcd.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed measurement panics")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use highhock::etcd::{Cluster, EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options};
use highhock_actors::{
    KeptAlive, LeaseId, Precondition, RecordKey, RecordStore, Write, WriteOutcome,
};
use tokio::time::Instant;

use support::etcd::Etcd;

const RECORDS: usize = 1000;
const ROUNDS: usize = 9;
const KEEP_ALIVES: usize = 100;
const ROOT: &str = "skydns/local/skydns";
const VALUE: &str = r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#;
const TTL: Duration = Duration::from_secs(60);
const LEASE: LeaseId = LeaseId(77);

fn main() {
    // Cargo passes this flag only under `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: measurements run only under `cargo bench`");
        return;
    }
    // On a disk, as in production: etcd waits for the disk before it responds to a write.
    let etcd = Etcd::start_in(&std::env::temp_dir(), &["--enable-v2=true"]);
    actix_rt::System::new().block_on(measure(&etcd));
}

async fn measure(etcd: &Etcd) {
    let cluster = Cluster::new(vec![etcd.url().parse().unwrap()]);
    let root = RecordKey::from_path(ROOT);
    let options =
        EtcdV2Options { cluster: cluster.clone(), root: root.clone(), prefix: "skydns".to_owned() };
    let v2 = EtcdV2::new(options, slog::Logger::root(slog::Discard, slog::o!())).unwrap();
    let options = EtcdV3Options { cluster, root };
    let v3 = EtcdV3::new(options, slog::Logger::root(slog::Discard, slog::o!())).unwrap();
    v3.grant(LEASE, TTL * 10).await.unwrap();
    let mut plain = SequentialClient::connect(&etcd.url());

    let mut rows = ["v2 put", "v2 refresh", "v3 put", "v3 keep-alive"].map(Row::new);
    let mut keep_alives = [10, 100, RECORDS].map(|records| (records, Vec::new()));
    for round in 0..=ROUNDS {
        let highhock = [
            time_writes(&v2, (0..RECORDS).map(put_write).collect()).await,
            time_writes(&v2, (0..RECORDS).map(refresh_write).collect()).await,
        ];
        etcd.remove(ROOT);
        let sequential = [
            plain.time(SequentialClient::put_v2),
            plain.time(SequentialClient::refresh_v2),
            plain.time(SequentialClient::put_v3),
        ];
        etcd.remove(ROOT);
        etcd.v3().delete_below("/skydns/");
        let v3_put = time_writes(&v3, (0..RECORDS).map(put_write).collect()).await;
        let v3_keep_alive = time_keep_alives(&v3, 1).await;
        etcd.v3().delete_below("/skydns/");
        // The first round only warms up.
        if round > 0 {
            rows[0].add(highhock[0], sequential[0]);
            rows[1].add(highhock[1], sequential[1]);
            rows[2].add(v3_put, sequential[2]);
            // Without a shared lease, each record has its own keep-alive. A keep-alive costs
            // about as much as a refresh in v2.
            rows[3].add(v3_keep_alive, sequential[1]);
        }
        for (records, times) in &mut keep_alives {
            let puts = (0..*records).map(put_write).collect();
            time_writes(&v3, puts).await;
            times.push(time_keep_alives(&v3, KEEP_ALIVES).await / KEEP_ALIVES as u32);
            etcd.v3().delete_below("/skydns/");
        }
    }
    println!("{RECORDS} records, medians of {ROUNDS} rounds:");
    rows.into_iter().for_each(Row::report);
    for (records, mut times) in keep_alives {
        println!("one v3 keep-alive for {records:4} records: {:.2} ms", ms(median(&mut times)));
    }
}

/// A measured operation, with the plain client's times.
struct Row {
    label: &'static str,
    highhock: Vec<Duration>,
    sequential: Vec<Duration>,
}

impl Row {
    fn new(label: &'static str) -> Self {
        Self { label, highhock: Vec::new(), sequential: Vec::new() }
    }

    fn add(&mut self, highhock: Duration, sequential: Duration) {
        self.highhock.push(highhock);
        self.sequential.push(sequential);
    }

    fn report(mut self) {
        let (highhock, plain) = (median(&mut self.highhock), median(&mut self.sequential));
        let ratio = plain.as_secs_f64() / highhock.as_secs_f64();
        println!(
            "{:14} HighHock {:6.1} ms  sequential {:6.1} ms   {ratio:.1} times faster",
            self.label,
            ms(highhock),
            ms(plain)
        );
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn record_name(number: usize) -> String {
    format!("{ROOT}/s{number}")
}

fn record_key(number: usize) -> RecordKey {
    RecordKey::from_path(&record_name(number))
}

fn put_write(number: usize) -> Write {
    Write::Put {
        key: record_key(number),
        value: VALUE.into(),
        ttl: TTL,
        lease: Some(LEASE),
        precondition: Precondition::Absent,
    }
}

fn refresh_write(number: usize) -> Write {
    Write::Refresh { key: record_key(number), value: VALUE.into(), ttl: TTL }
}

async fn time_writes(store: &impl RecordStore, writes: Vec<Write>) -> Duration {
    let started = Instant::now();
    let outcomes = store.write(writes).await;
    let took = started.elapsed();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(WriteOutcome::Done))));
    took
}

async fn time_keep_alives(store: &EtcdV3, count: usize) -> Duration {
    let started = Instant::now();
    for _ in 0..count {
        assert_eq!(store.keep_alive(LEASE).await.unwrap(), KeptAlive::For(TTL * 10));
    }
    started.elapsed()
}

/// The simplest possible client: blocking, with one request after the other.
struct SequentialClient {
    stream: BufReader<TcpStream>,
}

impl SequentialClient {
    fn connect(url: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn time(&mut self, write: impl Fn(&mut Self, usize)) -> Duration {
        let started = Instant::now();
        for number in 0..RECORDS {
            write(self, number);
        }
        started.elapsed()
    }

    fn put_v2(&mut self, number: usize) {
        let value = "%7B%22host%22%3A%2210.77.66.0%22%2C%22port%22%3A8080%2C%22ttl%22%3A60%7D";
        self.form(number, &format!("ttl=60&value={value}"));
    }

    fn refresh_v2(&mut self, number: usize) {
        self.form(number, "ttl=60&refresh=true&prevExist=true");
    }

    fn form(&mut self, number: usize, form: &str) {
        let target = format!("/v2/keys/{}", record_name(number));
        self.exchange("PUT", &target, "application/x-www-form-urlencoded", form);
    }

    fn put_v3(&mut self, number: usize) {
        let (key, value) =
            (BASE64.encode(format!("/{}", record_name(number))), BASE64.encode(VALUE));
        let body =
            format!(r#"{{"key":"{key}","value":"{value}","lease":"{LEASE}"}}"#, LEASE = LEASE.0);
        self.exchange("POST", "/v3/kv/put", "application/json", &body);
    }

    fn exchange(&mut self, method: &str, target: &str, kind: &str, body: &str) {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\
             Content-Type: {kind}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let status = self.line();
        assert!(status.starts_with("HTTP/1.1 20"), "{status}");
        let mut length = None;
        loop {
            let header = self.line().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = Some(value.trim().parse().unwrap());
            }
        }
        self.stream.read_exact(&mut vec![0; length.expect("a Content-Length header")]).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
