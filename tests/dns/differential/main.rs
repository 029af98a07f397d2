//! Compares the standalone server with CoreDNS and its etcd plugin. Both get the same records
//! and the same queries, and must give the same responses except for the differences in
//! `differences.rs`.
//!
//! The record sets are the same in each run. The long run uses ten times as many random sets.
//! `HIGHHOCK_TEST_SEED=n` sets the first seed, and `HIGHHOCK_TEST_RECORD_SETS=n` sets the number
//! of record sets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

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

/// The number of record sets, and of queries for each set.
const RECORD_SETS: u64 = 30;
const QUERIES_PER_SET: usize = 200;

/// The number of mismatches that are printed in full.
const MISMATCHES_SHOWN_MAX: usize = 12;

#[test]
fn responses_match_except_known_differences() {
    let Some(mut pair) = ServerPair::start() else { return };
    let is_long = std::env::var_os("HIGHHOCK_TEST_LONG").is_some();
    let (first, record_sets) = if is_long {
        (Rng::new().u64(..1_000_000_000), 10 * RECORD_SETS)
    } else {
        (0, RECORD_SETS)
    };
    let first = number("HIGHHOCK_TEST_SEED").unwrap_or(first);
    let record_sets = number("HIGHHOCK_TEST_RECORD_SETS").unwrap_or(record_sets);
    println!("HIGHHOCK_TEST_SEED={first}");
    let mut tally = Tally::default();
    pair.query_all(&RecordSet::fixed(), &questions::fixed(), first, &mut tally);
    for seed in first..first + record_sets {
        let mut rng = Rng::with_seed(seed);
        let record_set = RecordSet::new(&mut rng);
        let queries = questions::random_queries(&record_set, QUERIES_PER_SET, &mut rng);
        pair.query_all(&record_set, &queries, seed, &mut tally);
    }
    tally.report(record_sets >= RECORD_SETS);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Both servers and their records.
struct ServerPair {
    etcd: Etcd,
    zone: Zone,
    coredns: DnsClient,
    ours: DnsClient,
    loaded_keys: Vec<RecordKey>,
    /// Dropping the servers stops them.
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
        queries: &[DnsQuery],
        seed: u64,
        tally: &mut Tally,
    ) {
        self.load(record_set);
        for query in queries {
            let case = self.query(query);
            tally.add(compare::compare(record_set, &case, self), seed, record_set);
        }
    }

    /// Replaces the records of both servers.
    fn load(&mut self, record_set: &RecordSet) {
        let v3 = self.etcd.v3();
        v3.delete_below(&format!("/{PREFIX}/"));
        self.loaded_keys.drain(..).for_each(|key| self.zone.remove(&key));
        let lease = record_set.lease.map(|seconds| v3.grant(seconds, None));
        let expiry = record_set
            .lease
            .map(|seconds| LeaseExpiry::at(Instant::now() + Duration::from_secs(seconds)));
        for (key, value) in &record_set.records {
            v3.put(&format!("/{key}"), value, lease);
            let key = RecordKey::from_path(key);
            let put = self.zone.put(&key, value, expiry.clone());
            put.unwrap_or_else(|error| panic!("{key} {value}: {error}"));
            self.loaded_keys.push(key);
        }
        if let Some(key) = &record_set.invalid_key {
            v3.put(&format!("/{key}"), INVALID_VALUE, lease);
            self.zone.put(&RecordKey::from_path(key), INVALID_VALUE, expiry).unwrap_err();
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

/// The results of all queries.
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
                differences
                    .into_iter()
                    .for_each(|known| *self.known.entry(known).or_default() += 1);
            }
            Comparison::Mismatch(reason, case) => {
                self.mismatches += 1;
                if self.mismatches <= MISMATCHES_SHOWN_MAX as u64 {
                    self.mismatch_text += &format_mismatch(&reason, seed, record_set, &case);
                }
            }
        }
    }

    fn report(&self, is_complete: bool) {
        println!(
            "{} equal responses in {:?}; known differences:",
            self.equal,
            self.started.elapsed()
        );
        for (difference, count) in &self.known {
            println!("{count:7}  {difference:?}: {}", difference.reason());
        }
        println!("{:7}  mismatches", self.mismatches);
        assert_eq!(self.mismatches, 0, "{}", self.mismatch_text);
        // A difference that no longer occurs must be removed from the list.
        let is_unused =
            |(difference, count): &(&Difference, &u64)| **count == 0 && !difference.is_rare();
        let unused: Vec<_> = self.known.iter().filter(is_unused).collect();
        assert!(
            !is_complete || unused.is_empty(),
            "known differences that never occurred: {unused:?}"
        );
    }
}

fn format_mismatch(reason: &str, seed: u64, record_set: &RecordSet, case: &QueryCase) -> String {
    let mut text = format!("\n=== seed {seed}: {reason}\nlease: {:?}\n", record_set.lease);
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
