//! What events told of a container: grounds to withdraw early, never to publish.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::container::{Container, ContainerId, EngineTime, SIGTERM};
use super::container_state::ContainerState;
use super::event::{Event, Happening};

/// So long after a container's end was told of, an inspection is made that decides: one
/// that was answered sooner may be older than the end.
const DECIDED_AFTER: Duration = Duration::from_secs(1);

/// All that events told of one container, as far as it still matters. A state: the newer
/// one holds all that the older one held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hearsay {
    /// When an event last named it, by this process's clock.
    named: Option<Instant>,
    /// The start that was told of last.
    started: Option<Told>,
    ended: Option<Told>,
    /// Of each signal that it was sent, the last.
    signals: BTreeMap<u8, Told>,
}

/// When something happened by the engine's clock, and when it was told by ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    at: EngineTime,
    heard: Instant,
}

/// Why a container is left out, whatever Docker's state said when it was last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// In a word.
    pub state: ContainerState,
    /// In words for an operator.
    pub reason: &'static str,
    /// When that is over, unless Docker's state says so before.
    pub until: Instant,
}

impl Hearsay {
    /// Takes note of an event. One that is older than another of its sort changes nothing.
    pub fn note(&mut self, event: &Event, now: Instant) {
        let told = Told { at: event.at, heard: now };
        match event.what {
            Happening::Changed => {}
            Happening::Started => self.started = Some(told),
            Happening::Ended => newest(&mut self.ended, told),
            Happening::Signalled(number) => {
                let mut last = self.signals.remove(&number);
                newest(&mut last, told);
                self.signals.extend(last.map(|last| (number, last)));
            }
        }
        self.named = Some(now);
    }

    /// Whether an event named the container after this moment.
    pub fn named_after(&self, moment: Instant) -> bool {
        self.named.is_some_and(|named| named > moment)
    }

    /// Whether it ended after its last start, as far as events tell. One that started by a
    /// clock that was set back has not.
    pub fn is_down(&self) -> bool {
        let Some(ended) = self.ended else { return false };
        self.started.is_none_or(|started| started.at < ended.at && started.heard <= ended.heard)
    }

    /// Whether an event told that the container, as an inspection that was asked for at
    /// `asked` found it, has ended since; gives when an inspection is to be asked for that
    /// decides.
    pub fn end_since(&self, container: &Container, asked: Instant) -> Option<Instant> {
        let ended = self.ended.filter(|ended| ended.at >= container.started)?;
        let until = ended.heard + DECIDED_AFTER;
        (asked < until || planted!(EndTrusted)).then_some(until)
    }

    /// Whether an end was told after an inspection was asked for, but of a time before the
    /// start that it found: a late word of an earlier run, or the engine's clock was set back.
    pub fn is_odd(&self, container: &Container, asked: Instant) -> bool {
        self.ended.is_some_and(|ended| ended.heard > asked && ended.at < container.started)
    }

    /// Why the container is to be left out, although an inspection that was asked for at
    /// `asked` found it running. `drain` is how long a container that got its stop signal
    /// is left out at the most; `None`: that signal is no reason.
    pub fn withdrawal(
        &self,
        container: &Container,
        asked: Instant,
        drain: Option<Duration>,
        now: Instant,
    ) -> Option<Withdrawal> {
        if let Some(until) = self.end_since(container, asked) {
            let (state, reason) = (ContainerState::Exited, "has ended, as an event tells");
            return Some(Withdrawal { state, reason, until });
        }
        let numbers = [SIGTERM, container.stop_signal];
        let signals = numbers.iter().filter_map(|number| self.signals.get(number));
        let of_this_run =
            signals.filter(|signal| signal.at >= container.started || planted!(OldSignalCounts));
        let last = of_this_run.map(|signal| signal.heard).max()?;
        let until = last + drain?;
        let reason = "got its stop signal (the label `highhock.drain=ignore` publishes it all \
                      the same)";
        let state = ContainerState::Draining;
        (now < until || planted!(DrainForEver)).then_some(Withdrawal { state, reason, until })
    }
}

fn newest(known: &mut Option<Told>, told: Told) {
    if known.is_none_or(|known| known.at < told.at) {
        *known = Some(told);
    }
}

