//! Reads each member of a v3 cluster repeatedly during a test, and checks that certain records
//! are never missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::fixture::KEY_PREFIX;
use crate::support::etcd::Etcd;
use crate::support::etcd_v3::V3Client;

/// The limit for a healthy member.
const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// The results of the reads of one member.
#[derive(Debug, Default)]
struct ReadStats {
    /// Reads of the member while it had a leader.
    reads: usize,
    /// Reads without a response or without a leader.
    skipped: usize,
    /// Time since the start of the reader, with the missing keys.
    missing: Vec<(Duration, Vec<String>)>,
}

/// One thread per member, which reads until it is stopped.
pub struct MemberReader {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<ReadStats>>,
}

impl MemberReader {
    /// Starts to read, with this pause between two reads of a member.
    pub fn start<'a>(
        members: impl IntoIterator<Item = &'a Etcd>,
        keys: &HashSet<String>,
        pause: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let watch = |member: &Etcd| {
            let (member, stop, keys) =
                (member.v3().with_timeout(READ_TIMEOUT), Arc::clone(&stop), keys.clone());
            thread::spawn(move || read_until_stopped(&member, &keys, pause, &stop))
        };
        let threads = members.into_iter().map(watch).collect();
        Self { stop, threads }
    }

    /// Stops the threads. Panics if a record was missing, or if a member was never read.
    #[track_caller]
    pub fn assert_none_missing(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let all: Vec<_> = self.threads.drain(..).map(|thread| thread.join().unwrap()).collect();
        for (member, stats) in all.iter().enumerate() {
            let ReadStats { reads, skipped, missing } = stats;
            println!("member {member}: {reads} reads, {skipped} passed over");
            let some = missing.first();
            assert!(some.is_none(), "{} reads lack records, such as {some:?}", missing.len());
            assert!(*reads > 0);
        }
    }
}

impl Drop for MemberReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn read_until_stopped(
    member: &V3Client,
    keys: &HashSet<String>,
    pause: Duration,
    stop: &AtomicBool,
) -> ReadStats {
    let started_at = Instant::now();
    let mut stats = ReadStats::default();
    while !stop.load(Ordering::SeqCst) {
        let sent_at = started_at.elapsed();
        match read_with_leader(member) {
            None => stats.skipped += 1,
            Some(held) => {
                stats.reads += 1;
                let missing: Vec<_> = keys.difference(&held).take(3).cloned().collect();
                if !missing.is_empty() {
                    stats.missing.push((sent_at, missing));
                }
            }
        }
        thread::sleep(pause);
    }
    stats
}

/// Returns the keys of the member if it had a leader during the whole read.
fn read_with_leader(member: &V3Client) -> Option<HashSet<String>> {
    let before = member.try_status()?.leader?;
    let held = member.try_list_locally(KEY_PREFIX)?;
    let after = member.try_status()?.leader?;
    (before == after).then(|| held.into_iter().map(|kv| kv.key).collect())
}
