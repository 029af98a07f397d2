//! Reads an etcd again and again while a test goes on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::ROOT;
use crate::support::etcd::Reader;

/// What one read found.
pub struct Sample {
    /// When it was asked for.
    pub sent_at: Instant,
    /// When the answer was there.
    pub received_at: Instant,
    /// The values by their keys; `None`: etcd did not answer.
    pub values: Option<HashMap<String, String>>,
}

impl Sample {
    /// Whether all of these are there.
    pub fn has_all(&self, keys: &HashSet<String>) -> bool {
        self.missing(keys).is_empty()
    }

    /// Which of these are not there.
    pub fn missing<'a>(&self, keys: &'a HashSet<String>) -> Vec<&'a String> {
        let is_stored =
            |key: &&String| self.values.as_ref().is_some_and(|it| it.contains_key(*key));
        keys.iter().filter(|key| !is_stored(key)).collect()
    }
}

/// A thread that reads all below [`ROOT`] until it is told to finish.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Sample>>>,
}

impl Sampler {
    /// Begins to read, with this pause between two reads.
    pub fn start(etcd: Reader, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stop_handle = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            loop {
                // The last read begins after the end was asked for, and so sees all that
                // was there by then.
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

    /// Ends it; all that it read.
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

/// Panics unless every read was answered, and found all of these keys.
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
