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

const NESTED_BAD_TOKEN: &str =
    r#"{"error":{"code":16,"message":"etcdserver: invalid auth token"}}"#;

fn gateway(url: &str, tls: TlsFiles, password: Option<SecretSource>) -> AuthClient {
    let log = Logger::root(slog::Discard, slog::o!());
    let timeout = Duration::from_secs(4);
    let urls = url.split(',').map(|url| url.parse().unwrap()).collect();
    let cluster = Cluster { tls, timeout, ..Cluster::new(urls) };
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

fn url(server: &ScriptedServer) -> String {
    format!("http://{}", server.authority())
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
    let gateway = with_password(&url(&server), "hunter2");
    let responses = join_all((0..8).map(|_| gateway.send(range()))).await;
    assert!(responses.iter().all(|response| response.as_ref().unwrap().status == 200));
    assert_eq!(token_requests.load(Ordering::SeqCst), 2);
    let request = &server.requests()[0];
    assert_eq!(request.body, r#"{"name":"root","password":"hunter2"}"#);
}

#[actix_rt::test]
async fn rejected_tokens_are_renewed_once_per_request() {
    for rejection in [BAD_TOKEN, NESTED_BAD_TOKEN] {
        let server = scripted(move |request| match request.target.as_str() {
            RANGE => ScriptedResponse::status(401, rejection),
            _ => ScriptedResponse::json(r#"{"token":"a.1"}"#),
        });
        let gateway = with_password(&url(&server), "hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 401);
        assert_eq!((calls(&server, RANGE), server.requests().len()), (2, 4), "{rejection}");
    }
}

/// A server that refuses every request as a member of the cluster that cannot serve.
fn refusing(status: u16, body: &'static str) -> ScriptedServer {
    scripted(move |_| ScriptedResponse::status(status, body))
}

const MEMBER_REFUSALS: [(u16, &str); 5] = [
    (400, r#"{"code":9,"message":"etcdserver: rpc not supported for learner"}"#),
    (400, r#"{"error":{"code":9,"message":"etcdserver: rpc not supported for learner"}}"#),
    (503, r#"{"error":"etcdserver: rpc not supported for learner","code":14}"#),
    (404, "404 page not found\n"),
    (501, r#"{"code":12,"message":"unknown service etcdserverpb.KV"}"#),
];

#[actix_rt::test]
async fn refusals_of_one_member_move_on_to_the_next() {
    for (status, body) in MEMBER_REFUSALS {
        let (first, second) = (refusing(status, body), refusing(status, body));
        let third = scripted(|request| match request.target.as_str() {
            RANGE => ScriptedResponse::json("{}"),
            _ => ScriptedResponse::json(r#"{"token":"a.1"}"#),
        });
        let urls = [&first, &second, &third].map(url).join(",");
        let gateway = with_password(&urls, "hunter2");
        assert_eq!(gateway.send(range()).await.unwrap().status, 200, "{body}");
        // The token was requested from the member that issues tokens, and is in use.
        assert_eq!(first.requests().len() + second.requests().len(), 2, "{body}");
        assert_eq!(third.requests().len(), 2, "{body}");
        assert_eq!(gateway.send(range()).await.unwrap().status, 200);
        assert_eq!(third.requests().len(), 3, "{body}");
        let anonymous = self::gateway(&urls, TlsFiles::default(), None);
        let StreamResponse::Stream { .. } = anonymous.open_stream(range()).await.unwrap() else {
            panic!("no stream: {body}");
        };
    }
}

#[actix_rt::test]
async fn refusals_of_all_members_are_returned() {
    let (status, body) = MEMBER_REFUSALS[0];
    let (first, second) = (refusing(status, body), refusing(status, body));
    let urls = [&first, &second].map(url).join(",");
    let anonymous = gateway(&urls, TlsFiles::default(), None);
    assert_eq!(anonymous.send(range()).await.unwrap().status, status);
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    let failure = with_password(&urls, "hunter2").send(range()).await.unwrap_err();
    assert_eq!(failure.kind, StoreErrorKind::Unavailable);
    assert!(failure.message.contains("is a learner"), "{}", failure.message);
}

#[actix_rt::test]
async fn refusals_of_the_cluster_stay_with_the_member() {
    for (status, body) in [
        (403, r#"{"code":7,"message":"etcdserver: permission denied"}"#),
        (429, r#"{"code":8,"message":"etcdserver: mvcc: database space exceeded"}"#),
        (412, r#"{"code":9,"message":"etcdserver: lease already exists"}"#),
    ] {
        let (first, second) = (refusing(status, body), refusing(200, "{}"));
        let anonymous = gateway(&[&first, &second].map(url).join(","), TlsFiles::default(), None);
        assert_eq!(anonymous.send(range()).await.unwrap().status, status, "{body}");
        assert_eq!(second.requests().len(), 0, "{body}");
    }
}

#[actix_rt::test]
async fn rejected_passwords_are_not_retried_or_logged() {
    let gateway_error =
        r#"{"error":"etcdserver: authentication failed, invalid user ID or password","code":3}"#;
    let server = scripted(move |_| ScriptedResponse::status(400, gateway_error));
    let gateway = with_password(&url(&server), "hunter2");
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
    let gateway = with_password(&url(&server), "hunter2");
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
