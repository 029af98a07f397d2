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

use crate::credentials::secret::Secret;
use crate::etcd::credentials::LoadedCredentials;
use crate::etcd::http::{Body, HttpClient, HttpError, HttpResponse, Request, StreamResponse};

/// The time limit of a request for a token, as a multiple of the limit of others. etcd makes it
/// slow on purpose, against guessed passwords.
const TIMEOUT_FACTOR: u32 = 2;

/// The pause after rejected credentials, however many requests need a token.
const REJECTED_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Codes of gRPC in the errors of the gateway.
const INVALID_ARGUMENT: i64 = 3;
const FAILED_PRECONDITION: i64 = 9;
const UNAUTHENTICATED: i64 = 16;

/// A client of the v3 gateway that adds a token if there are credentials.
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

/// An error response of the gateway.
#[derive(Deserialize)]
struct GatewayError {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct TokenResponse {
    token: String,
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
        let (request, used_token) = self.with_token(request).await?;
        let response = check_certificate(self.http.send(request.clone()).await?)?;
        if !self.is_token_rejected(&response) {
            return Ok(response);
        }
        let (request, _) = self.with_new_token(request, used_token.as_ref()).await?;
        check_certificate(self.http.send(request).await?)
    }

    /// Like [`HttpClient::open_stream`], with a token as in [`Self::send`]. A watch that is
    /// cancelled with "permission denied" may have had an old token: see [`Self::forget_token`].
    pub(super) async fn open_stream(
        &self,
        request: Request<'_>,
    ) -> Result<StreamResponse, HttpError> {
        let (request, used_token) = self.with_token(request).await?;
        let response = match self.http.open_stream(request.clone()).await? {
            StreamResponse::Other(response) => check_certificate(response)?,
            stream => return Ok(stream),
        };
        if !self.is_token_rejected(&response) {
            return Ok(StreamResponse::Other(response));
        }
        let (request, _) = self.with_new_token(request, used_token.as_ref()).await?;
        self.http.open_stream(request).await
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
        // Whatever the failure is, the request that needs the token was not sent.
        let not_sent = |failure: HttpError| HttpError {
            kind: StoreErrorKind::Unavailable,
            message: format!("requesting a token: {}", failure.message),
            ..failure
        };
        let response = self.http.send(request).await.map_err(not_sent)?;
        let response = check_certificate(response).map_err(not_sent)?;
        let fail =
            |message: String| HttpError::new(StoreErrorKind::Unavailable, message, response.member);
        if let Ok(TokenResponse { token }) = serde_json::from_slice(&response.body) {
            debug!(self.log, "etcd token received"; "user" => name);
            return Ok(AuthState::Token(Secret::new(token)));
        }
        match parse_error(&response) {
            Some(GatewayError { code: FAILED_PRECONDITION, .. }) => {
                info!(self.log, "authentication is disabled in etcd; continuing without a token");
                Ok(AuthState::Disabled)
            }
            Some(GatewayError { code: INVALID_ARGUMENT, .. }) => {
                let message = format!(
                    "etcd refuses the user {name:?} with this password; check etcd.username, and \
                     etcd.password or etcd.passwordFile"
                );
                Ok(AuthState::Rejected(fail(message), Instant::now()))
            }
            Some(gateway_error) => {
                let detail = gateway_error.text();
                Err(fail(format!("requesting a token: status {}: {detail}", response.status)))
            }
            None => Err(fail(format!(
                "requesting a token: status {} and a response unlike etcd's; check etcd.url",
                response.status
            ))),
        }
    }

    /// Returns `true` if etcd requires a token, or another one.
    fn is_token_rejected(&self, response: &HttpResponse) -> bool {
        if self.credentials.is_none() || response.status < 400 {
            return false;
        }
        parse_error(response).is_some_and(|gateway_error| {
            let text = gateway_error.text();
            gateway_error.code == UNAUTHENTICATED
                || text.contains("invalid auth token")
                // Users or roles were changed, or authentication was enabled, since the token was
                // issued.
                || text.contains("revision of auth store is old")
                || text.contains("user name is empty")
        })
    }
}

