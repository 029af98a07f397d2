//! [`MailboxMetrics`]: counters and times of an actor type's mailbox.
//!
//! actix does not expose the length of a mailbox, so each message carries a guard that counts it.

mod histogram;
mod message_table;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::time::Instant;

use histogram::update_max;
pub use histogram::{Histogram, HistogramSnapshot};
pub use message_table::MessageSnapshot;
use message_table::{MessageMetrics, MessageTable};

/// The counters and times of one actor type, over all its instances.
///
/// Each actor type has one static value, so that any thread can read it at any time.
#[derive(Debug)]
pub struct MailboxMetrics {
    /// The name of the actor type in logs and metrics.
    pub actor: &'static str,
    /// The number of messages that the mailbox of one instance holds before senders wait.
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

/// The content of a [`MailboxMetrics`] at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxSnapshot {
    /// The name of the actor type.
    pub actor: &'static str,
    /// The number of running instances.
    pub instances: u64,
    /// The number of waiting messages, over all instances.
    pub depth: u64,
    /// The capacity of the mailbox of one instance.
    pub capacity: usize,
    /// The largest depth so far.
    pub high_water: u64,
    /// The number of messages that entered a mailbox.
    pub enqueued: u64,
    /// The number of handled messages. A message whose handler panicked is not counted.
    pub handled: u64,
    /// The number of states that a newer state replaced before they were sent.
    pub coalesced: u64,
    /// The number of messages without a running receiver. Their senders keep the state.
    pub refused: u64,
    /// The number of restarts after a panic.
    pub restarts: u64,
    /// The number of panics.
    pub panics: u64,
    /// The time from the mailbox to the handler.
    pub wait: HistogramSnapshot,
    /// The time in the handler.
    pub handling: HistogramSnapshot,
    /// The times by message type, in the order of the first message of each type.
    pub messages: Vec<MessageSnapshot>,
}

impl MailboxMetrics {
    /// Returns empty metrics for the actor type with this name.
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

    /// Returns the current content. The counters change while they are read, so each is correct by
    /// itself, but two of them may differ by a message.
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

    /// Counts an instance as running until the guard is dropped.
    pub(crate) fn instance_guard(&'static self) -> InstanceGuard {
        self.instances_started.fetch_add(1, Relaxed);
        InstanceGuard(self)
    }

    /// Counts a message of type `M` as queued until the guard is dropped.
    pub(crate) fn enqueue<M: 'static>(&'static self) -> QueuedGuard {
        let enqueued = self.enqueued.fetch_add(1, Relaxed) + 1;
        let depth = enqueued.saturating_sub(self.dequeued.load(Relaxed));
        update_max(&self.high_water, depth);
        QueuedGuard {
            mailbox: self,
            message: self.messages.metrics_of::<M>(),
            since: Instant::now(),
        }
    }
}

/// A running instance of an actor.
pub(crate) struct InstanceGuard(&'static MailboxMetrics);

impl Drop for InstanceGuard {
    fn drop(&mut self) {
        self.0.instances_ended.fetch_add(1, Relaxed);
    }
}

/// A message in a mailbox. Dropping the guard counts the message as dequeued, so messages in the
/// mailbox of a crashed actor are counted, too.
pub(crate) struct QueuedGuard {
    mailbox: &'static MailboxMetrics,
    message: &'static MessageMetrics,
    since: Instant,
}

impl QueuedGuard {
    /// Counts the message as dequeued, and measures its handling.
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
        self.mailbox.dequeued.fetch_add(1, Relaxed);
    }
}
