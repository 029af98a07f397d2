//! [`RoundRobin`]: rotates the records of a response.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::Query;
use hickory_proto::rr::{Record, RecordType};

/// The number of counters. Two queries with the same counter rotate each other. The fixed number
/// bounds the memory.
const COUNTERS: usize = 1 << 10;

/// Counts the responses to each query. Names and types are counted separately. With a single
/// counter, a client that alternates between A and AAAA would always get the same record first.
pub(super) struct RoundRobin {
    /// Needs no secret key. A client that knows it can only influence the order of records.
    hasher: BuildHasherDefault<DefaultHasher>,
    counters: Box<[AtomicUsize]>,
}

impl RoundRobin {
    /// Creates counters that start at 0.
    pub(super) fn new() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicUsize::new(0)).collect();
        Self { hasher: BuildHasherDefault::default(), counters }
    }

    /// Rotates the addresses or services of a response by one more position each time, so that
    /// clients that use the first record are spread over all records. Aliases stay first and in
    /// order, as some resolvers require.
    pub(super) fn rotate(&self, query: &Query, records: &mut [Record]) {
        if records.len() < 2 {
            return;
        }
        records.sort_by_key(|record| record.record_type() != RecordType::CNAME);
        let aliases = records.partition_point(|record| record.record_type() == RecordType::CNAME);
        if let Some(others) = records.get_mut(aliases..).filter(|others| others.len() > 1) {
            others.rotate_left(self.next_offset(query) % others.len());
        }
    }

    fn next_offset(&self, query: &Query) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "every part of the hash is equally random"
        )]
        let index = self.hasher.hash_one(query) as usize % COUNTERS;
        self.counters.get(index).map_or(0, |count| count.fetch_add(1, Ordering::Relaxed))
    }
}
