//! What etcd's gateway answers where it does not do what it was asked: gRPC's
//! codes and etcd's texts, in the several shapes that its versions have.

use highhock_actors::StoreErrorKind;
use serde::Deserialize;

use crate::text::quote::{one_line, quote};

/// Why etcd did not do what it was asked.
#[derive(Clone, Debug)]
pub(super) struct ResponseError {
    pub class: ErrorClass,
    pub kind: StoreErrorKind,
    /// What happened, and what to try.
    pub message: String,
}

/// What a caller may do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// There is no such lease.
    LeaseNotFound,
    /// There is such a lease already.
    LeaseExists,
    /// More operations in a transaction than `--max-txn-ops`.
    TooManyOperations,
    /// A request of more bytes than `--max-request-bytes`.
    TooLarge,
    /// The token is none, or none any more.
    Token,
    /// It concerns the whole store, though nothing but puts.
    NoSpace,
    /// Anything else.
    Other,
}

impl ResponseError {
    fn new(class: ErrorClass, kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { class, kind, message: message.into() }
    }
}

/// An error as etcd 3.4 and 3.6 write it, alone or in a stream.
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

/// gRPC's code and etcd's text, where the body tells any.
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

/// Whether a message in a stream is an error.
pub(super) fn stream_error(line: &[u8]) -> Option<ResponseError> {
    #[derive(Deserialize)]
    struct StreamLine {
        error: Option<serde::de::IgnoredAny>,
    }
    let either = serde_json::from_slice::<StreamLine>(line).ok()?;
    either.error.map(|_| parse(200, line))
}

/// Reads an answer that is no success.
pub(super) fn parse(status: u16, body: &[u8]) -> ResponseError {
    match code_and_text(body) {
        // The gateway's own: etcd's 404s tell of what was not found.
        Some((5, text)) if text == "Not Found" => gateway_missing(body),
        Some((code, text)) => classify(code, &text),
        None => classify_foreign(status, body),
    }
}

/// By gRPC's codes, and by etcd's texts (`api/v3rpc/rpctypes/error.go`) where one
/// code stands for several things.
fn classify(code: u16, text: &str) -> ResponseError {
    use StoreErrorKind::{LeaseLost, Malformed, Refused, Unavailable, Unknown};
    let has = |part: &str| text.contains(part);
    let detail = format!("{} (code {code})", one_line(text));
    let (class, kind, hint) = match code {
        3 if has("too many operations") => (
            ErrorClass::TooManyOperations,
            Refused,
            "; etcd's --max-txn-ops is too low for even one guarded write: raise it",
        ),
        3 if has("request is too large") => (ErrorClass::TooLarge, Refused, TOO_LARGE),
        8 if has("larger than max") => (ErrorClass::TooLarge, Refused, TOO_LARGE),
        8 if has("space exceeded") => (
            ErrorClass::NoSpace,
            Refused,
            "; its database is full: what is there lives on, but nothing can be put until it is \
             compacted and defragmented, or --quota-backend-bytes is raised, and then \
             `etcdctl alarm disarm` was run",
        ),
        5 if has("lease not found") => (ErrorClass::LeaseNotFound, LeaseLost, ""),
        9 if has("lease already exists") => (ErrorClass::LeaseExists, Refused, ""),
        16 => (ErrorClass::Token, Unavailable, "; it was asked for a new token"),
        3 if has("user name is empty") => (
            ErrorClass::Token,
            Unavailable,
            "; it asks who we are: set etcd.username and etcd.password",
        ),
        3 if has("revision of auth store is old") => (ErrorClass::Token, Unavailable, ""),
        3 if has("authentication failed") => {
            (ErrorClass::Other, Unavailable, "; is etcd.username right, and the password?")
        }
        3 if has("CommonName") => (
            ErrorClass::Other,
            Unavailable,
            "; the gateway takes no client certificate that bears a CN while auth is on: \
             use one without",
        ),
        7 => (ErrorClass::Other, Refused, "; give this client's user the right to the key"),
        // Said before the request is looked at.
        14 if has("no leader") => (ErrorClass::Other, Unavailable, "; has the cluster a quorum?"),
        8 if has("too many requests") => (ErrorClass::Other, Unavailable, ""),
        // Time-outs, a lost leader, a member that stops: it may be in the log by
        // now. So may be whatever is called an internal error.
        1 | 2 | 4 | 10 | 13 | 14 | 15 => {
            (ErrorClass::Other, Unknown, "; has the cluster a leader and a quorum?")
        }
        12 => (ErrorClass::Other, Malformed, "; HighHock needs etcd 3.4 or newer for its v3 API"),
        _ => (ErrorClass::Other, Refused, ""),
    };
    let verb = match kind {
        Unknown | Unavailable => "etcd can't serve it now",
        _ => "etcd refuses it",
    };
    ResponseError::new(class, kind, format!("{verb}: {detail}{hint}"))
}

const TOO_LARGE: &str = "; shorten the service's text, or raise etcd's --max-request-bytes";

/// Nothing that etcd's gateway would say.
fn classify_foreign(status: u16, body: &[u8]) -> ResponseError {
    let quoted = quote(body);
    match status {
        404 => gateway_missing(body),
        500.. => ResponseError::new(
            ErrorClass::Other,
            StoreErrorKind::Unknown,
            format!("answered with status {status} and {quoted}; has etcd trouble of its own?"),
        ),
        _ => not_etcd(status, body),
    }
}

fn gateway_missing(body: &[u8]) -> ResponseError {
    let message = format!(
        "etcd doesn't answer its v3 API there, but 404 and {}; HighHock needs etcd 3.4 or newer, \
         its gateway not switched off (--enable-grpc-gateway)",
        quote(body)
    );
    ResponseError::new(ErrorClass::Other, StoreErrorKind::Malformed, message)
}

/// A status of success, and a body that is none.
pub(super) fn unexpected(status: u16, body: &[u8], error: &serde_json::Error) -> ResponseError {
    // A JSON object isn't whole before its last byte, so one cut off can't pass
    // for a whole one. (awc doesn't tell of a body shorter than announced.)
    if error.is_eof() {
        return ResponseError::new(
            ErrorClass::Other,
            StoreErrorKind::Unknown,
            "the answer broke off",
        );
    }
    not_etcd(status, body)
}

/// What answers is no etcd, or none that is known.
pub(super) fn not_etcd(status: u16, body: &[u8]) -> ResponseError {
    let message = format!(
        "answered with status {status} and not as etcd does, but {}; is it etcd?",
        quote(body)
    );
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
                ErrorClass::Other,
                Unavailable,
            ),
            (7, "etcdserver: permission denied", ErrorClass::Other, Refused),
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
            (12, "unknown service etcdserverpb.KV", ErrorClass::Other, Malformed),
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
    fn distinguishes_stream_errors_from_messages() {
        assert!(stream_error(br#"{"result":{"header":{}}}"#).is_none());
        assert!(stream_error(b"<html>").is_none());
        let line = br#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}}"#;
        assert_eq!(stream_error(line).unwrap().kind, Unavailable);
    }
}
