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
use crate::etcd::credentials::Login;
use crate::etcd::http::{Answer, Body, Failure, Http, Opened, Request};

/// How much longer than others a request for a token may take: etcd makes
/// guessing passwords slow.
const PATIENCE: u32 = 2;

/// How long refused credentials are not tried again, however many requests want
/// a token.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// gRPC's codes in the gateway's errors.
const INVALID_ARGUMENT: i64 = 3;
const FAILED_PRECONDITION: i64 = 9;
const UNAUTHENTICATED: i64 = 16;

/// A cluster's v3 gateway, asked with a token where there are credentials.
pub(super) struct Authorized {
    http: Http,
    login: Option<Login>,
    standing: RefCell<Standing>,
    /// Held by the one request that asks for a token, so that others wait for it.
    asking: Mutex<()>,
    log: Logger,
}

/// How this client stands with etcd.
#[derive(Clone, Debug)]
enum Standing {
    /// No token was asked for since the last was refused.
    Unknown,
    /// etcd wants no token.
    Off,
    Token(Secret),
    /// Name or password is wrong; as of then.
    Refused(Failure, Instant),
}

/// An error of the gateway's.
#[derive(Deserialize)]
struct Refusal {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Granted {
    token: String,
}

impl Authorized {
    /// Nothing is sent yet.
    pub(super) fn new(http: Http, login: Option<Login>, log: Logger) -> Self {
        let standing = RefCell::new(Standing::Unknown);
        Self { http, login, standing, asking: Mutex::new(()), log }
    }

    /// The members, and whose turn it is.
    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// As [`Http::send`], with a token, and once more with a new one where etcd
    /// doesn't know the token any more: it carried out nothing then.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let (request, used) = self.authorized(request).await?;
        let answer = check_certificate(self.http.send(request.clone()).await?)?;
        if !self.is_out_of_date(&answer) {
            return Ok(answer);
        }
        let (request, _) = self.authorized_anew(request, used.as_ref()).await?;
        check_certificate(self.http.send(request).await?)
    }

    /// As [`Http::open_stream`], with a token, as in [`Self::send`]. A watch that
    /// is cancelled for "permission denied" may have had an old token: see
    /// [`Self::forget_token`].
    pub(super) async fn open_stream(&self, request: Request<'_>) -> Result<Opened, Failure> {
        let (request, used) = self.authorized(request).await?;
        let answer = match self.http.open_stream(request.clone()).await? {
            Opened::Other(answer) => check_certificate(answer)?,
            stream => return Ok(stream),
        };
        if !self.is_out_of_date(&answer) {
            return Ok(Opened::Other(answer));
        }
        let (request, _) = self.authorized_anew(request, used.as_ref()).await?;
        self.http.open_stream(request).await
    }

    /// Has a new token asked for by the next request.
    pub(super) fn forget_token(&self) {
        self.standing.replace(Standing::Unknown);
    }

