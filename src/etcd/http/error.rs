//! Requests without a complete response, and what is known about their effect.
//!
//! The important distinction is between `Unavailable` (the request was certainly not applied) and
//! `Unknown` (a write may have been applied, or may still be).

use std::error::Error;
use std::io;

use actix_web::error::ParseError;
use awc::error::{ConnectError, PayloadError, SendRequestError};
use highhock_actors::StoreErrorKind;
use highhock_actors::StoreErrorKind::{Malformed, Refused, Unavailable, Unknown};

use super::Member;
use crate::tls::TlsError;

const ADDRESS_HINT: &str = "check that etcd runs there and that etcd.url is right";

/// An etcd with `--listen-client-http-urls` serves only gRPC, thus HTTP/2, at its other client
/// URLs.
const HTTP_PORT_HINT: &str =
    "set etcd.url to a URL of etcd's --listen-client-http-urls, which serves HTTP";

/// The probable cause if a member closes a connection without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosedHint {
    /// The member has responded before, so its port is right.
    None,
    /// A member that expects TLS closes other connections.
    ExpectsTls,
    /// A port for gRPC with TLS closes connections for HTTP/1.1 after the handshake.
    ServesGrpc,
}

impl ClosedHint {
    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::ExpectsTls => "; if etcd uses TLS, use https:// in etcd.url".to_owned(),
            Self::ServesGrpc => format!("; if the port serves only gRPC, {HTTP_PORT_HINT}"),
        }
    }
}

/// A request without a complete response.
#[derive(Clone, Debug)]
pub(in crate::etcd) struct HttpError {
    pub kind: StoreErrorKind,
    /// The cause, without the URL.
    pub message: String,
    /// The member that the request was sent to.
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

    /// Returns the error for a request without a response head.
    ///
    /// `hint` is the advice for a connection that was closed without a response.
    pub(super) fn from_send(error: SendRequestError, hint: ClosedHint, member: Member) -> Self {
        let (kind, message) = match error {
            // awc reports this error not only while connecting, but whenever a connection ends
            // before a response. The request was sent.
            SendRequestError::Connect(ConnectError::Disconnected) => {
                (Unknown, format!("the connection was closed before a response{}", hint.text()))
            }
            SendRequestError::Connect(ConnectError::Timeout) => {
                (Unavailable, format!("connection timed out; {ADDRESS_HINT}"))
            }
            SendRequestError::Connect(ConnectError::Io(error)) => match TlsError::find_in(&error) {
                Some(failure) => (Unavailable, failure.to_string()),
                None => (Unavailable, format!("cannot connect: {error}; {ADDRESS_HINT}")),
            },
            SendRequestError::Connect(error) => (Unavailable, error.to_string()),
            // The request could not be encoded.
            SendRequestError::Url(error) => (Refused, error.to_string()),
            SendRequestError::Http(error) => (Refused, error.to_string()),
            SendRequestError::Response(ParseError::Version) => (
                Malformed,
                format!("the port does not serve HTTP/1.1, but possibly gRPC; {HTTP_PORT_HINT}"),
            ),
            SendRequestError::Response(error) => match io_cause(&error) {
                Some(io_cause) => io_cause,
                None => (Malformed, format!("the response is not HTTP: {error}; check etcd.url")),
            },
            SendRequestError::Send(error) => classify_io(&error),
            // This includes a kept-alive connection that the server has just closed. awc does not
            // retry, and only the server knows whether it received the request.
            other => (Unknown, format!("the connection was lost: {other}")),
        };
        Self { kind, message, member }
    }

    /// Returns the error for a response with an incomplete body, or with a body longer than `limit`
    /// bytes.
    pub(super) fn from_read(error: PayloadError, limit: usize, member: Member) -> Self {
        let (kind, message) = match error {
            PayloadError::Overflow => {
                (Malformed, format!("the response is longer than {} MiB", limit >> 20))
            }
            other => (Unknown, format!("the response is cut off: {other}")),
        };
        Self { kind, message, member }
    }
}

fn io_cause(error: &dyn Error) -> Option<(StoreErrorKind, String)> {
    error.source()?.downcast_ref::<io::Error>().map(classify_io)
}

fn classify_io(error: &io::Error) -> (StoreErrorKind, String) {
    match TlsError::find_in(error) {
        // The TLS handshake failed, so the server has read no request.
        Some(failure) => (Unavailable, failure.to_string()),
        None => (Unknown, format!("the connection was lost: {error}")),
    }
}

/// Returns an error if the response is the one of a server that expected TLS. Such a server ignores
/// the content of the request.
pub(super) fn check_scheme(status: u16, body: &[u8], member: Member) -> Result<(), HttpError> {
    let text = String::from_utf8_lossy(body.get(..200).unwrap_or(body));
    if status == 400 && text.contains("HTTP request to an HTTPS server") {
        let message = "etcd requires TLS; use https:// in etcd.url";
        Err(HttpError::new(Unavailable, message, member))
    } else {
        Ok(())
    }
}
