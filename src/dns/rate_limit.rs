//! [`RateLimiter`]: limits the UDP responses per second to each network.
//!
//! Responses to a forged source address flood a victim. Above the limit, every second query gets
//! an empty truncated response, and the other queries get none. A real client repeats the query
//! over TCP (RFC 7766, section 5), whose source address cannot be forged.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// The number of counters. Two networks with the same counter share one limit. The fixed number
/// bounds the memory.
const BUCKETS: usize = 1 << 14;

/// The response that a query may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The complete response.
    Allow,
    /// An empty truncated response.
    Truncate,
    /// No response.
    Drop,
}

/// Counts the queries of each network in the current second.
pub(super) struct RateLimiter {
    /// Responses per second and network. 0 disables the limit.
    per_second: u32,
    since: Instant,
    /// Keyed with a secret, so that an attacker cannot choose networks that share a counter.
    hasher: RandomState,
    /// Each counter holds the second in its upper half, and the queries of that second in its
    /// lower half.
    buckets: Box<[AtomicU64]>,
}

impl RateLimiter {
    /// Creates a limiter of `per_second` responses. 0 disables the limit.
    pub(super) fn new(per_second: u32) -> Self {
        let buckets = if per_second == 0 { 0 } else { BUCKETS };
        Self {
            per_second,
            since: Instant::now(),
            hasher: RandomState::new(),
            buckets: (0..buckets).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Counts a query from `source` and decides its response.
    pub(super) fn decide(&self, source: IpAddr) -> Decision {
        if self.per_second == 0 || source.is_loopback() {
            return Decision::Allow;
        }
        self.decide_at(self.since.elapsed().as_secs(), source)
    }

    fn decide_at(&self, second: u64, source: IpAddr) -> Decision {
        let hash = self.hasher.hash_one(network(source));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "every part of the hash is equally random"
        )]
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

/// Returns the network whose queries are counted together: /24 for IPv4 and /56 for IPv6. One
/// customer usually has a /56 (RFC 6177, section 2).
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
        let source = source.parse().expect("valid address");
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
        let source = |text: &str| text.parse::<IpAddr>().expect("valid address");
        let limiter = RateLimiter::new(1);
        assert!((0..9).all(|_| limiter.decide(source("127.0.0.1")) == Decision::Allow));
        assert!((0..9).all(|_| limiter.decide(source("::1")) == Decision::Allow));
        assert!(!(0..9).all(|_| limiter.decide(source("192.0.2.1")) == Decision::Allow));
        let none = RateLimiter::new(0);
        assert!((0..9).all(|_| none.decide(source("192.0.2.1")) == Decision::Allow));
    }

    fn network_of(source: &str) -> u128 {
        network(source.parse().expect("valid address"))
    }
}
