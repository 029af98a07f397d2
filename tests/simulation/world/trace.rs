//! What happens in a run, line by line: the last lines for whom a failure is shown, and a
//! digest of all of them, by which two runs are compared.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use tokio::time::Instant;

/// How many lines are kept where nobody asked for all of them.
const LINES_KEPT_MAX: usize = 400;

/// What becomes of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceLines {
    /// The last ones are kept.
    #[default]
    Last,
    /// All are kept.
    All,
    /// All are printed as they come: also those of a run that never ends.
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
    // A run has a thread of its own, and a logger's drain can't hold what isn't `Send`.
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

/// Adds a line.
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

/// Counts something by its name.
pub fn count(name: &'static str) {
    count_many(name, 1);
}

/// Counts so many of something.
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
