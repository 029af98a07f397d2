//! The changes below one directory: one wait after the other, each from behind the
//! last change on, so that none is lost in between.

use std::rc::Rc;

use futures_util::{StreamExt, stream};
use highhock_actors::{Change, ChangeStream, RecordKey, StoreError, StoreErrorKind};

use super::keys::{KeyRequest, KeysApi, LongPoll};
use super::wire::{self, KeyEvent, UnexpectedResponse};

/// The longest answer to a wait that is taken, in bytes.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// Follows what changes below `root`, from the moment on when this answers.
pub(super) async fn watch(keys: Rc<KeysApi>, root: RecordKey) -> Result<ChangeStream, StoreError> {
    let key_request = key_request(&root);
    let next = keys.current_index(key_request).await? + 1;
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
    /// The index that is waited for.
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

    /// The next change, whole.
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
                    UnexpectedResponse::new(StoreErrorKind::Malformed, "a change without an end");
                return Err(self.keys.response_error(key_request, member, &unexpected));
            }
        }
        if body.is_empty() {
            let message = "etcd ended the wait: the member is going, or a proxy is in between";
            let unexpected = UnexpectedResponse::new(StoreErrorKind::Unavailable, message);
            return Err(self.keys.response_error(key_request, member, &unexpected));
        }
        wire::read_event(&body)
            .map_err(|unexpected| self.keys.response_error(key_request, member, &unexpected))
    }

    /// What an event tells. A directory's removal is one event, with the
    /// directory's key, whatever was in it.
    fn change(&self, event: KeyEvent) -> Result<Option<Change>, StoreError> {
        let KeyEvent { action, node } = event;
        let key = RecordKey::from_path(&node.key);
        let is_gone = matches!(&*action, "delete" | "expire" | "compareAndDelete");
        let is_inside =
            key.as_str().strip_prefix(self.root.as_str()).is_some_and(|it| it.starts_with('/'));
        if is_gone && !is_inside {
            let message = format!("{key} was removed with all that was in it");
            return Err(self.keys.error(
                key_request(&self.root),
                StoreErrorKind::Unavailable,
                &message,
            ));
        }
        let now = (!is_gone).then(|| node.stored_record());
        // That a directory was made changes nothing.
        let is_relevant = is_inside && (is_gone || !node.dir);
        Ok(is_relevant.then_some(Change { key, now }))
    }
}
