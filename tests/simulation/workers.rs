//! Runs many seeds, in as many processes as there are cores: the core counts its messages
//! by process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};

use crate::tally::Tally;
use crate::world::{self, Lines, Plan};

/// Tells a process that it is a worker, and which seeds are its own: `from step to`.
pub const SHARE: &str = "SIMULATION_SHARE";
/// How many failing seeds are shown with their last lines.
const SHOWN: usize = 3;
/// How many of those.
const LINES: usize = 40;

/// Runs the seeds from `from` up to `to`, and prints last what they went through.
pub fn run(from: u64, to: u64) -> ExitCode {
    let begun = tokio::time::Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let workers: Vec<Child> = (0..cores).map(|n| start(from + n, cores, to)).collect();
    let mut tally = Tally::default();
    let mut broken = 0;
    for mut worker in workers {
        let output = worker.stdout.take().expect("it is piped");
        for line in BufReader::new(output).lines() {
            tally.take(&line.expect("a worker writes text"));
        }
        broken += usize::from(!worker.wait().expect("it can be waited for").success());
    }
    tally.failures.sort();
    for (seed, verdict) in tally.failures.iter().take(SHOWN) {
        let outcome = world::run(&Plan::of(*seed), Lines::Last);
        for line in outcome.lines.iter().rev().take(LINES).rev() {
            println!("{line}");
        }
        println!("seed {seed} fails: {verdict}\n");
    }
    tally.print(to - from, begun.elapsed());
    match tally.failures.len() + broken {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn start(from: u64, step: u64, to: u64) -> Child {
    Command::new(std::env::current_exe().expect("this program has a path"))
        .env(SHARE, format!("{from} {step} {to}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a worker can be started")
}

/// A worker's life.
pub fn work(share: &str) -> ExitCode {
    let numbers: Vec<u64> = share.split(' ').map(|it| it.parse().expect("a number")).collect();
    let [from, step, to] = numbers[..] else { panic!("{SHARE} is `from step to`") };
    let mut tally = Tally::default();
    for seed in (from..to).step_by(step as usize) {
        let outcome = world::run(&Plan::of(seed), Lines::Last);
        if let Some(verdict) = &outcome.verdict {
            tally.failures.push((seed, verdict.to_string()));
        }
        tally.add(&outcome);
    }
    tally.hand_over();
    ExitCode::SUCCESS
}
