//! A seed run twice gives the same trace, to the letter.

use crate::world::{self, Plan, TraceLines};

/// How many seeds are run twice.
const SEEDS: u64 = 8;

/// Runs some seeds twice; says where the two differ.
pub fn check(from: u64) -> Result<(), String> {
    for seed in from..from + SEEDS {
        let plan = Plan::from_seed(seed);
        let (one, other) = (world::run(&plan, TraceLines::All), world::run(&plan, TraceLines::All));
        if one.lines == other.lines && one.digest == other.digest {
            continue;
        }
        let differ = one.lines.iter().zip(&other.lines).find(|(one, other)| one != other);
        return Err(format!("seed {seed}, run twice, went two ways: {differ:#?}"));
    }
    Ok(())
}
