//! What the actors write down for an operator; it outlives each of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::changes::{RecentChange, RecentChanges};
use super::container_counts::{ContainerCounts, Counted};
use super::reports::Counts;
use super::snapshot::{DockerStanding, RecordsStanding, Standing, StoreStanding};
use crate::model::container_state::ContainerState;
use crate::ports::container_source::SourceError;
use crate::ports::record_store::StoreError;
use crate::runtime::metrics::Timing;

/// What the actors write down for an operator. Nothing that they do depends on it.
#[derive(Clone, Default)]
pub(crate) struct Chronicle {
    history: Rc<History>,
    present: Rc<Present>,
}

/// What happened.
#[derive(Default)]
struct History {
    changes: RefCell<RecentChanges>,
    counts: Cell<Counts>,
    event_to_record: Timing,
}

/// What is so of one core.
#[derive(Default)]
struct Present {
    docker: RefCell<DockerStanding>,
    store: RefCell<StoreStanding>,
    containers: ContainerCounts,
}

impl Chronicle {
    /// With the same history, of a core that works beside this one's.
    pub fn of_another_core(&self) -> Self {
        Self { history: Rc::clone(&self.history), present: Rc::default() }
    }

    /// From now on Docker is to be listed this often.
    pub fn docker_is_listed_every(&self, poll: Duration) {
        self.present.docker.borrow_mut().poll = poll;
    }

    /// Takes note of a change.
    pub fn note(&self, change: RecentChange) {
        self.history.changes.borrow_mut().add(change);
    }

    /// The last changes, the oldest first.
    pub fn changes(&self) -> Vec<RecentChange> {
        self.history.changes.borrow().all()
    }

    /// A listing was answered.
    pub fn docker_listed(&self) {
        let mut docker = self.present.docker.borrow_mut();
        (docker.listed, docker.trouble) = (Some(Instant::now()), None);
    }

    /// A listing was not answered.
    pub fn docker_failed(&self, error: &SourceError) {
        self.present.docker.borrow_mut().trouble = Some(error.message.clone());
    }

    /// The store answers.
    pub fn store_answers(&self) {
        let mut store = self.present.store.borrow_mut();
        if !std::mem::replace(&mut store.answers, true) {
            (store.since, store.trouble) = (Some(Instant::now()), None);
        }
    }

    /// The store does not answer.
    pub fn store_failed(&self, error: &StoreError) {
        let mut store = self.present.store.borrow_mut();
        if std::mem::replace(&mut store.answers, false) || store.since.is_none() {
            store.since = Some(Instant::now());
        }
        store.trouble = Some(error.message.clone());
    }

    /// The store is tried again after it had not answered.
    pub fn store_retried(&self) {
        self.present.store.borrow_mut().retries += 1;
    }

    /// The store has taken a write.
    pub fn store_written(&self) {
        self.present.store.borrow_mut().written = Some(Instant::now());
    }

    /// What the store holds was compared with what should be there.
    pub fn store_audited(&self) {
        self.present.store.borrow_mut().audited = Some(Instant::now());
    }

    /// Counts a container that is not inspected yet.
    pub fn count_container(&self) -> Counted {
        self.present.containers.count(ContainerState::Unknown)
    }

    /// Counts what happened to records.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.history.counts.get();
        change(&mut counts);
        self.history.counts.set(counts);
    }

    /// What happened to records so far.
    pub fn counts(&self) -> Counts {
        self.history.counts.get()
    }

    /// A change that was first told of at `told` is in the store now.
    pub fn record_follows(&self, told: Instant, now: Instant) {
        self.history.event_to_record.add(now.saturating_duration_since(told));
    }

    /// All of it, and how far the records are.
    pub fn standing(&self, records: Option<RecordsStanding>) -> Standing {
        Standing {
            docker: self.present.docker.borrow().clone(),
            store: self.present.store.borrow().clone(),
            containers: self.present.containers.read(),
            records,
            counts: self.history.counts.get(),
            event_to_record: self.history.event_to_record.read(),
        }
    }
}
