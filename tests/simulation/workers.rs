//! Runs many seeds, in as many processes as there are cores: the core counts its messages
//! by process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::coverage::Tally;
use crate::world::{self, Lines, Plan};

/// Tells a process that it is a worker, and which seeds are its own: `from step to`.
pub const SHARE: &str = "SIMULATION_SHARE";
/// How many failing seeds are shown with their last lines.
const SHOWN: usize = 3;
/// How many of those.
const LINES: usize = 40;
/// How long one seed may take, of real time: a hundred times what any takes. In a core that
/// spins, simulated time stands still, and nothing else would ever end it.
const LONGEST: Duration = Duration::from_secs(120);
const NEVER_ENDS: &str = "it never ends";

/// Runs the seeds from `from` up to `to`, and prints last what they went through.
pub fn run(from: u64, to: u64) -> ExitCode {
    let begun = tokio::time::Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let (sender, lines) = mpsc::channel();
    let mut workers: Vec<Child> =
        (0..cores).map(|n| start(from + n, cores, to, sender.clone())).collect();
    drop(sender);
    let mut tally = Tally::default();
    for line in lines {
        tally.take(&line);
    }
    let mut broken = 0;
    for worker in &mut workers {
        broken += usize::from(!worker.wait().expect("it can be waited for").success());
    }
    tally.failures.sort();
    // One that never ends would not end here either.
    let shown = tally.failures.iter().filter(|(_, verdict)| !verdict.starts_with(NEVER_ENDS));
    for (seed, verdict) in shown.take(SHOWN) {
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

fn start(from: u64, step: u64, to: u64, lines: Sender<String>) -> Child {
    let mut worker = Command::new(std::env::current_exe().expect("this program has a path"))
        .env(SHARE, format!("{from} {step} {to}"))
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
pub fn work(share: &str) -> ExitCode {
    let numbers: Vec<u64> = share.split(' ').map(|it| it.parse().expect("a number")).collect();
    let [from, step, to] = numbers[..] else { panic!("{SHARE} is `from step to`") };
    let mut tally = Tally::default();
    let begun = watch_for_spins();
    for seed in (from..to).step_by(step as usize) {
        let _ = begun.send(seed);
        let outcome = world::run(&Plan::of(seed), Lines::Last);
        if let Some(verdict) = &outcome.verdict {
            Tally::tell_failure(seed, &verdict.to_string());
        }
        tally.add(&outcome);
    }
    tally.hand_over();
    ExitCode::SUCCESS
}

/// Ends this process where a seed takes too long, and names the seed.
fn watch_for_spins() -> Sender<u64> {
    let (begun, seeds) = mpsc::channel();
    thread::spawn(move || {
        let mut seed = None;
        loop {
            match seeds.recv_timeout(LONGEST) {
                Ok(next) => seed = Some(next),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let Some(seed) = seed else { continue };
                    Tally::tell_failure(seed, &format!("{NEVER_ENDS}: not in {LONGEST:?}"));
                    std::process::exit(1);
                }
            }
        }
    });
    begun
}
