//! Shrinking: removes all steps without which a failing plan still fails.

use std::process::ExitCode;

use crate::world::{self, Plan, TraceLines, Violation};

/// Shrinks a plan, and prints the remaining steps and the trace.
pub fn shrink(mut plan: Plan) -> ExitCode {
    let Some(violation) = world::run(&plan, TraceLines::Last).violation else {
        println!("seed {} passes", plan.conditions.seed);
        return ExitCode::SUCCESS;
    };
    let initial_steps = plan.steps.len();
    let mut chunk_size = plan.steps.len().div_ceil(2);
    while chunk_size > 0 {
        let mut from = 0;
        let mut has_shrunk = false;
        while from < plan.steps.len() {
            let mut fewer = plan.clone();
            fewer.steps.drain(from..(from + chunk_size).min(fewer.steps.len()));
            if fails_the_same_way(&fewer, &violation) {
                (plan, has_shrunk) = (fewer, true);
            } else {
                from += chunk_size;
            }
        }
        if !has_shrunk || chunk_size > 1 {
            chunk_size /= 2;
        }
    }
    let outcome = world::run(&plan, TraceLines::Printed);
    println!("{:?}", plan.conditions);
    for (at, step) in &plan.steps {
        println!("{:>10.3} {step:?}", at.as_secs_f64());
    }
    println!(
        "{} of {initial_steps} steps remain; {}",
        plan.steps.len(),
        outcome.violation.unwrap()
    );
    ExitCode::FAILURE
}

fn fails_the_same_way(plan: &Plan, violation: &Violation) -> bool {
    let found = world::run(plan, TraceLines::Last).violation;
    found.is_some_and(|found| found.invariant == violation.invariant)
}
