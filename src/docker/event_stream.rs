//! The engine's event stream.

use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::stream::{self, LocalBoxStream};
use futures_util::{Stream, StreamExt};
use highhock_actors::{Event, Events, SourceError};

use super::endpoint::Endpoint;
use super::error::{Question, one_line};
use super::event;
use crate::text::line_splitter::Lines;

/// The longest event that is read, in bytes: one has some 500, and a container's labels.
const LONGEST_EVENT: usize = 1 << 20;

/// The events in the body of an answer to `path`.
pub(super) fn follow(
    endpoint: Endpoint,
    path: String,
    body: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
) -> Events {
    let lines = Lines::up_to(LONGEST_EVENT);
    let follower = Follower { endpoint, path, body: body.boxed_local(), lines };
    let events = stream::unfold(Some(follower), async |follower| {
        let mut follower = follower?;
        match follower.next().await.transpose()? {
            Ok(event) => Some((Ok(event), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    });
    events.boxed_local()
}

/// One stream, on its way from bytes to events.
struct Follower {
    endpoint: Endpoint,
    path: String,
    body: LocalBoxStream<'static, Result<Bytes, PayloadError>>,
    lines: Lines,
}

impl Follower {
    /// The next event; `None` where the engine has closed the stream.
    async fn next(&mut self) -> Result<Option<Event>, SourceError> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(event) = self.read(&line)? {
                    return Ok(Some(event));
                }
            }
            match self.body.next().await {
                Some(Ok(bytes)) if self.lines.take(&bytes) => {}
                Some(Ok(_)) => {
                    let limit = LONGEST_EVENT >> 20;
                    let what = format!("an event is longer than {limit} MiB; is this Docker?");
                    return Err(self.question().malformed(&what));
                }
                Some(Err(error)) => return Err(self.broken(&error)),
                // What has no end was cut off.
                None => return Ok(None),
            }
        }
    }

    fn read(&self, line: &[u8]) -> Result<Option<Event>, SourceError> {
        event::read(line).map_err(|_| {
            let beginning = String::from_utf8_lossy(&line[..line.len().min(1024)]);
            let quote = one_line(&beginning);
            self.question()
                .malformed(&format!("an event is not JSON but {quote:?}; is this Docker?"))
        })
    }

    fn broken(&self, error: &PayloadError) -> SourceError {
        match error {
            PayloadError::Incomplete(_) => self.question().unreachable("the stream was cut off"),
            error => self.question().not_read(error, LONGEST_EVENT),
        }
    }

    fn question(&self) -> Question<'_> {
        Question { endpoint: &self.endpoint, path: &self.path }
    }
}
