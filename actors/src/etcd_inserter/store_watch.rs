//! The stream of changes that the store tells of: an early sign of an outage, of
//! another's record that ended, and of what others do to ours.

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

/// Before the stream is opened again. Each time costs a look at all records; without the
/// stream, what others do is seen by looking only.
const REOPEN_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), factor: 4, cap: Duration::from_secs(10) };
/// A stream that lived so long was a good one: its end counts as the first failure.
const STREAM_STABLE_AFTER: Duration = Duration::from_secs(60);

/// The stream, as far as the inserter knows.
pub(super) struct WatchState {
    task: Option<AbortOnDrop>,
    opened_at: Instant,
    reopen_at: Instant,
    failures: u32,
    /// Whether it was told that the store won't give a stream.
    unsupported_logged: bool,
}

/// The store has told of a change.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct StoreChanged(Change);

/// The stream is open.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct WatchOpened;

/// The stream has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct WatchEnded(Option<StoreError>);

impl WatchState {
    pub fn new(now: Instant) -> Self {
        Self { task: None, opened_at: now, reopen_at: now, failures: 0, unsupported_logged: false }
    }

    /// When it is to be opened again.
    pub fn next_reopen(&self) -> Option<Instant> {
        self.task.is_none().then_some(self.reopen_at)
    }
}

async fn follow_changes<R: RecordStore>(store: Rc<R>, inserter: Addr<EtcdInserter<R>>) {
    let mut ended = None;
    match store.watch().await {
        Err(error) => ended = Some(error),
        Ok(mut changes) => {
            // An inserter that fell takes this task with it: no answer matters here.
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
    /// Opens the stream where there is none and it is time.
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
        // What changed before the stream began, only a look can tell.
        self.next_audit = now;
        self.process_due(context);
    }
}

impl<R: RecordStore> Handler<StoreChanged> for EtcdInserter<R> {
    type Result = ();

    fn handle(&mut self, StoreChanged(change): StoreChanged, context: &mut Self::Context) {
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
                    warn!(self.log, "etcd gives no stream of changes; they are found by looking";
                        "error" => %error, "kind" => error.kind.as_str());
                }
            }
            error => {
                let reason = error.map_or_else(|| "it ended".to_owned(), |error| error.to_string());
                info!(self.log, "the stream of changes ended; looking whether etcd is there";
                    "reason" => reason);
                self.request_probe(now);
            }
        }
        self.process_due(context);
    }
}
