//! What went wrong with a question to the engine, as one line for the operator.

use std::error::Error;
use std::io;
use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use highhock_actors::{SourceError, SourceErrorKind};

use super::endpoint::Endpoint;
use crate::tls::TlsError;

/// How much of somebody else's text is quoted, in characters.
const QUOTE_CHARS_MAX: usize = 200;

/// What was asked of whom: the first half of every message.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestContext<'a> {
    pub endpoint: &'a Endpoint,
    /// The path as it was sent.
    pub path: &'a str,
}

impl RequestContext<'_> {
    /// An error about this question; `outcome` says what came and what to try.
    pub fn error(&self, kind: SourceErrorKind, outcome: &str) -> SourceError {
        SourceError::new(
            kind,
            format_args!("Docker at {}, GET {}: {outcome}", self.endpoint, self.path),
        )
    }

    pub fn unreachable(&self, outcome: &str) -> SourceError {
        self.error(SourceErrorKind::Unreachable, outcome)
    }

    pub fn refused(&self, outcome: &str) -> SourceError {
        self.error(SourceErrorKind::Refused, outcome)
    }

    pub fn malformed(&self, outcome: &str) -> SourceError {
        self.error(SourceErrorKind::Malformed, outcome)
    }

    /// No whole answer in time.
    pub fn timeout_error(&self, timeout: Duration) -> SourceError {
        self.unreachable(&format!(
            "no answer within {timeout:?}; is the engine overloaded or hung?"
        ))
    }

    /// No answer's head.
    pub fn send_error(&self, error: &SendRequestError) -> SourceError {
        match error {
            SendRequestError::Connect(ConnectError::Io(error)) => self.connect_error(error),
            SendRequestError::Connect(ConnectError::Disconnected) => self.unreachable(
                "the connection was closed without an answer; is Docker starting or stopping?",
            ),
            SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
                self.unreachable("connecting took too long; is the engine overloaded or hung?")
            }
            SendRequestError::Send(error) => self.connection_lost(error),
            // Bytes that are no HTTP, or a connection that was lost among them.
            SendRequestError::Response(error) => match error.source() {
                Some(cause) if cause.is::<io::Error>() => self.connection_lost(cause),
                _ => self.malformed(&format!(
                    "the answer is not HTTP ({}); is this a TLS port, or not Docker's?",
                    one_line(&error.to_string())
                )),
            },
            other => self.unreachable(&one_line(&other.to_string())),
        }
    }

    fn connection_lost(&self, error: &(dyn Error + 'static)) -> SourceError {
        if let Some(failure) = error.downcast_ref().and_then(TlsError::find_in) {
            return self.unreachable(&failure.to_string());
        }
        self.unreachable(&format!("the connection was lost: {}", one_line(&error.to_string())))
    }

    fn connect_error(&self, error: &io::Error) -> SourceError {
        if let Some(failure) = TlsError::find_in(error) {
            return self.unreachable(&failure.to_string());
        }
        let unix = matches!(self.endpoint, Endpoint::Unix(_));
        match error.kind() {
            io::ErrorKind::PermissionDenied if unix => self.refused(
                "permission denied; run as root or as a member of the socket's group (docker)",
            ),
            io::ErrorKind::PermissionDenied => {
                self.refused("permission denied; does a firewall rule forbid the connection?")
            }
            io::ErrorKind::NotFound if unix => self
                .unreachable("there is no such socket; is Docker running, and docker.url right?"),
            io::ErrorKind::ConnectionRefused => self.unreachable(
                "connection refused; is Docker running, does it listen there, is docker.url right?",
            ),
            _ => self.unreachable(&format!("can't connect: {}", one_line(&error.to_string()))),
        }
    }

    /// A head, but no whole body.
    pub fn read_error(&self, error: &PayloadError, limit: usize) -> SourceError {
        match error {
            PayloadError::Overflow => {
                self.malformed(&format!("the answer is longer than {} MiB", limit >> 20))
            }
            PayloadError::Io(error) => self.connection_lost(error),
            error => self.malformed(&format!(
                "the answer's body can't be read: {}",
                one_line(&error_chain(error))
            )),
        }
    }
}

/// An error with its causes.
fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Somebody else's text made fit for a log line: blanks and control characters
/// in a row become one blank, and what is too long is cut.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > QUOTE_CHARS_MAX * char::MAX.len_utf8() {
            break;
        }
    }
    match line.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(kind: io::ErrorKind, url: &str) -> SourceError {
        let endpoint = Endpoint::parse(url).unwrap();
        let context = RequestContext { endpoint: &endpoint, path: "/version" };
        context.send_error(&SendRequestError::Connect(ConnectError::Io(kind.into())))
    }

    #[test]
    fn connect_errors_are_classified_with_a_remedy() {
        use SourceErrorKind::{Refused, Unreachable};
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NotFound, PermissionDenied};
        let (unix, tcp) = ("unix:///run/d.sock", "tcp://127.0.0.1:1");
        for (kind, url, expected, hint) in [
            (PermissionDenied, unix, Refused, "group (docker)"),
            (PermissionDenied, tcp, Refused, "firewall"),
            (NotFound, unix, Unreachable, "no such socket"),
            (ConnectionRefused, unix, Unreachable, "is Docker running"),
            (ConnectionRefused, tcp, Unreachable, "is Docker running"),
            (HostUnreachable, tcp, Unreachable, "can't connect: host unreachable"),
        ] {
            let error = connect(kind, url);
            assert_eq!(error.kind, expected, "{error}");
            assert!(error.message.contains(hint), "{error}");
            assert!(error.message.starts_with(&format!("Docker at {url}, GET /version: ")));
            assert!(!error.message.contains('\n'));
        }
    }

    #[test]
    fn one_line_cuts_and_cleans_text() {
        assert_eq!(one_line(" a\r\n\tb\u{7}\u{1b}[31m  c "), "a b [31m c");
        assert_eq!(one_line(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(one_line(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
        assert_eq!(one_line(&"word ".repeat(1_000_000)).chars().count(), 201);
        assert_eq!(one_line(""), "");
    }
}
