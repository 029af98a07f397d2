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
    pub asked: Instant,
    /// When the answer was there.
    pub answered: Instant,
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
        let held = |key: &&String| self.values.as_ref().is_some_and(|it| it.contains_key(*key));
        keys.iter().filter(|key| !held(key)).collect()
    }
}

/// A thread that reads all below [`ROOT`] until it is told to finish.
pub struct Sampler {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Sample>>>,
}

impl Sampler {
    /// Begins to read, with this pause between two reads.
    pub fn start(etcd: Reader, pause: Duration) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen_over = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            loop {
                // The last read begins after the end was asked for, and so sees all that
                // was there by then.
                let last = seen_over.load(Ordering::SeqCst);
                samples.push(read(etcd));
                if last {
                    return samples;
                }
                thread::sleep(pause);
            }
        });
        Self { over, thread: Some(thread) }
    }

    /// Ends it; all that it read.
    pub fn finish(mut self) -> Vec<Sample> {
        self.over.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

fn read(etcd: Reader) -> Sample {
    let asked = Instant::now();
    let nodes = etcd.list(ROOT);
    let values = nodes.map(|nodes| nodes.into_iter().map(|node| (node.key, node.value)).collect());
    Sample { asked, answered: Instant::now(), values }
}

/// Panics unless every read was answered, and found all of these keys.
#[track_caller]
pub fn assert_never_missing(samples: &[Sample], keys: &HashSet<String>) {
    let first = samples.first().expect("a sample").asked;
    for sample in samples {
        let missing = sample.missing(keys);
        let at = sample.asked - first;
        assert!(missing.is_empty(), "after {at:?} of the watch there was no {missing:?}");
    }
    println!("{} reads found {} keys each", samples.len(), keys.len());
}
