//! An engine's whole answer, and what it means.

use awc::http::StatusCode;
use highhock_actors::{SourceError, SourceErrorKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{RequestContext, one_line};

/// A whole answer.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub status: StatusCode,
    /// The `Content-Type`, or nothing.
    pub content_type: String,
    /// Where a redirect points, or nothing.
    pub location: String,
    pub body: Vec<u8>,
}

/// The body of an engine's error (Docker API: `ErrorResponse`).
#[derive(Deserialize)]
struct ErrorResponse {
    message: String,
}

impl ApiResponse {
    /// What the engine says for itself, where the body is one of its errors.
    fn message(&self) -> Option<String> {
        serde_json::from_slice::<ErrorResponse>(&self.body).ok().map(|body| body.message)
    }

    /// Whether the engine refuses the API version that was asked in, as it does
    /// after an upgrade or a downgrade ("client version 1.24 is too old. …").
    pub fn rejects_version(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
            && self.message().is_some_and(|message| message.contains("client version"))
    }

    /// Whether an engine says that it has no such container. Another sort of 404,
    /// such as a web server's, says nothing about containers. Podman says so with a 500
    /// of one that is removed while it is inspected.
    pub fn is_no_such_container(&self, target: &str) -> bool {
        let Some(message) = self.message() else { return false };
        match self.status {
            StatusCode::NOT_FOUND => message.to_ascii_lowercase().contains("no such container"),
            StatusCode::INTERNAL_SERVER_ERROR => {
                message.starts_with(&format!("container {target} does not exist in database"))
            }
            _ => false,
        }
    }

    /// The body, as JSON of this form; `expected` names it in the error.
    ///
    /// # Errors
    /// Where the status is no success, or the body something else.
    pub fn json<T: DeserializeOwned>(
        &self,
        context: RequestContext<'_>,
        expected: &str,
    ) -> Result<T, SourceError> {
        if !self.status.is_success() {
            return Err(self.to_error(context));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let error_text = one_line(&error.to_string());
            context.malformed(&match error.classify() {
                serde_json::error::Category::Eof => {
                    format!("the answer broke off after {} bytes ({error_text})", self.body.len())
                }
                serde_json::error::Category::Data => {
                    format!("the answer is not {expected} of a Docker engine: {error_text}")
                }
                _ => format!("the answer is not JSON but {}; is this Docker?", self.excerpt()),
            })
        })
    }

    /// What an answer means whose status is not one of success.
    pub fn to_error(&self, context: RequestContext<'_>) -> SourceError {
        let status = self.status;
        let body = String::from_utf8_lossy(&self.body);
        if body.contains("HTTP request to an HTTPS server") {
            return context
                .refused("the engine wants TLS on this port; write https:// in docker.url");
        }
        if status.is_redirection() {
            let target = one_line(&self.location);
            return context.malformed(&format!(
                "answered {status}, a redirect to {target:?}, which no Docker engine does"
            ));
        }
        let detail = self.message().map_or_else(|| self.excerpt(), |text| one_line(&text));
        context.error(error_kind(status), &format!("answered {status}: {detail}"))
    }

    /// The body's beginning and its type, to recognise the speaker by.
    fn excerpt(&self) -> String {
        // Enough for a quote, however the bytes decode.
        let start = &self.body[..self.body.len().min(1024)];
        let text = one_line(&String::from_utf8_lossy(start));
        match (self.content_type.is_empty(), text.is_empty()) {
            (_, true) => "nothing".into(),
            (true, false) => format!("{text:?}"),
            (false, false) => format!("{}: {text:?}", one_line(&self.content_type)),
        }
    }
}

fn error_kind(status: StatusCode) -> SourceErrorKind {
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => SourceErrorKind::Refused,
        // A proxy's way to say "later".
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => SourceErrorKind::Unreachable,
        _ if status.is_server_error() => SourceErrorKind::Unreachable,
        _ => SourceErrorKind::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::endpoint::Endpoint;

    fn response(status: u16, content_type: &str, body: &str) -> ApiResponse {
        ApiResponse {
            status: StatusCode::from_u16(status).unwrap(),
            content_type: content_type.into(),
            location: "http://elsewhere/".into(),
            body: body.into(),
        }
    }

    fn error(response: &ApiResponse) -> SourceError {
        let endpoint = Endpoint::Tcp("127.0.0.1:1".into());
        let context = RequestContext { endpoint: &endpoint, path: "/x" };
        let error = response.json::<Vec<String>>(context, "a listing").unwrap_err();
        assert!(!error.message.contains('\n'), "{error}");
        error
    }

    #[test]
    fn errors_are_classified_and_quote_the_engine() {
        use SourceErrorKind::{Malformed, Refused, Unreachable};
        let json = "application/json";
        for (response, kind, text) in [
            (response(500, json, r#"{"message":"disk\nfull"}"#), Unreachable, ": disk full"),
            (response(502, "text/html", "<html>"), Unreachable, "502 Bad Gateway: text/html"),
            (response(429, "", ""), Unreachable, "429 Too Many Requests: nothing"),
            (response(403, json, r#"{"message":"plugin says no"}"#), Refused, "plugin says no"),
            (response(401, "", "who?"), Refused, "who?"),
            (
                response(400, "", "Client sent an HTTP request to an HTTPS server.\n"),
                Refused,
                "wants TLS",
            ),
            (response(301, "", ""), Malformed, "a redirect to \"http://elsewhere/\""),
            (response(404, json, r#"{"message":"page not found"}"#), Malformed, "page not found"),
            (
                response(200, "text/html", "<!DOCTYPE html>"),
                Malformed,
                "not JSON but text/html: \"<!",
            ),
            (response(200, json, "[\"a\", \"b"), Malformed, "broke off after 8 bytes"),
            (response(200, json, ""), Malformed, "broke off after 0 bytes"),
            (response(200, json, r#"{"message":"hi"}"#), Malformed, "not a listing of a Docker"),
            (response(204, "", ""), Malformed, "broke off after 0 bytes"),
        ] {
            let error = error(&response);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(text), "{error}");
        }
    }

    #[test]
    fn missing_container_needs_an_engine_message() {
        let is_missing =
            |status, body: &str| response(status, "", body).is_no_such_container("abc");
        assert!(is_missing(404, r#"{"message":"No such container: abc"}"#));
        assert!(is_missing(
            404,
            r#"{"message":"no container with name \"a\": no such container"}"#
        ));
        // Podman 4.3, of a container and of another that it needs.
        let gone = r#"{"message":"container abc does not exist in database: no such container"}"#;
        assert!(is_missing(500, gone));
        assert!(!is_missing(500, &gone.replace("abc", "def")));
        assert!(!is_missing(404, r#"{"message":"page not found"}"#));
        assert!(!is_missing(404, "<html>No such container</html>"));
        assert!(!is_missing(500, r#"{"message":"No such container: abc"}"#));
    }
}
