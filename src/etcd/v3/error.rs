//! What etcd's gateway answers where it does not do what it was asked: gRPC's
//! codes and etcd's texts, in the several shapes that its versions have.

use highhock_actors::StoreErrorKind;
use serde::Deserialize;

use crate::text::quote::{one_line, quote};

/// Why etcd did not do what it was asked.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub reason: Reason,
    pub kind: StoreErrorKind,
    /// What happened, and what to try.
    pub what: String,
}

/// What a caller may do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
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

impl Refusal {
    fn new(reason: Reason, kind: StoreErrorKind, what: impl Into<String>) -> Self {
        Self { reason, kind, what: what.into() }
    }
}

/// An error as etcd 3.4 and 3.6 write it, alone or in a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    code: Option<u16>,
    grpc_code: Option<u16>,
    message: Option<String>,
    error: Option<Nested>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Nested {
    Text(String),
    Whole(Box<Wire>),
}

/// gRPC's code and etcd's text, where the body tells any.
fn code_and_text(body: &[u8]) -> Option<(u16, String)> {
    let mut wire = serde_json::from_slice::<Wire>(body).ok()?;
    let mut text = None;
    match wire.error.take() {
        Some(Nested::Whole(inner)) => wire = *inner,
        Some(Nested::Text(error)) => text = Some(error),
        None => {}
    }
    let code = wire.grpc_code.or(wire.code)?;
    Some((code, wire.message.or(text).unwrap_or_default()))
}

/// Whether a message in a stream is an error.
pub(super) fn in_stream(line: &[u8]) -> Option<Refusal> {
    #[derive(Deserialize)]
    struct Either {
        error: Option<serde::de::IgnoredAny>,
    }
    let either = serde_json::from_slice::<Either>(line).ok()?;
    either.error.map(|_| read(200, line))
}

/// Reads an answer that is no success.
pub(super) fn read(status: u16, body: &[u8]) -> Refusal {
    match code_and_text(body) {
        // The gateway's own: etcd's 404s tell of what was not found.
        Some((5, text)) if text == "Not Found" => no_gateway(body),
        Some((code, text)) => classify(code, &text),
        None => foreign(status, body),
    }
}

/// By gRPC's codes, and by etcd's texts (`api/v3rpc/rpctypes/error.go`) where one
/// code stands for several things.
fn classify(code: u16, text: &str) -> Refusal {
    use StoreErrorKind::{LeaseLost, Malformed, Refused, Unavailable, Unknown};
    let has = |part: &str| text.contains(part);
    let said = format!("{} (code {code})", one_line(text));
    let (reason, kind, hint) = match code {
        3 if has("too many operations") => (
            Reason::TooManyOperations,
            Refused,
            "; etcd's --max-txn-ops is too low for even one guarded write: raise it",
        ),
        3 if has("request is too large") => (Reason::TooLarge, Refused, TOO_LARGE),
        8 if has("larger than max") => (Reason::TooLarge, Refused, TOO_LARGE),
        8 if has("space exceeded") => (
            Reason::NoSpace,
            Refused,
            "; its database is full: what is there lives on, but nothing can be put until it is \
             compacted and defragmented, or --quota-backend-bytes is raised, and then \
             `etcdctl alarm disarm` was run",
        ),
        5 if has("lease not found") => (Reason::LeaseNotFound, LeaseLost, ""),
        9 if has("lease already exists") => (Reason::LeaseExists, Refused, ""),
        16 => (Reason::Token, Unavailable, "; it was asked for a new token"),
        3 if has("user name is empty") => (
            Reason::Token,
            Unavailable,
            "; it asks who we are: set etcd.username and etcd.password",
        ),
        3 if has("revision of auth store is old") => (Reason::Token, Unavailable, ""),
        3 if has("authentication failed") => {
            (Reason::Other, Unavailable, "; is etcd.username right, and the password?")
        }
        3 if has("CommonName") => (
            Reason::Other,
            Unavailable,
            "; the gateway takes no client certificate that bears a CN while auth is on: \
             use one without",
        ),
        7 => (Reason::Other, Refused, "; give this client's user the right to the key"),
        // Said before the request is looked at.
        14 if has("no leader") => (Reason::Other, Unavailable, "; has the cluster a quorum?"),
        8 if has("too many requests") => (Reason::Other, Unavailable, ""),
        // Time-outs, a lost leader, a member that stops: it may be in the log by
        // now. So may be whatever is called an internal error.
        1 | 2 | 4 | 10 | 13 | 14 | 15 => {
            (Reason::Other, Unknown, "; has the cluster a leader and a quorum?")
        }
        12 => (Reason::Other, Malformed, "; HighHock needs etcd 3.4 or newer for its v3 API"),
        _ => (Reason::Other, Refused, ""),
    };
    let verb = match kind {
        Unknown | Unavailable => "etcd can't serve it now",
        _ => "etcd refuses it",
    };
    Refusal::new(reason, kind, format!("{verb}: {said}{hint}"))
}

const TOO_LARGE: &str = "; shorten the service's text, or raise etcd's --max-request-bytes";

