//! [`FirstView`]: the containers that must report before the holder of a key is decided.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::messages::LiveContainers;
use crate::model::container::ContainerId;

/// The longest time for which a key without an own record waits for the first view.
const NEW_KEYS_WAIT_MAX: Duration = Duration::from_secs(2);

/// The first complete view of the containers, until all of them have reported (ARCHITECTURE.md,
/// "First view").
///
/// A new reconciler learns of the containers one by one. The container that reports first is not
/// necessarily the holder of its key. The holder of a key is therefore decided when every
/// container of the first complete listing has reported its desired records or is gone.
#[derive(Debug)]
pub(super) struct FirstView {
    /// The containers of the first listing that have not reported. `None` before that listing.
    unreported: Option<BTreeSet<ContainerId>>,
    /// The time of the first report or listing.
    began: Option<Instant>,
}

/// The keys whose holder can be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecidableKeys {
    /// Every key.
    All,
    /// From this time on, the keys without an own record, and those whose own record belongs to
    /// a container that has reported. All other records are kept.
    KnownFrom(Instant),
}

impl DecidableKeys {
    /// Returns the time from which the keys of known containers are decided.
    pub fn known_from(self, now: Instant) -> Instant {
        match self {
            Self::All => now,
            Self::KnownFrom(at) => at,
        }
    }
}

impl FirstView {
    /// Returns a view before the first listing.
    pub fn new() -> Self {
        Self { unreported: None, began: None }
    }

    /// Returns the view that decides every key.
    pub fn complete() -> Self {
        Self { unreported: Some(BTreeSet::new()), began: None }
    }

    /// Returns `true` if every container of the first listing has reported or is gone.
    pub fn is_complete(&self) -> bool {
        self.unreported.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Notes that a container has reported. Returns `true` if this completes the view.
    pub fn add_report(&mut self, id: &ContainerId, now: Instant) -> bool {
        self.began.get_or_insert(now);
        self.unreported.as_mut().is_some_and(|left| left.remove(id) && left.is_empty())
    }

    /// Notes a complete listing. The first one sets the containers that must report. In a later
    /// one, some of them may be gone. Returns `true` if this completes the view.
    pub fn add_listing(
        &mut self,
        listing: &LiveContainers,
        has_reported: impl Fn(&ContainerId) -> bool,
        now: Instant,
    ) -> bool {
        if self.is_complete() {
            return false;
        }
        self.began.get_or_insert(now);
        let all = &listing.containers;
        let left = self.unreported.get_or_insert_with(|| all.iter().cloned().collect());
        left.retain(|id| all.contains(id) && !has_reported(id));
        left.is_empty()
    }

    /// Returns the keys whose holder can be decided.
    pub fn decidable_keys(&self, now: Instant) -> DecidableKeys {
        if self.is_complete() || mutated!(HolderDecidedFromPartialView) {
            return DecidableKeys::All;
        }
        DecidableKeys::KnownFrom(self.began.unwrap_or(now) + NEW_KEYS_WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn id(name: &str) -> ContainerId {
        ContainerId::new(name)
    }

    fn listing(names: &[&str], now: Instant) -> LiveContainers {
        let containers = Arc::new(names.iter().map(|name| id(name)).collect());
        LiveContainers { containers, requested_at: now, is_complete: true }
    }

    #[test]
    fn completes_when_every_listed_container_has_reported() {
        let now = Instant::now();
        let mut view = FirstView::new();
        assert!(!view.add_report(&id("a"), now));
        assert!(!view.is_complete(), "there was no listing");
        assert!(!view.add_listing(&listing(&["a", "b", "c"], now), |it| *it == id("a"), now));
        assert!(!view.add_report(&id("b"), now));
        assert!(!view.add_report(&id("d"), now), "it is not in the first listing");
        assert!(view.add_report(&id("c"), now));
        assert!(view.is_complete());
        assert!(!view.add_report(&id("c"), now), "the view completes once");
    }

    #[test]
    fn later_listing_removes_containers_and_adds_none() {
        let now = Instant::now();
        let mut view = FirstView::new();
        assert!(!view.add_listing(&listing(&["a", "b"], now), |_| false, now));
        assert!(!view.add_listing(&listing(&["b", "c"], now), |_| false, now));
        assert!(view.add_report(&id("b"), now));
        let mut view = FirstView::new();
        assert!(!view.add_listing(&listing(&["a"], now), |_| false, now));
        assert!(view.add_listing(&listing(&["c"], now), |_| false, now), "a is gone");
        assert!(FirstView::new().add_listing(&listing(&[], now), |_| false, now));
    }

    #[test]
    fn wait_begins_with_first_report_or_listing() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let expected = DecidableKeys::KnownFrom(now + NEW_KEYS_WAIT_MAX);
        let mut view = FirstView::new();
        view.add_report(&id("a"), now);
        view.add_listing(&listing(&["a", "b"], later), |it| *it == id("a"), later);
        assert_eq!(view.decidable_keys(later), expected);
        let mut view = FirstView::new();
        view.add_listing(&listing(&["a", "b"], now), |_| false, now);
        view.add_report(&id("a"), later);
        assert_eq!(view.decidable_keys(later), expected);
        view.add_report(&id("b"), later);
        assert_eq!(view.decidable_keys(later), DecidableKeys::All);
    }
}
