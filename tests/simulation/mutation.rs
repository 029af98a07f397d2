//! The mutation test: the simulation detects each mutation of the core.
//!
//! The suite prints the violated invariant and the number of seeds for each mutation. `MUTATION=name` runs
//! one mutation only. `SEEDS=n` changes the number of seeds. `ALL_SEEDS=1` runs all of them and
//! prints the number of those that detect the mutation, beside the first.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]
#![allow(dead_code, unused_imports, reason = "the simulation uses the other parts of the world")]

#[path = "world/mod.rs"]
mod world;

use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use highhock_actors::runtime::mutations::{Mutation, activate};
use tokio::time::Instant;
use world::{Plan, TraceLines, Violation};

/// The number of seeds after which a mutation counts as missed.
const SEEDS: u64 = 300;
/// The time after which a mutation counts as missed.
const MUTATION_TIMEOUT: Duration = Duration::from_secs(900);
/// Set in a child process only: the mutation of the process. Mailbox metrics belong to a process.
const MUTATION_VARIABLE: &str = "ACTIVE_MUTATION";

fn main() -> ExitCode {
    world::panics::install_panic_hook();
    if std::env::args().any(|it| it == "--list") {
        return ExitCode::SUCCESS;
    }
    if let Ok(name) = std::env::var(MUTATION_VARIABLE) {
        return find_violation(mutation_named(&name));
    }
    let mutations = match std::env::var("MUTATION") {
        Ok(name) => vec![mutation_named(&name)],
        Err(_) => Mutation::ALL.to_vec(),
    };
    println!("{:28} {:>6}  found by", "mutation", "seeds");
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(mutation) = mutations.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = run_in_process(*mutation);
                    let is_missed = found.is_none();
                    let (seeds, invariant) = found.unwrap_or(("never".into(), String::new()));
                    println!("{:28} {seeds:>6}  {invariant}", format!("{mutation:?}"));
                    missed.fetch_add(usize::from(is_missed), Ordering::Relaxed);
                }
            });
        }
    });
    let missed = missed.into_inner();
    println!("{} mutations, {} detected", mutations.len(), mutations.len() - missed);
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn mutation_named(name: &str) -> Mutation {
    let mutation = Mutation::ALL.iter().find(|mutation| format!("{mutation:?}") == name);
    *mutation.unwrap_or_else(|| panic!("no mutation is named {name}"))
}

/// Returns the number of seeds and the violated invariant, or `None` if the mutation was not found or
/// timed out.
fn run_in_process(mutation: Mutation) -> Option<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .env(MUTATION_VARIABLE, format!("{mutation:?}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + MUTATION_TIMEOUT;
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

fn find_violation(mutation: Mutation) -> ExitCode {
    let seeds = std::env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut found = (0..seeds)
        .filter_map(|seed| violation_of(mutation, seed).map(|it| (seed + 1, it.invariant)));
    let Some((first, invariant)) = found.next() else { return ExitCode::FAILURE };
    if std::env::var("ALL_SEEDS").is_ok() {
        println!("{first} of {}\t{invariant}", 1 + found.count());
    } else {
        println!("{first}\t{invariant}");
    }
    ExitCode::SUCCESS
}

/// Returns the violation that the mutation causes. A seed that fails without the mutation does not
/// count.
fn violation_of(mutation: Mutation, seed: u64) -> Option<Violation> {
    let plan = Plan::from_seed(seed);
    activate(Some(mutation));
    let violation = world::run(&plan, TraceLines::Last).violation;
    activate(None);
    violation.filter(|_| world::run(&plan, TraceLines::Last).violation.is_none())
}
