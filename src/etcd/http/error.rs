//! A request that got no whole answer, and what that says.

use std::error::Error;
use std::io;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use highhock_actors::StoreErrorKind;
use highhock_actors::StoreErrorKind::{Malformed, Refused, Unavailable, Unknown};

use super::Member;
use crate::tls::TlsError;

const ADDRESS_HINT: &str = "does etcd run there, and is etcd.url right?";

/// A request that got no whole answer.
#[derive(Clone, Debug)]
pub(in crate::etcd) struct HttpError {
    pub kind: StoreErrorKind,
    /// What happened, without the URL.
    pub message: String,
    /// Who was asked.
    pub member: Member,
}

impl HttpError {
    pub(in crate::etcd) fn new(
        kind: StoreErrorKind,
        message: impl ToString,
        member: Member,
    ) -> Self {
        Self { kind, message: message.to_string(), member }
    }

    /// No answer's head. `may_be_tls`: from a member that has never answered a plain
    /// request yet. etcd closes a connection that should have been one with TLS.
    pub(super) fn from_send(error: SendRequestError, may_be_tls: bool, member: Member) -> Self {
        let (kind, message) = match error {
            // awc says so when the connection ends before an answer, not only while
            // connecting: the request was sent.
            SendRequestError::Connect(ConnectError::Disconnected) => {
                let hint = if may_be_tls { "; is etcd.url to be https://?" } else { "" };
                (Unknown, format!("the connection was closed before an answer came{hint}"))
            }
            SendRequestError::Connect(ConnectError::Timeout) => {
                (Unavailable, format!("no connection within the time-out; {ADDRESS_HINT}"))
            }
            SendRequestError::Connect(ConnectError::Io(error)) => match TlsError::find_in(&error) {
                Some(failure) => (Unavailable, failure.to_string()),
                None => (Unavailable, format!("can't connect: {error}; {ADDRESS_HINT}")),
            },
            SendRequestError::Connect(error) => (Unavailable, error.to_string()),
            // The request could not even be written down.
            SendRequestError::Url(error) => (Refused, error.to_string()),
            SendRequestError::Http(error) => (Refused, error.to_string()),
            SendRequestError::Response(error) => match io_cause(&error) {
                Some(io_cause) => io_cause,
                None => (Malformed, format!("what answered doesn't speak HTTP: {error}")),
            },
            SendRequestError::Send(error) => classify_io(&error),
            // A kept-alive connection that the server closed just now is one of
            // these; awc doesn't try again, and so much is certain only to the server.
            other => (Unknown, format!("the connection was lost: {other}")),
        };
        Self { kind, message, member }
    }

    /// A head, but no whole body.
    pub(super) fn from_read(error: PayloadError, limit: usize, member: Member) -> Self {
        let (kind, message) = match error {
            PayloadError::Overflow => {
                (Malformed, format!("the answer is longer than {} MiB", limit >> 20))
            }
            other => (Unknown, format!("the answer broke off: {other}")),
        };
        Self { kind, message, member }
    }
}

fn io_cause(error: &dyn Error) -> Option<(StoreErrorKind, String)> {
    error.source()?.downcast_ref::<io::Error>().map(classify_io)
}

fn classify_io(error: &io::Error) -> (StoreErrorKind, String) {
    match TlsError::find_in(error) {
        // The server ended TLS, or never began it: it has read no request.
        Some(failure) => (Unavailable, failure.to_string()),
        None => (Unknown, format!("the connection was lost: {error}")),
    }
}

/// A server that speaks TLS answers a plain request so, without a look at it.
pub(super) fn check_scheme(status: u16, body: &[u8], member: Member) -> Result<(), HttpError> {
    let text = String::from_utf8_lossy(body.get(..200).unwrap_or(body));
    if status == 400 && text.contains("HTTP request to an HTTPS server") {
        let message = "etcd speaks TLS there: write https:// in etcd.url";
        Err(HttpError::new(Unavailable, message, member))
    } else {
        Ok(())
    }
}
