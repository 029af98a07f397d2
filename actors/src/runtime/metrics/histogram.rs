//! [`Histogram`]: the distribution of a duration.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in nanoseconds: 1, 2 and 5 of each decade from one microsecond
/// to 50 seconds. One further bucket counts longer durations.
const BUCKET_BOUNDS_NANOS: [u64; 24] = {
    let mut bounds = [0; 24];
    let (mut place, mut decade) = (0, 1_000);
    while place < bounds.len() {
        (bounds[place], bounds[place + 1], bounds[place + 2]) = (decade, 2 * decade, 5 * decade);
        (place, decade) = (place + 3, 10 * decade);
    }
    bounds
};
const BUCKET_COUNT: usize = BUCKET_BOUNDS_NANOS.len() + 1;

/// A distribution of durations in buckets, with their sum and maximum.
///
/// Any thread can record a duration at any time. Recording takes no lock.
#[derive(Debug, Default)]
pub struct Histogram {
    total_nanos: AtomicU64,
    max_nanos: AtomicU64,
    buckets: [AtomicU64; BUCKET_COUNT],
}

/// The content of a [`Histogram`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// The number of durations.
    pub count: u64,
    /// The sum of the durations.
    pub sum: Duration,
    /// The median, rounded up to the bound of its bucket.
    pub p50: Duration,
    /// The 99th percentile, rounded up to the bound of its bucket.
    pub p99: Duration,
    /// The longest duration.
    pub max: Duration,
    buckets: [u64; BUCKET_COUNT],
}

impl Histogram {
    /// Returns an empty histogram.
    pub const fn new() -> Self {
        Self {
            total_nanos: AtomicU64::new(0),
            max_nanos: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKET_COUNT],
        }
    }

    /// Adds a duration.
    pub fn record(&self, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BUCKET_BOUNDS_NANOS.partition_point(|bound| *bound < nanoseconds);
        self.total_nanos.fetch_add(nanoseconds, Relaxed);
        update_max(&self.max_nanos, nanoseconds);
        self.buckets[bucket].fetch_add(1, Relaxed);
    }

    /// Returns the current content.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let buckets = std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed));
        let nanoseconds = |value: &AtomicU64| Duration::from_nanos(value.load(Relaxed));
        HistogramSnapshot::from_buckets(
            buckets,
            nanoseconds(&self.total_nanos),
            nanoseconds(&self.max_nanos),
        )
    }
}

/// Raises a maximum. The load comes first, because it is cheaper than `fetch_max` and usually
/// sufficient.
pub(super) fn update_max(maximum: &AtomicU64, to: u64) {
    if to > maximum.load(Relaxed) {
        maximum.fetch_max(to, Relaxed);
    }
}

impl HistogramSnapshot {
    fn from_buckets(buckets: [u64; BUCKET_COUNT], sum: Duration, max: Duration) -> Self {
        // A separate counter could differ from the buckets while a duration is being added.
        let count: u64 = buckets.iter().sum();
        let percentile = |percent: u64| {
            let rank = (count * percent).div_ceil(100);
            let mut seen = 0;
            let bucket = buckets.iter().position(|in_bucket| {
                seen += in_bucket;
                seen >= rank
            });
            let bound = bucket.and_then(|bucket| BUCKET_BOUNDS_NANOS.get(bucket));
            bound.map_or(max, |bound| Duration::from_nanos(*bound).min(max))
        };
        Self { count, sum, p50: percentile(50), p99: percentile(99), max, buckets }
    }

    /// Returns the distribution of the durations of both snapshots.
    #[must_use]
    pub fn merged_with(&self, other: &Self) -> Self {
        let buckets = std::array::from_fn(|bucket| self.buckets[bucket] + other.buckets[bucket]);
        Self::from_buckets(buckets, self.sum + other.sum, self.max.max(other.max))
    }

    /// Returns the number of durations that are at most `bound`.
    ///
    /// The result is exact if `bound` is the bound of a bucket: 1, 2 or 5 of a decade between one
    /// microsecond and 50 seconds. Any other value is rounded down to such a bound.
    pub fn count_at_most(&self, bound: Duration) -> u64 {
        let nanoseconds = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let buckets = BUCKET_BOUNDS_NANOS.partition_point(|bound| *bound <= nanoseconds);
        self.buckets[..buckets].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn snapshot_of(elapsed: impl IntoIterator<Item = Duration>) -> HistogramSnapshot {
        let histogram = Histogram::new();
        for elapsed in elapsed {
            histogram.record(elapsed);
        }
        histogram.snapshot()
    }

    #[test]
    fn empty_histogram_has_default_snapshot() {
        assert_eq!(snapshot_of([]), HistogramSnapshot::default());
    }

    #[test]
    fn bound_belongs_to_the_lower_bucket() {
        let nanosecond = Duration::from_nanos(1);
        for bound in [micros(1), micros(20), micros(500), Duration::from_secs(50)] {
            let snapshot = snapshot_of([bound - nanosecond, bound, bound + nanosecond]);
            assert_eq!(snapshot.count_at_most(bound), 2, "{bound:?}");
            assert_eq!(snapshot.count_at_most(bound - nanosecond), 0, "{bound:?}");
        }
    }

    #[test]
    fn counts_values_above_all_bounds() {
        let snapshot = snapshot_of([Duration::MAX, Duration::from_secs(51), Duration::ZERO]);
        assert_eq!((snapshot.count, snapshot.count_at_most(Duration::from_secs(50))), (3, 1));
        assert_eq!(snapshot.p99, snapshot.max);
    }

    #[test]
    fn percentiles_round_up_to_at_most_the_maximum() {
        let snapshot = snapshot_of((1..=100).map(|n| micros(n * 10)));
        assert_eq!(
            (snapshot.p50, snapshot.p99, snapshot.max),
            (micros(500), micros(1000), micros(1000))
        );
        assert_eq!(snapshot.sum, micros(50_500));
        let one = snapshot_of([micros(3)]);
        assert_eq!((one.p50, one.p99, one.max), (micros(3), micros(3), micros(3)));
    }

    #[test]
    fn merges_two_snapshots() {
        let (some, others) = ([micros(1), micros(700)], [micros(30), micros(9_000)]);
        let together = snapshot_of(some.into_iter().chain(others));
        assert_eq!(snapshot_of(some).merged_with(&snapshot_of(others)), together);
    }
}
