//! Round robin: the same question's records, turned round.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::Query;
use hickory_proto::rr::{Record, RecordType};

/// How many questions are counted apart, more or less: two that meet in one count, by
/// chance, turn each other. It bounds the memory, whatever is asked.
const COUNTERS: usize = 1 << 10;

/// How often each question was answered. Clients ask for addresses of both kinds in
/// turn, and for several names in turn: counted together, each would always meet the same
/// record in front.
pub(super) struct RoundRobin {
    /// No secret: who knows it can have some records come first, and nothing else.
    hasher: BuildHasherDefault<DefaultHasher>,
    counters: Box<[AtomicUsize]>,
}

impl RoundRobin {
    /// With nothing counted.
    pub(super) fn new() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicUsize::new(0)).collect();
        Self { hasher: BuildHasherDefault::default(), counters }
    }

    /// Puts the addresses or services of an answer in another order for each time that it
    /// is asked for, so that those who take the first don't all take the same. Aliases stay
    /// in front, in their order, as some resolvers want them.
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
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let index = self.hasher.hash_one(query) as usize % COUNTERS;
        self.counters.get(index).map_or(0, |count| count.fetch_add(1, Ordering::Relaxed))
    }
}
