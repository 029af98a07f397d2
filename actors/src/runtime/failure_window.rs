//! [`FailureWindow`]: counts the crashes of one actor, and limits its restarts.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The number of failures within [`FAILURE_WINDOW`] that end the process.
const FAILURES_MAX: usize = 5;
/// The time during which failures are counted.
const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// The time without a failure after which the next failure counts as the first.
const FAILURES_RESET_AFTER: Duration = Duration::from_secs(600);

/// The recent failures of one actor (ARCHITECTURE.md, "Supervision").
#[derive(Debug, Default)]
pub struct FailureWindow {
    recent: VecDeque<Instant>,
    consecutive: u32,
}

impl FailureWindow {
    /// Records a failure, and returns the number of consecutive failures.
    ///
    /// Returns `None` if there were five failures within one minute.
    pub fn record(&mut self, now: Instant) -> Option<u32> {
        if self.recent.back().is_none_or(|last| now.duration_since(*last) > FAILURES_RESET_AFTER) {
            self.consecutive = 0;
        }
        self.consecutive += 1;
        self.recent.push_back(now);
        if self.recent.len() > FAILURES_MAX {
            self.recent.pop_front();
        }
        let too_often = self.recent.len() == FAILURES_MAX
            && self
                .recent
                .front()
                .is_some_and(|first| now.duration_since(*first) <= FAILURE_WINDOW);
        (!too_often).then_some(self.consecutive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_all(seconds: &[u64]) -> Vec<Option<u32>> {
        let start = Instant::now();
        let mut failures = FailureWindow::default();
        seconds.iter().map(|at| failures.record(start + Duration::from_secs(*at))).collect()
    }

    #[test]
    fn fifth_failure_within_a_minute_exceeds_limit() {
        assert_eq!(record_all(&[0, 1, 2, 3, 60]), [Some(1), Some(2), Some(3), Some(4), None]);
        assert_eq!(record_all(&[0, 1, 2, 3, 61])[4], Some(5));
    }

    #[test]
    fn only_the_last_five_count() {
        assert_eq!(record_all(&[0, 50, 100, 150, 151, 152])[5], Some(6));
        assert_eq!(record_all(&[0, 50, 100, 150, 151, 152, 153])[6], None);
    }

    #[test]
    fn long_calm_resets_consecutive_failures() {
        assert_eq!(record_all(&[0, 1, 602]), [Some(1), Some(2), Some(1)]);
    }
}