impl GatewayError {
    fn text(&self) -> &str {
        if self.message.is_empty() { &self.error } else { &self.message }
    }
}

fn parse_error(response: &HttpResponse) -> Option<GatewayError> {
    serde_json::from_slice(&response.body).ok()
}

/// Returns an error if the gateway rejects the client certificate.
///
/// While authentication is enabled, a common name in a client certificate means a user. The gateway
/// cannot act as that user, and rejects the certificate.
fn check_certificate(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let text = response.body.get(..200).unwrap_or(&response.body);
    if response.status != 400 || !String::from_utf8_lossy(text).contains("CommonName of client") {
        return Ok(response);
    }
    let message = "with authentication enabled, etcd's v3 gateway rejects client certificates \
                   with a common name (CN); use one without a CN in etcd.cert";
    Err(HttpError::new(StoreErrorKind::Unavailable, message, response.member))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::credentials::secret::{Credentials, SecretSource};
    use crate::etcd::cluster::Cluster;
    use crate::support::certs::{CertificateAuthority, CertificateOptions};
    use crate::support::etcd::Etcd;
    use crate::support::scripted_server::{self, ScriptedResponse, ScriptedServer};
    use crate::support::{TempDir, eventually_async};
    use crate::tls::TlsFiles;

    const RANGE: &str = "/v3/kv/range";
    const BAD_TOKEN: &str = r#"{"error":"etcdserver: invalid auth token","message":"etcdserver: invalid auth token","code":16}"#;

    fn gateway(url: &str, tls: TlsFiles, password: Option<SecretSource>) -> AuthClient {
        let log = Logger::root(slog::Discard, slog::o!());
        let timeout = Duration::from_secs(4);
        let cluster = Cluster { tls, timeout, ..Cluster::new(vec![url.parse().unwrap()]) };
        let http = HttpClient::new(&cluster, log.clone()).unwrap();
        let credentials = password.map(|password| {
            let credentials = Credentials { username: "root".to_owned(), password };
            LoadedCredentials::new(&credentials, log.clone()).unwrap()
        });
        AuthClient::new(http, credentials, log)
    }

    fn with_password(url: &str, password: &str) -> AuthClient {
        gateway(url, TlsFiles::default(), Some(SecretSource::Inline(Secret::new(password))))
    }

    fn range() -> Request<'static> {
        Request {
            method: Method::POST,
            path: RANGE,
            query: "",
            body: Body::Json(r#"{"key":"YQ=="}"#.into()),
            timeout: Duration::from_secs(4),
            authorization: None,
        }
    }

    fn scripted(
        script: impl Fn(&scripted_server::ReceivedRequest) -> ScriptedResponse + Send + Sync + 'static,
    ) -> ScriptedServer {
        ScriptedServer::tcp(script)
    }

    fn calls(server: &ScriptedServer, path: &str) -> usize {
        server.requests().iter().filter(|request| request.target == path).count()
    }

    #[actix_rt::test]
    async fn concurrent_requests_share_one_token() {
        let token_requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&token_requests);
        let server = scripted(move |request| match request.target.as_str() {
            RANGE if counter.load(Ordering::SeqCst) < 2 => ScriptedResponse::status(401, BAD_TOKEN),
            RANGE => ScriptedResponse::json("{}"),
            _ => {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                ScriptedResponse::json(format!(r#"{{"token":"token.{number}"}}"#))
            }
        });
        let gateway = with_password(&format!("http://{}", server.authority()), "hunter2");
        let responses = join_all((0..8).map(|_| gateway.send(range()))).await;
        assert!(responses.iter().all(|response| response.as_ref().unwrap().status == 200));
        assert_eq!(token_requests.load(Ordering::SeqCst), 2);
        let request = &server.requests()[0];
        assert_eq!(request.body, r#"{"name":"root","password":"hunter2"}"#);
    }

    #[actix_rt::test]
    async fn rejected_tokens_are_renewed_once_per_request() {
        let server = scripted(|request| match request.target.as_str() {
            RANGE => ScriptedResponse::status(401, BAD_TOKEN),
            _ => ScriptedResponse::json(r#"{"token":"a.1"}"#),
        });
        let gateway = with_password(&format!("http://{}", server.authority()), "hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 401);
        assert_eq!((calls(&server, RANGE), server.requests().len()), (2, 4));
    }

    #[actix_rt::test]
    async fn rejected_passwords_are_not_retried_or_logged() {
        let gateway_error = r#"{"error":"etcdserver: authentication failed, invalid user ID or password","code":3}"#;
        let server = scripted(move |_| ScriptedResponse::status(400, gateway_error));
        let gateway = with_password(&format!("http://{}", server.authority()), "hunter2");
        for _ in 0..5 {
            let failure = gateway.send(range()).await.unwrap_err();
            assert_eq!(failure.kind, StoreErrorKind::Unavailable);
            assert!(failure.message.contains("etcd.passwordFile"), "{}", failure.message);
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        }
        assert_eq!(server.requests().len(), 1);
    }

    #[actix_rt::test]
    async fn token_request_errors_leave_the_request_unsent() {
        let server = scripted(|_| ScriptedResponse::Hangup);
        let gateway = with_password(&format!("http://{}", server.authority()), "hunter2");
        let failure = gateway.send(range()).await.unwrap_err();
        assert_eq!(failure.kind, StoreErrorKind::Unavailable);
        assert!(failure.message.starts_with("requesting a token: "), "{}", failure.message);
    }

    #[actix_rt::test]
    async fn real_etcd_issues_tokens_when_auth_is_enabled() {
        let mut etcd = Etcd::start();
        let gateway = with_password(&etcd.url(), "hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 200);
        etcd.enable_v3_auth("hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 200);
        // The restarted etcd has no tokens.
        etcd.stop();
        etcd.restart(false);
        // Gives the client time to notice that the old connection is closed.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(gateway.send(range()).await.unwrap().status, 200);
        let anonymous = self::gateway(&etcd.url(), TlsFiles::default(), None);
        assert_eq!(anonymous.send(range()).await.unwrap().status, 400);
        let wrong = with_password(&etcd.url(), "hunter3");
        let failure = wrong.send(range()).await.unwrap_err();
        assert!(failure.message.contains("refuses the user \"root\""), "{}", failure.message);
    }

    #[actix_rt::test]
    async fn real_etcd_streams_a_watch_with_a_token() {
        use futures_util::StreamExt;
        let etcd = Etcd::start();
        etcd.enable_v3_auth("hunter2");
        let gateway = with_password(&etcd.url(), "hunter2");
        let watch = Request {
            path: "/v3/watch",
            body: Body::Json(r#"{"create_request":{"key":"YQ=="}}"#.into()),
            ..range()
        };
        let StreamResponse::Stream { mut chunks, .. } = gateway.open_stream(watch).await.unwrap()
        else {
            panic!("no stream");
        };
        let first = chunks.next().await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&first).contains(r#""created":true"#), "{first:?}");
        drop(etcd);
        while let Some(chunk) = chunks.next().await {
            if let Err(failure) = chunk {
                assert_eq!(failure.kind, StoreErrorKind::Unknown);
            }
        }
    }

    #[actix_rt::test]
    async fn real_etcd_rejects_certificates_with_a_common_name() {
        let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
        let server = ca.issue(&folder.0, "server", CertificateOptions::default());
        let named = CertificateOptions { common_name: Some("me"), ..CertificateOptions::default() };
        let files = ca.client(&folder.0, Some(named));
        let etcd = Etcd::start_with_tls(&server, files.ca.as_deref());
        etcd.enable_v3_auth("hunter2");
        let password = Some(SecretSource::Inline(Secret::new("hunter2")));
        let gateway = gateway(&etcd.tls_url(), files, password);
        let failure = gateway.send(range()).await.unwrap_err();
        assert!(failure.message.contains("without a CN in etcd.cert"), "{}", failure.message);
        ca.issue(&folder.0, "client", CertificateOptions::default());
        let timeout = Duration::from_secs(20);
        eventually_async("the new certificate is used", timeout, || async {
            gateway.send(range()).await.ok().filter(|response| response.status == 200)
        })
        .await;
    }
}
