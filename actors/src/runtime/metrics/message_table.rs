//! [`MessageTable`]: the times of an actor type's messages, by message type.

use std::any::{TypeId, type_name};
use std::sync::OnceLock;

use super::histogram::{Histogram, HistogramSnapshot};

/// The number of message types that are measured separately. No actor has so many. Further types
/// share one entry.
const MESSAGE_TYPES_MAX: usize = 24;

/// The times of an actor type's messages. Each message type takes the next free slot with its first
/// message, and keeps the slot.
#[derive(Debug)]
pub(super) struct MessageTable {
    slots: [OnceLock<(TypeId, MessageMetrics)>; MESSAGE_TYPES_MAX],
    others: MessageMetrics,
}

/// The times of one message type.
#[derive(Debug)]
pub(super) struct MessageMetrics {
    name: &'static str,
    pub wait: Histogram,
    pub handling: Histogram,
}

/// The content of a `MessageMetrics` at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSnapshot {
    /// The name of the message type, without its path.
    pub message: &'static str,
    /// The time from the mailbox to the handler.
    pub wait: HistogramSnapshot,
    /// The time in the handler.
    pub handling: HistogramSnapshot,
}

impl MessageTable {
    pub const fn new() -> Self {
        Self {
            slots: [const { OnceLock::new() }; MESSAGE_TYPES_MAX],
            others: MessageMetrics::new("others"),
        }
    }

    /// Returns the metrics of a message type. A linear search of the few slots is faster than a map.
    pub fn metrics_of<M: 'static>(&self) -> &MessageMetrics {
        let wanted = TypeId::of::<M>();
        for slot in &self.slots {
            let (message, metrics) =
                slot.get_or_init(|| (wanted, MessageMetrics::new(without_path(type_name::<M>()))));
            if *message == wanted {
                return metrics;
            }
        }
        &self.others
    }

    /// Returns a snapshot of each message type that has at least one message.
    pub fn snapshot(&self) -> impl Iterator<Item = MessageSnapshot> {
        let known = self.slots.iter().filter_map(OnceLock::get).map(|(_, metrics)| metrics);
        known.chain([&self.others]).map(MessageMetrics::snapshot).filter(|one| one.wait.count > 0)
    }
}

impl MessageMetrics {
    const fn new(name: &'static str) -> Self {
        Self { name, wait: Histogram::new(), handling: Histogram::new() }
    }

    fn snapshot(&self) -> MessageSnapshot {
        let (wait, handling) = (self.wait.snapshot(), self.handling.snapshot());
        MessageSnapshot { message: self.name, wait, handling }
    }
}

fn without_path(type_name: &'static str) -> &'static str {
    type_name.rsplit("::").next().unwrap_or(type_name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct One;
    struct Another;

    fn record<M: 'static>(messages: &MessageTable) {
        messages.metrics_of::<M>().wait.record(Duration::ZERO);
    }

    fn names(messages: &MessageTable) -> Vec<(&'static str, u64)> {
        messages.snapshot().map(|one| (one.message, one.wait.count)).collect()
    }

    #[test]
    fn measures_each_message_type_separately() {
        let messages = MessageTable::new();
        record::<One>(&messages);
        record::<Another>(&messages);
        record::<One>(&messages);
        assert_eq!(names(&messages), [("One", 2), ("Another", 1)]);
    }

    #[test]
    fn excess_message_types_share_one_entry() {
        let messages = MessageTable::new();
        macro_rules! record_arrays_of {
            ($($size:literal)*) => { $(record::<[u8; $size]>(&messages);)* };
        }
        record_arrays_of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26);
        let names = names(&messages);
        assert_eq!(names.len(), MESSAGE_TYPES_MAX + 1);
        assert_eq!(names.last(), Some(&("others", 2)));
    }
}
