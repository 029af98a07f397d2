//! Determinism: two runs of one seed have the same trace.

use crate::world::{self, Plan, TraceLines};

/// The number of seeds that are run twice.
const SEEDS: u64 = 8;

/// Runs some seeds twice.
///
/// # Errors
///
/// Returns the first lines that differ.
pub fn check(from: u64) -> Result<(), String> {
    for seed in from..from + SEEDS {
        let plan = Plan::from_seed(seed);
        let (first, second) =
            (world::run(&plan, TraceLines::All), world::run(&plan, TraceLines::All));
        if first.lines == second.lines && first.digest == second.digest {
            continue;
        }
        let difference =
            first.lines.iter().zip(&second.lines).find(|(first, second)| first != second);
        return Err(format!("two runs of seed {seed} differ: {difference:#?}"));
    }
    Ok(())
}
