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

#[path = "../simulation/world/mod.rs"]
mod world;

use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use highhock_actors::planted::{Bug, plant};
use world::{Lines, Plan};

/// How many seeds a bug may take.
const SEEDS: u64 = 1_000;
/// Tells a process which bug is its own. The core counts its messages by process.
const OWN: &str = "PLANTED_BUG";

fn main() -> ExitCode {
    world::falls::quieten();
    if std::env::args().any(|it| it == "--list") {
        return ExitCode::SUCCESS;
    }
    if let Ok(name) = std::env::var(OWN) {
        return try_one(bug_named(&name));
    }
    let bugs = match std::env::var("BUG") {
        Ok(name) => vec![bug_named(&name)],
        Err(_) => Bug::ALL.to_vec(),
    };
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let told = in_a_process(*bug);
                    found.lock().unwrap().push((*bug, told));
                }
            });
        }
    });
    report(&bugs, &found.into_inner().unwrap())
}

fn bug_named(name: &str) -> Bug {
    let bug = Bug::ALL.iter().find(|bug| format!("{bug:?}") == name);
    *bug.unwrap_or_else(|| panic!("no bug is named {name}"))
}

/// What gave a bug away, and how many seeds it took; `None`: nothing did.
fn in_a_process(bug: Bug) -> Option<(String, String)> {
    let output = Command::new(std::env::current_exe().unwrap())
        .env(OWN, format!("{bug:?}"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let (seeds, invariant) = told.lines().last()?.split_once('\t')?;
    Some((seeds.to_owned(), invariant.to_owned()))
}

fn try_one(bug: Bug) -> ExitCode {
    let seeds = std::env::var("SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        plant(Some(bug));
        let verdict = world::run(&Plan::of(seed), Lines::Last).verdict;
        plant(None);
        // It is this bug that is found only where the seed passes without it.
        let verdict =
            verdict.filter(|_| world::run(&Plan::of(seed), Lines::Last).verdict.is_none());
        if let Some(verdict) = verdict {
            println!("{}\t{}", seed + 1, verdict.invariant);
            return ExitCode::SUCCESS;
        }
    }
    ExitCode::FAILURE
}

fn report(bugs: &[Bug], found: &[(Bug, Option<(String, String)>)]) -> ExitCode {
    println!("{:28} {:>6}  given away by", "planted bug", "seeds");
    let mut missed = Vec::new();
    for bug in bugs {
        match found.iter().find(|(other, _)| other == bug).and_then(|(_, told)| told.as_ref()) {
            Some((seeds, invariant)) => {
                println!("{:28} {seeds:>6}  {invariant}", format!("{bug:?}"));
            }
            None => {
                println!("{:28} {:>6}", format!("{bug:?}"), "never");
                missed.push(bug);
            }
        }
    }
    println!("{} bugs planted, {} found", bugs.len(), bugs.len() - missed.len());
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
