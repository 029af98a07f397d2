//! Simulation: runs the core in simulated worlds, each derived from one seed.
//!
//! A world has a simulated Docker, a simulated etcd and simulated time. The seed decides the
//! conditions of a run, every step and every fault. Invariants are checked after every step.
//!
//! - `SEEDS=n` or `SEEDS=from..to` runs a range of seeds.
//! - `SEED=n` replays one seed and prints its trace.
//! - `SHRINK=n` finds the fewest steps with which a seed still fails.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod coverage;
mod determinism;
mod shrink;
mod workers;
mod world;

use std::process::ExitCode;

use world::Plan;

/// The number of seeds of a normal run, and of a long run.
const SEEDS: u64 = 1_000;
const SEEDS_LONG: u64 = 20_000;

fn main() -> ExitCode {
    world::panics::install_panic_hook();
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str| variable(name).map(|it| it.parse().expect("a number"));
    if let Some(share) = variable(workers::SHARE_VARIABLE) {
        return workers::run_worker(&share);
    }
    if let Some(seed) = number("SHRINK") {
        return shrink::shrink(Plan::from_seed(seed));
    }
    if let Some(seed) = number("SEED") {
        return replay(seed);
    }
    // This suite has no test harness, so it has no tests to list.
    if std::env::args().any(|it| it == "--list") {
        return ExitCode::SUCCESS;
    }
    let (from, to) = match variable("SEEDS") {
        Some(range) => parse_range(&range),
        None if variable("HIGHHOCK_TEST_LONG").is_some() => (0, SEEDS_LONG),
        None => (0, SEEDS),
    };
    if let Err(difference) = determinism::check(from) {
        println!("{difference}");
        return ExitCode::FAILURE;
    }
    workers::run(from, to)
}

fn parse_range(range: &str) -> (u64, u64) {
    let number = |it: &str| it.parse().expect("SEEDS is a number or from..to");
    match range.split_once("..") {
        Some((from, to)) => (number(from), number(to)),
        None => (0, number(range)),
    }
}

fn replay(seed: u64) -> ExitCode {
    let plan = Plan::from_seed(seed);
    let outcome = world::run(&plan, world::TraceLines::Printed);
    match outcome.violation {
        Some(violation) => {
            println!("seed {seed} fails: {violation}");
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed} passes");
            ExitCode::SUCCESS
        }
    }
}
