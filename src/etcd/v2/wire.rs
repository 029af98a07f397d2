//! What etcd's v2 keys API answers: nodes, and errors by their `errorCode`.

use std::time::Duration;

use highhock_actors::{Expiry, StoreErrorKind, StoredRecord};
use serde::Deserialize;

use crate::text::quote::{one_line, quote};

/// A key with what is there: a value, or a directory's content.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Node {
    /// With its leading slash.
    pub key: String,
    pub value: Option<String>,
    pub dir: bool,
    /// In a listing; those whose last part starts with `_` are not shown.
    pub nodes: Vec<Node>,
    pub modified_index: u64,
    /// In seconds. Left out when it is 0, too.
    pub ttl: Option<i64>,
    /// When it ends; left out only where it never does.
    pub expiration: Option<String>,
}

impl Node {
    /// The value there, where it isn't a directory.
    pub(super) fn stored_record(&self) -> StoredRecord {
        let ttl_seconds = self.ttl.or(self.expiration.as_ref().map(|_| 0));
        let remaining =
            ttl_seconds.map(|seconds| Duration::from_secs(seconds.try_into().unwrap_or(0)));
        StoredRecord {
            value: self.value.clone().unwrap_or_default(),
            version: self.modified_index,
            expiry: remaining.map_or(Expiry::Never, Expiry::Ttl),
        }
    }
}

/// etcd's answer to a request for one key.
#[derive(Debug)]
pub(super) enum KeyResponse {
    /// It was carried out; the key as it is now.
    Done(Node),
    /// Nothing is there; the part of the key that is missing, from the root on.
    Missing { first_missing: String },
    /// `prevValue` or `prevIndex` doesn't fit.
    CompareFailed,
    /// `prevExist=false`, and something is there: a value or a directory.
    Exists,
    /// A directory is there.
    IsDirectory,
    /// A value stands above the key, here.
    BelowValue { value_key: String },
    /// The directory to remove has something in it, hidden keys included.
    NotEmpty,
}

impl KeyResponse {
    /// What it says, for an error about an answer that doesn't fit its question.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Missing { .. } => "key not found",
            Self::CompareFailed => "compare failed",
            Self::Exists => "key already exists",
            Self::IsDirectory => "not a file",
            Self::BelowValue { .. } => "not a directory",
            Self::NotEmpty => "directory not empty",
        }
    }
}

/// An answer that tells nothing of the key.
#[derive(Debug)]
pub(super) struct UnexpectedResponse {
    pub kind: StoreErrorKind,
    pub message: String,
}

impl UnexpectedResponse {
    pub(super) fn new(kind: StoreErrorKind, message: impl ToString) -> Self {
        Self { kind, message: message.to_string() }
    }
}

#[derive(Deserialize)]
struct SuccessBody {
    #[serde(rename = "action")]
    _action: String,
    node: Node,
}

/// A change, as a wait answers it.
#[derive(Debug, Deserialize)]
pub(super) struct KeyEvent {
    pub action: String,
    pub node: Node,
}

/// Reads the answer to a wait.
pub(super) fn read_event(body: &[u8]) -> Result<KeyEvent, UnexpectedResponse> {
    serde_json::from_slice(body).map_err(|error| malformed_success(200, body, &error))
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(rename = "errorCode")]
    code: u16,
    message: String,
    #[serde(default)]
    cause: String,
}

/// Reads an answer of the keys API.
pub(super) fn read(status: u16, body: &[u8]) -> Result<KeyResponse, UnexpectedResponse> {
    if (200..300).contains(&status) {
        return match serde_json::from_slice::<SuccessBody>(body) {
            Ok(success) => Ok(KeyResponse::Done(success.node)),
            Err(error) => Err(malformed_success(status, body, &error)),
        };
    }
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(error_body) => classify_error(status, error_body),
        Err(_) => Err(malformed_failure(status, body)),
    }
}

