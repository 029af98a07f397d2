//! Error responses of etcd's gateway: codes of gRPC and texts of etcd.
//!
//! The JSON of an error differs between etcd 3.4, 3.5 and 3.6, and between a single response and a
//! stream. One code can stand for several errors, which only the text distinguishes. Texts are
//! those of `api/v3rpc/rpctypes/error.go` in etcd.

use highhock_actors::StoreErrorKind;
use serde::Deserialize;

use crate::text::quote::{one_line, quote};

/// The reason why etcd did not apply a request.
#[derive(Clone, Debug)]
pub(super) struct ResponseError {
    pub class: ErrorClass,
    pub kind: StoreErrorKind,
    /// The cause, and a remedy if there is one.
    pub message: String,
}

/// The errors that a caller reacts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// The lease does not exist.
    LeaseNotFound,
    /// A lease with this id exists already.
    LeaseExists,
    /// A transaction has more operations than `--max-txn-ops`.
    TooManyOperations,
    /// A request has more bytes than `--max-request-bytes`.
    TooLarge,
    /// The token is missing, or no longer valid.
    Token,
    /// The client's user lacks a permission.
    Denied,
    /// A token was requested, and authentication is disabled.
    AuthDisabled,
    /// The user or the password is wrong.
    Credentials,
    /// This member refuses the request for a reason of its own, and has not applied it. Another
    /// member of the same cluster may serve it.
    Member,
    /// The database is full. All puts are rejected, and other requests are served.
    NoSpace,
    /// Any other error.
    Other,
}

impl ResponseError {
    fn new(class: ErrorClass, kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { class, kind, message: message.into() }
    }
}

/// An error as etcd 3.4 to 3.6 write it, alone or in a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorPayload {
    code: Option<u16>,
    grpc_code: Option<u16>,
    message: Option<String>,
    error: Option<NestedError>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NestedError {
    Text(String),
    Object(Box<ErrorPayload>),
}

/// Returns gRPC's code and etcd's text, if the body contains them.
fn code_and_text(body: &[u8]) -> Option<(u16, String)> {
    let mut payload = serde_json::from_slice::<ErrorPayload>(body).ok()?;
    let mut text = None;
    match payload.error.take() {
        Some(NestedError::Object(inner)) => payload = *inner,
        Some(NestedError::Text(error)) => text = Some(error),
        None => {}
    }
    let code = payload.grpc_code.or(payload.code)?;
    Some((code, payload.message.or(text).unwrap_or_default()))
}

/// Returns the error, if a line of a stream is an error.
pub(super) fn stream_error(line: &[u8]) -> Option<ResponseError> {
    #[derive(Deserialize)]
    struct StreamLine {
        error: Option<serde::de::IgnoredAny>,
    }
    let either = serde_json::from_slice::<StreamLine>(line).ok()?;
    either.error.map(|_| parse(200, line))
}

/// Returns `true` if etcd may have cancelled a watch for this reason because of its token. etcd
/// reports a token that is older than a change of users or roles as a denied permission.
pub(super) fn may_concern_token(cancel_reason: &str) -> bool {
    [
        "Unauthenticated",
        "invalid auth token",
        "user name is empty",
        "revision of auth store is old",
        "permission denied",
    ]
    .iter()
    .any(|part| cancel_reason.contains(part))
}

/// Parses a response whose status is not a success.
pub(super) fn parse(status: u16, body: &[u8]) -> ResponseError {
    match code_and_text(body) {
        // This text is the gateway's own. With the other texts of code 5, etcd reports a missing
        // object.
        Some((5, text)) if text == "Not Found" => gateway_missing(body),
        Some((code, text)) => classify(code, &text),
        None => classify_foreign(status, body),
    }
}

/// Classifies an error by gRPC's code, and by etcd's text if a code stands for several errors.
fn classify(code: u16, text: &str) -> ResponseError {
    let (class, kind, hint) = class_of(code, text);
    let verb = match kind {
        StoreErrorKind::Unknown | StoreErrorKind::Unavailable => "etcd cannot serve the request",
        _ => "etcd rejects the request",
    };
    let message = format!("{verb}: {} (code {code}){hint}", one_line(text));
    ResponseError::new(class, kind, message)
}

