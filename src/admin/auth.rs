//! The checks before every endpoint (`Host` header, method, token), and the security headers of
//! every response.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CROSS_ORIGIN_RESOURCE_POLICY,
    HOST, HeaderName, HeaderValue, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use super::host_check::AllowedHosts;
use super::response::error_response;
use super::token::{Token, bearer_token};

/// The path of the status page. The page contains no data and prompts for the token itself, so it
/// is served without a token.
pub(super) const PAGE_PATH: &str = "/";

/// The Content-Security-Policy of all responses except the status page: nothing may be loaded.
const DENY_ALL_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const SECURITY_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    (CONTENT_SECURITY_POLICY, DENY_ALL_POLICY),
];

/// The conditions for access to the endpoints (deploy/README.md, "Access").
pub(super) struct AccessPolicy {
    pub hosts: AllowedHosts,
    pub token: Option<Token>,
}

/// Passes a request to its endpoint, or responds with an error in place of the endpoint.
pub(super) async fn check_access(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let rejection = request.app_data::<web::ThinData<std::rc::Rc<AccessPolicy>>>();
    let rejection = rejection.and_then(|policy| policy.0.rejection(&request));
    let mut response = match rejection {
        Some(rejection) => request.into_response(rejection),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    for (name, value) in SECURITY_HEADERS {
        if !response.headers().contains_key(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

impl AccessPolicy {
    fn rejection(&self, request: &ServiceRequest) -> Option<HttpResponse> {
        if !self.allows_host(request) {
            return Some(error_response(
                StatusCode::FORBIDDEN,
                "unknown name in the Host header; use an address, localhost or this host's own \
                 name (without a token, this check keeps foreign web pages out)",
            ));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut rejection =
                error_response(StatusCode::METHOD_NOT_ALLOWED, "read-only interface; use GET");
            rejection.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(rejection);
        }
        if request.path() != PAGE_PATH && !self.allows_token(request) {
            let mut rejection = error_response(
                StatusCode::UNAUTHORIZED,
                "token required; send Authorization: Bearer <admin.token>",
            );
            let challenge = HeaderValue::from_static("Bearer realm=\"highhock\"");
            rejection.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return Some(rejection);
        }
        None
    }

    /// Returns `true` if the request has exactly one `Host` header with an allowed name, and an
    /// allowed name in its request line, if any.
    fn allows_host(&self, request: &ServiceRequest) -> bool {
        let mut names = request.headers().get_all(HOST);
        let (Some(name), None) = (names.next(), names.next()) else { return false };
        let target_host = request.uri().authority().map(|authority| authority.as_str());
        name.to_str().is_ok_and(|name| self.hosts.allow(name))
            && target_host.is_none_or(|name| self.hosts.allow(name))
    }

    fn allows_token(&self, request: &ServiceRequest) -> bool {
        let Some(token) = &self.token else { return true };
        let header = request.headers().get(AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        header.and_then(bearer_token).is_some_and(|presented| token.matches(presented))
    }
}
