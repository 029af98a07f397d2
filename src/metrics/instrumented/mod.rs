//! Wrappers of the two ports that count and time each request.
//!
//! Neither the wrapped clients nor the core contain code for these metrics.

mod source;
mod store;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use highhock_actors::runtime::metrics::{Histogram, HistogramSnapshot};
use tokio::time::Instant;

/// The result of a successful request.
const OK: &str = "ok";

/// A client of Docker or etcd whose requests are counted and timed.
pub struct Instrumented<T> {
    inner: T,
    requests: Arc<RequestMetrics>,
}

/// The metrics of the requests to one server, by kind of request and result.
///
/// All kinds and results are fixed at the start, so that each has a count of 0 from the start.
#[derive(Debug)]
pub struct RequestMetrics(Vec<RequestRow>);

#[derive(Debug)]
struct RequestRow {
    request: &'static str,
    results: Vec<(&'static str, AtomicU64)>,
    seconds: Histogram,
}

/// The metrics of one kind of request at one time.
#[derive(Clone, Debug)]
pub struct RequestSnapshot {
    /// The kind of request.
    pub request: &'static str,
    /// The number of requests by result: `ok`, or the kind of error.
    pub results: Vec<(&'static str, u64)>,
    /// The durations of all requests, including failed ones.
    pub seconds: HistogramSnapshot,
}

impl<T> Instrumented<T> {
    /// Wraps a client; its requests are recorded in `requests`.
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

    /// Returns all counts and durations.
    pub fn snapshot(&self) -> Vec<RequestSnapshot> {
        let read = |row: &RequestRow| RequestSnapshot {
            request: row.request,
            results: row.results.iter().map(|(name, count)| (*name, count.load(Relaxed))).collect(),
            seconds: row.seconds.snapshot(),
        };
        self.0.iter().map(read).collect()
    }

    /// Awaits a request and records it under the result that `result` returns.
    async fn measure<T>(
        &self,
        request: &'static str,
        operation: impl Future<Output = T>,
        result: impl FnOnce(&T) -> &'static str,
    ) -> T {
        let started = Instant::now();
        let response = operation.await;
        let result = result(&response);
        if let Some(row) = self.0.iter().find(|row| row.request == request) {
            row.seconds.record(started.elapsed());
            if let Some((_, count)) = row.results.iter().find(|(name, _)| *name == result) {
                count.fetch_add(1, Relaxed);
            }
        }
        response
    }
}
