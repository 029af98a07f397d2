//! The trace of a run: log lines and steps with their simulated time.
//!
//! The last lines are printed for a failed run. A digest of all lines shows if two runs are equal.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::time::Instant;

/// The number of lines that [`TraceLines::Last`] keeps.
const LINES_KEPT_MAX: usize = 400;

/// The use of trace lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceLines {
    /// The last lines are kept.
    #[default]
    Last,
    /// All lines are kept.
    All,
    /// All lines are printed at once, which also shows a run that does not end.
    Printed,
}

#[derive(Default)]
struct Trace {
    started: Option<Instant>,
    retention: TraceLines,
    lines: VecDeque<String>,
    digest: DefaultHasher,
    counts: BTreeMap<&'static str, u64>,
}

thread_local! {
    // A thread-local, because a logger's drain must be `Send`. A run uses one thread.
    static TRACE: RefCell<Trace> = RefCell::default();
}

/// The trace of a run.
pub struct TraceSummary {
    /// The lines that were kept. See [`TraceLines`].
    pub lines: Vec<String>,
    /// A hash of all lines.
    pub digest: u64,
    /// The counters of the run, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Begins a run's trace.
pub fn begin(retention: TraceLines) {
    let started = Some(Instant::now());
    TRACE.with_borrow_mut(|trace| *trace = Trace { started, retention, ..Trace::default() });
}

/// Adds a line with the simulated time.
pub fn add_line(line: fmt::Arguments) {
    TRACE.with_borrow_mut(|trace| {
        let Some(started) = trace.started else { return };
        let line = format!("{:>11.6} {line}", started.elapsed().as_secs_f64());
        line.hash(&mut trace.digest);
        match trace.retention {
            TraceLines::Last if trace.lines.len() >= LINES_KEPT_MAX => {
                drop(trace.lines.pop_front())
            }
            TraceLines::Last | TraceLines::All => {}
            TraceLines::Printed => return println!("{line}"),
        }
        trace.lines.push_back(line);
    });
}

/// Increments a counter of the run.
pub fn count(name: &'static str) {
    count_many(name, 1);
}

/// Adds to a counter of the run.
pub fn count_many(name: &'static str, amount: u64) {
    TRACE.with_borrow_mut(|trace| *trace.counts.entry(name).or_default() += amount);
}

/// Ends the trace and returns it.
pub fn end() -> TraceSummary {
    TRACE.with_borrow_mut(|trace| {
        let Trace { lines, digest, counts, .. } = std::mem::take(trace);
        TraceSummary { lines: lines.into(), digest: digest.finish(), counts }
    })
}

/// Adds a line to the run's trace.
macro_rules! trace_line {
    ($($args:tt)+) => { $crate::world::trace::add_line(format_args!($($args)+)) };
}
pub(crate) use trace_line;