/// Nothing that etcd's gateway would say.
fn foreign(status: u16, body: &[u8]) -> Refusal {
    let quoted = quote(body);
    match status {
        404 => no_gateway(body),
        500.. => Refusal::new(
            Reason::Other,
            StoreErrorKind::Unknown,
            format!("answered with status {status} and {quoted}; has etcd trouble of its own?"),
        ),
        _ => not_etcd(status, body),
    }
}

fn no_gateway(body: &[u8]) -> Refusal {
    let what = format!(
        "etcd doesn't answer its v3 API there, but 404 and {}; HighHock needs etcd 3.4 or newer, \
         its gateway not switched off (--enable-grpc-gateway)",
        quote(body)
    );
    Refusal::new(Reason::Other, StoreErrorKind::Malformed, what)
}

/// A status of success, and a body that is none.
pub(super) fn unfit(status: u16, body: &[u8], error: &serde_json::Error) -> Refusal {
    // A JSON object isn't whole before its last byte, so one cut off can't pass
    // for a whole one. (awc doesn't tell of a body shorter than announced.)
    if error.is_eof() {
        return Refusal::new(Reason::Other, StoreErrorKind::Unknown, "the answer broke off");
    }
    not_etcd(status, body)
}

/// What answers is no etcd, or none that is known.
pub(super) fn not_etcd(status: u16, body: &[u8]) -> Refusal {
    let what = format!(
        "answered with status {status} and not as etcd does, but {}; is it etcd?",
        quote(body)
    );
    Refusal::new(Reason::Other, StoreErrorKind::Malformed, what)
}

#[cfg(test)]
mod tests {
    use StoreErrorKind::{LeaseLost, Malformed, Refused, Unavailable, Unknown};

    use super::*;

    #[test]
    fn knows_etcds_refusals_in_every_versions_shape() {
        for (code, text, reason, kind) in [
            (
                3,
                "etcdserver: too many operations in txn request",
                Reason::TooManyOperations,
                Refused,
            ),
            (3, "etcdserver: request is too large", Reason::TooLarge, Refused),
            (8, "grpc: received message larger than max (3 vs. 2)", Reason::TooLarge, Refused),
            (8, "etcdserver: mvcc: database space exceeded", Reason::NoSpace, Refused),
            (8, "etcdserver: too many requests", Reason::Other, Unavailable),
            (5, "etcdserver: requested lease not found", Reason::LeaseNotFound, LeaseLost),
            (9, "etcdserver: lease already exists", Reason::LeaseExists, Refused),
            (16, "etcdserver: invalid auth token", Reason::Token, Unavailable),
            (3, "etcdserver: user name is empty", Reason::Token, Unavailable),
            (3, "etcdserver: revision of auth store is old", Reason::Token, Unavailable),
            (
                3,
                "etcdserver: authentication failed, invalid user ID or password",
                Reason::Other,
                Unavailable,
            ),
            (7, "etcdserver: permission denied", Reason::Other, Refused),
            (14, "etcdserver: no leader", Reason::Other, Unavailable),
            (
                14,
                "etcdserver: request timed out, possibly due to previous leader failure",
                Reason::Other,
                Unknown,
            ),
            (14, "etcdserver: leader changed", Reason::Other, Unknown),
            (14, "etcdserver: server stopped", Reason::Other, Unknown),
            (2, "context deadline exceeded", Reason::Other, Unknown),
            (13, "something internal", Reason::Other, Unknown),
            (3, "etcdserver: duplicate key given in txn request", Reason::Other, Refused),
            (12, "unknown service etcdserverpb.KV", Reason::Other, Malformed),
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
                let refusal = read(500, body.as_bytes());
                assert_eq!((refusal.reason, refusal.kind), (reason, kind), "{body}");
                assert!(refusal.what.contains(text), "{}", refusal.what);
            }
        }
    }

    #[test]
    fn an_etcd_without_a_v3_gateway_says_what_to_do() {
        for body in ["404 page not found\n", "Not Found\n", r#"{"code":5,"message":"Not Found"}"#] {
            let refusal = read(404, body.as_bytes());
            assert_eq!(refusal.kind, Malformed, "{body}");
            assert!(refusal.what.contains("needs etcd 3.4 or newer"), "{}", refusal.what);
        }
    }

    #[test]
    fn what_is_no_etcd_is_malformed_or_leaves_doubt() {
        for (status, body, kind) in [
            (302, "", Malformed),
            (403, "<html>", Malformed),
            (400, r#"{"message":"no"}"#, Malformed),
            (502, "<html>Bad Gateway</html>", Unknown),
            (503, "", Unknown),
            (503, r#"{"health":"false"}"#, Unknown),
        ] {
            assert_eq!(read(status, body.as_bytes()).kind, kind, "{status} {body}");
        }
    }

    #[test]
    fn tells_an_error_in_a_stream_from_a_message() {
        assert!(in_stream(br#"{"result":{"header":{}}}"#).is_none());
        assert!(in_stream(b"<html>").is_none());
        let line = br#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}}"#;
        assert_eq!(in_stream(line).unwrap().kind, Unavailable);
    }
}
