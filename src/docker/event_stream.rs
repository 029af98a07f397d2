//! The event stream: the endless response to `GET /events`, with one JSON object per line.

use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::stream::{self, LocalBoxStream};
use futures_util::{Stream, StreamExt};
use highhock_actors::{Event, EventStream, SourceError};

use super::endpoint::Endpoint;
use super::error::RequestContext;
use super::event;
use crate::text::line_splitter::{Line, LineSplitter};

/// The longest event that is read, in bytes. An event has some 500 bytes and the container's
/// labels.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Returns the events in `body`, the response to a request for `path`. An unreadable event is one
/// error of kind `Malformed`, and the stream continues behind it. Any other error ends the stream.
pub(super) fn read_events(
    endpoint: Endpoint,
    path: String,
    body: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
) -> EventStream {
    let lines = LineSplitter::with_max_length(EVENT_BYTES_MAX);
    let reader = EventReader { endpoint, path, body: body.boxed_local(), lines };
    let events = stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next().await? {
            Ok(event) => Some((event, Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    events.boxed_local()
}

/// The state of one stream: the unread bytes, and the request for error messages.
struct EventReader {
    endpoint: Endpoint,
    path: String,
    body: LocalBoxStream<'static, Result<Bytes, PayloadError>>,
    lines: LineSplitter,
}

impl EventReader {
    /// Returns the next event, or the error of an unreadable one. Returns `None` after the engine
    /// closed the stream.
    ///
    /// # Errors
    /// Returns an error if the stream is cut off.
    async fn next(&mut self) -> Option<Result<Result<Event, SourceError>, SourceError>> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(event) = self.read(&line).transpose() {
                    return Some(Ok(event));
                }
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.lines.push(&bytes),
                Some(Err(error)) => return Some(Err(self.stream_error(&error))),
                // A line without an end was cut off and is dropped.
                None => return None,
            }
        }
    }

    fn read(&self, line: &Line) -> Result<Option<Event>, SourceError> {
        let (start, length, cause) = match line {
            Line::Complete(line) => match event::parse(line) {
                Ok(event) => return Ok(event),
                Err(_) => (line, line.len(), "is not JSON".to_owned()),
            },
            Line::TooLong { start, length } => {
                (start, *length, format!("is longer than {} MiB", EVENT_BYTES_MAX >> 20))
            }
        };
        let event = event::describe(start);
        Err(self.request_context().malformed(&format!("an event {cause}: {event}, {length} bytes")))
    }

    fn stream_error(&self, error: &PayloadError) -> SourceError {
        match error {
            PayloadError::Incomplete(_) => {
                self.request_context().unreachable("the stream was cut off")
            }
            error => self.request_context().read_error(error, EVENT_BYTES_MAX),
        }
    }

    fn request_context(&self) -> RequestContext<'_> {
        RequestContext { endpoint: &self.endpoint, path: &self.path }
    }
}
