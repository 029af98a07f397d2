//! Errors of requests to the engine, each as one line for the operator.
//!
//! A message has the form "Docker at URL, GET PATH: cause; remedy". Its kind decides how the core
//! reacts: `Unreachable` is retried, and `Refused` and `Malformed` need the operator.

use std::error::Error;
use std::io;
use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use highhock_actors::{SourceError, SourceErrorKind};

use super::endpoint::Endpoint;
use crate::tls::TlsError;

/// The longest quotation of a foreign text, in characters.
const QUOTE_CHARS_MAX: usize = 200;

/// The address and path of a request. Every error message starts with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestContext<'a> {
    pub endpoint: &'a Endpoint,
    /// The path as it was sent, including the API version.
    pub path: &'a str,
}

impl RequestContext<'_> {
    /// Returns an error about this request. `outcome` names the cause and the remedy.
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

    /// Returns the error for a response that was not complete within `timeout`.
    pub fn timeout_error(&self, timeout: Duration) -> SourceError {
        self.unreachable(&format!(
            "no response within {timeout:?} (docker.timeout); raise docker.timeout if the engine \
             needs longer"
        ))
    }

    /// Returns the error for a request without a response head.
    pub fn send_error(&self, error: &SendRequestError) -> SourceError {
        match error {
            SendRequestError::Connect(ConnectError::Io(error)) => self.connect_error(error),
            SendRequestError::Connect(ConnectError::Disconnected) => self.unreachable(
                "the connection was closed before a response; check whether Docker is restarting",
            ),
            SendRequestError::Connect(ConnectError::Timeout) | SendRequestError::Timeout => {
                self.unreachable("connection timed out; check whether the engine is overloaded")
            }
            SendRequestError::Send(error) => self.connection_lost(error),
            // Either the bytes are not HTTP, or the connection was lost while they arrived.
            SendRequestError::Response(error) => match error.source() {
                Some(cause) if cause.is::<io::Error>() => self.connection_lost(cause),
                _ => self.malformed(&format!(
                    "the response is not HTTP ({}); check docker.url, and use https:// for TLS",
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
                self.refused("permission denied; check the firewall rules")
            }
            io::ErrorKind::NotFound if unix => {
                self.unreachable("no such socket; check that Docker is running, and docker.url")
            }
            io::ErrorKind::ConnectionRefused => self.unreachable(
                "connection refused; check that Docker is running and listens at docker.url",
            ),
            _ => self.unreachable(&format!("cannot connect: {}", one_line(&error.to_string()))),
        }
    }

    /// Returns the error for a response whose body is incomplete or longer than `limit` bytes.
    pub fn read_error(&self, error: &PayloadError, limit: usize) -> SourceError {
        match error {
            PayloadError::Overflow => {
                self.malformed(&format!("the response is longer than {} MiB", limit >> 20))
            }
            PayloadError::Io(error) => self.connection_lost(error),
            error => self.malformed(&format!(
                "cannot read the response body: {}",
                one_line(&error_chain(error))
            )),
        }
    }
}

/// Returns the text of an error and of its causes, joined by colons.
fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Turns a foreign text into one line for a log. Each run of blanks and control characters becomes
/// one blank, and a long text is cut.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    let parts = text.split(|c: char| c.is_whitespace() || c.is_control());
    for part in parts.filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
        if line.len() > QUOTE_CHARS_MAX * char::MAX.len_utf8() {
            break;
        }
    }
    match line.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Returns the text of a parser's error in one line, without the texts in the JSON. They may be
/// labels or variables of a container, which may be secret.
pub(super) fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find("string \""), text.rfind("\", expected")) {
        (Some(start), Some(end)) if start < end => {
            one_line(&format!("{}string{}", &text[..start], &text[end + 1..]))
        }
        _ => one_line(&text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parser_error_contains_no_text_of_the_json() {
        for (json, expected) in [
            (r#"{"a":"secret\", expected"}"#, "invalid type: string, expected"),
            (r#"{"a":7}"#, "invalid type: integer `7`, expected"),
            (r#"{"a":["secret"]x"#, "expected `,` or `}` at line 1 column 16"),
        ] {
            let parsed =
                serde_json::from_str::<std::collections::BTreeMap<String, Vec<String>>>(json);
            let text = json_error(&parsed.unwrap_err());
            assert!(text.starts_with(expected) && !text.contains("secret"), "{text}");
        }
    }

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
            (ConnectionRefused, unix, Unreachable, "Docker is running"),
            (ConnectionRefused, tcp, Unreachable, "Docker is running"),
            (HostUnreachable, tcp, Unreachable, "cannot connect: host unreachable"),
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
