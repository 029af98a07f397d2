//! Planted bugs: the simulation finds each of a list of mistakes in the core.
//!
//! The suite prints the violated invariant and the number of seeds for each bug. `BUG=name` runs
//! one bug only. `SEEDS=n` limits the number of seeds.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test whose setup fails may panic")]
#![allow(dead_code, unused_imports, reason = "the simulation uses the other parts of the world")]

#[path = "world/mod.rs"]
mod world;

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use highhock_actors::runtime::mutations::{Mutation, plant};
use tokio::time::Instant;
use world::{Plan, TraceLines};

/// The number of seeds after which a bug counts as missed.
const SEEDS: u64 = 1_000;
/// The time after which a bug counts as missed.
const BUG_TIMEOUT: Duration = Duration::from_secs(900);
/// Set in a child process only: the bug of the process. Mailbox metrics belong to a process.
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
    println!("{:28} {:>6}  found by", "planted bug", "seeds");
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

/// Returns the number of seeds and the violated invariant, or `None` if the bug was not found or
/// timed out.
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
        // The violation counts only if the seed passes without the bug.
        let violation = violation
            .filter(|_| world::run(&Plan::from_seed(seed), TraceLines::Last).violation.is_none());
        if let Some(violation) = violation {
            println!("{}\t{}", seed + 1, violation.invariant);
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::FAILURE
}
