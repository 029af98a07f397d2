//! Measures the standalone DNS server with a thousand records, and CoreDNS with its etcd plugin,
//! with and without cache. Reports queries per second and the 99th percentile of the response
//! time, as measured by `dnsperf`. The servers are measured in turns, in one run on the same
//! cores.
//!
//! Run `cargo bench --bench dns`. The benchmark starts an etcd and two CoreDNS. `ROUNDS=n` and
//! `SECONDS=n` set the number of rounds and the duration of one measurement.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed measurement panics")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use highhock::dns::{DnsServer, DnsSettings};
use highhock::zone::Zone;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;

use support::TempDir;
use support::dns::{CoreDns, CoreDnsOptions};
use support::etcd::{Etcd, Release};
use support::tools::program;

const DOMAIN: &str = "skydns.local";

/// 500 names with one record each, and 100 names with 5 replicas each: a thousand records.
const SINGLE_RECORDS: usize = 500;
const REPLICATED_NAMES: usize = 100;
const REPLICAS: usize = 5;

/// The required ratio of HighHock to CoreDNS without cache, and to CoreDNS with cache.
const TARGET_RATIOS: [f64; 2] = [3.0, 1.0];

fn main() {
    let mut arguments = std::env::args().skip(1);
    // Cargo passes this flag only under `cargo bench`.
    match arguments.next().as_deref() {
        Some("--bench") => measure(),
        Some("serve") => serve(),
        _ => println!("skipped: measurements run only under `cargo bench`"),
    }
}

fn measure() {
    let Some(dnsperf) = program("dnsperf") else {
        println!("SKIPPED: dnsperf is not installed (Debian: apt-get install dnsperf)");
        return;
    };
    let Some(etcd) = Etcd::start_release(Release::V3_6) else { return };
    let v3 = etcd.v3();
    for (key, value) in records() {
        v3.put(&format!("/{key}"), &value, None);
    }
    let options = CoreDnsOptions { log: false, ..CoreDnsOptions::new(DOMAIN, &[etcd.url()]) };
    let Some(plain) = CoreDns::start(&options) else { return };
    let Some(caching) = CoreDns::start(&CoreDnsOptions { cache: true, ..options }) else { return };
    let standalone = Standalone::start();
    let folder = TempDir::new();
    let queries = folder.0.join("queries");
    fs::write(&queries, query_file_text()).unwrap();

    let mut rows = [
        Row::new("CoreDNS, no cache", plain.port()),
        Row::new("CoreDNS, cache", caching.port()),
        Row::new("HighHock", standalone.address.port()),
    ];
    let (rounds, seconds) = (number("ROUNDS", 9), number("SECONDS", 2));
    for round in 0..=rounds {
        for row in &mut rows {
            let run = |verbose| run(&dnsperf, row.port, &queries, seconds, verbose, &folder.0);
            let (rate, p99) = (rate(&run(false)), p99(&run(true)));
            // The first round warms up the servers and fills the cache.
            if round > 0 {
                row.rates.push(rate);
                row.p99s.push(p99);
            }
        }
    }
    println!(
        "1,000 records, alternating A and SRV queries, medians of {rounds} rounds of {seconds} s:"
    );
    let medians: Vec<_> = rows.iter_mut().map(Row::report).collect();
    let (rate, p99) = medians[2];
    for ((other_rate, other_p99), (row, target)) in
        medians.iter().zip(rows.iter().zip(TARGET_RATIOS))
    {
        let (rate_ratio, p99_ratio) = (rate / other_rate, other_p99 / p99);
        let verdict = if rate_ratio >= target && p99_ratio >= target { "met" } else { "MISSED" };
        println!(
            "HighHock and {:18} ratio of queries per second {rate_ratio:.2}, ratio of p99 \
                {p99_ratio:.2}, target {target}: {verdict}",
            row.label
        );
    }
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Returns the key and value of each record.
fn records() -> Vec<(String, String)> {
    let value = |at: usize| {
        let (high, low) = (at / 250, at % 250);
        format!(r#"{{"host":"10.77.{high}.{low}","port":{},"ttl":60}}"#, 30_000 + at)
    };
    let root = "skydns/local/skydns";
    let single = (0..SINGLE_RECORDS).map(|at| (format!("{root}/s{at}"), value(at)));
    let replicas = (0..REPLICATED_NAMES * REPLICAS).map(|at| {
        let (name, replica) = (at / REPLICAS, at % REPLICAS);
        (format!("{root}/r{name}/host-{replica:012x}-80"), value(SINGLE_RECORDS + at))
    });
    single.chain(replicas).collect()
}

/// Returns the query file of dnsperf, with one query per line.
fn query_file_text() -> String {
    let single = (0..SINGLE_RECORDS).map(|at| format!("s{at}.{DOMAIN}"));
    let replicated = (0..REPLICATED_NAMES).map(|at| format!("r{at}.{DOMAIN}"));
    let mut names: Vec<_> = single.chain(replicated).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut names);
    let mut text = String::new();
    for kind in ["A", "SRV"] {
        for (at, name) in names.iter().enumerate() {
            let kind = if at % 2 == 0 {
                kind
            } else if kind == "A" {
                "SRV"
            } else {
                "A"
            };
            writeln!(text, "{name} {kind}").unwrap();
        }
    }
    text
}

/// Runs `dnsperf` once and returns its output.
fn run(
    dnsperf: &Path,
    port: u16,
    queries: &Path,
    seconds: usize,
    verbose: bool,
    folder: &Path,
) -> String {
    let output_path = folder.join("output");
    let mut command = Command::new(dnsperf);
    command.args(["-s", "127.0.0.1", "-p", &port.to_string(), "-l", &seconds.to_string()]);
    command.args(["-c", "4", "-q", "64"]).arg("-d").arg(queries);
    if verbose {
        command.arg("-v");
    }
    // A file, because a full pipe would slow dnsperf down.
    let status =
        command.stdout(File::create(&output_path).unwrap()).stderr(Stdio::inherit()).status();
    assert!(status.unwrap().success(), "dnsperf failed");
    let text = fs::read_to_string(&output_path).unwrap();
    let lost = figure(&text, "Queries lost:");
    assert!(lost < 10.0, "{lost} queries lost: {}", &text[text.len().saturating_sub(2000)..]);
    assert!(text.contains("NOERROR"), "no NOERROR response");
    for code in ["SERVFAIL", "REFUSED", "NXDOMAIN"] {
        assert!(!text.contains(code), "unexpected {code} response");
    }
    text
}

fn rate(text: &str) -> f64 {
    figure(text, "Queries per second:")
}

fn figure(text: &str, title: &str) -> f64 {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(title)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns the 99th percentile in milliseconds, from the lines of `dnsperf -v`: `> NOERROR name
/// type seconds`.
fn p99(text: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with("> "));
    let mut times: Vec<f64> =
        lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(times.len() > 100, "too few responses for a percentile: {}", times.len());
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100] * 1e3
}