    async fn authorized<'a>(
        &self,
        request: Request<'a>,
    ) -> Result<(Request<'a>, Option<Secret>), Failure> {
        let token = match &self.login {
            Some(login) => self.token(login).await?,
            None => None,
        };
        Ok((Request { authorization: token.clone(), ..request }, token))
    }

    async fn authorized_anew<'a>(
        &self,
        request: Request<'a>,
        used: Option<&Secret>,
    ) -> Result<(Request<'a>, Option<Secret>), Failure> {
        // Another request may have renewed it by now.
        let is_the_one = match &*self.standing.borrow() {
            Standing::Token(token) => used == Some(token),
            Standing::Off => used.is_none(),
            Standing::Unknown | Standing::Refused(..) => false,
        };
        if is_the_one {
            self.forget_token();
        }
        self.authorized(request).await
    }

    /// The token to use; `None` where etcd wants none.
    async fn token(&self, login: &Login) -> Result<Option<Secret>, Failure> {
        if let Some(settled) = self.settled() {
            return settled;
        }
        let _guard = self.asking.lock().await;
        if let Some(settled) = self.settled() {
            return settled;
        }
        let standing = self.ask(login).await?;
        self.standing.replace(standing);
        self.settled().unwrap_or(Ok(None))
    }

    fn settled(&self) -> Option<Result<Option<Secret>, Failure>> {
        match &*self.standing.borrow() {
            Standing::Off => Some(Ok(None)),
            Standing::Token(token) => Some(Ok(Some(token.clone()))),
            Standing::Refused(failure, at) if at.elapsed() < REFUSED_FOR => {
                Some(Err(failure.clone()))
            }
            Standing::Unknown | Standing::Refused(..) => None,
        }
    }

    async fn ask(&self, login: &Login) -> Result<Standing, Failure> {
        let (name, password) = (login.username(), login.password());
        let question = serde_json::json!({ "name": name, "password": password.reveal() });
        let request = Request {
            method: Method::POST,
            path: "/v3/auth/authenticate",
            query: "",
            body: Body::Json(question.to_string().into()),
            limit: self.http.usual_limit() * PATIENCE,
            authorization: None,
        };
        // Whatever came of it, the request that the token is for was not sent.
        let not_sent = |failure: Failure| Failure {
            kind: StoreErrorKind::Unavailable,
            what: format!("asking for a token: {}", failure.what),
            ..failure
        };
        let answer = self.http.send(request).await.map_err(not_sent)?;
        let answer = check_certificate(answer).map_err(not_sent)?;
        let fail = |what: String| Failure::new(StoreErrorKind::Unavailable, what, answer.member);
        if let Ok(Granted { token }) = serde_json::from_slice(&answer.body) {
            debug!(self.log, "etcd gave a token"; "user" => name);
            return Ok(Standing::Token(Secret::new(token)));
        }
        match refusal(&answer) {
            Some(Refusal { code: FAILED_PRECONDITION, .. }) => {
                info!(self.log, "etcd's authentication is not enabled; going on without a token");
                Ok(Standing::Off)
            }
            Some(Refusal { code: INVALID_ARGUMENT, .. }) => {
                let what = format!(
                    "etcd refuses the user {name:?} with this password: see etcd.username and \
                     etcd.password or etcd.passwordFile"
                );
                Ok(Standing::Refused(fail(what), Instant::now()))
            }
            Some(refusal) => {
                let said = refusal.text();
                Err(fail(format!("asking for a token: etcd answered {}: {said}", answer.status)))
            }
            None => Err(fail(format!(
                "asking for a token: answered with status {} and not as etcd's v3 API does; is \
                 it etcd?",
                answer.status
            ))),
        }
    }

    /// Whether the answer says that another token, or one at all, is wanted.
    fn is_out_of_date(&self, answer: &Answer) -> bool {
        if self.login.is_none() || answer.status < 400 {
            return false;
        }
        refusal(answer).is_some_and(|refusal| {
            let text = refusal.text();
            refusal.code == UNAUTHENTICATED
                || text.contains("invalid auth token")
                // Users or roles were changed since; authentication was enabled since.
                || text.contains("revision of auth store is old")
                || text.contains("user name is empty")
        })
    }
}

impl Refusal {
    fn text(&self) -> &str {
        if self.message.is_empty() { &self.error } else { &self.message }
    }
}

fn refusal(answer: &Answer) -> Option<Refusal> {
    serde_json::from_slice(&answer.body).ok()
}

