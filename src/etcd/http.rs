//! One HTTP request to an etcd member, on awc, and what can become of it.

use std::error::Error;
use std::io;
use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::Method;
use awc::http::header::{CONTENT_TYPE, USER_AGENT};
use highhock_actors::StoreErrorKind;
use slog::Logger;
use tokio::time::Instant;
use url::Url;

/// The longest answer that is read, in bytes: a listing of some 200,000 records.
const MAX_BODY: usize = 64 << 20;

/// How long an idle connection is kept for reuse; longer than the core's longest
/// pause between two rounds of refreshes (20 s).
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How old a connection may get. A limit at all, so that a changed address behind
/// etcd's host name is noticed some time.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(600);

/// A client of one etcd member, with its kept-alive connections. Belongs to the
/// thread that it was made in.
pub(super) struct Http {
    client: awc::Client,
    /// Scheme and authority, without user name, password or trailing slash.
    base: String,
    timeout: Duration,
    log: Logger,
}

/// A request to make.
pub(super) struct Request<'a> {
    pub method: Method,
    /// The path, percent-encoded.
    pub path: &'a str,
    /// The query, percent-encoded, without its question mark; may be empty.
    pub query: &'a str,
    /// The body, form-encoded.
    pub form: Option<String>,
    /// How many times the usual time-out it may take.
    pub patience: u32,
}

/// An answer, read to its end.
pub(super) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A request that got no whole answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub kind: StoreErrorKind,
    /// What happened, without the URL.
    pub what: String,
}

impl Failure {
    fn new(kind: StoreErrorKind, what: impl ToString) -> Self {
        Self { kind, what: what.to_string() }
    }
}

impl Http {
    /// A client of the member at `url`, of which only scheme, host and port
    /// count. A request's whole answer is waited for as long as `timeout`.
    pub(super) fn new(url: &Url, timeout: Duration, log: Logger) -> Self {
        // Connecting has a shorter limit of its own: when it runs out, it is
        // certain that nothing was sent.
        let connector = awc::Connector::new()
            .timeout(timeout / 2)
            .conn_keep_alive(KEEP_ALIVE)
            .conn_lifetime(MAX_CONNECTION_AGE);
        // No redirects: a write must not be repeated elsewhere. No time-out of
        // awc's: it ends with the answer's head, ours covers the body too.
        let client = awc::Client::builder()
            .connector(connector)
            .disable_timeout()
            .disable_redirects()
            .add_default_header((USER_AGENT, concat!("highhock/", env!("CARGO_PKG_VERSION"))))
            .finish();
        Self { client, base: url.origin().ascii_serialization(), timeout, log }
    }

    /// The member's URL as an operator may see it.
    pub(super) fn url(&self) -> &str {
        &self.base
    }

    /// Sends one request, once, and reads its answer.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let started = Instant::now();
        let (method, path) = (request.method.clone(), request.path);
        let limit = self.timeout * request.patience;
        let outcome =
            tokio::time::timeout(limit, self.exchange(request)).await.unwrap_or_else(|_| {
                let what = format!("no answer within {} s", limit.as_secs_f32());
                Err(Failure::new(StoreErrorKind::Unknown, what))
            });
        let ms = started.elapsed().as_millis();
        match &outcome {
            Ok(answer) => debug!(self.log, "request to etcd"; "method" => %method,
                "path" => path, "status" => answer.status, "ms" => ms),
            Err(failure) => debug!(self.log, "request to etcd failed"; "method" => %method,
                "path" => path, "error" => &failure.what, "ms" => ms),
        }
        outcome
    }

    async fn exchange(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let separator = if request.query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{separator}{}", self.base, request.path, request.query);
        let call = self.client.request(request.method, url);
        let sent = match request.form {
            Some(form) => call
                .insert_header((CONTENT_TYPE, "application/x-www-form-urlencoded"))
                .send_body(form),
            None => call.send(),
        };
        let mut response = sent.await.map_err(failure_to_send)?;
        let body = response.body().limit(MAX_BODY).await.map_err(failure_to_read)?;
        Ok(Answer { status: response.status().as_u16(), body: body.into() })
    }
}

fn failure_to_send(error: SendRequestError) -> Failure {
    use StoreErrorKind::{Malformed, Refused, Unavailable, Unknown};
    match error {
        // awc says so when the connection ends before an answer, not only while
        // connecting: the request was sent.
        SendRequestError::Connect(ConnectError::Disconnected) => {
            Failure::new(Unknown, "the connection was closed before an answer came")
        }
        SendRequestError::Connect(ConnectError::Timeout) => {
            Failure::new(Unavailable, "no connection within the time-out")
        }
        SendRequestError::Connect(error) => Failure::new(Unavailable, error),
        // The request could not even be written down.
        SendRequestError::Url(error) => Failure::new(Refused, error),
        SendRequestError::Http(error) => Failure::new(Refused, error),
        SendRequestError::Response(error) => match error.source() {
            Some(cause) if cause.is::<io::Error>() => {
                Failure::new(Unknown, format!("the connection was lost: {cause}"))
            }
            _ => Failure::new(Malformed, format!("what answered doesn't speak HTTP: {error}")),
        },
        // A kept-alive connection that the server closed just now is one of
        // these; awc doesn't try again, and so much is certain only to the server.
        other => Failure::new(Unknown, format!("the connection was lost: {other}")),
    }
}

fn failure_to_read(error: PayloadError) -> Failure {
    match error {
        PayloadError::Overflow => {
            let what = format!("the answer is longer than {} MiB", MAX_BODY >> 20);
            Failure::new(StoreErrorKind::Malformed, what)
        }
        other => Failure::new(StoreErrorKind::Unknown, format!("the answer broke off: {other}")),
    }
}
