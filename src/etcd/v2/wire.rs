//! What etcd's v2 keys API answers: nodes, and errors by their `errorCode`.

use std::time::Duration;

use highhock_actors::{Found, StoreErrorKind, Tie};
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
    pub(super) fn found(&self) -> Found {
        let lives_on = self.ttl.or(self.expiration.as_ref().map(|_| 0));
        let left = lives_on.map(|seconds| Duration::from_secs(seconds.try_into().unwrap_or(0)));
        Found {
            value: self.value.clone().unwrap_or_default(),
            version: self.modified_index,
            tie: left.map_or(Tie::None, Tie::Ttl),
        }
    }
}

/// etcd's answer to a request for one key.
#[derive(Debug)]
pub(super) enum Answer {
    /// It was carried out; the key as it is now.
    Done(Node),
    /// Nothing is there; the part of the key that is missing, from the root on.
    Missing { first: String },
    /// `prevValue` or `prevIndex` doesn't fit.
    Differs,
    /// `prevExist=false`, and something is there: a value or a directory.
    Exists,
    /// A directory is there.
    IsDirectory,
    /// A value stands above the key, here.
    BelowValue { at: String },
    /// The directory to remove has something in it, hidden keys included.
    NotEmpty,
}

impl Answer {
    /// What it says, for an error about an answer that doesn't fit its question.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Missing { .. } => "key not found",
            Self::Differs => "compare failed",
            Self::Exists => "key already exists",
            Self::IsDirectory => "not a file",
            Self::BelowValue { .. } => "not a directory",
            Self::NotEmpty => "directory not empty",
        }
    }
}

/// An answer that tells nothing of the key.
#[derive(Debug)]
pub(super) struct Unfit {
    pub kind: StoreErrorKind,
    pub what: String,
}

impl Unfit {
    pub(super) fn new(kind: StoreErrorKind, what: impl ToString) -> Self {
        Self { kind, what: what.to_string() }
    }
}

#[derive(Deserialize)]
struct Success {
    #[serde(rename = "action")]
    _action: String,
    node: Node,
}

/// A change, as a wait answers it.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    pub action: String,
    pub node: Node,
}

/// Reads the answer to a wait.
pub(super) fn read_event(body: &[u8]) -> Result<Event, Unfit> {
    serde_json::from_slice(body).map_err(|error| unfit_success(200, body, &error))
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "errorCode")]
    code: u16,
    message: String,
    #[serde(default)]
    cause: String,
}

/// Reads an answer of the keys API.
pub(super) fn read(status: u16, body: &[u8]) -> Result<Answer, Unfit> {
    if (200..300).contains(&status) {
        return match serde_json::from_slice::<Success>(body) {
            Ok(success) => Ok(Answer::Done(success.node)),
            Err(error) => Err(unfit_success(status, body, &error)),
        };
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => read_refusal(status, refusal),
        Err(_) => Err(unfit_failure(status, body)),
    }
}

/// Codes as in etcd's `etcdserver/api/v2error`.
fn read_refusal(status: u16, refusal: Refusal) -> Result<Answer, Unfit> {
    let Refusal { code, message, cause } = refusal;
    let described = format!("{} (code {code}: {})", one_line(&message), one_line(&cause));
    match code {
        100 => Ok(Answer::Missing { first: cause }),
        101 => Ok(Answer::Differs),
        102 => Ok(Answer::IsDirectory),
        104 => Ok(Answer::BelowValue { at: cause }),
        105 => Ok(Answer::Exists),
        108 => Ok(Answer::NotEmpty),
        // Said of a wrong password and of a key that the user may not write alike.
        110 => Err(Unfit::new(
            StoreErrorKind::Refused,
            format!(
                "etcd denies it: {described}; is the user in etcd.username right, and the \
                 password, and has that user the right to the key?"
            ),
        )),
        // Raft's and the server's own troubles (300 Raft error, which every
        // time-out and lost leader comes as; 301 election; 400 to 402, 500): the
        // write may be in the log by now.
        300.. => Err(Unfit::new(
            StoreErrorKind::Unknown,
            format!("etcd can't serve it now: {described}; has the cluster a leader and a quorum?"),
        )),
        _ if status >= 500 => Err(Unfit::new(StoreErrorKind::Unknown, described)),
        // The rest of the hundreds and two hundreds tell what is wrong with the
        // request itself.
        _ => Err(Unfit::new(StoreErrorKind::Refused, format!("etcd refuses it: {described}"))),
    }
}