/// etcd's gateway takes no client certificate with a common name while
/// authentication is on: it would mean a user, whom the gateway can't be.
fn check_certificate(answer: Answer) -> Result<Answer, Failure> {
    let says = answer.body.get(..200).unwrap_or(&answer.body);
    if answer.status != 400 || !String::from_utf8_lossy(says).contains("CommonName of client") {
        return Ok(answer);
    }
    let what = "with authentication on, etcd's v3 gateway takes no client certificate that has a \
                common name (CN): name one without a CN in etcd.cert";
    Err(Failure::new(StoreErrorKind::Unavailable, what, answer.member))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::credentials::secret::{Credentials, Password};
    use crate::etcd::cluster::Cluster;
    use crate::support::certs::{Authority, Like};
    use crate::support::etcd::Etcd;
    use crate::support::scripted_server::{self, Canned, Reply};
    use crate::support::{TempDir, eventually_async};
    use crate::tls::TlsFiles;

    const RANGE: &str = "/v3/kv/range";
    const BAD_TOKEN: &str = r#"{"error":"etcdserver: invalid auth token","message":"etcdserver: invalid auth token","code":16}"#;

    fn gateway(url: &str, tls: TlsFiles, password: Option<Password>) -> Authorized {
        let log = Logger::root(slog::Discard, slog::o!());
        let timeout = Duration::from_secs(4);
        let cluster = Cluster { tls, timeout, ..Cluster::new(vec![url.parse().unwrap()]) };
        let http = Http::new(&cluster, log.clone()).unwrap();
        let login = password.map(|password| {
            let credentials = Credentials { username: "root".to_owned(), password };
            Login::new(&credentials, log.clone()).unwrap()
        });
        Authorized::new(http, login, log)
    }

    fn with_password(url: &str, password: &str) -> Authorized {
        gateway(url, TlsFiles::default(), Some(Password::Given(Secret::new(password))))
    }

    fn range() -> Request<'static> {
        Request {
            method: Method::POST,
            path: RANGE,
            query: "",
            body: Body::Json(r#"{"key":"YQ=="}"#.into()),
            limit: Duration::from_secs(4),
            authorization: None,
        }
    }

    fn canned(
        script: impl Fn(&scripted_server::Request) -> Reply + Send + Sync + 'static,
    ) -> Canned {
        Canned::tcp(script)
    }

    fn calls(server: &Canned, path: &str) -> usize {
        server.requests().iter().filter(|request| request.target == path).count()
    }

    #[actix_rt::test]
    async fn one_token_is_asked_for_however_many_want_one_and_renewed_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let server = canned(move |request| match request.target.as_str() {
            RANGE if counter.load(Ordering::SeqCst) < 2 => Reply::status(401, BAD_TOKEN),
            RANGE => Reply::json("{}"),
            _ => {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                Reply::json(format!(r#"{{"token":"token.{number}"}}"#))
            }
        });
        let gateway = with_password(&format!("http://{}", server.authority()), "hunter2");
        let answers = join_all((0..8).map(|_| gateway.send(range()))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status == 200));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        let question = &server.requests()[0];
        assert_eq!(question.body, r#"{"name":"root","password":"hunter2"}"#);
    }

    #[actix_rt::test]
    async fn a_token_that_is_never_right_is_renewed_once_a_request() {
        let server = canned(|request| match request.target.as_str() {
            RANGE => Reply::status(401, BAD_TOKEN),
            _ => Reply::json(r#"{"token":"a.1"}"#),
        });
        let gateway = with_password(&format!("http://{}", server.authority()), "hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 401);
        assert_eq!((calls(&server, RANGE), server.requests().len()), (2, 4));
    }

    #[actix_rt::test]
    async fn a_refused_password_is_not_tried_at_once_again_and_not_told() {
        let refusal = r#"{"error":"etcdserver: authentication failed, invalid user ID or password","code":3}"#;
        let server = canned(move |_| Reply::status(400, refusal));
        let gateway = with_password(&format!("http://{}", server.authority()), "hunter2");
        for _ in 0..5 {
            let failure = gateway.send(range()).await.unwrap_err();
            assert_eq!(failure.kind, StoreErrorKind::Unavailable);
            assert!(failure.what.contains("etcd.passwordFile"), "{}", failure.what);
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        }
        assert_eq!(server.requests().len(), 1);
    }

    #[actix_rt::test]
    async fn trouble_while_asking_for_a_token_says_that_nothing_was_sent() {
        let server = canned(|_| Reply::Hangup);
        let gateway = with_password(&format!("http://{}", server.authority()), "hunter2");
        let failure = gateway.send(range()).await.unwrap_err();
        assert_eq!(failure.kind, StoreErrorKind::Unavailable);
        assert!(failure.what.starts_with("asking for a token: "), "{}", failure.what);
    }

    #[actix_rt::test]
    async fn real_etcd_gives_tokens_once_it_wants_them() {
        let mut etcd = Etcd::start();
        let gateway = with_password(&etcd.url(), "hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 200);
        etcd.enable_v3_auth("hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 200);
        // A restart forgets all tokens.
        etcd.stop();
        etcd.start_again(false);
        // Time to notice that the old connection is gone.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(gateway.send(range()).await.unwrap().status, 200);
        let nobody = self::gateway(&etcd.url(), TlsFiles::default(), None);
        assert_eq!(nobody.send(range()).await.unwrap().status, 400);
        let wrong = with_password(&etcd.url(), "hunter3");
        let failure = wrong.send(range()).await.unwrap_err();
        assert!(failure.what.contains("refuses the user \"root\""), "{}", failure.what);
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
        let Opened::Stream { mut chunks, .. } = gateway.open_stream(watch).await.unwrap() else {
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
    async fn real_etcd_takes_client_certificates_without_a_common_name_only() {
        let (folder, ca) = (TempDir::new(), Authority::new("private"));
        let server = ca.issue(&folder.0, "server", Like::default());
        let named = Like { common_name: Some("me"), ..Like::default() };
        let files = ca.client(&folder.0, Some(named));
        let etcd = Etcd::start_with_tls(&server, files.ca.as_deref());
        etcd.enable_v3_auth("hunter2");
        let password = Some(Password::Given(Secret::new("hunter2")));
        let gateway = gateway(&etcd.tls_url(), files, password);
        let failure = gateway.send(range()).await.unwrap_err();
        assert!(failure.what.contains("without a CN in etcd.cert"), "{}", failure.what);
        ca.issue(&folder.0, "client", Like::default());
        let patience = Duration::from_secs(20);
        eventually_async("the new certificate counts", patience, || async {
            gateway.send(range()).await.ok().filter(|answer| answer.status == 200)
        })
        .await;
    }
}
