//! The edges with a count kept of what they are asked: neither they nor the core know.

mod source;
mod store;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use highhock_actors::runtime::metrics::{Histogram, HistogramSnapshot};
use tokio::time::Instant;

/// What came of a request that was answered as hoped.
const OK: &str = "ok";

/// An edge whose requests are counted.
pub struct Instrumented<T> {
    inner: T,
    requests: Arc<RequestMetrics>,
}

/// Counts and times the requests to one server, by what was asked and what came of it. The
/// names of both are settled once: each has a count from the start, and none comes later.
#[derive(Debug)]
pub struct RequestMetrics(Vec<RequestRow>);

#[derive(Debug)]
struct RequestRow {
    request: &'static str,
    results: Vec<(&'static str, AtomicU64)>,
    seconds: Histogram,
}

/// What was counted of one sort of request at one moment.
#[derive(Clone, Debug)]
pub struct RequestSnapshot {
    /// What was asked.
    pub request: &'static str,
    /// What came of it, and how often: `ok`, or an error's kind.
    pub results: Vec<(&'static str, u64)>,
    /// How long the answer, or the failure, took.
    pub seconds: HistogramSnapshot,
}

impl<T> Instrumented<T> {
    /// An edge whose requests are counted here.
    pub fn new(inner: T, requests: &Arc<RequestMetrics>) -> Self {
        Self { inner, requests: Arc::clone(requests) }
    }
}

impl RequestMetrics {
    fn new(requests: &[&'static str], results: &[&'static str]) -> Self {
        let zero = |result: &&'static str| (*result, AtomicU64::new(0));
        let row = |request: &&'static str| RequestRow {
            request,
            results: std::iter::once(&OK).chain(results).map(zero).collect(),
            seconds: Histogram::new(),
        };
        Self(requests.iter().map(row).collect())
    }

    /// All counts as they are now.
    pub fn snapshot(&self) -> Vec<RequestSnapshot> {
        let read = |row: &RequestRow| RequestSnapshot {
            request: row.request,
            results: row.results.iter().map(|(name, count)| (*name, count.load(Relaxed))).collect(),
            seconds: row.seconds.snapshot(),
        };
        self.0.iter().map(read).collect()
    }

    /// Carries a request out; `result` names what came of it.
    async fn measure<T>(
        &self,
        request: &'static str,
        operation: impl Future<Output = T>,
        result: impl FnOnce(&T) -> &'static str,
    ) -> T {
        let started = Instant::now();
        let answer = operation.await;
        let result = result(&answer);
        if let Some(row) = self.0.iter().find(|row| row.request == request) {
            row.seconds.record(started.elapsed());
            if let Some((_, count)) = row.results.iter().find(|(name, _)| *name == result) {
                count.fetch_add(1, Relaxed);
            }
        }
        answer
    }
}
