//! The engine's event stream.

use awc::error::PayloadError;
use bytes::Bytes;
use futures_util::stream::{self, LocalBoxStream};
use futures_util::{Stream, StreamExt};
use highhock_actors::{Event, EventStream, SourceError};

use super::endpoint::Endpoint;
use super::error::{RequestContext, one_line};
use super::event;
use crate::text::line_splitter::LineSplitter;

/// The longest event that is read, in bytes: one has some 500, and a container's labels.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// The events in the body of an answer to `path`.
pub(super) fn read_events(
    endpoint: Endpoint,
    path: String,
    body: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
) -> EventStream {
    let lines = LineSplitter::with_max_length(EVENT_BYTES_MAX);
    let reader = EventReader { endpoint, path, body: body.boxed_local(), lines };
    let events = stream::unfold(Some(reader), async |reader| {
        let mut reader = reader?;
        match reader.next().await.transpose()? {
            Ok(event) => Some((Ok(event), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    events.boxed_local()
}

/// One stream, on its way from bytes to events.
struct EventReader {
    endpoint: Endpoint,
    path: String,
    body: LocalBoxStream<'static, Result<Bytes, PayloadError>>,
    lines: LineSplitter,
}

impl EventReader {
    /// The next event; `None` where the engine has closed the stream.
    async fn next(&mut self) -> Result<Option<Event>, SourceError> {
        loop {
            while let Some(line) = self.lines.next() {
                if let Some(event) = self.read(&line)? {
                    return Ok(Some(event));
                }
            }
            match self.body.next().await {
                Some(Ok(bytes)) if self.lines.push(&bytes) => {}
                Some(Ok(_)) => {
                    let limit = EVENT_BYTES_MAX >> 20;
                    let reason = format!("an event is longer than {limit} MiB; is this Docker?");
                    return Err(self.request_context().malformed(&reason));
                }
                Some(Err(error)) => return Err(self.stream_error(&error)),
                // What has no end was cut off.
                None => return Ok(None),
            }
        }
    }

    fn read(&self, line: &[u8]) -> Result<Option<Event>, SourceError> {
        event::parse(line).map_err(|_| {
            let beginning = String::from_utf8_lossy(&line[..line.len().min(1024)]);
            let quote = one_line(&beginning);
            self.request_context()
                .malformed(&format!("an event is not JSON but {quote:?}; is this Docker?"))
        })
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
