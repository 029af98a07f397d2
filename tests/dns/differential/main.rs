//! The standalone server beside CoreDNS with its etcd plugin: the same records in both,
//! the same questions to both, and the same answers but for the differences that
//! `differences.rs` names.
//!
//! The same worlds each time, and in the long run ten times as many others.
//! `HIGHHOCK_TEST_SEED=n` begins with that seed, `HIGHHOCK_TEST_WORLDS=n` says how many
//! there are to be.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is to panic")]

mod compare;
mod differences;
mod fixtures;
mod questions;
#[path = "../../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use highhock::dns::{DnsServer, DnsSettings};
use highhock::zone::{LeaseExpiry, Zone};
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;
use tokio::time::Instant;

use compare::{Comparison, QueryCase};
use differences::Difference;
use fixtures::{DOMAIN, INVALID_VALUE, PREFIX, RecordSet};
use support::dns::{CoreDns, CoreDnsOptions};
use support::dns_wire::{DnsClient, DnsQuery};
use support::etcd::{Etcd, Release};

/// How many worlds there are, and questions about each.
const RECORD_SETS: u64 = 30;
const QUERIES_PER_SET: usize = 200;

/// This many mismatches are told in full.
const MISMATCHES_SHOWN_MAX: usize = 12;

#[test]
fn responses_match_except_known_differences() {
    let Some(mut pair) = ServerPair::start() else { return };
    let is_long = std::env::var_os("HIGHHOCK_TEST_LONG").is_some();
    let (first, worlds) = if is_long {
        (Rng::new().u64(..1_000_000_000), 10 * RECORD_SETS)
    } else {
        (0, RECORD_SETS)
    };
    let first = number("HIGHHOCK_TEST_SEED").unwrap_or(first);
    let worlds = number("HIGHHOCK_TEST_WORLDS").unwrap_or(worlds);
    println!("HIGHHOCK_TEST_SEED={first}");
    let mut tally = Tally::default();
    pair.query_all(&RecordSet::fixed(), &questions::fixed(), first, &mut tally);
    for seed in first..first + worlds {
        let mut rng = Rng::with_seed(seed);
        let record_set = RecordSet::new(&mut rng);
        let questions = questions::random_queries(&record_set, QUERIES_PER_SET, &mut rng);
        pair.query_all(&record_set, &questions, seed, &mut tally);
    }
    tally.report(worlds >= RECORD_SETS);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// The two servers and what they answer from.
struct ServerPair {
    etcd: Etcd,
    zone: Zone,
    coredns: DnsClient,
    ours: DnsClient,
    loaded_keys: Vec<RecordKey>,
    /// They are asked as long as these live.
    _servers: (CoreDns, DnsServer),
}

impl ServerPair {
    fn start() -> Option<Self> {
        let etcd = Etcd::start_release(Release::V3_6)?;
        let coredns = CoreDns::start(&CoreDnsOptions::new(DOMAIN, &[etcd.url()]))?;
        let zone = Zone::new();
        zone.mark_complete();
        let settings = DnsSettings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            forward: Vec::new(),
            domain: DomainName::parse(DOMAIN).unwrap(),
            prefix: PREFIX.to_owned(),
            rate_limit: 0,
        };
        let log = slog::Logger::root(slog::Discard, slog::o!());
        let server = DnsServer::start(settings, zone.clone(), &log).unwrap();
        Some(Self {
            etcd,
            zone,
            coredns: DnsClient::new(SocketAddr::from(([127, 0, 0, 1], coredns.port()))),
            ours: DnsClient::new(server.addresses()[0]),
            loaded_keys: Vec::new(),
            _servers: (coredns, server),
        })
    }

    fn query_all(
        &mut self,
        record_set: &RecordSet,
        questions: &[DnsQuery],
        seed: u64,
        tally: &mut Tally,
    ) {
        self.load(record_set);
        for query in questions {
            let case = self.query(query);
            tally.add(compare::compare(record_set, &case, self), seed, record_set);
        }
    }

    /// The world's records instead of the last one's.
    fn load(&mut self, record_set: &RecordSet) {
        let v3 = self.etcd.v3();
        v3.delete_below(&format!("/{PREFIX}/"));
        self.loaded_keys.drain(..).for_each(|key| self.zone.remove(&key));
        let lease = record_set.lease.map(|seconds| v3.grant(seconds, None));
        let ends = record_set
            .lease
            .map(|seconds| LeaseExpiry::at(Instant::now() + Duration::from_secs(seconds)));
        for (key, value) in &record_set.records {
            v3.put(&format!("/{key}"), value, lease);
            let key = RecordKey::from_path(key);
            let put = self.zone.put(&key, value, ends.clone());
            put.unwrap_or_else(|error| panic!("{key} {value}: {error}"));
            self.loaded_keys.push(key);
        }
        if let Some(key) = &record_set.invalid_key {
            v3.put(&format!("/{key}"), INVALID_VALUE, lease);
            self.zone.put(&RecordKey::from_path(key), INVALID_VALUE, ends).unwrap_err();
        }
    }

    fn query(&mut self, query: &DnsQuery) -> QueryCase {
        QueryCase {
            query: query.clone(),
            coredns: self.coredns.query(query),
            ours: self.ours.query(query),
        }
    }
}

