//! Token authentication of etcd v3, around the requests that need it.
//!
//! A token is requested at `/v3/auth/authenticate` with the user name and the password. It is the
//! value of the `Authorization` header, and is valid until etcd restarts, its users change, or it
//! expires. A client certificate does not authenticate a user at the gateway: etcd rejects
//! certificates with a common name there.

use std::cell::RefCell;
use std::time::Duration;

use awc::http::Method;
use highhock_actors::StoreErrorKind;
use serde::Deserialize;
use slog::Logger;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{self, ErrorClass, ResponseError};
use crate::credentials::secret::Secret;
use crate::etcd::credentials::LoadedCredentials;
use crate::etcd::http::{Body, HttpClient, HttpError, HttpResponse, Request, StreamResponse};

/// The time limit of a request for a token, as a multiple of the limit of others. etcd makes it
/// slow on purpose, against guessed passwords.
const TIMEOUT_FACTOR: u32 = 2;

/// The pause after rejected credentials, however many requests need a token.
const REJECTED_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A client of the v3 gateway that adds a token if there are credentials.
///
/// A request that a member refuses for a reason of its own is sent to the next member, because
/// such a request was not applied. See [`ErrorClass::Member`].
pub(super) struct AuthClient {
    http: HttpClient,
    credentials: Option<LoadedCredentials>,
    state: RefCell<AuthState>,
    /// Held by the one request for a token, so that other requests wait for it.
    token_request: Mutex<()>,
    log: Logger,
}

/// The result of the last request for a token.
#[derive(Clone, Debug)]
enum AuthState {
    /// There is no token, or etcd rejected it.
    Unknown,
    /// Authentication is disabled in etcd.
    Disabled,
    Token(Secret),
    /// The user name or the password was rejected at this time.
    Rejected(HttpError, Instant),
}

#[derive(Deserialize)]
struct TokenResponse {
    token: String,
}

/// A response that may be an error of the gateway.
trait GatewayResponse {
    /// Returns the complete response if its status is not a success.
    fn unsuccessful(&self) -> Option<&HttpResponse>;
}

impl GatewayResponse for HttpResponse {
    fn unsuccessful(&self) -> Option<&HttpResponse> {
        (self.status >= 300).then_some(self)
    }
}

impl GatewayResponse for StreamResponse {
    fn unsuccessful(&self) -> Option<&HttpResponse> {
        match self {
            Self::Stream { .. } => None,
            Self::Other(response) => Some(response),
        }
    }
}

impl AuthClient {
    /// Returns a client. No request is sent yet.
    pub(super) fn new(
        http: HttpClient,
        credentials: Option<LoadedCredentials>,
        log: Logger,
    ) -> Self {
        let state = RefCell::new(AuthState::Unknown);
        Self { http, credentials, state, token_request: Mutex::new(()), log }
    }

