//! etcd v3's token authentication, around the requests that need it.

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

/// How much longer than others a request for a token may take: etcd makes
/// guessing passwords slow.
const TIMEOUT_FACTOR: u32 = 2;

/// How long refused credentials are not tried again, however many requests want
/// a token.
const REJECTED_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// gRPC's codes in the gateway's errors.
const INVALID_ARGUMENT: i64 = 3;
const FAILED_PRECONDITION: i64 = 9;
const UNAUTHENTICATED: i64 = 16;

/// A cluster's v3 gateway, asked with a token where there are credentials.
pub(super) struct AuthClient {
    http: HttpClient,
    credentials: Option<LoadedCredentials>,
    state: RefCell<AuthState>,
    /// Held by the one request that asks for a token, so that others wait for it.
    token_request: Mutex<()>,
    log: Logger,
}

/// How this client stands with etcd.
#[derive(Clone, Debug)]
enum AuthState {
    /// No token was asked for since the last was refused.
    Unknown,
    /// etcd wants no token.
    Disabled,
    Token(Secret),
    /// Name or password is wrong; as of then.
    Rejected(HttpError, Instant),
}

/// An error of the gateway's.
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
    /// Nothing is sent yet.
    pub(super) fn new(
        http: HttpClient,
        credentials: Option<LoadedCredentials>,
        log: Logger,
    ) -> Self {
        let state = RefCell::new(AuthState::Unknown);
        Self { http, credentials, state, token_request: Mutex::new(()), log }
    }

    /// The members, and whose turn it is.
    pub(super) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// As [`HttpClient::send`], with a token, and once more with a new one where etcd
    /// doesn't know the token any more: it carried out nothing then.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<HttpResponse, HttpError> {
        let (request, used_token) = self.with_token(request).await?;
        let response = check_certificate(self.http.send(request.clone()).await?)?;
        if !self.is_token_rejected(&response) {
            return Ok(response);
        }
        let (request, _) = self.with_new_token(request, used_token.as_ref()).await?;
        check_certificate(self.http.send(request).await?)
    }

    /// As [`HttpClient::open_stream`], with a token, as in [`Self::send`]. A watch that
    /// is cancelled for "permission denied" may have had an old token: see
    /// [`Self::forget_token`].
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

    /// Has a new token asked for by the next request.
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
        // Another request may have renewed it by now.
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

    /// The token to use; `None` where etcd wants none.
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
        // Whatever came of it, the request that the token is for was not sent.
        let not_sent = |failure: HttpError| HttpError {
            kind: StoreErrorKind::Unavailable,
            message: format!("asking for a token: {}", failure.message),
            ..failure
        };
        let response = self.http.send(request).await.map_err(not_sent)?;
        let response = check_certificate(response).map_err(not_sent)?;
        let fail =
            |message: String| HttpError::new(StoreErrorKind::Unavailable, message, response.member);
        if let Ok(TokenResponse { token }) = serde_json::from_slice(&response.body) {
            debug!(self.log, "etcd gave a token"; "user" => name);
            return Ok(AuthState::Token(Secret::new(token)));
        }
        match parse_error(&response) {
            Some(GatewayError { code: FAILED_PRECONDITION, .. }) => {
                info!(self.log, "etcd's authentication is not enabled; going on without a token");
                Ok(AuthState::Disabled)
            }
            Some(GatewayError { code: INVALID_ARGUMENT, .. }) => {
                let message = format!(
                    "etcd refuses the user {name:?} with this password: see etcd.username and \
                     etcd.password or etcd.passwordFile"
                );
                Ok(AuthState::Rejected(fail(message), Instant::now()))
            }
            Some(gateway_error) => {
                let detail = gateway_error.text();
                Err(fail(format!(
                    "asking for a token: etcd answered {}: {detail}",
                    response.status
                )))
            }
            None => Err(fail(format!(
                "asking for a token: answered with status {} and not as etcd's v3 API does; is \
                 it etcd?",
                response.status
            ))),
        }
    }

    /// Whether the answer says that another token, or one at all, is wanted.
    fn is_token_rejected(&self, response: &HttpResponse) -> bool {
        if self.credentials.is_none() || response.status < 400 {
            return false;
        }
        parse_error(response).is_some_and(|gateway_error| {
            let text = gateway_error.text();
            gateway_error.code == UNAUTHENTICATED
                || text.contains("invalid auth token")
                // Users or roles were changed since; authentication was enabled since.
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

/// etcd's gateway takes no client certificate with a common name while
/// authentication is on: it would mean a user, whom the gateway can't be.
fn check_certificate(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let text = response.body.get(..200).unwrap_or(&response.body);
    if response.status != 400 || !String::from_utf8_lossy(text).contains("CommonName of client") {
        return Ok(response);
    }
    let message = "with authentication on, etcd's v3 gateway takes no client certificate that has a \
                common name (CN): name one without a CN in etcd.cert";
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

    fn canned(
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
        let server = canned(move |request| match request.target.as_str() {
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
        let server = canned(|request| match request.target.as_str() {
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
        let server = canned(move |_| ScriptedResponse::status(400, gateway_error));
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
        let server = canned(|_| ScriptedResponse::Hangup);
        let gateway = with_password(&format!("http://{}", server.authority()), "hunter2");
        let failure = gateway.send(range()).await.unwrap_err();
        assert_eq!(failure.kind, StoreErrorKind::Unavailable);
        assert!(failure.message.starts_with("asking for a token: "), "{}", failure.message);
    }

    #[actix_rt::test]
    async fn real_etcd_issues_tokens_when_auth_is_enabled() {
        let mut etcd = Etcd::start();
        let gateway = with_password(&etcd.url(), "hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 200);
        etcd.enable_v3_auth("hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 200);
        // A restart forgets all tokens.
        etcd.stop();
        etcd.restart(false);
        // Time to notice that the old connection is gone.
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
        let patience = Duration::from_secs(20);
        eventually_async("the new certificate counts", patience, || async {
            gateway.send(range()).await.ok().filter(|response| response.status == 200)
        })
        .await;
    }
}