/// What came of all questions.
struct Tally {
    started: Instant,
    equal: u64,
    known: BTreeMap<Difference, u64>,
    mismatches: u64,
    mismatch_text: String,
}

impl Default for Tally {
    fn default() -> Self {
        let known = Difference::ALL.into_iter().map(|difference| (difference, 0)).collect();
        Self {
            started: Instant::now(),
            equal: 0,
            known,
            mismatches: 0,
            mismatch_text: String::new(),
        }
    }
}

impl Tally {
    fn add(&mut self, verdict: Comparison, seed: u64, record_set: &RecordSet) {
        match verdict {
            Comparison::Equal => self.equal += 1,
            Comparison::KnownDifferences(differences) => {
                differences.into_iter().for_each(|one| *self.known.entry(one).or_default() += 1);
            }
            Comparison::Mismatch(why, case) => {
                self.mismatches += 1;
                if self.mismatches <= MISMATCHES_SHOWN_MAX as u64 {
                    self.mismatch_text += &format_mismatch(&why, seed, record_set, &case);
                }
            }
        }
    }

    fn report(&self, whole: bool) {
        println!("{} answers alike in {:?}; otherwise:", self.equal, self.started.elapsed());
        for (difference, count) in &self.known {
            println!("{count:7}  {difference:?}: {}", difference.reason());
        }
        println!("{:7}  wrong", self.mismatches);
        assert_eq!(self.mismatches, 0, "{}", self.mismatch_text);
        // What no longer occurs is no difference any more.
        let idle = |(one, count): &(&Difference, &u64)| **count == 0 && !one.is_rare();
        let idle: Vec<_> = self.known.iter().filter(idle).collect();
        assert!(!whole || idle.is_empty(), "named, yet never met: {idle:?}");
    }
}

fn format_mismatch(why: &str, seed: u64, record_set: &RecordSet, case: &QueryCase) -> String {
    let mut text = format!("\n=== seed {seed}: {why}\nlease: {:?}\n", record_set.lease);
    for (key, value) in &record_set.records {
        writeln!(text, "  {key} {value}").unwrap();
    }
    let QueryCase { query, coredns, ours } = case;
    let (name, kind) = (query.name(), query.kind);
    record_set
        .invalid_key
        .iter()
        .for_each(|key| writeln!(text, "  {key} {INVALID_VALUE}").unwrap());
    writeln!(text, "{name} {kind} {:?} by {:?}", query.class, query.transport).unwrap();
    writeln!(text, "CoreDNS: {coredns:#?}\nHighHock: {ours:#?}").unwrap();
    text
}
