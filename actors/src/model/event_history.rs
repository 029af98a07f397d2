//! [`EventHistory`]: the events of a container, which may withdraw a record but never publish one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::container::{Container, ContainerId, EngineTime, SIGTERM};
use super::container_state::DisplayState;
use super::event::{Event, EventKind};

/// The time after the report of a container's end from which an inspection overrides it. An
/// earlier inspection may be older than the end. A later inspection can show a new run with a start
/// time before the end, if the engine's clock was set back. Without the start event of that run,
/// only the inspection shows that the container runs again.
const STALE_INSPECTION_AFTER: Duration = Duration::from_secs(1);

/// The events of one container that still matter. A newer history contains everything that an
/// older one contained, so a receiver needs only the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventHistory {
    /// The time of the last event, by this process's clock.
    last_event: Option<Instant>,
    /// The number of events so far.
    count: u64,
    starts: RecentEvents,
    ends: RecentEvents,
    /// The events of each signal, by the signal's number.
    signals: BTreeMap<u8, RecentEvents>,
}

/// The time of an event by the engine's clock, and of its arrival by this process's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EventStamp {
    occurred: EngineTime,
    received: Instant,
    /// The number of events of the container that arrived before.
    position: u64,
}

/// The last events of one kind, in the order of their arrival, without repeated events.
///
/// The engine sends events in order, but its clock can be set back. An event that arrives later is
/// therefore not ignored because of an earlier time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct RecentEvents(Vec<EventStamp>);

/// The number of events of one kind that are kept.
const RECENT_EVENTS_MAX: usize = 4;

impl RecentEvents {
    /// Adds an event, unless it repeats a known one.
    fn record(&mut self, stamp: EventStamp) {
        if self.0.iter().any(|known| known.occurred == stamp.occurred) {
            return;
        }
        if self.0.len() == RECENT_EVENTS_MAX {
            self.0.remove(0);
        }
        self.0.push(stamp);
    }

    fn iter(&self) -> impl Iterator<Item = &EventStamp> {
        self.0.iter()
    }

    fn last(&self) -> Option<&EventStamp> {
        self.0.last()
    }
}

/// A restart that two inspections showed, because they returned different start times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunChange {
    /// The request time of the last inspection of the earlier run.
    pub after: Instant,
    /// The request time of the first inspection of the current run.
    pub before: Instant,
}

/// The reason why a container is not published, although its last inspection found it running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withholding {
    /// The state to report.
    pub state: DisplayState,
    /// The reason, for the operator.
    pub reason: &'static str,
    /// The end of the withholding, unless an inspection ends it earlier.
    pub until: Instant,
}

impl EventHistory {
    /// Adds an event.
    pub fn record(&mut self, event: &Event, now: Instant) {
        let stamp = EventStamp { occurred: event.at, received: now, position: self.count };
        match event.kind {
            EventKind::Changed => {}
            EventKind::Started => self.starts.record(stamp),
            EventKind::Ended => self.ends.record(stamp),
            EventKind::Signalled(number) => self.signals.entry(number).or_default().record(stamp),
        }
        self.count += 1;
        self.last_event = Some(now);
    }

    /// Returns `true` if an event arrived after this time.
    pub fn has_event_after(&self, moment: Instant) -> bool {
        self.last_event.is_some_and(|last| last > moment)
    }

    /// Returns `true` if the last end was later than the last start, according to the events. An
    /// end that arrived before the last start does not count, in case the engine's clock was set
    /// back.
    pub fn is_down(&self) -> bool {
        let started = self.starts.last();
        self.ends.iter().any(|ended| {
            started.is_none_or(|started| {
                started.occurred < ended.occurred && started.received <= ended.received
            })
        })
    }

    /// Checks if the container ended after an inspection that was requested at `requested_at`.
    /// Returns the time from which another inspection decides.
    pub fn end_confirmed_at(
        &self,
        container: &Container,
        requested_at: Instant,
    ) -> Option<Instant> {
        let is_of_later_run = |ended: &&EventStamp| {
            ended.occurred >= container.started && !self.is_restarted(ended, requested_at)
        };
        let received =
            self.ends.iter().filter(is_of_later_run).map(|ended| ended.received).max()?;
        let until = received + STALE_INSPECTION_AFTER;
        may_predate(requested_at, until).then_some(until)
    }

    /// Returns `true` if an end arrived after the request of an inspection, but its time is before
    /// the start in that inspection. Either the event is a late event of an earlier run, or the
    /// engine's clock was set back.
    pub fn contradicts_start(&self, container: &Container, requested_at: Instant) -> bool {
        self.ends
            .iter()
            .any(|ended| ended.received > requested_at && ended.occurred < container.started)
    }

