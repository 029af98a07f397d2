//! Runs many seeds in worker processes, one for each CPU core.
//!
//! Workers are processes because mailbox metrics belong to a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::coverage::Tally;
use crate::world::{self, Plan, TraceLines};

/// Set in a worker process only: the seeds of the worker, as `from step to`.
pub const SHARE_VARIABLE: &str = "SIMULATION_SHARE";
/// The number of failed seeds whose last trace lines are printed.
const FAILURES_SHOWN_MAX: usize = 3;
/// The number of trace lines that are printed for each of these seeds.
const TRACE_LINES_SHOWN: usize = 40;
/// The longest real time of one seed, a hundred times the usual duration. Simulated time stands
/// still in a core that spins, so only real time can end the run.
const SEED_TIMEOUT: Duration = Duration::from_secs(120);
const TIMEOUT_VIOLATION: &str = "the run does not end";

/// Runs the seeds from `from` up to, but not including, `to`. Prints counters and failures.
pub fn run(from: u64, to: u64) -> ExitCode {
    let begun = tokio::time::Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let (sender, lines) = mpsc::channel();
    let mut workers: Vec<Child> =
        (0..cores).map(|n| start_worker(from + n, cores, to, sender.clone())).collect();
    drop(sender);
    let mut tally = Tally::default();
    for line in lines {
        tally.add_line(&line);
    }
    let mut failed_workers = 0;
    for worker in &mut workers {
        failed_workers +=
            usize::from(!worker.wait().expect("a worker can be waited for").success());
    }
    tally.failures.sort();
    // A seed that does not end is not run again.
    let shown =
        tally.failures.iter().filter(|(_, violation)| !violation.starts_with(TIMEOUT_VIOLATION));
    for (seed, violation) in shown.take(FAILURES_SHOWN_MAX) {
        let outcome = world::run(&Plan::from_seed(*seed), TraceLines::Last);
        for line in outcome.lines.iter().rev().take(TRACE_LINES_SHOWN).rev() {
            println!("{line}");
        }
        println!("seed {seed} fails: {violation}\n");
    }
    tally.print(to - from, begun.elapsed());
    match tally.failures.len() + failed_workers {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn start_worker(from: u64, step: u64, to: u64, lines: Sender<String>) -> Child {
    let mut worker = Command::new(std::env::current_exe().expect("this program has a path"))
        .env(SHARE_VARIABLE, format!("{from} {step} {to}"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a worker can be started");
    let output = worker.stdout.take().expect("stdout is piped");
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let _ = lines.send(line.expect("a worker prints text"));
        }
    });
    worker
}

/// Runs the share of a worker process.
pub fn run_worker(share: &str) -> ExitCode {
    let numbers: Vec<u64> = share.split(' ').map(|it| it.parse().expect("a number")).collect();
    let [from, step, to] = numbers[..] else { panic!("{SHARE_VARIABLE} is `from step to`") };
    let mut tally = Tally::default();
    let begun = start_hang_detector();
    for seed in (from..to).step_by(step as usize) {
        let _ = begun.send(seed);
        let outcome = world::run(&Plan::from_seed(seed), TraceLines::Last);
        if let Some(violation) = &outcome.violation {
            Tally::print_failure(seed, &violation.to_string());
        }
        tally.add(&outcome);
    }
    tally.print_for_parent();
    ExitCode::SUCCESS
}

/// Starts a thread that ends this process if a seed takes too long, and reports the seed.
fn start_hang_detector() -> Sender<u64> {
    let (begun, seeds) = mpsc::channel();
    thread::spawn(move || {
        let mut seed = None;
        loop {
            match seeds.recv_timeout(SEED_TIMEOUT) {
                Ok(next) => seed = Some(next),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let Some(seed) = seed else { continue };
                    Tally::print_failure(
                        seed,
                        &format!("{TIMEOUT_VIOLATION}: timeout after {SEED_TIMEOUT:?}"),
                    );
                    std::process::exit(1);
                }
            }
        }
    });
    begun
}
