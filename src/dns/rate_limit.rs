//! How many UDP answers a second a source network is given.
//!
//! Who forges a source address has the answers sent to a victim. So a network that
//! asks too much gets small answers only, and not many: every second one is empty
//! and truncated, so that a real client comes back over TCP, which can't be forged;
//! the others are dropped.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// How many networks are told apart, more or less: two that meet in one count, by
/// chance, share a limit. It bounds the memory, whoever asks.
const BUCKETS: usize = 1 << 14;

/// What a question is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The whole answer.
    Allow,
    /// An empty, truncated one.
    Truncate,
    /// None.
    Drop,
}

/// The counts of all networks.
pub(super) struct RateLimiter {
    /// Answers a second; 0: no limit.
    per_second: u32,
    since: Instant,
    /// Unknown to the outside, so that nobody can choose whom to share a count with.
    hasher: RandomState,
    /// The second that is counted (upper half), and the questions in it (lower half).
    buckets: Box<[AtomicU64]>,
}

impl RateLimiter {
    /// So many answers a second; 0: no limit.
    pub(super) fn new(per_second: u32) -> Self {
        let buckets = if per_second == 0 { 0 } else { BUCKETS };
        Self {
            per_second,
            since: Instant::now(),
            hasher: RandomState::new(),
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// What a question from here is given, now. It is counted.
    pub(super) fn decide(&self, source: IpAddr) -> Decision {
        if self.per_second == 0 || source.is_loopback() {
            return Decision::Allow;
        }
        self.decide_at(self.since.elapsed().as_secs(), source)
    }

    fn decide_at(&self, second: u64, source: IpAddr) -> Decision {
        let hash = self.hasher.hash_one(network(source));
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let index = hash as usize % BUCKETS;
        let Some(count) = self.buckets.get(index) else { return Decision::Allow };
        let second = second << 32;
        let next = |counted: u64| {
            let same_second = counted & !u64::from(u32::MAX) == second;
            Some(if same_second { counted.saturating_add(1) } else { second | 1 })
        };
        let before = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let queries = before.ok().and_then(next).unwrap_or_default() & u64::from(u32::MAX);
        match queries.checked_sub(u64::from(self.per_second) + 1) {
            None => Decision::Allow,
            Some(over) if over % 2 == 0 => Decision::Truncate,
            Some(_) => Decision::Drop,
        }
    }
}

/// The network that an address is counted with: /24 of IPv4, /56 of IPv6, which is
/// what one customer has.
fn network(source: IpAddr) -> u128 {
    match source.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits() >> 8),
        IpAddr::V6(address) => address.to_bits() >> (128 - 56) | 1 << 127,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decisions(
        limiter: &RateLimiter,
        second: u64,
        source: &str,
        queries: usize,
    ) -> Vec<Decision> {
        let source = source.parse().expect("an address");
        (0..queries).map(|_| limiter.decide_at(second, source)).collect()
    }

    #[test]
    fn above_the_limit_responses_are_truncated_or_dropped() {
        use Decision::{Allow, Drop, Truncate};
        let limiter = RateLimiter::new(2);
        let expected = [Allow, Allow, Truncate, Drop, Truncate, Drop];
        assert_eq!(decisions(&limiter, 7, "192.0.2.1", 6), expected);
    }

    #[test]
    fn counters_reset_every_second() {
        let limiter = RateLimiter::new(1);
        assert_eq!(decisions(&limiter, 7, "192.0.2.1", 2), [Decision::Allow, Decision::Truncate]);
        assert_eq!(decisions(&limiter, 8, "192.0.2.1", 1), [Decision::Allow]);
    }

    #[test]
    fn counts_per_network() {
        let limiter = RateLimiter::new(1);
        assert_eq!(decisions(&limiter, 1, "192.0.2.1", 1), [Decision::Allow]);
        assert_eq!(decisions(&limiter, 1, "192.0.2.200", 1), [Decision::Truncate]);
        assert_eq!(network_of("2001:db8:1:200::1"), network_of("2001:db8:1:2ff::9"));
        assert_ne!(network_of("2001:db8:1:200::1"), network_of("2001:db8:1:300::1"));
        assert_ne!(network_of("192.0.2.1"), network_of("192.0.3.1"));
        assert_eq!(network_of("192.0.2.1"), network_of("::ffff:192.0.2.9"));
    }

    #[test]
    fn loopback_and_zero_are_unlimited() {
        let source = |text: &str| text.parse::<IpAddr>().expect("an address");
        let limiter = RateLimiter::new(1);
        assert!((0..9).all(|_| limiter.decide(source("127.0.0.1")) == Decision::Allow));
        assert!((0..9).all(|_| limiter.decide(source("::1")) == Decision::Allow));
        assert!(!(0..9).all(|_| limiter.decide(source("192.0.2.1")) == Decision::Allow));
        let none = RateLimiter::new(0);
        assert!((0..9).all(|_| none.decide(source("192.0.2.1")) == Decision::Allow));
    }

    fn network_of(source: &str) -> u128 {
        network(source.parse().expect("an address"))
    }
}