fn unfit_success(status: u16, body: &[u8], error: &serde_json::Error) -> Unfit {
    // A JSON object isn't whole before its last byte, so one cut off can't pass
    // for a whole one. (awc doesn't tell of a body shorter than announced.)
    if error.is_eof() {
        return Unfit::new(StoreErrorKind::Unknown, "the answer broke off");
    }
    let what = format!(
        "answered with status {status} and not as etcd does, but {}; is it etcd?",
        quote(body)
    );
    Unfit::new(StoreErrorKind::Malformed, what)
}

fn unfit_failure(status: u16, body: &[u8]) -> Unfit {
    let quoted = quote(body);
    match status {
        404 => Unfit::new(
            StoreErrorKind::Malformed,
            format!(
                "etcd doesn't answer its v2 keys API there, but 404 and {quoted}; \
                 start it with --enable-v2=true"
            ),
        ),
        500.. => Unfit::new(
            StoreErrorKind::Unknown,
            format!("answered with status {status} and {quoted}; has etcd trouble of its own?"),
        ),
        _ => Unfit::new(
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

    fn unfit(status: u16, body: &str) -> Unfit {
        read(status, body.as_bytes()).unwrap_err()
    }

    #[test]
    fn tells_a_static_entry_from_one_that_is_about_to_expire() {
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
        assert_eq!(living.found().tie, Tie::Ttl(Duration::from_secs(7)));
        assert_eq!(ending.found().tie, Tie::Ttl(Duration::ZERO));
        assert_eq!(overdue.found().tie, Tie::Ttl(Duration::ZERO));
        assert_eq!(fixed.found().tie, Tie::None);
    }

    #[test]
    fn reads_refusals_by_their_code() {
        let refused = |code: u16| {
            let body = format!(r#"{{"errorCode":{code},"message":"M","cause":"/a/b","index":1}}"#);
            read(412, body.as_bytes())
        };
        assert!(matches!(refused(100), Ok(Answer::Missing { first }) if first == "/a/b"));
        assert!(matches!(refused(101), Ok(Answer::Differs)));
        assert!(matches!(refused(102), Ok(Answer::IsDirectory)));
        assert!(matches!(refused(104), Ok(Answer::BelowValue { at }) if at == "/a/b"));
        assert!(matches!(refused(105), Ok(Answer::Exists)));
        assert!(matches!(refused(108), Ok(Answer::NotEmpty)));
        for code in [107, 110, 201, 202, 209, 211] {
            let error = refused(code).unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::Refused, "{code}");
            assert!(error.what.contains(&format!("code {code}: /a/b")), "{}", error.what);
        }
        for code in [300, 301, 400, 401, 402, 500] {
            assert_eq!(refused(code).unwrap_err().kind, StoreErrorKind::Unknown, "{code}");
        }
    }

    #[test]
    fn what_is_no_etcd_is_malformed_and_quoted_in_one_line() {
        let html = unfit(200, "<!DOCTYPE html>\n<html>\r\n<body>Welcome</body>");
        assert_eq!(html.kind, StoreErrorKind::Malformed);
        assert!(
            html.what.contains("`<!DOCTYPE html> <html> <body>Welcome</body>`"),
            "{}",
            html.what
        );
        assert_eq!(unfit(200, "{}").kind, StoreErrorKind::Malformed);
        assert_eq!(unfit(200, "[]").kind, StoreErrorKind::Malformed);
        assert_eq!(unfit(302, "").kind, StoreErrorKind::Malformed);
        assert_eq!(unfit(403, r#"{"message":"no"}"#).kind, StoreErrorKind::Malformed);
        assert!(unfit(200, &format!("x{}", "é".repeat(300))).what.chars().count() < 200);
    }

    #[test]
    fn no_v2_api_says_what_to_do() {
        let error = unfit(404, "404 page not found\n");
        assert_eq!(error.kind, StoreErrorKind::Malformed);
        assert!(error.what.ends_with("start it with --enable-v2=true"), "{}", error.what);
    }

    #[test]
    fn a_body_that_broke_off_leaves_doubt() {
        let whole = r#"{"action":"get","node":{"key":"/a","value":"é","modifiedIndex":4}}"#;
        assert!(matches!(read(200, whole.as_bytes()), Ok(Answer::Done(_))));
        for end in 0..whole.len() {
            let error = read(200, &whole.as_bytes()[..end]).unwrap_err();
            assert!(error.kind.leaves_doubt(), "cut off at {end}: {error:?}");
        }
        assert_eq!(unfit(200, "").kind, StoreErrorKind::Unknown);
        assert_eq!(unfit(200, &whole[..20]).kind, StoreErrorKind::Unknown);
    }

    #[test]
    fn a_proxys_5xx_leaves_doubt() {
        assert_eq!(unfit(502, "<html>Bad Gateway</html>").kind, StoreErrorKind::Unknown);
        assert_eq!(unfit(503, "").kind, StoreErrorKind::Unknown);
    }
}
