//! [`Backoff`]: exponential backoff with a cap and jitter.

use std::time::Duration;

/// A wait that grows by a factor with every consecutive failure, up to a cap.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The factor by which each further failure multiplies the wait.
    pub factor: u32,
    /// The longest wait after any number of failures.
    pub cap: Duration,
}

impl Backoff {
    /// Returns the wait after this number of consecutive failures. 0 counts as 1.
    ///
    /// `jitter` is from 0 to 1 and selects a point in the upper half of the wait, so that daemons
    /// that failed together do not retry together.
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let cap = if mutated!(BackoffWithoutCap) { Duration::from_secs(600) } else { self.cap };
        let growth = self.factor.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.first.saturating_mul(growth).min(cap);
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
