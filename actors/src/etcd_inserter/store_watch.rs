//! The watch of the store: an early sign of an outage, of the end of a foreign record, and of
//! changes to owned records by another writer.

use std::rc::Rc;
use std::time::Duration;

use actix::{Addr, AsyncContext, Handler, Message};
use futures_util::StreamExt;
use slog::warn;
use tokio::time::Instant;

use super::EtcdInserter;
use crate::ports::record_store::{Change, RecordStore, StoreError, StoreErrorKind};
use crate::runtime::backoff::Backoff;
use crate::runtime::metered_context::{AbortOnDrop, MeteredContext};

/// The pauses before the watch is opened again. Every opening costs an audit. Without a watch,
/// changes by other writers are found only by audits.
const REOPEN_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), factor: 4, cap: Duration::from_secs(10) };
/// After a watch of at least this duration, the number of failures starts again at one.
const STREAM_STABLE_AFTER: Duration = Duration::from_secs(60);

/// The state of the watch, and the time of its next opening.
pub(super) struct WatchState {
    task: Option<AbortOnDrop>,
    opened_at: Instant,
    reopen_at: Instant,
    failures: u32,
    /// `true` if the log already reports that the store rejects the watch.
    unsupported_logged: bool,
}

/// The store reported a change.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct StoreChanged(Change);

/// The watch is open.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct WatchOpened;

/// The watch has ended, with an error or because the store closed it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct WatchEnded(Option<StoreError>);

impl WatchState {
    pub fn new(now: Instant) -> Self {
        Self { task: None, opened_at: now, reopen_at: now, failures: 0, unsupported_logged: false }
    }

    /// Returns the time at which the watch is opened again, or `None` while it is open.
    pub fn next_reopen(&self) -> Option<Instant> {
        self.task.is_none().then_some(self.reopen_at)
    }
}

async fn follow_changes<R: RecordStore>(store: Rc<R>, inserter: Addr<EtcdInserter<R>>) {
    let mut ended = None;
    match store.watch().await {
        Err(error) => ended = Some(error),
        Ok(mut changes) => {
            // A crashed inserter aborts this task, so a failed send needs no handling.
            let _ = inserter.send(WatchOpened).await;
            while let Some(change) = changes.next().await {
                match change {
                    Ok(change) => drop(inserter.send(StoreChanged(change)).await),
                    Err(error) => {
                        ended = Some(error);
                        break;
                    }
                }
            }
        }
    }
    let _ = inserter.send(WatchEnded(ended)).await;
}

impl<R: RecordStore> EtcdInserter<R> {
    /// Opens the watch if it is closed and its next opening is due.
    pub(super) fn maintain_watch(&mut self, now: Instant, context: &mut MeteredContext<Self>) {
        if self.watch.task.is_some() || now < self.watch.reopen_at {
            return;
        }
        let task = actix_rt::spawn(follow_changes(Rc::clone(&self.store), context.address()));
        self.watch.task = Some(AbortOnDrop::new(&task));
    }
}

impl<R: RecordStore> Handler<WatchOpened> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, _: WatchOpened, context: &mut Self::Context) {
        let now = Instant::now();
        self.watch.opened_at = now;
        // Only an audit finds the changes from before the watch.
        self.next_audit = now;
        self.process_due(context);
    }
}

impl<R: RecordStore> Handler<StoreChanged> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, StoreChanged(change): StoreChanged, context: &mut Self::Context) {
        let version = change.now.as_ref().map_or(0, |found| found.version);
        self.latest_revision = self.latest_revision.max(version);
        self.reconciler.apply_change(&change, Instant::now());
        self.process_due(context);
    }
}

impl<R: RecordStore> Handler<WatchEnded> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, WatchEnded(error): WatchEnded, context: &mut Self::Context) {
        let now = Instant::now();
        let uptime = now.duration_since(self.watch.opened_at);
        self.watch.task = None;
        self.watch.failures =
            if uptime >= STREAM_STABLE_AFTER { 1 } else { self.watch.failures.saturating_add(1) };
        self.watch.reopen_at = now + REOPEN_BACKOFF.wait(self.watch.failures, fastrand::f64());
        match error {
            Some(error) if !error.kind.is_outage() && error.kind != StoreErrorKind::LeaseLost => {
                if !std::mem::replace(&mut self.watch.unsupported_logged, true) {
                    warn!(self.log, "cannot watch etcd; relying on audits";
                        "error" => %error, "kind" => error.kind.as_str());
                }
            }
            error => {
                let reason =
                    error.map_or_else(|| "closed by etcd".to_owned(), |error| error.to_string());
                info!(self.log, "etcd watch ended; probing etcd";
                    "reason" => reason);
                self.circuit_breaker.request_probe(now);
            }
        }
        self.process_due(context);
    }
}
