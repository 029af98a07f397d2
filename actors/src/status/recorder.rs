//! What the actors write down for an operator; it outlives each of them.

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

/// What the actors write down for an operator. Nothing that they do depends on it.
#[derive(Clone, Default)]
pub(crate) struct StatusRecorder {
    history: Rc<History>,
    current: Rc<Current>,
}

/// What happened.
#[derive(Default)]
struct History {
    changes: RefCell<RecentChanges>,
    counts: Cell<RecordCounts>,
    event_to_record: Histogram,
}

/// What is so of one core.
#[derive(Default)]
struct Current {
    docker: RefCell<SourceStatus>,
    store: RefCell<StoreStatus>,
    containers: ContainerCounts,
}

impl StatusRecorder {
    /// With the same history, of a core that works beside this one's.
    pub fn for_other_core(&self) -> Self {
        Self { history: Rc::clone(&self.history), current: Rc::default() }
    }

    /// From now on Docker is to be listed this often.
    pub fn set_poll_interval(&self, interval: Duration) {
        self.current.docker.borrow_mut().poll_interval = interval;
    }

    /// Takes note of a change.
    pub fn record_change(&self, change: RecentChange) {
        self.history.changes.borrow_mut().add(change);
    }

    /// The last changes, the oldest first.
    pub fn changes(&self) -> Vec<RecentChange> {
        self.history.changes.borrow().all()
    }

    /// A listing was answered.
    pub fn record_listing(&self) {
        let mut docker = self.current.docker.borrow_mut();
        (docker.last_listing, docker.last_error) = (Some(Instant::now()), None);
    }

    /// A listing was not answered.
    pub fn record_listing_error(&self, error: &SourceError) {
        self.current.docker.borrow_mut().last_error = Some(error.message.clone());
    }

    /// The store answers.
    pub fn record_store_available(&self) {
        let mut store = self.current.store.borrow_mut();
        if !std::mem::replace(&mut store.available, true) {
            (store.since, store.last_error) = (Some(Instant::now()), None);
        }
    }

    /// The store does not answer.
    pub fn record_store_error(&self, error: &StoreError) {
        let mut store = self.current.store.borrow_mut();
        if std::mem::replace(&mut store.available, false) || store.since.is_none() {
            store.since = Some(Instant::now());
        }
        store.last_error = Some(error.message.clone());
    }

    /// The store is tried again after it had not answered.
    pub fn record_store_retry(&self) {
        self.current.store.borrow_mut().retries += 1;
    }

    /// The store has taken a write.
    pub fn record_store_write(&self) {
        self.current.store.borrow_mut().last_write = Some(Instant::now());
    }

    /// What the store holds was compared with what should be there.
    pub fn record_store_audit(&self) {
        self.current.store.borrow_mut().last_audit = Some(Instant::now());
    }

    /// Counts a container that is not inspected yet.
    pub fn track_container(&self) -> StateGauge {
        self.current.containers.count(DisplayState::Unknown)
    }

    /// Counts what happened to records.
    pub fn update_counts(&self, change: impl FnOnce(&mut RecordCounts)) {
        let mut counts = self.history.counts.get();
        change(&mut counts);
        self.history.counts.set(counts);
    }

    /// What happened to records so far.
    pub fn counts(&self) -> RecordCounts {
        self.history.counts.get()
    }

    /// A change that was first told of at `told` is in the store now.
    pub fn record_latency(&self, changed_at: Instant, now: Instant) {
        self.history.event_to_record.record(now.saturating_duration_since(changed_at));
    }

    /// All of it, and how far the records are.
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
