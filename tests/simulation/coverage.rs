//! [`Tally`]: the counters and the failures of many runs.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::world::run::Outcome;

/// The sum of the counters of many runs, and each failed seed with its violation.
#[derive(Default)]
pub struct Tally {
    pub counts: BTreeMap<String, u64>,
    pub failures: Vec<(u64, String)>,
}

impl Tally {
    pub fn add(&mut self, outcome: &Outcome) {
        for (name, amount) in &outcome.counts {
            *self.counts.entry(name.clone()).or_default() += amount;
        }
    }

    /// Prints all counters for the parent process.
    pub fn print_for_parent(&self) {
        for (name, amount) in &self.counts {
            println!("count\t{amount}\t{name}");
        }
    }

    /// Prints a failure for the parent process.
    pub fn print_failure(seed: u64, violation: &str) {
        println!("failure\t{seed}\t{}", violation.replace('\n', " "));
    }

    /// Adds a line that a worker printed. Other output is passed on.
    pub fn add_line(&mut self, line: &str) {
        let mut parts = line.splitn(3, '\t');
        let (Some(kind), Some(number), Some(text)) = (parts.next(), parts.next(), parts.next())
        else {
            println!("{line}");
            return;
        };
        let number: u64 = number.parse().expect("a worker prints numbers");
        match kind {
            "count" => *self.counts.entry(text.to_owned()).or_default() += number,
            _ => {
                println!("seed {number} fails: {text}");
                self.failures.push((number, text.to_owned()));
            }
        }
    }

    pub fn print(&self, seeds: u64, time: Duration) {
        let total = |prefix: &str| {
            let all = self.counts.iter().filter(|(name, _)| name.starts_with(prefix));
            all.map(|(_, amount)| amount).sum::<u64>()
        };
        for (name, amount) in &self.counts {
            println!("{amount:>10}  {name}");
        }
        let mut kinds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (seed, violation) in &self.failures {
            let kind = violation.split(':').next().unwrap_or_default();
            kinds.entry(kind).or_default().push(*seed);
        }
        for (kind, failed) in kinds {
            println!(
                "{} seeds failed: {kind}: {:?}",
                failed.len(),
                &failed[..failed.len().min(20)]
            );
        }
        println!(
            "{seeds} seeds, {} failed; {} steps, {} events, {} minutes of simulated time; {:.0} s",
            self.failures.len(),
            total("step "),
            self.counts.get("events").unwrap_or(&0),
            total("seconds simulated") / 60,
            time.as_secs_f64(),
        );
    }
}
