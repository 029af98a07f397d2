//! What is timed of an actor type's messages, by message type.

use std::any::{TypeId, type_name};
use std::sync::OnceLock;

use super::histogram::{Timing, TimingReading};

/// How many message types of an actor are told apart: more than any actor has. What goes
/// beyond is timed as one.
const MOST: usize = 24;

/// The timings of an actor type's messages. Each message type takes a place of its own
/// with its first message, and keeps it.
#[derive(Debug)]
pub(super) struct Messages {
    places: [OnceLock<(TypeId, MessageMeter)>; MOST],
    others: MessageMeter,
}

/// The timings of one message type.
#[derive(Debug)]
pub(super) struct MessageMeter {
    name: &'static str,
    pub wait: Timing,
    pub handling: Timing,
}

/// What was timed of one message type at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageReading {
    /// The message type, without its path.
    pub message: &'static str,
    /// From entering the mailbox to being handled.
    pub wait: TimingReading,
    /// In the handler.
    pub handling: TimingReading,
}

impl Messages {
    pub const fn new() -> Self {
        Self { places: [const { OnceLock::new() }; MOST], others: MessageMeter::new("others") }
    }

    /// The timings of a message type. The few places are looked through in order, which
    /// takes less than any map would.
    pub fn of<M: 'static>(&self) -> &MessageMeter {
        let wanted = TypeId::of::<M>();
        for place in &self.places {
            let (message, meter) =
                place.get_or_init(|| (wanted, MessageMeter::new(without_path(type_name::<M>()))));
            if *message == wanted {
                return meter;
            }
        }
        &self.others
    }

    /// What was timed of each message type that there was any message of.
    pub fn read(&self) -> impl Iterator<Item = MessageReading> {
        let known = self.places.iter().filter_map(OnceLock::get).map(|(_, meter)| meter);
        known.chain([&self.others]).map(MessageMeter::read).filter(|one| one.wait.count > 0)
    }
}

impl MessageMeter {
    const fn new(name: &'static str) -> Self {
        Self { name, wait: Timing::new(), handling: Timing::new() }
    }

    fn read(&self) -> MessageReading {
        let (wait, handling) = (self.wait.read(), self.handling.read());
        MessageReading { message: self.name, wait, handling }
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

    fn time<M: 'static>(messages: &Messages) {
        messages.of::<M>().wait.add(Duration::ZERO);
    }

    fn names(messages: &Messages) -> Vec<(&'static str, u64)> {
        messages.read().map(|one| (one.message, one.wait.count)).collect()
    }

    #[test]
    fn each_message_type_is_timed_by_itself() {
        let messages = Messages::new();
        time::<One>(&messages);
        time::<Another>(&messages);
        time::<One>(&messages);
        assert_eq!(names(&messages), [("One", 2), ("Another", 1)]);
    }

    #[test]
    fn more_than_there_are_places_for_are_timed_as_one() {
        let messages = Messages::new();
        macro_rules! time_arrays_of {
            ($($size:literal)*) => { $(time::<[u8; $size]>(&messages);)* };
        }
        time_arrays_of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26);
        let names = names(&messages);
        assert_eq!(names.len(), MOST + 1);
        assert_eq!(names.last(), Some(&("others", 2)));
    }
}
