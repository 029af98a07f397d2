//! [`Agenda`]: the keys that are due, by time and priority.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::model::record::RecordKey;

/// The priority of a request to the store. Changes are sent first and never wait for refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A put, a deletion, or a read that decides one of them.
    Change,
    /// A refresh, or a read that rechecks a key.
    Refresh,
}

/// The time and priority of the next request for each key.
///
/// A key is scheduled at most once, with one priority. A key with a request in flight is not
/// scheduled. The two sets order the keys by time, and `scheduled` finds the time of a key; both
/// hold the same keys at all times, because only the methods of this type change them.
#[derive(Default)]
pub(super) struct Agenda {
    changes: BTreeSet<(Instant, RecordKey)>,
    refreshes: BTreeSet<(Instant, RecordKey)>,
    scheduled: BTreeMap<RecordKey, DueTime>,
}

#[derive(Clone, Copy)]
struct DueTime {
    priority: Priority,
    at: Instant,
}

impl Agenda {
    /// Schedules a key, replacing its earlier time and priority.
    pub fn schedule(&mut self, key: &RecordKey, priority: Priority, at: Instant) {
        self.unschedule(key);
        self.queue_mut(priority).insert((at, key.clone()));
        self.scheduled.insert(key.clone(), DueTime { priority, at });
    }

    /// Removes a key. Does nothing if the key is not scheduled.
    pub fn unschedule(&mut self, key: &RecordKey) {
        if let Some(due) = self.scheduled.remove(key) {
            self.queue_mut(due.priority).remove(&(due.at, key.clone()));
        }
    }

    /// Returns the time at which the next key of this priority is due.
    pub fn next_due(&self, priority: Priority) -> Option<Instant> {
        let queue = match priority {
            Priority::Change => &self.changes,
            Priority::Refresh => &self.refreshes,
        };
        queue.first().map(|(at, _)| *at)
    }

    /// Removes and returns the key of this priority that is due first, if it is due at `now`.
    pub fn pop_due(&mut self, priority: Priority, now: Instant) -> Option<RecordKey> {
        self.next_due(priority).filter(|at| *at <= now)?;
        let (_, key) = self.queue_mut(priority).pop_first()?;
        self.scheduled.remove(&key);
        Some(key)
    }

    /// Returns the keys with [`Priority::Refresh`] that are due at `until` or before, in the
    /// order of their times.
    pub fn refreshes_until(&self, until: Instant) -> impl Iterator<Item = &RecordKey> {
        self.refreshes.iter().take_while(move |(at, _)| *at <= until).map(|(_, key)| key)
    }

    fn queue_mut(&mut self, priority: Priority) -> &mut BTreeSet<(Instant, RecordKey)> {
        match priority {
            Priority::Change => &mut self.changes,
            Priority::Refresh => &mut self.refreshes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> RecordKey {
        RecordKey::from_path(name)
    }

    #[test]
    fn schedules_a_key_at_most_once() {
        let now = Instant::now();
        let mut agenda = Agenda::default();
        agenda.schedule(&key("a"), Priority::Refresh, now);
        agenda.schedule(&key("a"), Priority::Change, now);
        assert_eq!(agenda.next_due(Priority::Refresh), None);
        assert_eq!(agenda.pop_due(Priority::Change, now), Some(key("a")));
        assert_eq!(agenda.next_due(Priority::Change), None);
        agenda.schedule(&key("a"), Priority::Change, now);
        agenda.unschedule(&key("a"));
        assert_eq!(agenda.pop_due(Priority::Change, now), None);
    }

    #[test]
    fn pops_due_keys_in_order_of_time() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut agenda = Agenda::default();
        agenda.schedule(&key("a"), Priority::Refresh, later);
        agenda.schedule(&key("b"), Priority::Refresh, now);
        assert_eq!(agenda.refreshes_until(now).collect::<Vec<_>>(), [&key("b")]);
        assert_eq!(agenda.pop_due(Priority::Refresh, now), Some(key("b")));
        assert_eq!(agenda.pop_due(Priority::Refresh, now), None);
        assert_eq!(agenda.pop_due(Priority::Refresh, later), Some(key("a")));
    }
}
