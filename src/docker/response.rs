//! A complete response of the engine, and its classification.

use awc::ClientResponse;
use awc::http::{StatusCode, header};
use highhock_actors::{SourceError, SourceErrorKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{RequestContext, json_error, one_line};

/// A complete response.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub status: StatusCode,
    /// The header `Content-Type`, or an empty text.
    pub content_type: String,
    /// The target of a redirect, or an empty text.
    pub location: String,
    /// The header `Api-Version` of a response to `/_ping`, or an empty text.
    pub api_version: String,
    /// The header with the version of Podman's own API, or an empty text.
    pub podman_version: String,
    pub body: Vec<u8>,
}

/// The body of an error response (`ErrorResponse` in the Docker Engine API).
#[derive(Deserialize)]
struct ErrorResponse {
    message: String,
}

impl ApiResponse {
    /// Creates a response from its head and its body.
    pub fn new<P>(response: &ClientResponse<P>, body: Vec<u8>) -> Self {
        let field = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Self {
            status: response.status(),
            content_type: field(header::CONTENT_TYPE.as_str()),
            location: field(header::LOCATION.as_str()),
            api_version: field("api-version"),
            podman_version: field("libpod-api-version"),
            body,
        }
    }

    /// Returns `true` if the engine, or a proxy before it, does not serve this endpoint. Every
    /// other failure may pass.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.status,
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED
        )
    }

    /// Returns the engine's error message, if the body is an [`ErrorResponse`].
    fn message(&self) -> Option<String> {
        serde_json::from_slice::<ErrorResponse>(&self.body).ok().map(|body| body.message)
    }

    /// Returns `true` if the engine rejects the API version of the request, as it does after an
    /// upgrade or a downgrade ("client version 1.24 is too old. …").
    pub fn rejects_version(&self) -> bool {
        // The message is plain text in requests of versions before 1.24.
        self.status == StatusCode::BAD_REQUEST
            && String::from_utf8_lossy(&self.body).contains("client version")
    }

    /// Returns `true` if the engine reports that it has no such container.
    ///
    /// Other responses with status 404, such as those of a web server, say nothing about
    /// containers. Podman responds with status 500 if the container is removed during the
    /// inspection.
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

    /// Parses the body as JSON of type `T`. `expected` names that type in the error message.
    ///
    /// # Errors
    /// Returns an error if the status is not a success, or if the body has another form.
    pub fn json<T: DeserializeOwned>(
        &self,
        context: RequestContext<'_>,
        expected: &str,
    ) -> Result<T, SourceError> {
        if !self.status.is_success() {
            return Err(self.to_error(context));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let error_text = json_error(&error);
            context.malformed(&match error.classify() {
                serde_json::error::Category::Eof => {
                    format!(
                        "the response is cut off after {} bytes ({error_text})",
                        self.body.len()
                    )
                }
                serde_json::error::Category::Data => {
                    format!("the response is not {expected} of a Docker engine: {error_text}")
                }
                _ if self.is_json_like() => {
                    format!("the response is not valid JSON: {error_text}")
                }
                _ => format!("the response is not JSON but {}; check docker.url", self.excerpt()),
            })
        })
    }

    /// Returns `true` if the body starts as JSON with fields. It may contain labels and variables of
    /// containers, so no part of it is quoted.
    fn is_json_like(&self) -> bool {
        matches!(self.body.trim_ascii_start().first(), Some(b'{' | b'['))
    }

    /// Returns the error for a response whose status is not a success.
    pub fn to_error(&self, context: RequestContext<'_>) -> SourceError {
        let status = self.status;
        let body = String::from_utf8_lossy(&self.body);
        if body.contains("HTTP request to an HTTPS server") {
            return context
                .refused("the engine requires TLS on this port; use https:// in docker.url");
        }
        if status.is_redirection() {
            let target = one_line(&self.location);
            return context.malformed(&format!(
                "status {status}, a redirect to {target:?}; check docker.url"
            ));
        }
        let detail = self.message().map_or_else(|| self.excerpt(), |text| one_line(&text));
        context.error(error_kind(status), &format!("status {status}: {detail}"))
    }

    /// Returns the error for a response that [`Self::is_refusal`].
    pub fn to_refusal(&self, context: RequestContext<'_>) -> SourceError {
        SourceError { kind: SourceErrorKind::Refused, ..self.to_error(context) }
    }

    /// Returns the content type and the start of the body, which help to recognise the server.
    fn excerpt(&self) -> String {
        // These bytes suffice for a quotation in any encoding.
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
        | StatusCode::NOT_IMPLEMENTED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED => SourceErrorKind::Refused,
        // Proxies send these if the request should be retried later.
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
            api_version: String::new(),
            podman_version: String::new(),
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
            (response(403, json, r#"{"message":"denied by plugin"}"#), Refused, "denied by plugin"),
            (response(401, "", "log in"), Refused, "log in"),
            (
                response(400, "", "Client sent an HTTP request to an HTTPS server.\n"),
                Refused,
                "requires TLS",
            ),
            (response(301, "", ""), Malformed, "a redirect to \"http://elsewhere/\""),
            (response(404, json, r#"{"message":"page not found"}"#), Malformed, "page not found"),
            (
                response(200, "text/html", "<!DOCTYPE html>"),
                Malformed,
                "not JSON but text/html: \"<!",
            ),
            (
                response(200, json, "[\"secret\", x]"),
                Malformed,
                "not valid JSON: expected value at",
            ),
            (response(200, json, "\"secret\""), Malformed, "invalid type: string, expected"),
            (response(200, json, "[\"a\", \"b"), Malformed, "cut off after 8 bytes"),
            (response(200, json, ""), Malformed, "cut off after 0 bytes"),
            (response(200, json, r#"{"message":"hi"}"#), Malformed, "not a listing of a Docker"),
            (response(204, "", ""), Malformed, "cut off after 0 bytes"),
        ] {
            let error = error(&response);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(text), "{error}");
            assert!(!error.message.contains("secret"), "{error}");
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
        // Podman 4.3 responds like this for the container, and for a container that it depends on.
        let gone = r#"{"message":"container abc does not exist in database: no such container"}"#;
        assert!(is_missing(500, gone));
        assert!(!is_missing(500, &gone.replace("abc", "def")));
        assert!(!is_missing(404, r#"{"message":"page not found"}"#));
        assert!(!is_missing(404, "<html>No such container</html>"));
        assert!(!is_missing(500, r#"{"message":"No such container: abc"}"#));
    }
}