/// A measured server.
struct Row {
    label: &'static str,
    port: u16,
    rates: Vec<f64>,
    p99s: Vec<f64>,
}

impl Row {
    fn new(label: &'static str, port: u16) -> Self {
        Self { label, port, rates: Vec::new(), p99s: Vec::new() }
    }

    /// Prints the medians with the worst and the best round, and returns the medians.
    fn report(&mut self) -> (f64, f64) {
        let (rate, p99) = (median(&mut self.rates), median(&mut self.p99s));
        println!(
            "{:18} {rate:8.0} queries per second ({:.0} to {:.0})   p99 {p99:6.3} ms ({:.3} to \
                {:.3})",
            self.label,
            self.rates[0],
            self.rates[self.rates.len() - 1],
            self.p99s[0],
            self.p99s[self.p99s.len() - 1]
        );
        (rate, p99)
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A HighHock DNS server in its own process, which ends on drop.
struct Standalone {
    child: Child,
    address: SocketAddr,
}

impl Standalone {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Runs the DNS server of the child process until its standard input ends.
fn serve() {
    let zone = Zone::new();
    for (key, value) in records() {
        zone.put(&RecordKey::from_path(&key), &value, None).unwrap();
    }
    zone.mark_complete();
    let settings = DnsSettings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        forward: Vec::new(),
        domain: DomainName::parse(DOMAIN).unwrap(),
        prefix: "skydns".to_owned(),
        rate_limit: 0,
    };
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let server = DnsServer::start(settings, zone, &log).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "{}", server.addresses()[0]).unwrap();
    out.flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
