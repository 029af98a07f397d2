//! [`LeaseExpiry`]: the time at which a lease ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The time at which a lease ends. All records attached to the lease share it, and each
/// keep-alive moves it. A clone refers to the same time.
#[derive(Clone, Debug)]
pub struct LeaseExpiry(Arc<ExpiryInner>);

#[derive(Debug)]
struct ExpiryInner {
    /// The reference point of the stored offset.
    since: Instant,
    nanoseconds: AtomicU64,
}

impl LeaseExpiry {
    /// Creates the expiry of a lease that ends at `end`.
    pub fn at(end: Instant) -> Self {
        let since = Instant::now();
        let expiry = Self(Arc::new(ExpiryInner { since, nanoseconds: AtomicU64::new(0) }));
        expiry.set(end);
        expiry
    }

    /// Moves the end of the lease after a keep-alive or a revocation.
    pub fn set(&self, end: Instant) {
        let offset = end.saturating_duration_since(self.0.since).as_nanos();
        let nanoseconds = u64::try_from(offset).unwrap_or(u64::MAX);
        self.0.nanoseconds.store(nanoseconds, Ordering::Relaxed);
    }

    /// Returns the current end of the lease.
    pub fn instant(&self) -> Instant {
        self.0.since + self.offset()
    }

    /// Returns the remaining time. Zero means that the lease has ended.
    pub fn remaining(&self) -> Duration {
        self.offset().saturating_sub(self.0.since.elapsed())
    }

    fn offset(&self) -> Duration {
        Duration::from_nanos(self.0.nanoseconds.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keep_alive_extends_the_expiry_of_all_clones() {
        let expiry = LeaseExpiry::at(Instant::now() + Duration::from_secs(10));
        let another = expiry.clone();
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(another.remaining(), Duration::from_secs(6));

        expiry.set(Instant::now() + Duration::from_secs(10));
        assert_eq!(another.remaining(), Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(another.remaining(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn revoked_lease_has_no_time_remaining() {
        let expiry = LeaseExpiry::at(Instant::now() + Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(1)).await;
        expiry.set(Instant::now());
        assert_eq!(expiry.remaining(), Duration::ZERO);
    }
}