    /// Returns `true` if a start arrived after this end and before the request of an inspection.
    fn is_restarted(&self, ended: &EventStamp, requested_at: Instant) -> bool {
        self.starts.last().is_some_and(|started| {
            started.position > ended.position && started.received <= requested_at
        })
    }

    /// Returns the reason to withhold a container that was running in an inspection requested at
    /// `requested_at`. A container is withheld for at most `drain` after its stop signal. If
    /// `drain` is `None`, the stop signal is ignored. `restart` is the last restart that
    /// inspections showed.
    pub fn withholding(
        &self,
        container: &Container,
        requested_at: Instant,
        restart: Option<RunChange>,
        drain: Option<Duration>,
        now: Instant,
    ) -> Option<Withholding> {
        if let Some(until) = self.end_confirmed_at(container, requested_at) {
            let (state, reason) = (DisplayState::Exited, "exited, according to an event");
            return Some(Withholding { state, reason, until });
        }
        let numbers = [SIGTERM, container.stop_signal];
        let signals = numbers.iter().filter_map(|number| self.signals.get(number));
        let current_run = signals
            .flat_map(RecentEvents::iter)
            .filter(|signal| self.is_of_current_run(signal, container, requested_at, restart))
            .filter(|signal| is_remembered(signal, requested_at));
        let last = current_run.map(|signal| signal.received).max()?;
        let until = last + drain?;
        let reason = "received its stop signal; set the label `highhock.drain=ignore` to keep it \
                      published";
        let state = DisplayState::Draining;
        is_draining(now, until).then_some(Withholding { state, reason, until })
    }

    /// Returns `true` if a signal was sent to the current run of a container.
    ///
    /// A start that arrived later shows that the run of the signal is over, and so does an
    /// inspection with another start time, or one that was requested after an end arrived. The
    /// engine's clock may have been set back between the runs. A signal from before the start of the
    /// run, by that clock, is a late event, unless it arrived after the start event.
    fn is_of_current_run(
        &self,
        signal: &EventStamp,
        container: &Container,
        requested_at: Instant,
        restart: Option<RunChange>,
    ) -> bool {
        if mutated!(EarlierStopSignalApplied) {
            return true;
        }
        let is_followed_by = |last: &EventStamp| last.position > signal.position;
        let is_restarted = self.starts.last().is_some_and(is_followed_by);
        let is_over = self
            .ends
            .last()
            .is_some_and(|ended| is_followed_by(ended) && ended.received <= requested_at);
        !is_restarted
            && !is_over
            && !restart.is_some_and(|restart| self.precedes_restart(signal, restart))
            && (signal.occurred >= container.started || self.follows_start(signal, container))
    }

    /// Returns `true` if a signal arrived after the start event of the current run. The engine's
    /// clock may have been set back since that start.
    fn follows_start(&self, signal: &EventStamp, container: &Container) -> bool {
        self.starts.iter().any(|started| {
            started.position < signal.position && started.occurred >= container.started
        })
    }

    /// Returns `true` if a signal arrived before a restart. Without the start event, a signal
    /// between the two inspections counts as one of the earlier run.
    fn precedes_restart(&self, signal: &EventStamp, restart: RunChange) -> bool {
        let follows_start = self
            .starts
            .iter()
            .any(|started| started.position < signal.position && started.received > restart.after);
        signal.received < restart.before && !follows_start
    }
}

fn may_predate(requested_at: Instant, until: Instant) -> bool {
    if mutated!(EndEventNotVerified) {
        return true;
    }
    requested_at < until
}

/// Returns `true`: an inspection does not end a drain. The mutation `StopSignalForgotten` forgets a
/// signal that arrived before the request of the last inspection.
fn is_remembered(signal: &EventStamp, requested_at: Instant) -> bool {
    !mutated!(StopSignalForgotten) || signal.received >= requested_at
}

fn is_draining(now: Instant, until: Instant) -> bool {
    if mutated!(DrainWithoutTimeout) {
        return true;
    }
    now < until
}