/// What events told of the containers that are watched; it outlives the registry that
/// heard it, as no event is told twice.
pub(crate) type Hearsays = Rc<RefCell<BTreeMap<ContainerId, Hearsay>>>;

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Option<Duration> = Some(Duration::from_secs(300));

    fn heard(events: &[(Happening, i128)], now: Instant) -> Hearsay {
        let container = Container::sample().id;
        let mut hearsay = Hearsay::default();
        for (what, at) in events {
            let (container, at) = (container.clone(), EngineTime(*at));
            hearsay.note(&Event { container, name: None, at, what: *what }, now);
        }
        hearsay
    }

    /// A container that was started at 10, and whose stop signal is number 3.
    fn container() -> Container {
        Container { started: EngineTime(10), stop_signal: 3, ..Container::sample() }
    }

    #[test]
    fn what_ended_or_was_told_to_stop_in_this_run_is_left_out() {
        use Happening::{Changed, Ended, Signalled, Started};
        let now = Instant::now();
        for (events, left_out) in [
            (&[][..], false),
            (&[(Started, 10), (Changed, 11)], false),
            (&[(Ended, 11)], true),
            // Of an earlier run, whatever the order in which it is told.
            (&[(Ended, 9)], false),
            (&[(Started, 10), (Ended, 9)], false),
            (&[(Signalled(15), 9), (Signalled(3), 9)], false),
            // Both count, others don't.
            (&[(Signalled(15), 11)], true),
            (&[(Signalled(3), 11)], true),
            (&[(Signalled(1), 11), (Signalled(9), 11)], false),
            (&[(Signalled(15), 11), (Signalled(1), 12)], true),
            // Late and doubled.
            (&[(Signalled(15), 11), (Signalled(15), 9)], true),
            (&[(Ended, 11), (Ended, 9), (Ended, 11)], true),
        ] {
            let withdrawal = heard(events, now).withdrawal(&container(), now, DRAIN, now);
            assert_eq!(withdrawal.is_some(), left_out, "{events:?}");
        }
    }

    #[test]
    fn a_signal_counts_until_its_time_is_over() {
        let now = Instant::now();
        let hearsay = heard(&[(Happening::Signalled(15), 11)], now);
        let until = now + Duration::from_secs(300);
        let withdrawal = |drain, at| hearsay.withdrawal(&container(), at, drain, at);
        assert_eq!(withdrawal(DRAIN, now).map(|it| it.until), Some(until));
        assert!(withdrawal(DRAIN, until - Duration::from_nanos(1)).is_some());
        assert_eq!(withdrawal(DRAIN, until), None);
        assert_eq!(withdrawal(None, now), None);
    }

    #[test]
    fn an_inspection_asked_for_well_after_the_end_decides() {
        let now = Instant::now();
        let hearsay = heard(&[(Happening::Ended, 11)], now);
        let after = now + DECIDED_AFTER;
        let withdrawal = |asked| hearsay.withdrawal(&container(), asked, DRAIN, after);
        assert!(withdrawal(after - Duration::from_nanos(1)).is_some());
        assert_eq!(withdrawal(after), None);
    }

    #[test]
    fn an_end_before_the_start_is_looked_into_once() {
        let asked = Instant::now();
        let told = asked + Duration::from_millis(1);
        let odd = |at| heard(&[(Happening::Ended, at)], told).is_odd(&container(), asked);
        assert!(odd(9));
        assert!(!odd(10));
        assert!(!heard(&[(Happening::Ended, 9)], told).is_odd(&container(), told));
    }

    #[test]
    fn a_container_is_down_until_a_later_start_is_told() {
        use Happening::{Ended, Started};
        let now = Instant::now();
        for (events, down) in [
            (&[][..], false),
            (&[(Started, 1)], false),
            (&[(Ended, 1)], true),
            (&[(Started, 1), (Ended, 2)], true),
            (&[(Ended, 2), (Started, 1)], true),
            (&[(Ended, 2), (Started, 3)], false),
            (&[(Started, 3), (Ended, 2)], false),
        ] {
            assert_eq!(heard(events, now).is_down(), down, "{events:?}");
        }
    }
}
