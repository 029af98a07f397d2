//! Keeps a container that restarts again and again from flooding the store.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::container::EngineTime;

/// From this restart on within [`RESTART_WINDOW`], what a container puts is damped.
const RESTARTS_LIMIT: usize = 3;
/// The time in which restarts are counted.
const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// The least time between two puts of a container that is damped.
const PUBLISH_MIN_INTERVAL: Duration = Duration::from_secs(5);

/// Counts a container's restarts, and says when it may be published again.
#[derive(Debug, Default)]
pub struct RestartLimiter {
    started: Option<EngineTime>,
    restarts: VecDeque<Instant>,
    last_published: Option<Instant>,
}

impl RestartLimiter {
    /// Takes note of when the container was started, as an inspection told.
    pub fn record_start(&mut self, started: EngineTime, now: Instant) {
        if self.started.replace(started).is_some_and(|before| before != started) {
            self.restarts.push_back(now);
        }
        if self.restarts.len() > RESTARTS_LIMIT {
            self.restarts.pop_front();
        }
    }

    /// Until when nothing is to be put, where the container restarts too often.
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let recent =
            self.restarts.iter().filter(|at| now.duration_since(**at) < RESTART_WINDOW).count();
        if recent < RESTARTS_LIMIT {
            return None;
        }
        self.last_published.map(|at| at + PUBLISH_MIN_INTERVAL).filter(|until| now < *until)
    }

    /// Takes note of a put.
    pub fn record_publication(&mut self, now: Instant) {
        self.last_published = Some(now);
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
    fn after_starts(start: Instant, seconds: &[u64]) -> RestartLimiter {
        let mut limiter = RestartLimiter::default();
        for at in seconds {
            limiter.record_start(EngineTime(i128::from(*at)), second(start, *at));
            limiter.record_publication(second(start, *at));
        }
        limiter
    }

    #[test]
    fn limits_third_restart_within_a_minute() {
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
            let held = after_starts(start, starts).blocked_until(second(start, now));
            assert_eq!(held, held_until.map(|at| second(start, at)), "{starts:?} {now}");
        }
    }

    #[test]
    fn repeated_start_time_is_no_restart() {
        let start = Instant::now();
        assert_eq!(after_starts(start, &[7, 7, 7, 7, 7]).blocked_until(second(start, 7)), None);
    }
}
