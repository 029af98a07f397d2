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
const COUNTS: usize = 1 << 14;

/// What a question is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// The whole answer.
    Answer,
    /// An empty, truncated one.
    Truncated,
    /// None.
    Nothing,
}

/// The counts of all networks.
pub(super) struct Limit {
    /// Answers a second; 0: no limit.
    a_second: u32,
    since: Instant,
    /// Unknown to the outside, so that nobody can choose whom to share a count with.
    hasher: RandomState,
    /// The second that is counted (upper half), and the questions in it (lower half).
    counts: Box<[AtomicU64]>,
}

impl Limit {
    /// So many answers a second; 0: no limit.
    pub(super) fn new(a_second: u32) -> Self {
        let counts = if a_second == 0 { 0 } else { COUNTS };
        Self {
            a_second,
            since: Instant::now(),
            hasher: RandomState::new(),
            counts: (0..counts).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// What a question from here is given, now. It is counted.
    pub(super) fn grant(&self, source: IpAddr) -> Grant {
        if self.a_second == 0 || source.is_loopback() {
            return Grant::Answer;
        }
        self.grant_in(self.since.elapsed().as_secs(), source)
    }

    fn grant_in(&self, second: u64, source: IpAddr) -> Grant {
        let hash = self.hasher.hash_one(network(source));
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let index = hash as usize % COUNTS;
        let Some(count) = self.counts.get(index) else { return Grant::Answer };
        let second = second << 32;
        let next = |counted: u64| {
            let same_second = counted & !u64::from(u32::MAX) == second;
            Some(if same_second { counted.saturating_add(1) } else { second | 1 })
        };
        let before = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let questions = before.ok().and_then(next).unwrap_or_default() & u64::from(u32::MAX);
        match questions.checked_sub(u64::from(self.a_second) + 1) {
            None => Grant::Answer,
            Some(over) if over % 2 == 0 => Grant::Truncated,
            Some(_) => Grant::Nothing,
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

    fn granted(limit: &Limit, second: u64, source: &str, questions: usize) -> Vec<Grant> {
        let source = source.parse().expect("an address");
        (0..questions).map(|_| limit.grant_in(second, source)).collect()
    }

    #[test]
    fn over_the_limit_every_second_answer_is_truncated_and_the_others_are_dropped() {
        use Grant::{Answer, Nothing, Truncated};
        let limit = Limit::new(2);
        let expected = [Answer, Answer, Truncated, Nothing, Truncated, Nothing];
        assert_eq!(granted(&limit, 7, "192.0.2.1", 6), expected);
    }

    #[test]
    fn a_new_second_begins_with_nothing_counted() {
        let limit = Limit::new(1);
        assert_eq!(granted(&limit, 7, "192.0.2.1", 2), [Grant::Answer, Grant::Truncated]);
        assert_eq!(granted(&limit, 8, "192.0.2.1", 1), [Grant::Answer]);
    }

    #[test]
    fn the_addresses_of_a_network_are_counted_together_and_networks_apart() {
        let limit = Limit::new(1);
        assert_eq!(granted(&limit, 1, "192.0.2.1", 1), [Grant::Answer]);
        assert_eq!(granted(&limit, 1, "192.0.2.200", 1), [Grant::Truncated]);
        assert_eq!(network_of("2001:db8:1:200::1"), network_of("2001:db8:1:2ff::9"));
        assert_ne!(network_of("2001:db8:1:200::1"), network_of("2001:db8:1:300::1"));
        assert_ne!(network_of("192.0.2.1"), network_of("192.0.3.1"));
        assert_eq!(network_of("192.0.2.1"), network_of("::ffff:192.0.2.9"));
    }

    #[test]
    fn loopback_has_no_limit_and_neither_has_a_limit_of_0() {
        let source = |text: &str| text.parse::<IpAddr>().expect("an address");
        let limit = Limit::new(1);
        assert!((0..9).all(|_| limit.grant(source("127.0.0.1")) == Grant::Answer));
        assert!((0..9).all(|_| limit.grant(source("::1")) == Grant::Answer));
        assert!(!(0..9).all(|_| limit.grant(source("192.0.2.1")) == Grant::Answer));
        let none = Limit::new(0);
        assert!((0..9).all(|_| none.grant(source("192.0.2.1")) == Grant::Answer));
    }

    fn network_of(source: &str) -> u128 {
        network(source.parse().expect("an address"))
    }
}
