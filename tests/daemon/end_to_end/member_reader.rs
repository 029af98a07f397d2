//! Reads the members of a v3 cluster again and again while a test goes on, each by
//! itself, for records that must never be missing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::fixture::BELOW;
use crate::support::etcd::Etcd;
use crate::support::etcd_v3::V3;

/// A member that is well answers sooner.
const PROMPT: Duration = Duration::from_millis(500);

/// What the reads of one member found.
#[derive(Debug, Default)]
struct Seen {
    /// Reads of the member while it had a leader.
    reads: usize,
    /// Reads that it did not answer, or had no leader at.
    passed_over: usize,
    /// Since the onlooker began, with some of the keys.
    missing: Vec<(Duration, Vec<String>)>,
}

/// A thread a member, which read until they are told to finish.
pub struct Onlooker {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

impl Onlooker {
    /// Begins to read, with this pause between two reads of a member.
    pub fn start<'a>(
        members: impl IntoIterator<Item = &'a Etcd>,
        keys: &HashSet<String>,
        pause: Duration,
    ) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let watch = |member: &Etcd| {
            let (member, over, keys) =
                (member.v3().within(PROMPT), Arc::clone(&over), keys.clone());
            thread::spawn(move || look(&member, &keys, pause, &over))
        };
        let threads = members.into_iter().map(watch).collect();
        Self { over, threads }
    }

    /// Ends it. Panics where a record was missing, or where a member was never read.
    #[track_caller]
    pub fn finds_none_missing(mut self) {
        self.over.store(true, Ordering::SeqCst);
        let all: Vec<_> = self.threads.drain(..).map(|thread| thread.join().unwrap()).collect();
        for (member, seen) in all.iter().enumerate() {
            let Seen { reads, passed_over, missing } = seen;
            println!("member {member}: {reads} reads, {passed_over} passed over");
            let some = missing.first();
            assert!(some.is_none(), "{} reads lack records, such as {some:?}", missing.len());
            assert!(*reads > 0);
        }
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

fn look(member: &V3, keys: &HashSet<String>, pause: Duration, over: &AtomicBool) -> Seen {
    let begun = Instant::now();
    let mut seen = Seen::default();
    while !over.load(Ordering::SeqCst) {
        let asked = begun.elapsed();
        match read_with_leader(member) {
            None => seen.passed_over += 1,
            Some(held) => {
                seen.reads += 1;
                let missing: Vec<_> = keys.difference(&held).take(3).cloned().collect();
                if !missing.is_empty() {
                    seen.missing.push((asked, missing));
                }
            }
        }
        thread::sleep(pause);
    }
    seen
}

/// The keys as the member has them, if it had a leader all the time.
fn read_with_leader(member: &V3) -> Option<HashSet<String>> {
    let before = member.try_status()?.leader?;
    let held = member.try_list_locally(BELOW)?;
    let after = member.try_status()?.leader?;
    (before == after).then(|| held.into_iter().map(|kv| kv.key).collect())
}
