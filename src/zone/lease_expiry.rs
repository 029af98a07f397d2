//! When a lease ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a lease ends: shared by all records that hang on it, moved by each
/// keep-alive. A clone is another handle of the same end.
#[derive(Clone, Debug)]
pub struct Ends(Arc<End>);

#[derive(Debug)]
struct End {
    /// What the end is counted from.
    since: Instant,
    nanoseconds: AtomicU64,
}

impl Ends {
    /// A lease that ends at this moment.
    pub fn at(end: Instant) -> Self {
        let since = Instant::now();
        let ends = Self(Arc::new(End { since, nanoseconds: AtomicU64::new(0) }));
        ends.move_to(end);
        ends
    }

    /// The lease was kept alive (or cut short): it ends at this moment.
    pub fn move_to(&self, end: Instant) {
        let after = end.saturating_duration_since(self.0.since).as_nanos();
        let nanoseconds = u64::try_from(after).unwrap_or(u64::MAX);
        self.0.nanoseconds.store(nanoseconds, Ordering::Relaxed);
    }

    /// When it ends, as things are.
    pub fn end(&self) -> Instant {
        self.0.since + self.after()
    }

    /// How long it still lasts; zero: it has ended.
    pub fn left(&self) -> Duration {
        self.after().saturating_sub(self.0.since.elapsed())
    }

    fn after(&self) -> Duration {
        Duration::from_nanos(self.0.nanoseconds.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_keep_alive_moves_the_end_for_all_who_hold_it() {
        let ends = Ends::at(Instant::now() + Duration::from_secs(10));
        let another = ends.clone();
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(another.left(), Duration::from_secs(6));

        ends.move_to(Instant::now() + Duration::from_secs(10));
        assert_eq!(another.left(), Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(another.left(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_cut_short_has_nothing_left() {
        let ends = Ends::at(Instant::now() + Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(1)).await;
        ends.move_to(Instant::now());
        assert_eq!(ends.left(), Duration::ZERO);
    }
}
