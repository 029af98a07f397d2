//! Bugs planted in the core, each a mistake that a programmer could make: the simulation
//! finds every one of them. A table tells which promise gave it away, and how many seeds it
//! took.
//!
//! `BUG=name` tries one bug only, `SEEDS=n` says how many seeds are tried at the most.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't be set up may panic"
)]
#![allow(dead_code, unused_imports, reason = "the simulation uses the rest of the world")]

#[path = "world/mod.rs"]
mod world;

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use highhock_actors::runtime::planted_bugs::{Mutation, plant};
use tokio::time::Instant;
use world::{Plan, TraceLines};

/// How many seeds a bug may take.
const SEEDS: u64 = 1_000;
/// And how long.
const BUG_TIMEOUT: Duration = Duration::from_secs(900);
/// Tells a process which bug is its own. The core counts its messages by process.
const BUG_VARIABLE: &str = "PLANTED_BUG";

fn main() -> ExitCode {
    world::panics::install_panic_hook();
    if std::env::args().any(|it| it == "--list") {
        return ExitCode::SUCCESS;
    }
    if let Ok(name) = std::env::var(BUG_VARIABLE) {
        return find_violation(bug_named(&name));
    }
    let bugs = match std::env::var("BUG") {
        Ok(name) => vec![bug_named(&name)],
        Err(_) => Mutation::ALL.to_vec(),
    };
    println!("{:28} {:>6}  given away by", "planted bug", "seeds");
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = run_in_process(*bug);
                    let is_missed = found.is_none();
                    let (seeds, invariant) = found.unwrap_or(("never".into(), String::new()));
                    println!("{:28} {seeds:>6}  {invariant}", format!("{bug:?}"));
                    missed.fetch_add(usize::from(is_missed), Ordering::Relaxed);
                }
            });
        }
    });
    let missed = missed.into_inner();
    println!("{} bugs planted, {} found", bugs.len(), bugs.len() - missed);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn bug_named(name: &str) -> Mutation {
    let bug = Mutation::ALL.iter().find(|bug| format!("{bug:?}") == name);
    *bug.unwrap_or_else(|| panic!("no bug is named {name}"))
}

/// What gave a bug away, and how many seeds it took; `None`: nothing did, or the bug had
/// the run go round and round.
fn run_in_process(bug: Mutation) -> Option<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(BUG_VARIABLE, format!("{bug:?}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + BUG_TIMEOUT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= until {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    }
    let mut found = String::new();
    child.stdout.take().unwrap().read_to_string(&mut found).unwrap();
    let (seeds, invariant) = found.lines().last()?.split_once('\t')?;
    Some((seeds.to_owned(), invariant.to_owned()))
}

fn find_violation(bug: Mutation) -> ExitCode {
    let seeds = std::env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        plant(Some(bug));
        let violation = world::run(&Plan::from_seed(seed), TraceLines::Last).violation;
        plant(None);
        // It is this bug that is found only where the seed passes without it.
        let violation = violation
            .filter(|_| world::run(&Plan::from_seed(seed), TraceLines::Last).violation.is_none());
        if let Some(violation) = violation {
            println!("{}\t{}", seed + 1, violation.invariant);
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::FAILURE
}
