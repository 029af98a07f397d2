//! What is counted and timed of an actor type's mailbox and messages.

mod histogram;
mod message_table;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

use histogram::update_max;
pub use histogram::{Histogram, HistogramSnapshot};
pub use message_table::MessageSnapshot;
use message_table::{MessageMetrics, MessageTable};

/// The counters of one actor type.
#[derive(Debug)]
pub struct MailboxMetrics {
    /// The actor type, as an operator knows it.
    pub actor: &'static str,
    /// How many messages the mailbox of one instance takes before senders wait.
    pub capacity: usize,
    enqueued: AtomicU64,
    dequeued: AtomicU64,
    high_water: AtomicU64,
    coalesced: AtomicU64,
    refused: AtomicU64,
    instances_started: AtomicU64,
    instances_ended: AtomicU64,
    restarts: AtomicU64,
    panics: AtomicU64,
    messages: MessageTable,
}

/// What a [`MailboxMetrics`] showed at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxSnapshot {
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
    pub wait: HistogramSnapshot,
    /// In the handler.
    pub handling: HistogramSnapshot,
    /// The same by message type, in the order in which each was first met.
    pub messages: Vec<MessageSnapshot>,
}

impl MailboxMetrics {
    /// A meter for the actor type of this name.
    pub const fn new(actor: &'static str, capacity: usize) -> Self {
        Self {
            actor,
            capacity,
            enqueued: AtomicU64::new(0),
            dequeued: AtomicU64::new(0),
            high_water: AtomicU64::new(0),
            coalesced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            instances_started: AtomicU64::new(0),
            instances_ended: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            messages: MessageTable::new(),
        }
    }

    /// All of it as it is now. Counters move on meanwhile; each by itself is right.
    pub fn snapshot(&self) -> MailboxSnapshot {
        let messages: Vec<_> = self.messages.snapshot().collect();
        let all = |part: fn(&MessageSnapshot) -> &HistogramSnapshot| {
            messages
                .iter()
                .map(part)
                .fold(HistogramSnapshot::default(), |sum, one| sum.merged_with(one))
        };
        let handling = all(|one| &one.handling);
        let dequeued = self.dequeued.load(Relaxed);
        let instances_ended = self.instances_ended.load(Relaxed);
        MailboxSnapshot {
            actor: self.actor,
            instances: self.instances_started.load(Relaxed).saturating_sub(instances_ended),
            depth: self.enqueued.load(Relaxed).saturating_sub(dequeued),
            capacity: self.capacity,
            high_water: self.high_water.load(Relaxed),
            enqueued: self.enqueued.load(Relaxed),
            handled: handling.count,
            coalesced: self.coalesced.load(Relaxed),
            refused: self.refused.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
            panics: self.panics.load(Relaxed),
            wait: all(|one| &one.wait),
            handling,
            messages,
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
    pub(crate) fn instance_guard(&'static self) -> InstanceGuard {
        self.instances_started.fetch_add(1, Relaxed);
        InstanceGuard(self)
    }

    /// Counts a message of type `M` as queued for as long as the guard lives.
    pub(crate) fn enqueue<M: 'static>(&'static self) -> QueuedGuard {
        let enqueued = self.enqueued.fetch_add(1, Relaxed) + 1;
        let depth = enqueued.saturating_sub(self.dequeued.load(Relaxed));
        update_max(&self.high_water, depth);
        QueuedGuard { meter: self, message: self.messages.metrics_of::<M>(), since: Instant::now() }
    }
}

/// An instance of an actor, alive.
pub(crate) struct InstanceGuard(&'static MailboxMetrics);

impl Drop for InstanceGuard {
    fn drop(&mut self) {
        self.0.instances_ended.fetch_add(1, Relaxed);
    }
}

/// A message in a mailbox. It leaves by being handled, or with the mailbox that
/// is dropped: either way the guard counts it out.
pub(crate) struct QueuedGuard {
    meter: &'static MailboxMetrics,
    message: &'static MessageMetrics,
    since: Instant,
}

impl QueuedGuard {
    /// Counts the message out of the mailbox and times its handling.
    pub(crate) fn handle(self, handler: impl FnOnce()) {
        let (message, started) = (self.message, Instant::now());
        message.wait.record(started.saturating_duration_since(self.since));
        drop(self);
        handler();
        message.handling.record(started.elapsed());
    }
}

impl Drop for QueuedGuard {
    fn drop(&mut self) {
        self.meter.dequeued.fetch_add(1, Relaxed);
    }
}
