//! A real DNS server that reads etcd, and `dig` queries to it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::tools::tool;
use super::{TempDir, eventually, free_port};

/// The limit until a server answers from etcd.
const TIMEOUT: Duration = Duration::from_secs(20);

/// CoreDNS with its `etcd` plugin on a free loopback port. Dropping it ends the process and
/// removes its files.
pub struct CoreDns {
    child: Child,
    port: u16,
    zone: String,
    folder: TempDir,
}

/// The configuration of a [`CoreDns`].
#[derive(Clone, Debug)]
pub struct CoreDnsOptions {
    /// The zone.
    pub zone: String,
    /// The client URLs of etcd.
    pub endpoints: Vec<String>,
    /// The first part of the keys.
    pub prefix: String,
    /// Enables the cache.
    pub cache: bool,
    /// Logs each query.
    pub log: bool,
    /// Further lines of the `etcd` block: `credentials`, `tls`.
    pub more: Vec<String>,
}

impl CoreDnsOptions {
    /// Without a cache, so that CoreDNS queries etcd for each question.
    pub fn new(zone: &str, endpoints: &[String]) -> Self {
        Self {
            zone: zone.into(),
            endpoints: endpoints.to_vec(),
            prefix: "skydns".into(),
            cache: false,
            log: true,
            more: Vec::new(),
        }
    }

    fn corefile(&self, port: u16) -> String {
        let Self { zone, endpoints, prefix, cache, log, more } = self;
        let cache = if *cache { "    cache\n" } else { "" };
        let log = if *log { "    log\n" } else { "" };
        let more: String = more.iter().map(|line| format!("        {line}\n")).collect();
        format!(
            "{zone}:{port} {{\n    bind 127.0.0.1\n    errors\n{log}{cache}    etcd {{\n        \
             path /{prefix}\n        endpoint {}\n{more}    }}\n}}\n",
            endpoints.join(" ")
        )
    }
}

impl CoreDns {
    /// Starts CoreDNS and waits until it answers from etcd. Returns `None` if this machine has no
    /// CoreDNS; the test must then return.
    pub fn start(options: &CoreDnsOptions) -> Option<Self> {
        let program = tool("COREDNS")?;
        // Another process may take a free port before CoreDNS does, so several attempts are made.
        let server = (0..5).find_map(|_| {
            let folder = TempDir::new();
            let port = free_port();
            let corefile = folder.0.join("Corefile");
            fs::write(&corefile, options.corefile(port)).unwrap();
            let log = File::create(folder.0.join("log")).unwrap();
            let child = Command::new(&program)
                .arg("-conf")
                .arg(&corefile)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
            let mut server = Self { child, port, zone: options.zone.clone(), folder };
            server.wait_until_ready().then_some(server)
        });
        Some(server.expect("CoreDNS did not start on any of five ports"))
    }

    /// Returns `false` if the process ended.
    fn wait_until_ready(&mut self) -> bool {
        let (port, name) = (self.port, format!("nobody.{}", self.zone));
        let child = &mut self.child;
        eventually("CoreDNS answers from etcd", TIMEOUT, || {
            if child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            // CoreDNS answers NXDOMAIN only after etcd has responded.
            let reply = dig(port, &name, "A")?;
            (reply.status == "NXDOMAIN").then_some(true)
        })
    }

    /// Queries a name's records of one type. The name needs no final dot.
    #[track_caller]
    pub fn dig(&self, name: &str, kind: &str) -> DigResponse {
        dig(self.port, name, kind).unwrap_or_else(|| panic!("dig {name} {kind}: no answer"))
    }

    /// Its port at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its log: errors, and one line per query.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }
}

impl Drop for CoreDns {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(8).collect::<Vec<_>>();
            eprintln!("CoreDNS's last log lines (newest first):\n{}", tail.join("\n"));
        }
    }
}

