//! Reads the members of a v3 cluster again and again while a test goes on, each by
//! itself, for records that must never be missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::fixture::KEY_PREFIX;
use crate::support::etcd::Etcd;
use crate::support::etcd_v3::V3Client;

/// A member that is well answers sooner.
const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// What the reads of one member found.
#[derive(Debug, Default)]
struct ReadStats {
    /// Reads of the member while it had a leader.
    reads: usize,
    /// Reads that it did not answer, or had no leader at.
    skipped: usize,
    /// Since the onlooker began, with some of the keys.
    missing: Vec<(Duration, Vec<String>)>,
}

/// A thread a member, which read until they are told to finish.
pub struct MemberReader {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<ReadStats>>,
}

impl MemberReader {
    /// Begins to read, with this pause between two reads of a member.
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

    /// Ends it. Panics where a record was missing, or where a member was never read.
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

/// The keys as the member has them, if it had a leader all the time.
fn read_with_leader(member: &V3Client) -> Option<HashSet<String>> {
    let before = member.try_status()?.leader?;
    let held = member.try_list_locally(KEY_PREFIX)?;
    let after = member.try_status()?.leader?;
    (before == after).then(|| held.into_iter().map(|kv| kv.key).collect())
}
