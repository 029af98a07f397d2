//! Runs many seeds, in as many processes as there are cores: the core counts its messages
//! by process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::coverage::Tally;
use crate::world::{self, Plan, TraceLines};

/// Tells a process that it is a worker, and which seeds are its own: `from step to`.
pub const SHARE_VARIABLE: &str = "SIMULATION_SHARE";
/// How many failing seeds are shown with their last lines.
const FAILURES_SHOWN_MAX: usize = 3;
/// How many of those.
const TRACE_LINES_SHOWN: usize = 40;
/// How long one seed may take, of real time: a hundred times what any takes. In a core that
/// spins, simulated time stands still, and nothing else would ever end it.
const SEED_TIMEOUT: Duration = Duration::from_secs(120);
const TIMEOUT_VIOLATION: &str = "it never ends";

/// Runs the seeds from `from` up to `to`, and prints last what they went through.
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
    let mut broken = 0;
    for worker in &mut workers {
        broken += usize::from(!worker.wait().expect("it can be waited for").success());
    }
    tally.failures.sort();
    // One that never ends would not end here either.
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
    match tally.failures.len() + broken {
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
    let output = worker.stdout.take().expect("it is piped");
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let _ = lines.send(line.expect("a worker writes text"));
        }
    });
    worker
}

/// A worker's life.
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

/// Ends this process where a seed takes too long, and names the seed.
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
                        &format!("{TIMEOUT_VIOLATION}: not in {SEED_TIMEOUT:?}"),
                    );
                    std::process::exit(1);
                }
            }
        }
    });
    begun
}
