//! What comes before every endpoint: who asks, by which name, and how; and the headers
//! that every answer has.

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

/// Where the status page is: it holds no data, and asks for the token itself.
pub(super) const PAGE_PATH: &str = "/";

/// Nothing may be loaded from an answer that is no page.
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

/// Whom is answered.
pub(super) struct AccessPolicy {
    pub hosts: AllowedHosts,
    pub token: Option<Token>,
}

/// Lets a request through, or answers in the endpoint's place.
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
                "this name in the Host header is not answered to; ask by address, as localhost, \
                 or by this host's own name (without a token, that keeps strangers' pages out)",
            ));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut rejection = error_response(
                StatusCode::METHOD_NOT_ALLOWED,
                "nothing here can be changed; takes GET",
            );
            rejection.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(rejection);
        }
        if request.path() != PAGE_PATH && !self.allows_token(request) {
            let mut rejection = error_response(
                StatusCode::UNAUTHORIZED,
                "a token is needed: Authorization: Bearer <admin.token>",
            );
            let challenge = HeaderValue::from_static("Bearer realm=\"highhock\"");
            rejection.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return Some(rejection);
        }
        None
    }

    /// One name, and one that is answered to; in the request's line as well, where it
    /// stands there.
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
