//! What is counted of an actor type's mailbox and messages.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// One bucket a power of two of nanoseconds: the last holds all from 9 minutes on.
const BUCKETS: usize = 40;

/// How long something took, over and over: count, sum, maximum, and a rough
/// distribution.
#[derive(Debug)]
pub struct Timing {
    count: AtomicU64,
    nanoseconds: AtomicU64,
    longest: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// What a [`Timing`] held at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimingReading {
    /// How many were timed.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
    /// The median, rounded up to a power of two of nanoseconds.
    pub p50: Duration,
    /// The 99th percentile, rounded up likewise.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Timing {
    const fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    fn add(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - nanoseconds.leading_zeros()) as usize;
        self.count.fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
        self.longest.fetch_max(nanoseconds, Relaxed);
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Relaxed);
    }

    fn read(&self) -> TimingReading {
        let max = Duration::from_nanos(self.longest.load(Relaxed));
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let percentile = |percent: u64| {
            let rank = (total * percent).div_ceil(100);
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            Duration::from_nanos(1 << bucket.unwrap_or(0)).min(max)
        };
        TimingReading {
            count: self.count.load(Relaxed),
            sum: Duration::from_nanos(self.nanoseconds.load(Relaxed)),
            p50: percentile(50),
            p99: percentile(99),
            max,
        }
    }
}

/// The counters of one actor type.
#[derive(Debug)]
pub struct Meter {
    /// The actor type, as an operator knows it.
    pub actor: &'static str,
    /// How many messages the mailbox of one instance takes before senders wait.
    pub capacity: usize,
    enqueued: AtomicU64,
    left: AtomicU64,
    handled: AtomicU64,
    high_water: AtomicU64,
    coalesced: AtomicU64,
    refused: AtomicU64,
    born: AtomicU64,
    ended: AtomicU64,
    restarts: AtomicU64,
    panics: AtomicU64,
    wait: Timing,
    handle: Timing,
}

/// What a [`Meter`] showed at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterReading {
    /// The actor type.
    pub actor: &'static str,
    /// How many live.
    pub instances: u64,
    /// Messages waiting, over all instances.
    pub depth: u64,
    /// What one instance's mailbox takes.
    pub capacity: usize,
    /// The largest depth so far.
    pub high_water: u64,
    /// Messages that ever entered a mailbox.
    pub enqueued: u64,
    /// Messages that were handled (one whose handler panicked isn't).
    pub handled: u64,
    /// States that a newer one replaced before they were sent.
    pub coalesced: u64,
    /// Messages that found no actor to take them; their senders keep the state.
    pub refused: u64,
    /// How often an instance was replaced after a failure.
    pub restarts: u64,
    /// How often an instance panicked.
    pub panics: u64,
    /// From entering the mailbox to being handled.
    pub wait: TimingReading,
    /// In the handler.
    pub handling: TimingReading,
}

impl Meter {
    /// A meter for the actor type of this name.
    pub const fn new(actor: &'static str, capacity: usize) -> Self {
        Self {
            actor,
            capacity,
            enqueued: AtomicU64::new(0),
            left: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            high_water: AtomicU64::new(0),
            coalesced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            born: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            wait: Timing::new(),
            handle: Timing::new(),
        }
    }

    /// All of it as it is now. Counters move on meanwhile; each by itself is right.
    pub fn read(&self) -> MeterReading {
        let left = self.left.load(Relaxed);
        let ended = self.ended.load(Relaxed);
        MeterReading {
            actor: self.actor,
            instances: self.born.load(Relaxed).saturating_sub(ended),
            depth: self.enqueued.load(Relaxed).saturating_sub(left),
            capacity: self.capacity,
            high_water: self.high_water.load(Relaxed),
            enqueued: self.enqueued.load(Relaxed),
            handled: self.handled.load(Relaxed),
            coalesced: self.coalesced.load(Relaxed),
            refused: self.refused.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
            panics: self.panics.load(Relaxed),
            wait: self.wait.read(),
            handling: self.handle.read(),
        }
    }

    pub(crate) fn count_coalesced(&self) {
        self.coalesced.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_panic(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    /// Counts an instance for as long as the guard lives.
    pub(crate) fn instance(&'static self) -> Instance {
        self.born.fetch_add(1, Relaxed);
        Instance(self)
    }

    /// Counts a message as queued for as long as the guard lives.
    pub(crate) fn enqueue(&'static self) -> Queued {
        let enqueued = self.enqueued.fetch_add(1, Relaxed) + 1;
        let depth = enqueued.saturating_sub(self.left.load(Relaxed));
        self.high_water.fetch_max(depth, Relaxed);
        Queued { meter: self, since: Instant::now() }
    }
}

/// An instance of an actor, alive.
pub(crate) struct Instance(&'static Meter);

impl Drop for Instance {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Relaxed);
    }
}

/// A message in a mailbox. It leaves by being handled, or with the mailbox that
/// is dropped: either way the guard counts it out.
pub(crate) struct Queued {
    meter: &'static Meter,
    since: Instant,
}

impl Queued {
    /// Counts the message out of the mailbox and times its handling.
    pub(crate) fn handle(self, handler: impl FnOnce()) {
        let (meter, started) = (self.meter, Instant::now());
        meter.wait.add(started.saturating_duration_since(self.since));
        drop(self);
        handler();
        meter.handle.add(started.elapsed());
        meter.handled.fetch_add(1, Relaxed);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.meter.left.fetch_add(1, Relaxed);
    }
}
