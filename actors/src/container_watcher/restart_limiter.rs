//! [`RestartLimiter`]: limits the writes of a container in a crash loop.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::container::EngineTime;

/// The number of restarts within [`RESTART_WINDOW`] from which publications are limited.
const RESTARTS_LIMIT: usize = 3;
/// The time during which restarts are counted.
const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// The minimum time between two publications of a limited container.
const PUBLISH_MIN_INTERVAL: Duration = Duration::from_secs(5);

/// Limits how often a container in a crash loop is published.
///
/// Each restart of a container withdraws its records and publishes them again. From the third
/// restart within a minute, the container is published at most once every five seconds, so that
/// a crash loop does not flood the store.
#[derive(Debug, Default)]
pub struct RestartLimiter {
    started: Option<EngineTime>,
    restarts: VecDeque<Instant>,
    last_published: Option<Instant>,
}

impl RestartLimiter {
    /// Records the start time that an inspection returned. A start time that differs from the
    /// previous one counts as a restart.
    pub fn record_start(&mut self, started: EngineTime, now: Instant) {
        if self.started.replace(started).is_some_and(|before| before != started) {
            self.restarts.push_back(now);
        }
        if self.restarts.len() > RESTARTS_LIMIT {
            self.restarts.pop_front();
        }
    }

    /// Returns the time until which the container must not be published, or `None` if it is not
    /// limited.
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let recent =
            self.restarts.iter().filter(|at| now.duration_since(**at) < RESTART_WINDOW).count();
        if recent < RESTARTS_LIMIT {
            return None;
        }
        self.last_published.map(|at| at + PUBLISH_MIN_INTERVAL).filter(|until| now < *until)
    }

    /// Records that the container was published.
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

    /// Returns the limiter of a container that was started and published at each of these
    /// seconds.
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
        for (starts, now, expected) in [
            (&[0][..], 0, None),
            (&[0, 1, 2], 2, None),
            (&[0, 1, 2, 3], 3, Some(8)),
            (&[0, 1, 2, 3], 7, Some(8)),
            (&[0, 1, 2, 3], 8, None),
            (&[0, 1, 2, 3, 4, 5], 6, Some(10)),
            // The first of the three restarts was a minute ago.
            (&[0, 1, 30, 61], 61, None),
            (&[0, 2, 30, 61], 61, Some(66)),
        ] {
            let until = after_starts(start, starts).blocked_until(second(start, now));
            assert_eq!(until, expected.map(|at| second(start, at)), "{starts:?} {now}");
        }
    }

    #[test]
    fn repeated_start_time_is_no_restart() {
        let start = Instant::now();
        assert_eq!(after_starts(start, &[7, 7, 7, 7, 7]).blocked_until(second(start, 7)), None);
    }
}