/// The answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigResponse {
    /// `NOERROR`, `NXDOMAIN`, `SERVFAIL` …
    pub status: String,
    pub answer: Vec<DigRecord>,
    pub authority: Vec<DigRecord>,
    pub additional: Vec<DigRecord>,
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigRecord {
    /// Without the final dot.
    pub name: String,
    pub ttl: u32,
    /// `A`, `AAAA`, `SRV` …
    pub kind: String,
    /// As `dig` prints it.
    pub data: String,
}

/// A target of SRV records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// The target's address from the additional section, else its name.
    pub host: String,
}

impl DigResponse {
    /// The data of the answer's records of one type.
    pub fn data(&self, kind: &str) -> BTreeSet<String> {
        records_of_type(&self.answer, kind).map(|row| row.data.clone()).collect()
    }

    /// The IPv4 and IPv6 addresses of the answer.
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let rows = self.answer.iter().filter(|row| is_address(row));
        rows.map(|row| row.data.parse().unwrap()).collect()
    }

    /// The texts of the answer, without quotes.
    pub fn texts(&self) -> BTreeSet<String> {
        records_of_type(&self.answer, "TXT").map(|row| row.data.replace('"', "")).collect()
    }

    /// The targets of the SRV records, one entry for each address of a target.
    pub fn targets(&self) -> BTreeSet<Target> {
        records_of_type(&self.answer, "SRV").flat_map(|row| self.targets_of(row)).collect()
    }

    fn targets_of(&self, row: &DigRecord) -> Vec<Target> {
        let parts: Vec<&str> = row.data.split(' ').collect();
        let [priority, weight, port, name] = parts[..] else {
            panic!("not the data of an SRV record: {row:?}")
        };
        let name = name.trim_end_matches('.');
        let rows = self.additional.iter().filter(|row| is_address(row) && row.name == name);
        let mut hosts: Vec<String> = rows.map(|row| row.data.clone()).collect();
        if hosts.is_empty() {
            hosts.push(name.into());
        }
        let target = |host| Target {
            priority: priority.parse().unwrap(),
            weight: weight.parse().unwrap(),
            port: port.parse().unwrap(),
            host,
        };
        hosts.into_iter().map(target).collect()
    }
}

fn records_of_type<'a>(
    rows: &'a [DigRecord],
    kind: &'a str,
) -> impl Iterator<Item = &'a DigRecord> {
    rows.iter().filter(move |row| row.kind == kind)
}

fn is_address(row: &DigRecord) -> bool {
    row.kind == "A" || row.kind == "AAAA"
}

/// Queries the server at a port of 127.0.0.1. Returns `None` without an answer.
pub fn dig(port: u16, name: &str, kind: &str) -> Option<DigResponse> {
    let output = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port.to_string(), "-q", name, "-t", kind])
        .args(["+time=5", "+tries=1", "+nocookie"])
        .output()
        .unwrap_or_else(|error| panic!("needs dig: run tests/run ({error})"));
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Parses the output of `dig`: a head with the status, then sections with one record per line.
fn parse(text: &str) -> Option<DigResponse> {
    let status = text.lines().find_map(|line| line.split_once("status: ")?.1.split(',').next())?;
    let section = |title: &str| {
        let start = format!(";; {title} SECTION:");
        let lines = text.lines().skip_while(|line| *line != start).skip(1);
        lines.take_while(|line| !line.is_empty()).filter_map(parse_record).collect()
    };
    Some(DigResponse {
        status: status.into(),
        answer: section("ANSWER"),
        authority: section("AUTHORITY"),
        additional: section("ADDITIONAL"),
    })
}

/// Parts are separated by any number of blanks.
fn parse_record(line: &str) -> Option<DigRecord> {
    let mut parts = line.split_whitespace();
    let name = parts.next()?.trim_end_matches('.').to_owned();
    let ttl = parts.next()?.parse().ok()?;
    // The class; only one is in use.
    let kind = parts.nth(1)?.to_owned();
    Some(DigRecord { name, ttl, kind, data: parts.collect::<Vec<_>>().join(" ") })
}
