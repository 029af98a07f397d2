//! Leaves out of a failing plan all that it fails without.

use std::process::ExitCode;

use crate::world::{self, Lines, Plan, Verdict};

/// Shrinks a plan, and prints what is left of it and its trace.
pub fn shrink(mut plan: Plan) -> ExitCode {
    let Some(verdict) = world::run(&plan, Lines::Last).verdict else {
        println!("seed {} does not fail", plan.conditions.seed);
        return ExitCode::SUCCESS;
    };
    let began_with = plan.steps.len();
    let mut part = plan.steps.len().div_ceil(2);
    while part > 0 {
        let mut from = 0;
        let mut has_shrunk = false;
        while from < plan.steps.len() {
            let mut fewer = plan.clone();
            fewer.steps.drain(from..(from + part).min(fewer.steps.len()));
            if fails_alike(&fewer, &verdict) {
                (plan, has_shrunk) = (fewer, true);
            } else {
                from += part;
            }
        }
        if !has_shrunk || part > 1 {
            part /= 2;
        }
    }
    let outcome = world::run(&plan, Lines::Printed);
    println!("{:?}", plan.conditions);
    for (at, step) in &plan.steps {
        println!("{:>10.3} {step:?}", at.as_secs_f64());
    }
    println!("{} of {began_with} steps are left; {}", plan.steps.len(), outcome.verdict.unwrap());
    ExitCode::FAILURE
}

fn fails_alike(plan: &Plan, verdict: &Verdict) -> bool {
    let now = world::run(plan, Lines::Last).verdict;
    now.is_some_and(|now| now.invariant == verdict.invariant)
}
