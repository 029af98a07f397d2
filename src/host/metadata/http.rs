//! Requests to a metadata service. A response is one short line.

use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::Method;
use awc::http::header::{CONTENT_LENGTH, HeaderMap};
use awc::{Client, Connector};

/// The longest response that is accepted, in bytes. An address has up to 15, a token of AWS 56.
const RESPONSE_BYTES_MAX: usize = 4096;

/// A client that connects to the service directly, without proxies and redirects.
pub(super) struct MetadataHttp {
    client: Client,
    service: String,
}

/// A complete response.
pub(super) struct MetadataResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body without surrounding white space; empty unless the status is 200.
    pub text: String,
}

impl MetadataHttp {
    /// Creates a client; `limit` applies to connecting only. The caller limits whole requests.
    pub(super) fn new(service: &str, limit: Duration) -> Self {
        let connector = Connector::new().timeout(limit);
        let client = Client::builder().connector(connector).disable_timeout().disable_redirects();
        Self { client: client.finish(), service: service.to_owned() }
    }

    /// Sends a request without a body, with an optional header, and returns the response.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> Result<MetadataResponse, String> {
        let failed = |reason: String| format!("{method} {path}: {reason}");
        let request = self.client.request(method.clone(), format!("{}{path}", self.service));
        // The service may close an idle connection at the moment of the next request.
        let mut request = request.force_close();
        if let Some(header) = header {
            request = request.insert_header(header);
        }
        // An empty body sets `Content-Length: 0`: some servers reject a PUT without a length.
        let sent = request.send_body(()).await;
        let mut response = sent.map_err(|error| failed(send_failure(&error)))?;
        let status = response.status().as_u16();
        let text = match status {
            200 => {
                let body = response.body().limit(RESPONSE_BYTES_MAX).await;
                let body = body.map_err(|error| failed(body_failure(&error)))?;
                if is_truncated(response.headers(), body.len()) {
                    return Err(failed("the response is incomplete".into()));
                }
                let text = str::from_utf8(&body);
                text.map_err(|_| failed("the response is not text".into()))?.trim().to_owned()
            }
            _ => String::new(),
        };
        Ok(MetadataResponse { status, headers: response.headers().clone(), text })
    }
}

/// Returns `true` if the body is shorter than announced, which awc does not report. Half an
/// address may look like a whole one.
fn is_truncated(headers: &HeaderMap, length: usize) -> bool {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    announced.is_some_and(|announced: usize| announced != length)
}

fn send_failure(error: &SendRequestError) -> String {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => format!("cannot connect: {error}"),
        SendRequestError::Connect(ConnectError::Disconnected) => {
            "the connection was closed without a response".into()
        }
        SendRequestError::Connect(ConnectError::Timeout) => "no connection in time".into(),
        other => format!("invalid response: {other}"),
    }
}

fn body_failure(error: &PayloadError) -> String {
    match error {
        PayloadError::Overflow => {
            format!(
                "the response is longer than {RESPONSE_BYTES_MAX} bytes, so it is not an address"
            )
        }
        other => format!("the response is incomplete: {other}"),
    }
}