/// Returns the class and the kind of an error, and a hint for the operator.
fn class_of(code: u16, text: &str) -> (ErrorClass, StoreErrorKind, &'static str) {
    use StoreErrorKind::{LeaseLost, Malformed, Refused, Unavailable, Unknown};
    let has = |part: &str| text.contains(part);
    match code {
        // Code 9 since etcd 3.6, before 14.
        _ if has("not supported for learner") => (
            ErrorClass::Member,
            Unavailable,
            "; this member is a learner: promote it, or remove it from etcd.url",
        ),
        _ if has("corrupt cluster") => (
            ErrorClass::Other,
            Unavailable,
            "; etcd has raised the alarm CORRUPT: replace the damaged member, then run \
             `etcdctl alarm disarm`",
        ),
        3 if has("too many operations") => (
            ErrorClass::TooManyOperations,
            Refused,
            "; raise etcd's --max-txn-ops, which is too low for a single write",
        ),
        3 if has("request is too large") => (ErrorClass::TooLarge, Refused, TOO_LARGE),
        8 if has("larger than max") => (ErrorClass::TooLarge, Refused, TOO_LARGE),
        8 if has("space exceeded") => (
            ErrorClass::NoSpace,
            Refused,
            "; its database is full: compact and defragment it, or raise --quota-backend-bytes, \
             then run `etcdctl alarm disarm`",
        ),
        5 if has("lease not found") => (ErrorClass::LeaseNotFound, LeaseLost, ""),
        9 if has("lease already exists") => (ErrorClass::LeaseExists, Refused, ""),
        9 if has("authentication is not enabled") => (ErrorClass::AuthDisabled, Refused, ""),
        16 => (ErrorClass::Token, Unavailable, "; a new token is requested"),
        _ if has("invalid auth token") => {
            (ErrorClass::Token, Unavailable, "; a new token is requested")
        }
        3 if has("user name is empty") => {
            (ErrorClass::Token, Unavailable, "; set etcd.username and etcd.password")
        }
        3 if has("revision of auth store is old") => (ErrorClass::Token, Unavailable, ""),
        3 if has("authentication failed") => {
            (ErrorClass::Credentials, Unavailable, "; check etcd.username and its password")
        }
        7 => (ErrorClass::Denied, Refused, "; grant this client's user access to the key"),
        // etcd sends this before it handles the request.
        14 if has("no leader") => {
            (ErrorClass::Other, Unavailable, "; check that the cluster has a quorum")
        }
        8 if has("too many requests") => (ErrorClass::Other, Unavailable, ""),
        // Time-outs, a lost leader, a member that stops, and internal errors. A write may already
        // be in the log.
        1 | 2 | 4 | 10 | 13 | 14 | 15 => {
            (ErrorClass::Other, Unknown, "; check that the cluster has a leader and a quorum")
        }
        12 => (ErrorClass::Member, Malformed, "; HighHock needs etcd 3.4 or newer for its v3 API"),
        _ => (ErrorClass::Other, Refused, ""),
    }
}

const TOO_LARGE: &str = "; shorten the service's text, or raise etcd's --max-request-bytes";

/// Classifies a response that etcd's gateway would not send.
fn classify_foreign(status: u16, body: &[u8]) -> ResponseError {
    let quoted = quote(body);
    match status {
        404 => gateway_missing(body),
        400 if contains(body, "CommonName of client") => common_name_refused(),
        500.. => ResponseError::new(
            ErrorClass::Other,
            StoreErrorKind::Unknown,
            format!("status {status} and {quoted}; check etcd's own log"),
        ),
        _ => not_etcd(status, body),
    }
}

/// Returns the error for a gateway that rejects the client certificate.
///
/// While authentication is enabled, a common name in a client certificate means a user. The gateway
/// cannot act as that user, and rejects the certificate. Each member has its own setting for
/// client certificates.
fn common_name_refused() -> ResponseError {
    let message = "with authentication enabled, etcd's v3 gateway rejects client certificates \
                   with a common name (CN); use one without a CN in etcd.cert";
    ResponseError::new(ErrorClass::Member, StoreErrorKind::Unavailable, message)
}

fn contains(body: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(body.get(..200).unwrap_or(body)).contains(part)
}

fn gateway_missing(body: &[u8]) -> ResponseError {
    let message = format!(
        "no v3 API there: status 404 and {}; HighHock needs etcd 3.4 or newer, with its gateway \
         enabled (--enable-grpc-gateway)",
        quote(body)
    );
    ResponseError::new(ErrorClass::Member, StoreErrorKind::Malformed, message)
}

/// Returns the error for a response with a status of success and an invalid body.
pub(super) fn unexpected(status: u16, body: &[u8], error: &serde_json::Error) -> ResponseError {
    // A JSON object is complete only with its last byte, so a truncated one cannot pass for a
    // complete one. awc does not report a body that is shorter than announced.
    if error.is_eof() {
        return ResponseError::new(
            ErrorClass::Other,
            StoreErrorKind::Unknown,
            "the response is cut off",
        );
    }
    not_etcd(status, body)
}

/// Returns the error for a server that is not etcd, or an unknown version of it.
pub(super) fn not_etcd(status: u16, body: &[u8]) -> ResponseError {
    let message =
        format!("status {status} and a response unlike etcd's, {}; check etcd.url", quote(body));
    ResponseError::new(ErrorClass::Other, StoreErrorKind::Malformed, message)
}

#[cfg(test)]
mod tests {
    use StoreErrorKind::{LeaseLost, Malformed, Refused, Unavailable, Unknown};

