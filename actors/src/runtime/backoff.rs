//! How long to wait before the next try: pure, capped, with jitter.

use std::time::Duration;

/// A wait that grows by a factor with every failure, up to a cap.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// What each further failure multiplies it by.
    pub factor: u32,
    /// The longest wait of all.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row (1 or more; 0 is taken for 1).
    /// `jitter`, from 0 up to 1, picks a point in the upper half of the wait, so that
    /// many daemons that failed together don't try again together.
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let growth = self.factor.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.first.saturating_mul(growth).min(if planted!(BackoffWithoutCap) {
            Duration::from_secs(600)
        } else {
            self.cap
        });
        longest.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(50), factor: 2, cap: Duration::from_millis(700) };

    #[test]
    fn grows_by_its_factor_up_to_its_cap() {
        let waits: Vec<u128> = (0..8).map(|n| BACKOFF.wait(n, 0.0).as_millis()).collect();
        assert_eq!(waits, [50, 50, 100, 200, 400, 700, 700, 700]);
        assert_eq!(BACKOFF.wait(u32::MAX, 0.0).as_millis(), 700);
    }

    #[test]
    fn jitter_stays_in_the_upper_half() {
        assert_eq!(BACKOFF.wait(9, 1.0).as_millis(), 350);
        assert_eq!(BACKOFF.wait(9, 0.5).as_millis(), 525);
    }
}
