//! The changes below one directory: one wait after the other, each from behind the
//! last change on, so that none is lost in between.

use std::rc::Rc;

use futures_util::{StreamExt, stream};
use highhock_actors::{Change, Changes, RecordKey, StoreError, StoreErrorKind};

use super::keys::{KeysApi, Subject, Waiting};
use super::wire::{self, Event, Unfit};

/// The longest answer to a wait that is taken, in bytes.
const MAX_EVENT: usize = 16 << 20;

/// Follows what changes below `root`, from the moment on when this answers.
pub(super) async fn watch(keys: Rc<KeysApi>, root: RecordKey) -> Result<Changes, StoreError> {
    let subject = subject(&root);
    let next = keys.index(subject).await? + 1;
    let waiting = keys.wait(subject, next).await?;
    let follower = Follower { keys, root, next, waiting: Some(waiting) };
    let changes = stream::unfold(Some(follower), async |follower| {
        let mut follower = follower?;
        match follower.next().await {
            Ok(change) => Some((Ok(change), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(changes.boxed_local())
}

fn subject(root: &RecordKey) -> Subject<'_> {
    Subject { doing: "watching for changes below", key: root.as_str() }
}

struct Follower {
    keys: Rc<KeysApi>,
    root: RecordKey,
    /// The index that is waited for.
    next: u64,
    waiting: Option<Waiting>,
}

impl Follower {
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
    async fn event(&mut self) -> Result<Event, StoreError> {
        let subject = subject(&self.root);
        let Waiting { mut chunks, member } = match self.waiting.take() {
            Some(waiting) => waiting,
            None => self.keys.wait(subject, self.next).await?,
        };
        let mut body = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|failure| {
                let unfit = Unfit::new(failure.kind, failure.what);
                self.keys.unfit(subject, member, &unfit)
            })?;
            body.extend_from_slice(&chunk);
            if body.len() > MAX_EVENT {
                let unfit = Unfit::new(StoreErrorKind::Malformed, "a change without an end");
                return Err(self.keys.unfit(subject, member, &unfit));
            }
        }
        if body.is_empty() {
            let what = "etcd ended the wait: the member is going, or a proxy is in between";
            let unfit = Unfit::new(StoreErrorKind::Unavailable, what);
            return Err(self.keys.unfit(subject, member, &unfit));
        }
        wire::read_event(&body).map_err(|unfit| self.keys.unfit(subject, member, &unfit))
    }

    /// What an event tells. A directory's removal is one event, with the
    /// directory's key, whatever was in it.
    fn change(&self, event: Event) -> Result<Option<Change>, StoreError> {
        let Event { action, node } = event;
        let key = RecordKey::from_path(&node.key);
        let is_gone = matches!(&*action, "delete" | "expire" | "compareAndDelete");
        let is_inside =
            key.as_str().strip_prefix(self.root.as_str()).is_some_and(|it| it.starts_with('/'));
        if is_gone && !is_inside {
            let what = format!("{key} was removed with all that was in it");
            return Err(self.keys.error(subject(&self.root), StoreErrorKind::Unavailable, &what));
        }
        let now = (!is_gone).then(|| node.found());
        // That a directory was made changes nothing.
        let tells = is_inside && (is_gone || !node.dir);
        Ok(tells.then_some(Change { key, now }))
    }
}
