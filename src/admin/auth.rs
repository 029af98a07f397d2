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

use super::host_check::Hosts;
use super::response::refusal;
use super::token::{Token, told};

/// Where the status page is: it holds no data, and asks for the token itself.
pub(super) const PAGE: &str = "/";

/// Nothing may be loaded from an answer that is no page.
const NOTHING: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    (CONTENT_SECURITY_POLICY, NOTHING),
];

/// Whom is answered.
pub(super) struct Guard {
    pub hosts: Hosts,
    pub token: Option<Token>,
}

/// Lets a request through, or answers in the endpoint's place.
pub(super) async fn guarded(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let refused = request.app_data::<web::ThinData<std::rc::Rc<Guard>>>();
    let refused = refused.and_then(|guard| guard.0.refuses(&request));
    let mut response = match refused {
        Some(refused) => request.into_response(refused),
        None => next.call(request).await?.map_into_boxed_body(),
    };
    for (name, value) in HEADERS {
        if !response.headers().contains_key(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

impl Guard {
    fn refuses(&self, request: &ServiceRequest) -> Option<HttpResponse> {
        if !self.knows_hosts(request) {
            return Some(refusal(
                StatusCode::FORBIDDEN,
                "this name in the Host header is not answered to; ask by address, as localhost, \
                 or by this host's own name (without a token, that keeps strangers' pages out)",
            ));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused =
                refusal(StatusCode::METHOD_NOT_ALLOWED, "nothing here can be changed; takes GET");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(refused);
        }
        if request.path() != PAGE && !self.knows_token(request) {
            let mut refused = refusal(
                StatusCode::UNAUTHORIZED,
                "a token is needed: Authorization: Bearer <admin.token>",
            );
            let how = HeaderValue::from_static("Bearer realm=\"highhock\"");
            refused.headers_mut().insert(WWW_AUTHENTICATE, how);
            return Some(refused);
        }
        None
    }

    /// One name, and one that is answered to; in the request's line as well, where it
    /// stands there.
    fn knows_hosts(&self, request: &ServiceRequest) -> bool {
        let mut names = request.headers().get_all(HOST);
        let (Some(name), None) = (names.next(), names.next()) else { return false };
        let in_line = request.uri().authority().map(|authority| authority.as_str());
        name.to_str().is_ok_and(|name| self.hosts.allow(name))
            && in_line.is_none_or(|name| self.hosts.allow(name))
    }

    fn knows_token(&self, request: &ServiceRequest) -> bool {
        let Some(token) = &self.token else { return true };
        let header = request.headers().get(AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        header.and_then(told).is_some_and(|told| token.is(told))
    }
}
