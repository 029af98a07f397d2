//! [`CircuitBreaker`]: decides whether requests may be sent to the store.

use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::backoff::Backoff;

/// The pauses between probes of a store that is unreachable. The cap leaves time for one audit
/// and one batch within the second of ARCHITECTURE.md, "Recovery time".
const PROBE_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(50), factor: 2, cap: Duration::from_millis(500) };

/// The circuit breaker between the inserter and the store.
///
/// The breaker opens at the first failure. It is half-open during a probe, which has three steps: a
/// request to the store, the acquisition of the lease, and an audit of all keys. The breaker closes
/// after the audit. `failures` counts the failures since the last success: a batch, or an audit
/// after which no write is due. It survives a probe that succeeds. A store that answers probes but fails every write is therefore probed with growing
/// pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CircuitBreaker {
    /// Requests pass.
    Closed { failures: u32 },
    /// No request is sent until a probe at `retry_at`.
    Open { failures: u32, retry_at: Instant },
    /// A probe is in flight, and no other request is sent.
    HalfOpen { failures: u32 },
}

impl CircuitBreaker {
    /// An open breaker whose first probe is due at `now`, so that the status shows from the
    /// start if the store is reachable.
    pub fn new(now: Instant) -> Self {
        Self::Open { failures: 0, retry_at: now }
    }

    /// Returns `true` if requests pass.
    pub fn is_closed(self) -> bool {
        matches!(self, Self::Closed { .. })
    }

    /// Returns `true` while a probe is in flight.
    pub fn is_half_open(self) -> bool {
        matches!(self, Self::HalfOpen { .. })
    }

    /// Returns `true` if the breaker is open and a probe is due.
    pub fn ready_to_probe(self, now: Instant) -> bool {
        self.next_probe().is_some_and(|retry_at| now >= retry_at)
    }

    /// Returns the time of the next probe, or `None` if the breaker is not open.
    pub fn next_probe(self) -> Option<Instant> {
        match self {
            Self::Open { retry_at, .. } => Some(retry_at),
            Self::Closed { .. } | Self::HalfOpen { .. } => None,
        }
    }

    /// Returns the number of failures since the last success.
    pub fn failures(self) -> u32 {
        match self {
            Self::Closed { failures }
            | Self::Open { failures, .. }
            | Self::HalfOpen { failures } => failures,
        }
    }

    /// Open to half-open: a probe is sent. Does nothing in another state.
    pub fn start_probe(&mut self) {
        if let Self::Open { failures, .. } = *self {
            *self = Self::HalfOpen { failures };
        }
    }

    /// Half-open to closed: the probe succeeded. Does nothing in another state.
    pub fn close(&mut self) {
        if let Self::HalfOpen { failures } = *self {
            *self = Self::Closed { failures };
        }
    }

    /// Half-open to open: the probe is repeated at `now`. Does nothing in another state.
    pub fn repeat_probe(&mut self, now: Instant) {
        if let Self::HalfOpen { failures } = *self {
            *self = Self::Open { failures, retry_at: now };
        }
    }

    /// Closed to open: a probe is due at `now`, although no request failed. Does nothing in
    /// another state, because then a probe is due or in flight.
    pub fn request_probe(&mut self, now: Instant) {
        if let Self::Closed { failures } = *self {
            *self = Self::Open { failures, retry_at: now };
        }
    }

    /// Resets the number of failures, if the breaker is closed.
    pub fn record_success(&mut self) {
        if let Self::Closed { failures } = self {
            *failures = 0;
        }
    }

    /// Opens the breaker after a failure, with a backoff that grows with the number of failures.
    /// Returns the number of failures, or `None` if the breaker was already open and the failure
    /// is not counted.
    pub fn record_failure(&mut self, now: Instant) -> Option<u32> {
        if let Self::Open { .. } = self {
            return None;
        }
        let failures = self.failures().saturating_add(1);
        let retry_at = now + PROBE_BACKOFF.wait(failures, fastrand::f64());
        *self = Self::Open { failures, retry_at };
        Some(failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half_open(failures: u32) -> CircuitBreaker {
        CircuitBreaker::HalfOpen { failures }
    }

    #[test]
    fn first_probe_is_due_at_once() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new(now);
        assert!(breaker.ready_to_probe(now));
        breaker.start_probe();
        assert_eq!(breaker, half_open(0));
        assert!(!breaker.ready_to_probe(now));
        breaker.close();
        assert!(breaker.is_closed());
    }

    #[test]
    fn failure_opens_breaker_until_backoff_has_passed() {
        let now = Instant::now();
        for mut breaker in [CircuitBreaker::Closed { failures: 2 }, half_open(2)] {
            assert_eq!(breaker.record_failure(now), Some(3));
            let retry_at = breaker.next_probe().unwrap();
            assert!(retry_at > now && retry_at <= now + PROBE_BACKOFF.cap);
            assert!(!breaker.ready_to_probe(now));
            assert!(breaker.ready_to_probe(retry_at));
            let before = breaker;
            assert_eq!(breaker.record_failure(now), None);
            assert_eq!(breaker, before);
        }
    }

    #[test]
    fn only_success_while_closed_resets_failures() {
        let now = Instant::now();
        let mut breaker = half_open(4);
        breaker.record_success();
        assert_eq!(breaker.failures(), 4);
        breaker.close();
        assert_eq!(breaker.failures(), 4);
        breaker.record_success();
        assert_eq!(breaker.failures(), 0);
        breaker.record_failure(now);
        breaker.record_success();
        assert_eq!(breaker.failures(), 1);
    }

    #[test]
    fn requested_probe_is_due_at_once_and_keeps_failures() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::Closed { failures: 1 };
        breaker.request_probe(now);
        assert_eq!(breaker, CircuitBreaker::Open { failures: 1, retry_at: now });
        breaker.start_probe();
        breaker.request_probe(now);
        assert_eq!(breaker, half_open(1));
        breaker.repeat_probe(now);
        assert_eq!(breaker, CircuitBreaker::Open { failures: 1, retry_at: now });
    }

    #[test]
    fn transitions_do_nothing_in_other_states() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let open = CircuitBreaker::Open { failures: 1, retry_at: later };
        let closed = CircuitBreaker::Closed { failures: 1 };
        for state in [open, closed] {
            let mut breaker = state;
            breaker.close();
            breaker.repeat_probe(now);
            assert_eq!(breaker, state);
        }
        let mut breaker = open;
        breaker.request_probe(now);
        assert_eq!(breaker, open);
        for state in [closed, half_open(1)] {
            let mut breaker = state;
            breaker.start_probe();
            assert_eq!(breaker, state);
        }
    }
}
