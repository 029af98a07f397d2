//! Follows the changes below one directory by long polls.
//!
//! Each long poll starts at the index after the last change, so that no change is lost between two
//! of them. etcd keeps the last 1,000 changes.

use std::rc::Rc;

use futures_util::{StreamExt, stream};
use highhock_actors::{Change, ChangeStream, RecordKey, StoreError, StoreErrorKind};

use super::keys::{KeyRequest, KeysApi, LongPoll};
use super::wire::{self, KeyEvent, UnexpectedResponse};

/// The longest response to a long poll that is read, in bytes.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// Returns the changes below `root` from now on.
pub(super) async fn watch(keys: Rc<KeysApi>, root: RecordKey) -> Result<ChangeStream, StoreError> {
    let key_request = key_request(&root);
    let Some(current) = keys.current_index(key_request).await? else {
        let message = "the response has no header X-Etcd-Index; check the proxy before etcd";
        return Err(keys.error(key_request, StoreErrorKind::Malformed, message));
    };
    let next = current + 1;
    let long_poll = keys.long_poll(key_request, next).await?;
    let reader = LongPollReader { keys, root, next, long_poll: Some(long_poll) };
    let changes = stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next().await {
            Ok(change) => Some((Ok(change), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(changes.boxed_local())
}

fn key_request(root: &RecordKey) -> KeyRequest<'_> {
    KeyRequest { action: "watching for changes below", key: root.as_str() }
}

struct LongPollReader {
    keys: Rc<KeysApi>,
    root: RecordKey,
    /// The first index that the next long poll waits for.
    next: u64,
    long_poll: Option<LongPoll>,
}

impl LongPollReader {
    async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            let event = self.event().await?;
            self.next = event.node.modified_index + 1;
            if let Some(change) = self.change(event)? {
                return Ok(change);
            }
        }
    }

    /// Returns the next event of etcd.
    async fn event(&mut self) -> Result<KeyEvent, StoreError> {
        let key_request = key_request(&self.root);
        let LongPoll { mut chunks, member } = match self.long_poll.take() {
            Some(long_poll) => long_poll,
            None => self.keys.long_poll(key_request, self.next).await?,
        };
        let mut body = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|failure| {
                let unexpected = UnexpectedResponse::new(failure.kind, failure.message);
                self.keys.response_error(key_request, member, &unexpected)
            })?;
            body.extend_from_slice(&chunk);
            if body.len() > EVENT_BYTES_MAX {
                let unexpected =
                    UnexpectedResponse::new(StoreErrorKind::Malformed, "the change is too long");
                return Err(self.keys.response_error(key_request, member, &unexpected));
            }
        }
        if body.is_empty() {
            let message = "etcd ended the long poll; the member is stopping, or a proxy closed it";
            let unexpected = UnexpectedResponse::new(StoreErrorKind::Unavailable, message);
            return Err(self.keys.response_error(key_request, member, &unexpected));
        }
        wire::read_event(&body)
            .map_err(|unexpected| self.keys.response_error(key_request, member, &unexpected))
    }

    /// Translates an event. The removal of a directory is one event with the key of the directory,
    /// whatever its content was.
    fn change(&self, event: KeyEvent) -> Result<Option<Change>, StoreError> {
        let KeyEvent { action, node } = event;
        let key = RecordKey::from_path(&node.key);
        let is_gone = matches!(&*action, "delete" | "expire" | "compareAndDelete");
        let is_inside =
            key.as_str().strip_prefix(self.root.as_str()).is_some_and(|it| it.starts_with('/'));
        if is_gone && !is_inside {
            let message = format!("the directory {key} was removed with its content");
            return Err(self.keys.error(
                key_request(&self.root),
                StoreErrorKind::Unavailable,
                &message,
            ));
        }
        let now = (!is_gone).then(|| node.stored_record());
        // The creation of a directory changes no record.
        let is_relevant = is_inside && (is_gone || !node.dir);
        Ok(is_relevant.then_some(Change { key, now }))
    }
}
