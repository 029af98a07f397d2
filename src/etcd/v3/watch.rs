//! Follows the changes below one directory by a watch (`/v3/watch`).
//!
//! The response is a stream with one JSON message per line. etcd first confirms the watch, and then
//! sends each change.

use std::collections::VecDeque;
use std::rc::Rc;

use futures_util::{StreamExt, stream};
use highhock_actors::{
    Change, ChangeStream, Expiry, RecordKey, StoreError, StoreErrorKind, StoredRecord,
};

use super::error::{self, ErrorClass, ResponseError};
use super::gateway::{Call, CallError, ChunkStream, Gateway};
use super::txn::{key_path, range_below};
use super::wire::{
    EventType, KeyValue, RangeRequest, StreamMessage, WatchEvent, WatchRequest, WatchResponse,
};
use crate::etcd::http::Member;
use crate::text::line_splitter::{Line, LineSplitter};

const WATCH_ACTION: &str = "watching for changes";

/// The longest message that is read, in bytes.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Returns the changes below `root` from now on.
pub(super) async fn watch(
    gateway: Rc<Gateway>,
    root: &RecordKey,
) -> Result<ChangeStream, StoreError> {
    let (key, end) = range_below(&key_path(root));
    let range = RangeRequest {
        key: key.as_str().into(),
        range_end: Some(end.as_str().into()),
        ..RangeRequest::default()
    };
    let request = WatchRequest { create_request: range };
    let mut opened = open(&gateway, &request).await;
    // etcd confirms and cancels a watch with an old token in one message.
    if is_token_error(&opened) {
        opened = open(&gateway, &request).await;
    }
    if is_token_error(&opened) {
        gateway.http().mark_failed(gateway.http().current());
    }
    let changes = stream::unfold(Some(opened?), async |reader| {
        let mut reader = reader?;
        match reader.next().await {
            Ok(change) => Some((Ok(change), Some(reader))),
            Err(error) => Some((Err(error.into()), None)),
        }
    });
    Ok(changes.boxed_local())
}

fn is_token_error(opened: &Result<WatchReader, CallError>) -> bool {
    matches!(opened, Err(CallError { class: ErrorClass::Token, .. }))
}

/// Opens a watch, and waits until etcd confirms it.
async fn open(gateway: &Rc<Gateway>, request: &WatchRequest) -> Result<WatchReader, CallError> {
    let ChunkStream { chunks, member } = gateway.open_stream(call(), request).await?;
    let limit = gateway.default_timeout();
    let mut reader = WatchReader {
        gateway: Rc::clone(gateway),
        member,
        chunks,
        lines: LineSplitter::with_max_length(LINE_BYTES_MAX),
        pending: VecDeque::new(),
    };
    let created = tokio::time::timeout(limit, reader.wait_until_created()).await;
    created.unwrap_or_else(|_| {
        let message = format!("etcd did not confirm the watch within {} s", limit.as_secs_f32());
        Err(reader.error(StoreErrorKind::Unknown, message))
    })?;
    Ok(reader)
}

fn call() -> Call<'static> {
    Call::read(WATCH_ACTION, "/v3/watch")
}

/// The state of one watch: the unread bytes and changes.
struct WatchReader {
    gateway: Rc<Gateway>,
    member: Member,
    chunks: stream::LocalBoxStream<'static, Result<bytes::Bytes, crate::etcd::http::HttpError>>,
    lines: LineSplitter,
    pending: VecDeque<Change>,
}

impl WatchReader {
    async fn wait_until_created(&mut self) -> Result<(), CallError> {
        while !self.message().await?.created {}
        Ok(())
    }

    async fn next(&mut self) -> Result<Change, CallError> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                return Ok(change);
            }
            let message = self.message().await?;
            self.pending.extend(message.events.into_iter().map(change));
        }
    }

    /// Returns the next message, or an error if it ends the watch.
    async fn message(&mut self) -> Result<WatchResponse, CallError> {
        loop {
            match self.lines.next() {
                Some(Line::Complete(line)) => return self.read(&line),
                // A watch without these changes would lack some.
                Some(Line::TooLong { .. }) => return Err(self.too_long()),
                None if self.lines.is_too_long() => return Err(self.too_long()),
                None => {}
            }
            match self.chunks.next().await {
                Some(Ok(bytes)) => self.lines.push(&bytes),
                Some(Err(failure)) => return Err(self.error(failure.kind, failure.message)),
                None => {
                    if let Some(line) = self.lines.take_rest() {
                        return self.read(&line);
                    }
                    let message = "the stream ended; the member is stopping, or a proxy closed it";
                    return Err(self.error(StoreErrorKind::Unavailable, message));
                }
            }
        }
    }

    fn too_long(&self) -> CallError {
        self.error(StoreErrorKind::Malformed, "the message is too long")
    }

    fn read(&self, line: &[u8]) -> Result<WatchResponse, CallError> {
        if let Some(response_error) = error::stream_error(line) {
            return Err(self.to_call_error(response_error));
        }
        let StreamMessage { result } = serde_json::from_slice::<StreamMessage<WatchResponse>>(line)
            .map_err(|error| self.to_call_error(error::unexpected(200, line, &error)))?;
        if result.compact_revision.0 != 0 {
            let message = "etcd compacted changes that it had not sent";
            return Err(self.error(StoreErrorKind::Unavailable, message));
        }
        if result.canceled {
            return Err(self.cancelled(&result.cancel_reason));
        }
        Ok(result)
    }

    /// Returns the error for a watch that etcd cancelled. If the reason may be an old token, the
    /// token is forgotten, and the member does not count as failed.
    fn cancelled(&self, reason: &str) -> CallError {
        let (kind, message) =
            (StoreErrorKind::Unavailable, format!("etcd cancelled the watch: {reason:?}"));
        if !error::may_concern_token(reason) {
            return self.error(kind, message);
        }
        self.gateway.forget_token();
        self.gateway.error(WATCH_ACTION, self.member, ErrorClass::Token, kind, &message)
    }

    fn to_call_error(&self, response_error: ResponseError) -> CallError {
        self.gateway.to_call_error(call(), self.member, response_error)
    }

    fn error(&self, kind: StoreErrorKind, message: impl Into<String>) -> CallError {
        self.to_call_error(ResponseError {
            class: ErrorClass::Other,
            kind,
            message: message.into(),
        })
    }
}

fn change(event: WatchEvent) -> Change {
    let key = RecordKey::from_path(&event.kv.key.to_text());
    let now = (event.kind == EventType::Put).then(|| stored_record(&event.kv));
    Change { key, now }
}

/// Returns the record at a key.
pub(super) fn stored_record(kv: &KeyValue) -> StoredRecord {
    StoredRecord {
        value: kv.value.to_text(),
        version: kv.mod_revision.unsigned(),
        expiry: match kv.lease.0 {
            0 => Expiry::Never,
            id => Expiry::Lease(highhock_actors::LeaseId(id)),
        },
    }
}
