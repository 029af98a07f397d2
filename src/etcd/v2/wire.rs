//! The JSON of responses of the v2 keys API: nodes, and errors with an `errorCode`.

use std::time::Duration;

use highhock_actors::{Expiry, StoreErrorKind, StoredRecord};
use serde::Deserialize;

use crate::text::quote::{one_line, quote};

/// A key with its value, or a directory with its content.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Node {
    /// The key with a leading slash.
    pub key: String,
    pub value: Option<String>,
    pub dir: bool,
    /// The content, in a listing. Nodes whose last part starts with `_` are omitted.
    pub nodes: Vec<Node>,
    pub modified_index: u64,
    /// The remaining time in seconds. etcd omits 0.
    pub ttl: Option<i64>,
    /// The time of expiry. Only a node without expiry has none.
    pub expiration: Option<String>,
}

impl Node {
    /// Returns the record of a node that is not a directory.
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

/// The response to a request for one key.
#[derive(Debug)]
pub(super) enum KeyResponse {
    /// The request was applied. This is the new state of the key.
    Done(Node),
    /// The key does not exist. `first_missing` is its shortest missing part, starting at the root.
    Missing { first_missing: String },
    /// `prevValue` or `prevIndex` differs.
    CompareFailed,
    /// `prevExist=false` was required, and the key is a value or a directory.
    Exists,
    /// The key is a directory.
    IsDirectory,
    /// The key `value_key` above this key holds a value.
    BelowValue { value_key: String },
    /// The directory to remove has content, possibly hidden keys.
    NotEmpty,
}

impl KeyResponse {
    /// Returns etcd's own text, for an error about an unexpected response.
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

/// A response that says nothing about the key.
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

/// A change, as the response to a long poll.
#[derive(Debug, Deserialize)]
pub(super) struct KeyEvent {
    pub action: String,
    pub node: Node,
}

/// Parses the response to a long poll.
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

/// Parses a response of the keys API.
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

/// Classifies an error by its code, as defined in etcd's `etcdserver/api/v2error`.
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
        // etcd sends this code for a wrong password, and also for a key that the user may not
        // write.
        110 => Err(UnexpectedResponse::new(
            StoreErrorKind::Refused,
            format!(
                "etcd denies access: {description}; check etcd.username, its password, and its \
                 permission for the key"
            ),
        )),
        // Errors of Raft and of the server: 300 is a Raft error, which includes every time-out and
        // lost leader, 301 an election, and 400 to 402 and 500 are internal. The write may already
        // be in the log.
        300.. => Err(UnexpectedResponse::new(
            StoreErrorKind::Unknown,
            format!(
                "etcd cannot serve the request: {description}; check that the cluster has a leader \
                 and a quorum"
            ),
        )),
        _ if status >= 500 => Err(UnexpectedResponse::new(StoreErrorKind::Unknown, description)),
        // All other codes from 100 to 299 describe an error in the request itself.
        _ => Err(UnexpectedResponse::new(
            StoreErrorKind::Refused,
            format!("etcd rejects the request: {description}"),
        )),
    }
}

fn malformed_success(status: u16, body: &[u8], error: &serde_json::Error) -> UnexpectedResponse {
    // A JSON object is complete only with its last byte, so a truncated one cannot pass for a
    // complete one. awc does not report a body that is shorter than announced.
    if error.is_eof() {
        return UnexpectedResponse::new(StoreErrorKind::Unknown, "the response is cut off");
    }
    let message =
        format!("status {status} and a response unlike etcd's, {}; check etcd.url", quote(body));
    UnexpectedResponse::new(StoreErrorKind::Malformed, message)
}

fn malformed_failure(status: u16, body: &[u8]) -> UnexpectedResponse {
    let quoted = quote(body);
    match status {
        404 => UnexpectedResponse::new(
            StoreErrorKind::Malformed,
            format!(
                "no v2 keys API there: status 404 and {quoted}; start etcd with --enable-v2=true"
            ),
        ),
        500.. => UnexpectedResponse::new(
            StoreErrorKind::Unknown,
            format!("status {status} and {quoted}; check etcd's own log"),
        ),
        _ => UnexpectedResponse::new(
            StoreErrorKind::Malformed,
            format!("status {status} and a response unlike etcd's, {quoted}; check etcd.url"),
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
    fn distinguishes_static_and_expiring_records() {
        let live = node(
            r#"{"key":"/a","value":"x","modifiedIndex":4,"ttl":7,"expiration":"2026-01-01T00:00:00Z"}"#,
        );
        let expiring = node(
            r#"{"key":"/a","value":"x","modifiedIndex":4,"expiration":"2026-01-01T00:00:00Z"}"#,
        );
        let overdue = node(
            r#"{"key":"/a","value":"x","modifiedIndex":4,"ttl":-1,"expiration":"2026-01-01T00:00:00Z"}"#,
        );
        let fixed = node(r#"{"key":"/a","value":"x","modifiedIndex":4}"#);
        assert_eq!(live.stored_record().expiry, Expiry::Ttl(Duration::from_secs(7)));
        assert_eq!(expiring.stored_record().expiry, Expiry::Ttl(Duration::ZERO));
        assert_eq!(overdue.stored_record().expiry, Expiry::Ttl(Duration::ZERO));
        assert_eq!(fixed.stored_record().expiry, Expiry::Never);
    }

    #[test]
    fn classifies_errors_by_code() {
        let response = |code: u16| {
            let body = format!(r#"{{"errorCode":{code},"message":"M","cause":"/a/b","index":1}}"#);
            read(412, body.as_bytes())
        };
        assert!(
            matches!(response(100), Ok(KeyResponse::Missing { first_missing }) if first_missing == "/a/b")
        );
        assert!(matches!(response(101), Ok(KeyResponse::CompareFailed)));
        assert!(matches!(response(102), Ok(KeyResponse::IsDirectory)));
        assert!(
            matches!(response(104), Ok(KeyResponse::BelowValue { value_key }) if value_key == "/a/b")
        );
        assert!(matches!(response(105), Ok(KeyResponse::Exists)));
        assert!(matches!(response(108), Ok(KeyResponse::NotEmpty)));
        for code in [107, 110, 201, 202, 209, 211] {
            let error = response(code).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Refused, "{code}");
            assert!(error.message.contains(&format!("code {code}: /a/b")), "{}", error.message);
        }
        for code in [300, 301, 400, 401, 402, 500] {
            assert_eq!(response(code).unwrap_err().kind, StoreErrorKind::Unknown, "{code}");
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
        assert!(error.message.ends_with("start etcd with --enable-v2=true"), "{}", error.message);
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