    /// Returns the client of the members.
    pub(super) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Like [`HttpClient::send`], with a token. If etcd rejects the token, it has applied nothing,
    /// and the request is sent once more with a new token.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<HttpResponse, HttpError> {
        self.exchange(request, async |request| self.http.send(request).await).await
    }

    /// Like [`HttpClient::open_stream`], with a token as in [`Self::send`]. etcd reports a rejected
    /// token of a watch in the stream: see [`Self::forget_token`].
    pub(super) async fn open_stream(
        &self,
        request: Request<'_>,
    ) -> Result<StreamResponse, HttpError> {
        self.exchange(request, async |request| self.http.open_stream(request).await).await
    }

    async fn exchange<'a, R: GatewayResponse>(
        &self,
        request: Request<'a>,
        send: impl AsyncFn(Request<'a>) -> Result<R, HttpError>,
    ) -> Result<R, HttpError> {
        let (request, used_token) = self.with_token(request).await?;
        let response = self.send_to_members(&request, &send).await?;
        if !self.is_token_rejected(&response) {
            return Ok(response);
        }
        let (request, _) = self.with_new_token(request, used_token.as_ref()).await?;
        self.send_to_members(&request, &send).await
    }

    /// Sends a request to the current member, and after a refusal that concerns only this member to
    /// the next one, at most once per member.
    async fn send_to_members<'a, R: GatewayResponse>(
        &self,
        request: &Request<'a>,
        send: impl AsyncFn(Request<'a>) -> Result<R, HttpError>,
    ) -> Result<R, HttpError> {
        let mut response = send(request.clone()).await?;
        for _ in 1..self.http.member_count() {
            match response.unsuccessful() {
                Some(refusal) if error_of(refusal).class == ErrorClass::Member => {
                    self.http.mark_failed(refusal.member);
                }
                _ => break,
            }
            response = send(request.clone()).await?;
        }
        Ok(response)
    }

    /// Forgets the token. The next request requests a new one.
    pub(super) fn forget_token(&self) {
        self.state.replace(AuthState::Unknown);
    }

    async fn with_token<'a>(
        &self,
        request: Request<'a>,
    ) -> Result<(Request<'a>, Option<Secret>), HttpError> {
        let token = match &self.credentials {
            Some(credentials) => self.token(credentials).await?,
            None => None,
        };
        Ok((Request { authorization: token.clone(), ..request }, token))
    }

    async fn with_new_token<'a>(
        &self,
        request: Request<'a>,
        used_token: Option<&Secret>,
    ) -> Result<(Request<'a>, Option<Secret>), HttpError> {
        // Another request may have renewed the token meanwhile.
        let is_current = match &*self.state.borrow() {
            AuthState::Token(token) => used_token == Some(token),
            AuthState::Disabled => used_token.is_none(),
            AuthState::Unknown | AuthState::Rejected(..) => false,
        };
        if is_current {
            self.forget_token();
        }
        self.with_token(request).await
    }

    /// Returns the token for requests, or `None` if authentication is disabled.
    async fn token(&self, credentials: &LoadedCredentials) -> Result<Option<Secret>, HttpError> {
        if let Some(known_token) = self.known_token() {
            return known_token;
        }
        let _guard = self.token_request.lock().await;
        if let Some(known_token) = self.known_token() {
            return known_token;
        }
        let state = self.request_token(credentials).await?;
        self.state.replace(state);
        self.known_token().unwrap_or(Ok(None))
    }

    fn known_token(&self) -> Option<Result<Option<Secret>, HttpError>> {
        match &*self.state.borrow() {
            AuthState::Disabled => Some(Ok(None)),
            AuthState::Token(token) => Some(Ok(Some(token.clone()))),
            AuthState::Rejected(failure, at) if at.elapsed() < REJECTED_RETRY_INTERVAL => {
                Some(Err(failure.clone()))
            }
            AuthState::Unknown | AuthState::Rejected(..) => None,
        }
    }

    async fn request_token(&self, credentials: &LoadedCredentials) -> Result<AuthState, HttpError> {
        let (name, password) = (credentials.username(), credentials.password());
        let credentials_json = serde_json::json!({ "name": name, "password": password.reveal() });
        let request = Request {
            method: Method::POST,
            path: "/v3/auth/authenticate",
            query: "",
            body: Body::Json(credentials_json.to_string().into()),
            timeout: self.http.default_timeout() * TIMEOUT_FACTOR,
            authorization: None,
        };
        let send = async |request| self.http.send(request).await;
        let response = self.send_to_members(&request, send).await.map_err(not_sent)?;
        if let Ok(TokenResponse { token }) = serde_json::from_slice(&response.body) {
            debug!(self.log, "etcd token received"; "user" => name);
            return Ok(AuthState::Token(Secret::new(token)));
        }
        let ResponseError { class, message, .. } = error_of(&response);
        let fail =
            |message: &str| HttpError::new(StoreErrorKind::Unavailable, message, response.member);
        match class {
            ErrorClass::AuthDisabled => {
                info!(self.log, "authentication is disabled in etcd; continuing without a token");
                Ok(AuthState::Disabled)
            }
            ErrorClass::Credentials => {
                let message = format!(
                    "etcd refuses the user {name:?} with this password; check etcd.username, and \
                     etcd.password or etcd.passwordFile"
                );
                Ok(AuthState::Rejected(fail(&message), Instant::now()))
            }
            _ => {
                self.http.mark_failed(response.member);
                Err(not_sent(fail(&message)))
            }
        }
    }

    /// Returns `true` if etcd requires a token, or another one.
    fn is_token_rejected(&self, response: &impl GatewayResponse) -> bool {
        let is_rejection = |response: &HttpResponse| error_of(response).class == ErrorClass::Token;
        self.credentials.is_some() && response.unsuccessful().is_some_and(is_rejection)
    }
}

fn error_of(response: &HttpResponse) -> ResponseError {
    error::parse(response.status, &response.body)
}

/// Returns the error of a request that needed a token, after a failed request for the token.
/// Whatever the failure is, the request itself was not sent.
fn not_sent(failure: HttpError) -> HttpError {
    HttpError {
        kind: StoreErrorKind::Unavailable,
        message: format!("requesting a token: {}", failure.message),
        ..failure
    }
}

#[cfg(test)]
mod tests;
