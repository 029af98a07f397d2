//! [`StatusRecorder`]: the status that actors report, which survives their restarts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::changes::{RecentChange, RecentChanges};
use super::container_counts::{ContainerCounts, StateGauge};
use super::reports::RecordCounts;
use super::snapshot::{CoreStatus, RecordsStatus, SourceStatus, StoreStatus};
use crate::model::container_state::DisplayState;
use crate::ports::container_source::SourceError;
use crate::ports::record_store::StoreError;
use crate::runtime::metrics::Histogram;

/// Collects the status of a core from its actors.
///
/// The recorder is write-only for actors: no decision depends on its content. Clones share
/// the content.
#[derive(Clone, Default)]
pub(crate) struct StatusRecorder {
    history: Rc<History>,
    current: Rc<Current>,
}

/// The history of this daemon, which continues if a reload starts another core.
#[derive(Default)]
struct History {
    changes: RefCell<RecentChanges>,
    counts: Cell<RecordCounts>,
    event_to_record: Histogram,
}

/// The current state of one core.
#[derive(Default)]
struct Current {
    docker: RefCell<SourceStatus>,
    store: RefCell<StoreStatus>,
    containers: ContainerCounts,
}

impl StatusRecorder {
    /// Creates the recorder of another core that continues the history of this one.
    pub fn for_other_core(&self) -> Self {
        Self { history: Rc::clone(&self.history), current: Rc::default() }
    }

    /// Sets the time between two listings of Docker.
    pub fn set_poll_interval(&self, interval: Duration) {
        self.current.docker.borrow_mut().poll_interval = interval;
    }

    /// Records a change of a container or a record.
    pub fn record_change(&self, change: RecentChange) {
        self.history.changes.borrow_mut().add(change);
    }

    /// Returns the latest changes, oldest first.
    pub fn changes(&self) -> Vec<RecentChange> {
        self.history.changes.borrow().all()
    }

    /// Records a successful listing of Docker, and the time that it took.
    pub fn record_listing(&self, duration: Duration) {
        let mut docker = self.current.docker.borrow_mut();
        (docker.last_listing, docker.last_error) = (Some(Instant::now()), None);
        docker.listing_duration = duration;
    }

    /// Counts an event of Docker that could not be read.
    pub fn record_unreadable_event(&self) {
        self.current.docker.borrow_mut().unreadable_events += 1;
    }

    /// Counts rows of a listing that could not be read.
    pub fn record_unreadable_rows(&self, count: usize) {
        self.current.docker.borrow_mut().unreadable_rows += count as u64;
    }

    /// Records a failed listing of Docker.
    pub fn record_listing_error(&self, error: &SourceError) {
        self.current.docker.borrow_mut().last_error = Some(error.message.clone());
    }

    /// Records a reply of the store.
    pub fn record_store_available(&self) {
        let mut store = self.current.store.borrow_mut();
        if !std::mem::replace(&mut store.available, true) {
            (store.since, store.last_error) = (Some(Instant::now()), None);
        }
    }

    /// Records that the store is unreachable.
    pub fn record_store_error(&self, error: &StoreError) {
        let mut store = self.current.store.borrow_mut();
        if std::mem::replace(&mut store.available, false) || store.since.is_none() {
            store.since = Some(Instant::now());
        }
        store.last_error = Some(error.message.clone());
    }

    /// Counts a retry after the store was unreachable.
    pub fn record_store_retry(&self) {
        self.current.store.borrow_mut().retries += 1;
    }

    /// Records that the store accepted a write.
    pub fn record_store_write(&self) {
        self.current.store.borrow_mut().last_write = Some(Instant::now());
    }

    /// Records a complete audit of the store.
    pub fn record_store_audit(&self) {
        self.current.store.borrow_mut().last_audit = Some(Instant::now());
    }

    /// Counts a new container. Its state is unknown until it is inspected.
    pub fn track_container(&self) -> StateGauge {
        self.current.containers.count(DisplayState::Unknown)
    }

    /// Updates the counters of record events.
    pub fn update_counts(&self, change: impl FnOnce(&mut RecordCounts)) {
        let mut counts = self.history.counts.get();
        change(&mut counts);
        self.history.counts.set(counts);
    }

    /// Returns the counters of record events since the start.
    pub fn counts(&self) -> RecordCounts {
        self.history.counts.get()
    }

    /// Records the time from the first report of a change, at `changed_at`, to the reply of the
    /// store, at `now`.
    pub fn record_latency(&self, changed_at: Instant, now: Instant) {
        self.history.event_to_record.record(now.saturating_duration_since(changed_at));
    }

    /// Returns the status of the core. `records` is the part of the inserter, if the inserter
    /// replied.
    pub fn status(&self, records: Option<RecordsStatus>) -> CoreStatus {
        CoreStatus {
            docker: self.current.docker.borrow().clone(),
            store: self.current.store.borrow().clone(),
            containers: self.current.containers.read(),
            records,
            counts: self.history.counts.get(),
            event_to_record: self.history.event_to_record.snapshot(),
        }
    }
}
