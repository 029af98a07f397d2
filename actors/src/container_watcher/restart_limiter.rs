//! Keeps a container that restarts again and again from flooding the store.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::container::EngineTime;

/// From this restart on within [`SPAN`], what a container puts is damped.
const RESTARTS: usize = 3;
/// The time in which restarts are counted.
const SPAN: Duration = Duration::from_secs(60);
/// The least time between two puts of a container that is damped.
const GAP: Duration = Duration::from_secs(5);

/// Counts a container's restarts, and says when it may be published again.
#[derive(Debug, Default)]
pub struct Damper {
    started: Option<EngineTime>,
    restarts: VecDeque<Instant>,
    published: Option<Instant>,
}

impl Damper {
    /// Takes note of when the container was started, as an inspection told.
    pub fn saw_start(&mut self, started: EngineTime, now: Instant) {
        if self.started.replace(started).is_some_and(|before| before != started) {
            self.restarts.push_back(now);
        }
        if self.restarts.len() > RESTARTS {
            self.restarts.pop_front();
        }
    }

    /// Until when nothing is to be put, where the container restarts too often.
    pub fn hold(&self, now: Instant) -> Option<Instant> {
        let recent = self.restarts.iter().filter(|at| now.duration_since(**at) < SPAN).count();
        if recent < RESTARTS {
            return None;
        }
        self.published.map(|at| at + GAP).filter(|until| now < *until)
    }

    /// Takes note of a put.
    pub fn published(&mut self, now: Instant) {
        self.published = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// A damper of a container that was started at each of these seconds, and published
    /// each time.
    fn after_starts(start: Instant, seconds: &[u64]) -> Damper {
        let mut damper = Damper::default();
        for at in seconds {
            damper.saw_start(EngineTime(i128::from(*at)), second(start, *at));
            damper.published(second(start, *at));
        }
        damper
    }

    #[test]
    fn the_third_restart_in_a_minute_is_held() {
        let start = Instant::now();
        for (starts, now, held_until) in [
            (&[0][..], 0, None),
            (&[0, 1, 2], 2, None),
            (&[0, 1, 2, 3], 3, Some(8)),
            (&[0, 1, 2, 3], 7, Some(8)),
            (&[0, 1, 2, 3], 8, None),
            (&[0, 1, 2, 3, 4, 5], 6, Some(10)),
            // The first of the three was a minute ago.
            (&[0, 1, 30, 61], 61, None),
            (&[0, 2, 30, 61], 61, Some(66)),
        ] {
            let held = after_starts(start, starts).hold(second(start, now));
            assert_eq!(held, held_until.map(|at| second(start, at)), "{starts:?} {now}");
        }
    }

    #[test]
    fn one_start_seen_twice_is_no_restart() {
        let start = Instant::now();
        assert_eq!(after_starts(start, &[7, 7, 7, 7, 7]).hold(second(start, 7)), None);
    }
}
