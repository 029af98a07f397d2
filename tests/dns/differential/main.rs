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
use highhock::zone::{Ends, Zone};
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;
use tokio::time::Instant;

use compare::{Case, Verdict};
use differences::Difference;
use fixtures::{DOMAIN, PREFIX, SPOILT, World};
use support::dns::{CoreDns, CoreDnsOptions};
use support::dns_wire::{Asker, Question};
use support::etcd::{Etcd, Release};

/// How many worlds there are, and questions about each.
const WORLDS: u64 = 30;
const QUESTIONS: usize = 200;

/// This many mismatches are told in full.
const TOLD: usize = 12;

#[test]
fn both_answer_alike_but_for_what_is_named() {
    let Some(mut pair) = Pair::start() else { return };
    let is_long = std::env::var_os("HIGHHOCK_TEST_LONG").is_some();
    let (first, worlds) =
        if is_long { (Rng::new().u64(..1_000_000_000), 10 * WORLDS) } else { (0, WORLDS) };
    let first = number("HIGHHOCK_TEST_SEED").unwrap_or(first);
    let worlds = number("HIGHHOCK_TEST_WORLDS").unwrap_or(worlds);
    println!("HIGHHOCK_TEST_SEED={first}");
    let mut tally = Tally::default();
    pair.ask_all(&World::certain(), &questions::certain(), first, &mut tally);
    for seed in first..first + worlds {
        let mut rng = Rng::with_seed(seed);
        let world = World::new(&mut rng);
        let questions = questions::about(&world, QUESTIONS, &mut rng);
        pair.ask_all(&world, &questions, seed, &mut tally);
    }
    tally.report(worlds >= WORLDS);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// The two servers and what they answer from.
struct Pair {
    etcd: Etcd,
    zone: Zone,
    coredns: Asker,
    ours: Asker,
    filled: Vec<RecordKey>,
    /// They are asked as long as these live.
    _servers: (CoreDns, DnsServer),
}

impl Pair {
    fn start() -> Option<Self> {
        let etcd = Etcd::start_release(Release::V3_6)?;
        let coredns = CoreDns::start(&CoreDnsOptions::new(DOMAIN, &[etcd.url()]))?;
        let zone = Zone::new();
        zone.complete();
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
            coredns: Asker::new(SocketAddr::from(([127, 0, 0, 1], coredns.port()))),
            ours: Asker::new(server.addresses()[0]),
            filled: Vec::new(),
            _servers: (coredns, server),
        })
    }

    fn ask_all(&mut self, world: &World, questions: &[Question], seed: u64, tally: &mut Tally) {
        self.fill(world);
        for question in questions {
            let case = self.ask(question);
            tally.add(compare::judge(world, &case, self), seed, world);
        }
    }

    /// The world's records instead of the last one's.
    fn fill(&mut self, world: &World) {
        let v3 = self.etcd.v3();
        v3.delete_below(&format!("/{PREFIX}/"));
        self.filled.drain(..).for_each(|key| self.zone.remove(&key));
        let lease = world.lease.map(|seconds| v3.grant(seconds, None));
        let ends =
            world.lease.map(|seconds| Ends::at(Instant::now() + Duration::from_secs(seconds)));
        for (key, value) in &world.records {
            v3.put(&format!("/{key}"), value, lease);
            let key = RecordKey::from_path(key);
            let put = self.zone.put(&key, value, ends.clone());
            put.unwrap_or_else(|error| panic!("{key} {value}: {error}"));
            self.filled.push(key);
        }
        if let Some(key) = &world.spoilt {
            v3.put(&format!("/{key}"), SPOILT, lease);
            self.zone.put(&RecordKey::from_path(key), SPOILT, ends).unwrap_err();
        }
    }

    fn ask(&mut self, question: &Question) -> Case {
        Case {
            question: question.clone(),
            coredns: self.coredns.ask(question),
            ours: self.ours.ask(question),
        }
    }
}

/// What came of all questions.
struct Tally {
    started: Instant,
    alike: u64,
    named: BTreeMap<Difference, u64>,
    wrong: u64,
    told: String,
}

impl Default for Tally {
    fn default() -> Self {
        let named = Difference::ALL.into_iter().map(|difference| (difference, 0)).collect();
        Self { started: Instant::now(), alike: 0, named, wrong: 0, told: String::new() }
    }
}

impl Tally {
    fn add(&mut self, verdict: Verdict, seed: u64, world: &World) {
        match verdict {
            Verdict::Alike => self.alike += 1,
            Verdict::Named(differences) => {
                differences.into_iter().for_each(|one| *self.named.entry(one).or_default() += 1);
            }
            Verdict::Wrong(why, case) => {
                self.wrong += 1;
                if self.wrong <= TOLD as u64 {
                    self.told += &tell(&why, seed, world, &case);
                }
            }
        }
    }

    fn report(&self, whole: bool) {
        println!("{} answers alike in {:?}; otherwise:", self.alike, self.started.elapsed());
        for (difference, count) in &self.named {
            println!("{count:7}  {difference:?}: {}", difference.reason());
        }
        println!("{:7}  wrong", self.wrong);
        assert_eq!(self.wrong, 0, "{}", self.told);
        // What no longer occurs is no difference any more.
        let idle = |(one, count): &(&Difference, &u64)| **count == 0 && !one.is_rare();
        let idle: Vec<_> = self.named.iter().filter(idle).collect();
        assert!(!whole || idle.is_empty(), "named, yet never met: {idle:?}");
    }
}

fn tell(why: &str, seed: u64, world: &World, case: &Case) -> String {
    let mut text = format!("\n=== seed {seed}: {why}\nlease: {:?}\n", world.lease);
    for (key, value) in &world.records {
        writeln!(text, "  {key} {value}").unwrap();
    }
    let Case { question, coredns, ours } = case;
    let (name, kind) = (question.name(), question.kind);
    world.spoilt.iter().for_each(|key| writeln!(text, "  {key} {SPOILT}").unwrap());
    writeln!(text, "{name} {kind} {:?} by {:?}", question.class, question.way).unwrap();
    writeln!(text, "CoreDNS: {coredns:#?}\nHighHock: {ours:#?}").unwrap();
    text
}
