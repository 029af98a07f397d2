//! The stream of changes below one directory.

use std::collections::VecDeque;

use futures_util::{StreamExt, stream};
use highhock_actors::{Change, Changes, Found, RecordKey, StoreError, StoreErrorKind, Tie};

use super::error::{self, Reason, Refusal};
use super::gateway::{Call, Gateway, Stream};
use super::txn::{below, path_of};
use super::wire::{Event, EventKind, InStream, KeyValue, Range, WatchAnswer, WatchRequest};
use crate::etcd::http::Member;
use crate::text::line_splitter::Lines;

const DOING: &str = "watching for changes";

/// The longest message that is taken, in bytes.
const MAX_LINE: usize = 64 << 20;

/// Follows what changes below `root`, from the moment on when this answers.
pub(super) async fn watch(
    gateway: std::rc::Rc<Gateway>,
    root: &RecordKey,
) -> Result<Changes, StoreError> {
    let (key, end) = below(&path_of(root));
    let range = Range {
        key: key.as_str().into(),
        range_end: Some(end.as_str().into()),
        ..Range::default()
    };
    let request = WatchRequest { create_request: range };
    let Stream { chunks, member } = gateway.open(call(), &request).await?;
    let limit = gateway.usual_limit();
    let mut follower =
        Follower { gateway, member, chunks, lines: Lines::up_to(MAX_LINE), ready: VecDeque::new() };
    let created = tokio::time::timeout(limit, follower.until_created()).await;
    created.unwrap_or_else(|_| {
        let what = format!("etcd did not begin within {} s", limit.as_secs_f32());
        Err(follower.error(StoreErrorKind::Unknown, what))
    })?;
    let changes = stream::unfold(Some(follower), async |follower| {
        let mut follower = follower?;
        match follower.next().await {
            Ok(change) => Some((Ok(change), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(changes.boxed_local())
}

fn call() -> Call<'static> {
    Call::read(DOING, "/v3/watch")
}

/// One watch stream, on its way from bytes to changes.
struct Follower {
    gateway: std::rc::Rc<Gateway>,
    member: Member,
    chunks: stream::LocalBoxStream<'static, Result<bytes::Bytes, crate::etcd::http::Failure>>,
    lines: Lines,
    ready: VecDeque<Change>,
}

impl Follower {
    async fn until_created(&mut self) -> Result<(), StoreError> {
        while !self.message().await?.created {}
        Ok(())
    }

    async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(change);
            }
            let message = self.message().await?;
            self.ready.extend(message.events.into_iter().map(change));
        }
    }

    /// The next message, where it is none that ends the watch.
    async fn message(&mut self) -> Result<WatchAnswer, StoreError> {
        loop {
            if let Some(line) = self.lines.next() {
                return self.read(&line);
            }
            match self.chunks.next().await {
                Some(Ok(bytes)) if self.lines.take(&bytes) => {}
                Some(Ok(_)) => {
                    return Err(self.error(StoreErrorKind::Malformed, "a message without an end"));
                }
                Some(Err(failure)) => return Err(self.error(failure.kind, failure.what)),
                None => {
                    if let Some(line) = self.lines.rest() {
                        return self.read(&line);
                    }
                    let what = "the stream ended: the member is going, or a proxy is in between";
                    return Err(self.error(StoreErrorKind::Unavailable, what));
                }
            }
        }
    }

    fn read(&self, line: &[u8]) -> Result<WatchAnswer, StoreError> {
        if let Some(refusal) = error::in_stream(line) {
            return Err(self.refused(refusal));
        }
        let InStream { result } = serde_json::from_slice::<InStream<WatchAnswer>>(line)
            .map_err(|error| self.refused(error::unfit(200, line, &error)))?;
        if result.compact_revision.0 != 0 {
            let what = "etcd compacted what was still to be told";
            return Err(self.error(StoreErrorKind::Unavailable, what));
        }
        if result.canceled {
            // An old token is called a denied permission here.
            self.gateway.forget_token();
            let what = format!("etcd cancelled it: {:?}", result.cancel_reason);
            return Err(self.error(StoreErrorKind::Unavailable, what));
        }
        Ok(result)
    }

    fn refused(&self, refusal: Refusal) -> StoreError {
        self.gateway.refused(call(), self.member, refusal).into()
    }

    fn error(&self, kind: StoreErrorKind, what: impl Into<String>) -> StoreError {
        self.refused(Refusal { reason: Reason::Other, kind, what: what.into() })
    }
}

fn change(event: Event) -> Change {
    let key = RecordKey::from_path(&event.kv.key.to_text());
    let now = (event.kind == EventKind::Put).then(|| found(&event.kv));
    Change { key, now }
}

/// What a key holds.
pub(super) fn found(kv: &KeyValue) -> Found {
    Found {
        value: kv.value.to_text(),
        version: kv.mod_revision.unsigned(),
        tie: match kv.lease.0 {
            0 => Tie::None,
            id => Tie::Lease(highhock_actors::LeaseId(id)),
        },
    }
}
