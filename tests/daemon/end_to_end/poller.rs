//! Reads an etcd repeatedly during a test.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::ROOT;
use crate::support::etcd::Reader;

/// The result of one read.
pub struct Sample {
    /// The time of the request.
    pub sent_at: Instant,
    /// The time of the response.
    pub received_at: Instant,
    /// Values by key; `None`: etcd did not respond.
    pub values: Option<HashMap<String, String>>,
}

impl Sample {
    /// Returns `true` if all these keys are present.
    pub fn has_all(&self, keys: &HashSet<String>) -> bool {
        self.missing(keys).is_empty()
    }

    /// The missing keys.
    pub fn missing<'a>(&self, keys: &'a HashSet<String>) -> Vec<&'a String> {
        let is_stored =
            |key: &&String| self.values.as_ref().is_some_and(|it| it.contains_key(*key));
        keys.iter().filter(|key| !is_stored(key)).collect()
    }
}

/// A thread that reads all keys below [`ROOT`] until it is stopped.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Sample>>>,
}

impl Sampler {
    /// Starts to read, with this pause between two reads.
    pub fn start(etcd: Reader, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stop_handle = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            loop {
                // The last read starts after the stop request, and so sees everything that was
                // present by then.
                let last = stop_handle.load(Ordering::SeqCst);
                samples.push(read(etcd));
                if last {
                    return samples;
                }
                thread::sleep(pause);
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops the thread. Returns all reads.
    pub fn finish(mut self) -> Vec<Sample> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn read(etcd: Reader) -> Sample {
    let sent_at = Instant::now();
    let nodes = etcd.list(ROOT);
    let values = nodes.map(|nodes| nodes.into_iter().map(|node| (node.key, node.value)).collect());
    Sample { sent_at, received_at: Instant::now(), values }
}

/// Panics unless every read was answered and contained all these keys.
#[track_caller]
pub fn assert_never_missing(samples: &[Sample], keys: &HashSet<String>) {
    let first = samples.first().expect("a sample").sent_at;
    for sample in samples {
        let missing = sample.missing(keys);
        let at = sample.sent_at - first;
        assert!(missing.is_empty(), "after {at:?} of the watch there was no {missing:?}");
    }
    println!("{} reads found {} keys each", samples.len(), keys.len());
}
