//! A thousand records put and refreshed in etcd v2, beside a plain client that
//! does one at a time over one kept-alive connection, in turns in one run.
//!
//! `cargo bench --bench etcd_v2`; starts an etcd of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed measurement is to panic")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use highhock::etcd::{Cluster, EtcdV2, EtcdV2Options};
use highhock_actors::{Guard, RecordKey, RecordStore, Write, Written};
use tokio::time::Instant;

use support::etcd::Etcd;

const RECORDS: usize = 1000;
const ROUNDS: usize = 9;
const ROOT: &str = "skydns/local/skydns";
const VALUE: &str = r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#;
const TTL: Duration = Duration::from_secs(60);

fn main() {
    // cargo gives this flag under `cargo bench` only.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("measures under `cargo bench` only");
        return;
    }
    // On a disk, as in real life: etcd waits for it before it answers a write.
    let etcd = Etcd::start_in(&std::env::temp_dir(), &["--enable-v2=true"]);
    actix_rt::System::new().block_on(measure(&etcd));
}

async fn measure(etcd: &Etcd) {
    let cluster = Cluster::new(vec![etcd.url().parse().unwrap()]);
    let root = RecordKey::from_path(ROOT);
    let options = EtcdV2Options { cluster, root, prefix: "skydns".to_owned() };
    let store = EtcdV2::new(options, slog::Logger::root(slog::Discard, slog::o!())).unwrap();
    let mut plain = Plain::connect(&etcd.url());
    let [mut put, mut put_plain, mut refresh, mut refresh_plain] = [const { Vec::new() }; 4];
    for round in 0..=ROUNDS {
        let times = [
            time_writes(&store, (0..RECORDS).map(put_of).collect()).await,
            time_writes(&store, (0..RECORDS).map(refresh_of).collect()).await,
        ];
        etcd.remove(ROOT);
        let plain_times = [
            "ttl=60&value=%7B%22host%22%3A%2210.77.66.0%22%2C%22port%22%3A8080%2C%22ttl%22%3A60%7D",
            "ttl=60&refresh=true&prevExist=true",
        ]
        .map(|form| plain.time_puts(form));
        etcd.remove(ROOT);
        // The first round only warms up.
        if round > 0 {
            put.push(times[0]);
            refresh.push(times[1]);
            put_plain.push(plain_times[0]);
            refresh_plain.push(plain_times[1]);
        }
    }
    println!("{RECORDS} records, medians of {ROUNDS} rounds in turns:");
    report("put", &mut put, &mut put_plain);
    report("refresh", &mut refresh, &mut refresh_plain);
}

fn report(what: &str, ours: &mut [Duration], plain: &mut [Duration]) {
    let (ours, plain) = (median(ours), median(plain));
    println!(
        "{what:8} EtcdV2 {:6.1} ms   one by one {:6.1} ms   {:.1} times as fast",
        ours.as_secs_f64() * 1e3,
        plain.as_secs_f64() * 1e3,
        plain.as_secs_f64() / ours.as_secs_f64()
    );
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn key_of(number: usize) -> RecordKey {
    RecordKey::from_path(&format!("{ROOT}/s{number}"))
}

fn put_of(number: usize) -> Write {
    Write::Put {
        key: key_of(number),
        value: VALUE.into(),
        ttl: TTL,
        lease: None,
        guard: Guard::Absent,
    }
}

fn refresh_of(number: usize) -> Write {
    Write::Refresh { key: key_of(number), value: VALUE.into(), ttl: TTL }
}

async fn time_writes(store: &EtcdV2, writes: Vec<Write>) -> Duration {
    let started = Instant::now();
    let outcomes = store.write(writes).await;
    let took = started.elapsed();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Written::Done))));
    took
}

/// The simplest client that there can be: blocking, one request after the other.
struct Plain {
    stream: BufReader<TcpStream>,
}

impl Plain {
    fn connect(url: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn time_puts(&mut self, form: &str) -> Duration {
        let started = Instant::now();
        for number in 0..RECORDS {
            self.put(&format!("{ROOT}/s{number}"), form);
        }
        started.elapsed()
    }

    fn put(&mut self, key: &str, form: &str) {
        let request = format!(
            "PUT /v2/keys/{key} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut status, mut length) = (String::new(), 0);
        self.stream.read_line(&mut status).unwrap();
        assert!(status.starts_with("HTTP/1.1 20"), "{status}");
        loop {
            let mut header = String::new();
            self.stream.read_line(&mut header).unwrap();
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        self.stream.read_exact(&mut vec![0; length]).unwrap();
    }
}