/// Codes as in etcd's `etcdserver/api/v2error`.
fn classify_error(status: u16, error_body: ErrorBody) -> Result<KeyResponse, UnexpectedResponse> {
    let ErrorBody { code, message, cause } = error_body;
    let description = format!("{} (code {code}: {})", one_line(&message), one_line(&cause));
    match code {
        100 => Ok(KeyResponse::Missing { first_missing: cause }),
        101 => Ok(KeyResponse::CompareFailed),
        102 => Ok(KeyResponse::IsDirectory),
        104 => Ok(KeyResponse::BelowValue { value_key: cause }),
        105 => Ok(KeyResponse::Exists),
        108 => Ok(KeyResponse::NotEmpty),
        // Said of a wrong password and of a key that the user may not write alike.
        110 => Err(UnexpectedResponse::new(
            StoreErrorKind::Refused,
            format!(
                "etcd denies it: {description}; is the user in etcd.username right, and the \
                 password, and has that user the right to the key?"
            ),
        )),
        // Raft's and the server's own troubles (300 Raft error, which every
        // time-out and lost leader comes as; 301 election; 400 to 402, 500): the
        // write may be in the log by now.
        300.. => Err(UnexpectedResponse::new(
            StoreErrorKind::Unknown,
            format!(
                "etcd can't serve it now: {description}; has the cluster a leader and a quorum?"
            ),
        )),
        _ if status >= 500 => Err(UnexpectedResponse::new(StoreErrorKind::Unknown, description)),
        // The rest of the hundreds and two hundreds tell what is wrong with the
        // request itself.
        _ => Err(UnexpectedResponse::new(
            StoreErrorKind::Refused,
            format!("etcd refuses it: {description}"),
        )),
    }
}

fn malformed_success(status: u16, body: &[u8], error: &serde_json::Error) -> UnexpectedResponse {
    // A JSON object isn't whole before its last byte, so one cut off can't pass
    // for a whole one. (awc doesn't tell of a body shorter than announced.)
    if error.is_eof() {
        return UnexpectedResponse::new(StoreErrorKind::Unknown, "the answer broke off");
    }
    let message = format!(
        "answered with status {status} and not as etcd does, but {}; is it etcd?",
        quote(body)
    );
    UnexpectedResponse::new(StoreErrorKind::Malformed, message)
}