    use super::*;

    #[test]
    fn classifies_errors_of_every_etcd_version() {
        for (code, text, class, kind) in [
            (
                3,
                "etcdserver: too many operations in txn request",
                ErrorClass::TooManyOperations,
                Refused,
            ),
            (3, "etcdserver: request is too large", ErrorClass::TooLarge, Refused),
            (8, "grpc: received message larger than max (3 vs. 2)", ErrorClass::TooLarge, Refused),
            (8, "etcdserver: mvcc: database space exceeded", ErrorClass::NoSpace, Refused),
            (8, "etcdserver: too many requests", ErrorClass::Other, Unavailable),
            (5, "etcdserver: requested lease not found", ErrorClass::LeaseNotFound, LeaseLost),
            (9, "etcdserver: lease already exists", ErrorClass::LeaseExists, Refused),
            (16, "etcdserver: invalid auth token", ErrorClass::Token, Unavailable),
            (3, "etcdserver: user name is empty", ErrorClass::Token, Unavailable),
            (3, "etcdserver: revision of auth store is old", ErrorClass::Token, Unavailable),
            (
                3,
                "etcdserver: authentication failed, invalid user ID or password",
                ErrorClass::Credentials,
                Unavailable,
            ),
            (9, "etcdserver: authentication is not enabled", ErrorClass::AuthDisabled, Refused),
            (9, "etcdserver: rpc not supported for learner", ErrorClass::Member, Unavailable),
            (14, "etcdserver: rpc not supported for learner", ErrorClass::Member, Unavailable),
            (15, "etcdserver: corrupt cluster", ErrorClass::Other, Unavailable),
            (7, "etcdserver: permission denied", ErrorClass::Denied, Refused),
            (14, "etcdserver: no leader", ErrorClass::Other, Unavailable),
            (
                14,
                "etcdserver: request timed out, possibly due to previous leader failure",
                ErrorClass::Other,
                Unknown,
            ),
            (14, "etcdserver: leader changed", ErrorClass::Other, Unknown),
            (14, "etcdserver: server stopped", ErrorClass::Other, Unknown),
            (2, "context deadline exceeded", ErrorClass::Other, Unknown),
            (13, "something internal", ErrorClass::Other, Unknown),
            (3, "etcdserver: duplicate key given in txn request", ErrorClass::Other, Refused),
            (12, "unknown service etcdserverpb.KV", ErrorClass::Member, Malformed),
        ] {
            for body in [
                format!(r#"{{"error":"{text}","message":"{text}","code":{code}}}"#),
                format!(r#"{{"error":"{text}","code":{code}}}"#),
                format!(r#"{{"code":{code},"message":"{text}"}}"#),
                format!(
                    r#"{{"error":{{"grpc_code":{code},"http_code":503,"message":"{text}","http_status":"x"}}}}"#
                ),
                format!(r#"{{"error":{{"code":{code},"message":"{text}","details":[]}}}}"#),
            ] {
                let response_error = parse(500, body.as_bytes());
                assert_eq!((response_error.class, response_error.kind), (class, kind), "{body}");
                assert!(response_error.message.contains(text), "{}", response_error.message);
            }
        }
    }

    #[test]
    fn missing_gateway_names_the_remedy() {
        for body in ["404 page not found\n", "Not Found\n", r#"{"code":5,"message":"Not Found"}"#] {
            let response_error = parse(404, body.as_bytes());
            assert_eq!(response_error.kind, Malformed, "{body}");
            assert!(
                response_error.message.contains("needs etcd 3.4 or newer"),
                "{}",
                response_error.message
            );
        }
    }

    #[test]
    fn foreign_responses_are_malformed_or_uncertain() {
        for (status, body, kind) in [
            (302, "", Malformed),
            (403, "<html>", Malformed),
            (400, r#"{"message":"no"}"#, Malformed),
            (502, "<html>Bad Gateway</html>", Unknown),
            (503, "", Unknown),
            (503, r#"{"health":"false"}"#, Unknown),
        ] {
            assert_eq!(parse(status, body.as_bytes()).kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn cancelled_watches_reveal_an_old_token() {
        for (reason, expected) in [
            ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", true),
            ("rpc error: code = InvalidArgument desc = etcdserver: user name is empty", true),
            ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", true),
            ("etcdserver: revision of auth store is old", true),
            ("etcdserver: mvcc: required revision is a future revision", false),
            ("", false),
        ] {
            assert_eq!(may_concern_token(reason), expected, "{reason}");
        }
    }

    #[test]
    fn distinguishes_stream_errors_from_messages() {
        assert!(stream_error(br#"{"result":{"header":{}}}"#).is_none());
        assert!(stream_error(b"<html>").is_none());
        let line = br#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}}"#;
        assert_eq!(stream_error(line).unwrap().kind, Unavailable);
    }
}
