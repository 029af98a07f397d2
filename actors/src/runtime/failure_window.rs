//! Counts how often one actor fails, and says when that is too often.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// This many failures …
const FAILURES_MAX: usize = 5;
/// … within this time end the process, for its supervisor to start it anew.
const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// After so long without a failure the next one counts as the first again.
const FAILURES_RESET_AFTER: Duration = Duration::from_secs(600);

/// The failures of one actor.
#[derive(Debug, Default)]
pub struct FailureWindow {
    recent: VecDeque<Instant>,
    consecutive: u32,
}

impl FailureWindow {
    /// Takes note of a failure. Gives how many there were in a row, or `None` where
    /// there were too many in too short a time.
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

    fn verdicts(seconds: &[u64]) -> Vec<Option<u32>> {
        let start = Instant::now();
        let mut failures = FailureWindow::default();
        seconds.iter().map(|at| failures.record(start + Duration::from_secs(*at))).collect()
    }

    #[test]
    fn fifth_failure_within_a_minute_exceeds_limit() {
        assert_eq!(verdicts(&[0, 1, 2, 3, 60]), [Some(1), Some(2), Some(3), Some(4), None]);
        assert_eq!(verdicts(&[0, 1, 2, 3, 61])[4], Some(5));
    }

    #[test]
    fn only_the_last_five_count() {
        assert_eq!(verdicts(&[0, 50, 100, 150, 151, 152])[5], Some(6));
        assert_eq!(verdicts(&[0, 50, 100, 150, 151, 152, 153])[6], None);
    }

    #[test]
    fn long_calm_resets_consecutive_failures() {
        assert_eq!(verdicts(&[0, 1, 602]), [Some(1), Some(2), Some(1)]);
    }
}