/// The event histories of all watched containers. They survive a restart of the registry, because
/// the engine reports an event only once.
pub(crate) type EventHistories = Rc<RefCell<BTreeMap<ContainerId, EventHistory>>>;

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Option<Duration> = Some(Duration::from_secs(300));

    fn history_of(events: &[(EventKind, i128)], now: Instant) -> EventHistory {
        let container = Container::sample().id;
        let mut history = EventHistory::default();
        for (kind, at) in events {
            let (container, at) = (container.clone(), EngineTime(*at));
            history.record(&Event { container, name: None, at, kind: *kind }, now);
        }
        history
    }

    /// A container that was started at 10, and whose stop signal is number 3.
    fn container() -> Container {
        Container { started: EngineTime(10), stop_signal: 3, ..Container::sample() }
    }

    #[test]
    fn withholds_after_end_or_stop_signal_of_current_run() {
        use EventKind::{Changed, Ended, Signalled, Started};
        let now = Instant::now();
        for (events, withheld) in [
            (&[][..], false),
            (&[(Started, 10), (Changed, 11)], false),
            (&[(Ended, 11)], true),
            // Events of an earlier run, in any order.
            (&[(Ended, 9)], false),
            (&[(Started, 10), (Ended, 9)], false),
            (&[(Signalled(15), 9), (Signalled(3), 9)], false),
            // Only SIGTERM and the container's own stop signal count.
            (&[(Signalled(15), 11)], true),
            (&[(Signalled(3), 11)], true),
            (&[(Signalled(1), 11), (Signalled(9), 11)], false),
            (&[(Signalled(15), 11), (Signalled(1), 12)], true),
            // Late and repeated events.
            (&[(Signalled(15), 11), (Signalled(15), 9)], true),
            (&[(Ended, 11), (Ended, 9), (Ended, 11)], true),
            // The clock was set back to 10 between the end and the start.
            (&[(Signalled(15), 99), (Ended, 100), (Started, 10)], false),
            (&[(Signalled(15), 99), (Ended, 100)], true),
            (&[(Signalled(15), 99), (Ended, 100), (Started, 10), (Signalled(15), 12)], true),
            (&[(Ended, 100), (Started, 10), (Ended, 12)], true),
            // The clock was set back during the run.
            (&[(Started, 11), (Signalled(15), 5)], true),
            (&[(Started, 9), (Signalled(15), 5)], false),
            // The engine repeats events of the earlier run.
            (&[(Signalled(15), 99), (Ended, 100), (Started, 10), (Signalled(15), 99)], false),
        ] {
            let inspected_at = now + Duration::from_millis(1);
            let withholding =
                history_of(events, now).withholding(&container(), inspected_at, None, DRAIN, now);
            assert_eq!(withholding.is_some(), withheld, "{events:?}");
        }
    }

    /// The engine's clock was set back during the run, so that the end seems to be of an earlier run.
    #[test]
    fn signal_applies_until_an_inspection_after_the_end() {
        use EventKind::{Ended, Signalled, Started};
        let now = Instant::now();
        let history = history_of(&[(Started, 11), (Signalled(15), 5), (Ended, 6)], now);
        let is_withheld = |requested_at| {
            history.withholding(&container(), requested_at, None, DRAIN, now).is_some()
        };
        assert!(is_withheld(now - Duration::from_millis(1)));
        assert!(!is_withheld(now + Duration::from_millis(1)));
    }

    #[test]
    fn restart_without_events_ends_the_drain() {
        let [start, signalled_at, inspected_at] =
            [0, 1, 2].map(|second| Instant::now() + Duration::from_secs(second));
        let history = history_of(&[(EventKind::Signalled(15), 99)], signalled_at);
        let withholding = |restart| {
            history.withholding(&container(), inspected_at, restart, DRAIN, inspected_at).is_some()
        };
        assert!(withholding(None));
        assert!(!withholding(Some(RunChange { after: start, before: inspected_at })));
        assert!(withholding(Some(RunChange { after: start, before: start })));
    }

    #[test]
    fn stop_signal_applies_until_drain_timeout() {
        let now = Instant::now();
        let history = history_of(&[(EventKind::Signalled(15), 11)], now);
        let until = now + Duration::from_secs(300);
        let withholding = |drain, at| history.withholding(&container(), at, None, drain, at);
        assert_eq!(withholding(DRAIN, now).map(|it| it.until), Some(until));
        assert!(withholding(DRAIN, until - Duration::from_nanos(1)).is_some());
        assert_eq!(withholding(DRAIN, until), None);
        assert_eq!(withholding(None, now), None);
    }

    #[test]
    fn inspection_after_grace_overrides_end_event() {
        let now = Instant::now();
        let history = history_of(&[(EventKind::Ended, 11)], now);
        let after = now + STALE_INSPECTION_AFTER;
        let withholding =
            |requested_at| history.withholding(&container(), requested_at, None, DRAIN, after);
        assert!(withholding(after - Duration::from_nanos(1)).is_some());
        assert_eq!(withholding(after), None);
    }

    #[test]
    fn end_before_start_causes_one_inspection() {
        let requested_at = Instant::now();
        let received = requested_at + Duration::from_millis(1);
        let contradicts = |at| {
            history_of(&[(EventKind::Ended, at)], received)
                .contradicts_start(&container(), requested_at)
        };
        assert!(contradicts(9));
        assert!(!contradicts(10));
        assert!(
            !history_of(&[(EventKind::Ended, 9)], received)
                .contradicts_start(&container(), received)
        );
    }

    #[test]
    fn container_is_down_until_a_later_start_event() {
        use EventKind::{Ended, Started};
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
            assert_eq!(history_of(events, now).is_down(), down, "{events:?}");
        }
    }
}
