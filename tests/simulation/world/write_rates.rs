//! [`WriteRates`]: the writes of each key that the store rejected.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// The time during which rejected writes are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// The largest number of rejected writes of one key in a window. A rejected write is followed by a
/// read, so a key is rejected again only if its content changed in between.
const REJECTIONS_MAX: usize = 12;

/// Counts the writes of each key whose precondition failed.
#[derive(Default)]
pub struct WriteRates {
    rejections: BTreeMap<String, VecDeque<Instant>>,
}

impl WriteRates {
    /// Adds a rejected write. Returns `true` if the key has too many.
    pub fn add_rejection(&mut self, key: &str) -> bool {
        let times = self.rejections.entry(key.to_owned()).or_default();
        times.push_back(Instant::now());
        while times.front().is_some_and(|at| at.elapsed() > WINDOW) {
            times.pop_front();
        }
        times.len() > REJECTIONS_MAX
    }
}
