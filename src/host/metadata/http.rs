//! Requests to a metadata service: one answer each, of one short line.

use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::Method;
use awc::http::header::{CONTENT_LENGTH, HeaderMap};
use awc::{Client, Connector};

/// The longest answer that is read, in bytes. An address takes 15, a token of AWS 56.
const RESPONSE_BYTES_MAX: usize = 4096;

/// A client that asks the service itself, whatever a proxy or a redirect would have.
pub(super) struct MetadataHttp {
    client: Client,
    service: String,
}

/// A whole answer.
pub(super) struct MetadataResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// Without blanks around it; empty unless the status is 200.
    pub text: String,
}

impl MetadataHttp {
    /// Nothing is sent yet. The limit is for connecting alone; who asks sees to the rest.
    pub(super) fn new(service: &str, limit: Duration) -> Self {
        let connector = Connector::new().timeout(limit);
        let client = Client::builder().connector(connector).disable_timeout().disable_redirects();
        Self { client: client.finish(), service: service.to_owned() }
    }

    /// Sends a request without a body, with this header.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> Result<MetadataResponse, String> {
        let failed = |reason: String| format!("{method} {path}: {reason}");
        let request = self.client.request(method.clone(), format!("{}{path}", self.service));
        // A kept connection may be closed by the service just when it is used again.
        let mut request = request.force_close();
        if let Some(header) = header {
            request = request.insert_header(header);
        }
        // An empty body, so that its length is told: some servers refuse a PUT without.
        let sent = request.send_body(()).await;
        let mut response = sent.map_err(|error| failed(send_failure(&error)))?;
        let status = response.status().as_u16();
        let text = match status {
            200 => {
                let body = response.body().limit(RESPONSE_BYTES_MAX).await;
                let body = body.map_err(|error| failed(body_failure(&error)))?;
                if is_truncated(response.headers(), body.len()) {
                    return Err(failed("the answer broke off".into()));
                }
                let text = str::from_utf8(&body);
                text.map_err(|_| failed("the answer is no text".into()))?.trim().to_owned()
            }
            _ => String::new(),
        };
        Ok(MetadataResponse { status, headers: response.headers().clone(), text })
    }
}

/// Whether the body is shorter than was announced, which awc takes for its end: half
/// an address may look like a whole one.
fn is_truncated(headers: &HeaderMap, length: usize) -> bool {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    announced.is_some_and(|announced: usize| announced != length)
}

fn send_failure(error: &SendRequestError) -> String {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => format!("can't connect: {error}"),
        SendRequestError::Connect(ConnectError::Disconnected) => {
            "the connection was closed without an answer".into()
        }
        SendRequestError::Connect(ConnectError::Timeout) => "no connection in time".into(),
        other => format!("no good answer: {other}"),
    }
}

fn body_failure(error: &PayloadError) -> String {
    match error {
        PayloadError::Overflow => {
            format!("the answer is longer than {RESPONSE_BYTES_MAX} bytes, so it is no address")
        }
        other => format!("the answer broke off: {other}"),
    }
}
