//! What many runs went through, in figures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::world::run::Outcome;

/// The figures, and the seeds that failed, with what broke.
#[derive(Default)]
pub struct Tally {
    pub counts: BTreeMap<String, u64>,
    pub failures: Vec<(u64, String)>,
}

impl Tally {
    pub fn add(&mut self, outcome: &Outcome) {
        for (what, many) in &outcome.counts {
            *self.counts.entry(what.clone()).or_default() += many;
        }
    }

    /// Prints all figures for another process.
    pub fn hand_over(&self) {
        for (what, many) in &self.counts {
            println!("count\t{many}\t{what}");
        }
    }

    /// Tells another process of a failure, at once.
    pub fn tell_failure(seed: u64, verdict: &str) {
        println!("failure\t{seed}\t{}", verdict.replace('\n', " "));
    }

    /// Takes a line of what another process has handed over.
    pub fn take(&mut self, line: &str) {
        let mut parts = line.splitn(3, '\t');
        let (Some(sort), Some(number), Some(text)) = (parts.next(), parts.next(), parts.next())
        else {
            println!("{line}");
            return;
        };
        let number: u64 = number.parse().expect("a worker writes numbers");
        match sort {
            "count" => *self.counts.entry(text.to_owned()).or_default() += number,
            _ => {
                println!("seed {number} fails: {text}");
                self.failures.push((number, text.to_owned()));
            }
        }
    }

    pub fn print(&self, seeds: u64, time: Duration) {
        let of = |prefix: &str| {
            let all = self.counts.iter().filter(|(what, _)| what.starts_with(prefix));
            all.map(|(_, many)| many).sum::<u64>()
        };
        for (what, many) in &self.counts {
            println!("{many:>10}  {what}");
        }
        let mut kinds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (seed, verdict) in &self.failures {
            let kind = verdict.split(':').next().unwrap_or_default();
            kinds.entry(kind).or_default().push(*seed);
        }
        for (kind, failed) in kinds {
            println!("{} seeds broke: {kind}: {:?}", failed.len(), &failed[..failed.len().min(20)]);
        }
        println!(
            "{seeds} seeds, {} failed; {} steps, {} events, {} minutes of simulated time; {:.0} s",
            self.failures.len(),
            of("step "),
            self.counts.get("events").unwrap_or(&0),
            of("seconds simulated") / 60,
            time.as_secs_f64(),
        );
    }
}
