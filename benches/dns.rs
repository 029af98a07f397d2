//! A thousand records answered by the standalone server, beside CoreDNS with its etcd
//! plugin, without its cache and with it: queries a second and the 99th percentile of
//! the answers' time, by `dnsperf`, in turns in one run on the same cores.
//!
//! `cargo bench --bench dns`; starts an etcd and two CoreDNS of its own. `ROUNDS=n` and
//! `SECONDS=n` (of one measurement) make it shorter or longer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed measurement is to panic")]

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

/// Names with one record each, and names with some replicas: a thousand records.
const SINGLE_RECORDS: usize = 500;
const REPLICATED_NAMES: usize = 100;
const REPLICAS: usize = 5;

/// The goals: how many times as good as CoreDNS without its cache, and with it.
const TARGET_RATIOS: [f64; 2] = [3.0, 1.0];

fn main() {
    let mut arguments = std::env::args().skip(1);
    // cargo gives this flag under `cargo bench` only.
    match arguments.next().as_deref() {
        Some("--bench") => measure(),
        Some("serve") => serve(),
        _ => println!("measures under `cargo bench` only"),
    }
}

fn measure() {
    let Some(dnsperf) = program("dnsperf") else {
        println!("NOTHING MEASURED: needs dnsperf (Debian: apt-get install dnsperf)");
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
    let ours = Standalone::start();
    let folder = TempDir::new();
    let questions = folder.0.join("questions");
    fs::write(&questions, query_file_text()).unwrap();

    let mut rows = [
        Row::new("CoreDNS, no cache", plain.port()),
        Row::new("CoreDNS, cache", caching.port()),
        Row::new("HighHock", ours.address.port()),
    ];
    let (rounds, seconds) = (number("ROUNDS", 9), number("SECONDS", 2));
    for round in 0..=rounds {
        for row in &mut rows {
            let run = |verbose| run(&dnsperf, row.port, &questions, seconds, verbose, &folder.0);
            let (rate, p99) = (rate(&run(false)), p99(&run(true)));
            // The first round only warms up, and fills the cache.
            if round > 0 {
                row.rates.push(rate);
                row.p99s.push(p99);
            }
        }
    }
    println!("1,000 records, A and SRV in turns, medians of {rounds} rounds of {seconds} s each:");
    let medians: Vec<_> = rows.iter_mut().map(Row::report).collect();
    let (rate, p99) = medians[2];
    for ((other_rate, other_p99), (row, goal)) in medians.iter().zip(rows.iter().zip(TARGET_RATIOS))
    {
        let (faster, sooner) = (rate / other_rate, other_p99 / p99);
        let met = if faster >= goal && sooner >= goal { "met" } else { "MISSED" };
        println!(
            "HighHock beside {:18} {faster:.2} times the queries a second, p99 {sooner:.2} times as short; goal {goal}: {met}",
            row.label
        );
    }
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Key and value of each.
fn records() -> Vec<(String, String)> {
    let value = |at: usize| {
        let (high, low) = (at / 250, at % 250);
        format!(r#"{{"host":"10.77.{high}.{low}","port":{},"ttl":60}}"#, 30_000 + at)
    };
    let root = "skydns/local/skydns";
    let alone = (0..SINGLE_RECORDS).map(|at| (format!("{root}/s{at}"), value(at)));
    let replicas = (0..REPLICATED_NAMES * REPLICAS).map(|at| {
        let (name, replica) = (at / REPLICAS, at % REPLICAS);
        (format!("{root}/r{name}/host-{replica:012x}-80"), value(SINGLE_RECORDS + at))
    });
    alone.chain(replicas).collect()
}

/// As dnsperf reads them, a line a question.
fn query_file_text() -> String {
    let alone = (0..SINGLE_RECORDS).map(|at| format!("s{at}.{DOMAIN}"));
    let replicated = (0..REPLICATED_NAMES).map(|at| format!("r{at}.{DOMAIN}"));
    let mut names: Vec<_> = alone.chain(replicated).collect();
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

/// What `dnsperf` prints.
fn run(
    dnsperf: &Path,
    port: u16,
    questions: &Path,
    seconds: usize,
    verbose: bool,
    folder: &Path,
) -> String {
    let output_path = folder.join("said");
    let mut command = Command::new(dnsperf);
    command.args(["-s", "127.0.0.1", "-p", &port.to_string(), "-l", &seconds.to_string()]);
    command.args(["-c", "4", "-q", "64"]).arg("-d").arg(questions);
    if verbose {
        command.arg("-v");
    }
    // Into a file: a pipe that fills would hold it up.
    let status =
        command.stdout(File::create(&output_path).unwrap()).stderr(Stdio::inherit()).status();
    assert!(status.unwrap().success(), "dnsperf failed");
    let text = fs::read_to_string(&output_path).unwrap();
    let lost = figure(&text, "Queries lost:");
    assert!(lost < 10.0, "{lost} queries lost: {}", &text[text.len().saturating_sub(2000)..]);
    assert!(text.contains("NOERROR"), "no good answer");
    for code in ["SERVFAIL", "REFUSED", "NXDOMAIN"] {
        assert!(!text.contains(code), "{code} among the answers");
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

/// In milliseconds, of the lines that `dnsperf -v` prints: `> NOERROR name type seconds`.
fn p99(text: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with("> "));
    let mut times: Vec<f64> =
        lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(times.len() > 100, "too few answers for a percentile: {}", times.len());
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100] * 1e3
}

/// A server that is measured.
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

    /// The medians, printed with the worst and the best.
    fn report(&mut self) -> (f64, f64) {
        let (rate, p99) = (median(&mut self.rates), median(&mut self.p99s));
        println!(
            "{:18} {rate:8.0} queries a second ({:.0} to {:.0})   p99 {p99:6.3} ms ({:.3} to {:.3})",
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

/// HighHock's server in a process of its own. It ends when this is dropped.
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

/// What that process does: it answers until its standard input ends.
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