fn malformed_failure(status: u16, body: &[u8]) -> UnexpectedResponse {
    let quoted = quote(body);
    match status {
        404 => UnexpectedResponse::new(
            StoreErrorKind::Malformed,
            format!(
                "etcd doesn't answer its v2 keys API there, but 404 and {quoted}; \
                 start it with --enable-v2=true"
            ),
        ),
        500.. => UnexpectedResponse::new(
            StoreErrorKind::Unknown,
            format!("answered with status {status} and {quoted}; has etcd trouble of its own?"),
        ),
        _ => UnexpectedResponse::new(
            StoreErrorKind::Malformed,
            format!(
                "answered with status {status} and not as etcd does, but {quoted}; is it etcd?"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node {
        serde_json::from_str(json).unwrap()
    }

    fn unexpected(status: u16, body: &str) -> UnexpectedResponse {
        read(status, body.as_bytes()).unwrap_err()
    }

    #[test]
    fn distinguishes_static_and_expiring_entries() {
        let living = node(
            r#"{"key":"/a","value":"x","modifiedIndex":4,"ttl":7,"expiration":"2026-01-01T00:00:00Z"}"#,
        );
        let ending = node(
            r#"{"key":"/a","value":"x","modifiedIndex":4,"expiration":"2026-01-01T00:00:00Z"}"#,
        );
        let overdue = node(
            r#"{"key":"/a","value":"x","modifiedIndex":4,"ttl":-1,"expiration":"2026-01-01T00:00:00Z"}"#,
        );
        let fixed = node(r#"{"key":"/a","value":"x","modifiedIndex":4}"#);
        assert_eq!(living.stored_record().expiry, Expiry::Ttl(Duration::from_secs(7)));
        assert_eq!(ending.stored_record().expiry, Expiry::Ttl(Duration::ZERO));
        assert_eq!(overdue.stored_record().expiry, Expiry::Ttl(Duration::ZERO));
        assert_eq!(fixed.stored_record().expiry, Expiry::Never);
    }

    #[test]
    fn classifies_errors_by_code() {
        let refused = |code: u16| {
            let body = format!(r#"{{"errorCode":{code},"message":"M","cause":"/a/b","index":1}}"#);
            read(412, body.as_bytes())
        };
        assert!(
            matches!(refused(100), Ok(KeyResponse::Missing { first_missing }) if first_missing == "/a/b")
        );
        assert!(matches!(refused(101), Ok(KeyResponse::CompareFailed)));
        assert!(matches!(refused(102), Ok(KeyResponse::IsDirectory)));
        assert!(
            matches!(refused(104), Ok(KeyResponse::BelowValue { value_key }) if value_key == "/a/b")
        );
        assert!(matches!(refused(105), Ok(KeyResponse::Exists)));
        assert!(matches!(refused(108), Ok(KeyResponse::NotEmpty)));
        for code in [107, 110, 201, 202, 209, 211] {
            let error = refused(code).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Refused, "{code}");
            assert!(error.message.contains(&format!("code {code}: /a/b")), "{}", error.message);
        }
        for code in [300, 301, 400, 401, 402, 500] {
            assert_eq!(refused(code).unwrap_err().kind, StoreErrorKind::Unknown, "{code}");
        }
    }

    #[test]
    fn quotes_foreign_responses_on_one_line() {
        let html = unexpected(200, "<!DOCTYPE html>\n<html>\r\n<body>Welcome</body>");
        assert_eq!(html.kind, StoreErrorKind::Malformed);
        assert!(
            html.message.contains("`<!DOCTYPE html> <html> <body>Welcome</body>`"),
            "{}",
            html.message
        );
        assert_eq!(unexpected(200, "{}").kind, StoreErrorKind::Malformed);
        assert_eq!(unexpected(200, "[]").kind, StoreErrorKind::Malformed);
        assert_eq!(unexpected(302, "").kind, StoreErrorKind::Malformed);
        assert_eq!(unexpected(403, r#"{"message":"no"}"#).kind, StoreErrorKind::Malformed);
        assert!(unexpected(200, &format!("x{}", "é".repeat(300))).message.chars().count() < 200);
    }

    #[test]
    fn missing_v2_api_names_the_remedy() {
        let error = unexpected(404, "404 page not found\n");
        assert_eq!(error.kind, StoreErrorKind::Malformed);
        assert!(error.message.ends_with("start it with --enable-v2=true"), "{}", error.message);
    }

    #[test]
    fn truncated_bodies_leave_the_outcome_uncertain() {
        let whole = r#"{"action":"get","node":{"key":"/a","value":"é","modifiedIndex":4}}"#;
        assert!(matches!(read(200, whole.as_bytes()), Ok(KeyResponse::Done(_))));
        for end in 0..whole.len() {
            let error = read(200, &whole.as_bytes()[..end]).unwrap_err();
            assert!(error.kind.is_uncertain(), "cut off at {end}: {error:?}");
        }
        assert_eq!(unexpected(200, "").kind, StoreErrorKind::Unknown);
        assert_eq!(unexpected(200, &whole[..20]).kind, StoreErrorKind::Unknown);
    }

    #[test]
    fn proxy_errors_leave_the_outcome_uncertain() {
        assert_eq!(unexpected(502, "<html>Bad Gateway</html>").kind, StoreErrorKind::Unknown);
        assert_eq!(unexpected(503, "").kind, StoreErrorKind::Unknown);
    }
}
