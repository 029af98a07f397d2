//! Connections to etcd: TLS and passwords with a real etcd, and the choice of a cluster member
//! with scripted servers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

use std::fs;
use std::process::Command;
use std::time::Duration;

use highhock::credentials::secret::{Credentials, Secret, SecretSource};
use highhock::etcd::{Cluster, ClusterError, EtcdV2, EtcdV2Options};
use highhock::tls::TlsFiles;
use highhock_actors::{
    Precondition, RecordKey, RecordStore, StoreError, StoreErrorKind, StoredRecord, Write,
    WriteOutcome,
};
use tokio::time::Instant;

use support::certs::{CertificateAuthority, CertificateOptions};
use support::etcd::Etcd;
use support::scripted_server::{ScriptedResponse, ScriptedServer};
use support::{TempDir, eventually_async, free_port};

const ROOT: &str = "skydns/local/skydns";
const TIMEOUT: Duration = Duration::from_secs(5);

/// The response of etcd for a missing key.
const MISSING: &str = r#"{"errorCode":100,"message":"Key not found","cause":"/skydns","index":1}"#;

fn cluster(urls: &[&str]) -> Cluster {
    let urls = urls.iter().map(|url| url.parse().unwrap()).collect();
    Cluster { timeout: Duration::from_secs(4), ..Cluster::new(urls) }
}

fn store(cluster: Cluster) -> EtcdV2 {
    try_store(cluster).unwrap_or_else(|error| panic!("{error}"))
}

fn try_store(cluster: Cluster) -> Result<EtcdV2, ClusterError> {
    let root = RecordKey::from_path(ROOT);
    let options = EtcdV2Options { cluster, root, prefix: "skydns".to_owned() };
    EtcdV2::new(options, slog::Logger::root(slog::Discard, slog::o!()))
}

fn with_tls(etcd: &Etcd, tls: TlsFiles) -> EtcdV2 {
    store(Cluster { tls, ..cluster(&[&etcd.tls_url()]) })
}

fn with_password(etcd: &Etcd, password: SecretSource) -> EtcdV2 {
    let credentials = Some(Credentials { username: "root".to_owned(), password });
    store(Cluster { credentials, ..cluster(&[&etcd.url()]) })
}

async fn put(store: &EtcdV2, name: &str) -> Result<WriteOutcome, StoreError> {
    let key = RecordKey::from_path(&format!("{ROOT}/{name}"));
    let ttl = Duration::from_secs(60);
    let put = Write::Put {
        key,
        value: "{}".into(),
        ttl,
        lease: None,
        precondition: Precondition::Absent,
    };
    store.write(vec![put]).await.remove(0)
}

/// Returns the error's message, which must be one line and state that no request was sent.
#[track_caller]
fn error_line<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert!(!error.message.chars().any(char::is_control), "{error}");
    println!("{error}");
    error.message
}

#[actix_rt::test]
async fn private_ca_is_trusted_only_if_configured() {
    let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
    let etcd =
        Etcd::start_with_tls(&ca.issue(&folder.0, "server", CertificateOptions::default()), None);
    let trusting = with_tls(&etcd, ca.client(&folder.0, None));
    assert_eq!(put(&trusting, "a").await.unwrap(), WriteOutcome::Done);
    assert!(etcd.get(&format!("{ROOT}/a")).is_some());

    let other = TlsFiles {
        ca: Some(CertificateAuthority::new("other").write(&folder.0.join("other.pem"))),
        identity: None,
    };
    let message = error_line(with_tls(&etcd, other).probe().await);
    assert!(
        message.contains("by a CA that is not in etcd.ca (") && message.contains("other.pem)"),
        "{message}"
    );

    let message = error_line(with_tls(&etcd, TlsFiles::default()).probe().await);
    assert!(message.contains("name the CA's file in etcd.ca"), "{message}");
}

#[actix_rt::test]
async fn server_certificate_must_be_valid_for_the_url() {
    let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
    let files = ca.client(&folder.0, None);
    for (like, part) in [
        (
            CertificateOptions { expired: true, ..CertificateOptions::default() },
            "has expired on 2021-02-03; renew it on the server",
        ),
        (
            CertificateOptions { other_host: true, ..CertificateOptions::default() },
            "is not for 127.0.0.1 but for elsewhere.example; ",
        ),
    ] {
        let etcd = Etcd::start_with_tls(&ca.issue(&folder.0, "server", like), None);
        let message = error_line(with_tls(&etcd, files.clone()).probe().await);
        assert!(message.contains(part), "{message}");
    }
}

#[actix_rt::test]
async fn sends_a_client_certificate_if_requested() {
    let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
    let server = ca.issue(&folder.0, "server", CertificateOptions::default());
    let files = ca.client(
        &folder.0,
        Some(CertificateOptions { common_name: Some("me"), ..CertificateOptions::default() }),
    );
    let etcd = Etcd::start_with_tls(&server, files.ca.as_deref());
    assert_eq!(put(&with_tls(&etcd, files.clone()), "a").await.unwrap(), WriteOutcome::Done);

    let none = TlsFiles { identity: None, ..files.clone() };
    let message = error_line(with_tls(&etcd, none).probe().await);
    assert!(message.contains("set etcd.cert and etcd.key"), "{message}");

    let other = CertificateAuthority::new("other").issue(
        &folder.0,
        "client",
        CertificateOptions::default(),
    );
    let message = error_line(with_tls(&etcd, files.clone()).probe().await);
    assert!(message.contains("refuses the client certificate in "), "{message}");
    assert_eq!(other, files.identity.clone().unwrap());

    ca.issue(
        &folder.0,
        "client",
        CertificateOptions { expired: true, ..CertificateOptions::default() },
    );
    let message = error_line(with_tls(&etcd, files).probe().await);
    assert!(message.contains("refuses the client certificate in "), "{message}");
}

#[actix_rt::test]
async fn next_connection_uses_replaced_but_not_broken_files() {
    let (folder, ca, other) = (
        TempDir::new(),
        CertificateAuthority::new("private"),
        CertificateAuthority::new("another"),
    );
    let server = ca.issue(&folder.0, "server", CertificateOptions::default());
    let client_ca = ca.write(&folder.0.join("client-ca.pem"));
    let mut etcd = Etcd::start_with_tls(&server, Some(&client_ca));
    let files = other.client(&folder.0, Some(CertificateOptions::default()));
    let store = with_tls(&etcd, files.clone());
    assert!(error_line(store.probe().await).contains("etcd.ca"));
    ca.write(files.ca.as_ref().unwrap());
    assert!(error_line(store.probe().await).contains("refuses the client certificate in "));
    ca.issue(&folder.0, "client", CertificateOptions::default());
    store.probe().await.unwrap();

    fs::write(files.ca.as_ref().unwrap(), "no certificate").unwrap();
    fs::remove_file(&files.identity.as_ref().unwrap().key).unwrap();
    etcd.kill();
    etcd.restart(false);
    eventually_async("etcd is reachable again with the old files", TIMEOUT, || async {
        store.probe().await.ok()
    })
    .await;
}

#[actix_rt::test]
async fn reports_plain_and_tls_mismatch() {
    let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
    let etcd =
        Etcd::start_with_tls(&ca.issue(&folder.0, "server", CertificateOptions::default()), None);
    let plain = etcd.tls_url().replace("https:", "http:");
    let message = store(cluster(&[&plain])).probe().await.unwrap_err().message;
    assert!(message.contains("use https:// in etcd.url"), "{message}");

    let tls = ca.client(&folder.0, None);
    let secure = etcd.url().replace("http:", "https:");
    let message = error_line(store(Cluster { tls, ..cluster(&[&secure]) }).probe().await);
    assert!(message.contains("should etcd.url be http://?"), "{message}");
}

#[actix_rt::test]
async fn unusable_files_are_reported_at_start() {
    let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
    let mut files = ca.client(&folder.0, Some(CertificateOptions::default()));
    let server = ca.issue(&folder.0, "server", CertificateOptions::default());
    files.identity.as_mut().unwrap().key = server.key;
    let error = try_store(Cluster { tls: files, ..cluster(&["https://127.0.0.1:1"]) });
    let message = error.err().unwrap().to_string();
    assert!(
        message.starts_with("etcd.key: ") && message.contains("is not the key of"),
        "{message}"
    );
}

#[actix_rt::test]
async fn writes_need_the_right_password() {
    let etcd = Etcd::start();
    etcd.enable_v2_auth("hunter2");
    let given = |word: &str| SecretSource::Inline(Secret::new(word));
    let right = with_password(&etcd, given("hunter2"));
    assert_eq!(put(&right, "a").await.unwrap(), WriteOutcome::Done);
    let anonymous = store(cluster(&[&etcd.url()]));
    for store in [with_password(&etcd, given("hunter3")), anonymous] {
        let error = put(&store, "b").await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Refused, "{error}");
        assert!(error.message.contains("etcd.username"), "{error}");
        assert!(!error.message.contains("hunter"), "{error}");
    }
}

#[actix_rt::test]
async fn rereads_the_password_file_when_it_changes() {
    let etcd = Etcd::start();
    etcd.enable_v2_auth("one");
    let folder = TempDir::new();
    let file = folder.0.join("password");
    fs::write(&file, "one\n").unwrap();
    let store = with_password(&etcd, SecretSource::File(file.clone()));
    assert_eq!(put(&store, "a").await.unwrap(), WriteOutcome::Done);
    etcd.change_v2_password("one", "two");
    assert!(put(&store, "b").await.is_err());
    fs::write(&file, "two\n").unwrap();
    eventually_async("the new password is used", TIMEOUT, || async { put(&store, "b").await.ok() })
        .await;
}

#[actix_rt::test]
async fn daemon_uses_configured_tls_and_logs_no_secret() {
    let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
    let server = ca.issue(&folder.0, "server", CertificateOptions::default());
    let files = ca.client(&folder.0, Some(CertificateOptions::default()));
    let etcd = Etcd::start_with_tls(&server, files.ca.as_deref());
    etcd.enable_v2_auth("hunter2");
    let identity = files.identity.unwrap();
    for (password, verdict) in [("hunter2", "degraded"), ("hunter22", "FAILED")] {
        let output = Command::new(env!("CARGO_BIN_EXE_highhock"))
            .args(["check", "--log-level", "DEBUG", "--discovery-host", "10.0.0.1"])
            .args(["--etcd-url", &format!("{},https://127.0.0.1:1", etcd.tls_url())])
            .arg("--etcd-ca")
            .arg(files.ca.as_ref().unwrap())
            .arg("--etcd-cert")
            .arg(&identity.cert)
            .arg("--etcd-key")
            .arg(&identity.key)
            .args(["--etcd-username", "root", "--docker-url", "unix:///nonexistent"])
            .env("HIGHHOCK_ETCD__PASSWORD", password)
            .output()
            .unwrap();
        let message = [output.stdout, output.stderr].concat();
        let message = String::from_utf8(message).unwrap();
        let of_etcd = message.lines().find(|line| line.starts_with("etcd ")).unwrap();
        assert_eq!(of_etcd.split_whitespace().nth(1), Some(verdict), "{message}");
        assert!(message.contains("request to etcd"), "{message}");
        assert!(!message.contains("hunter") && !message.contains("cm9vd"), "{message}");
    }
}

async fn read(store: &EtcdV2) -> Result<Option<StoredRecord>, StoreError> {
    store.read(vec![RecordKey::from_path("skydns/local/skydns/httpd")]).await.remove(0)
}

#[actix_rt::test]
async fn probe_tries_each_member_once() {
    let gone = || format!("http://127.0.0.1:{}", free_port());
    let well = ScriptedServer::tcp(|_| ScriptedResponse::status(404, MISSING));
    let url = format!("http://{}", well.authority());
    let (first, second) = (gone(), gone());
    store(cluster(&[&first, &second, &url])).probe().await.unwrap();
    assert_eq!(well.requests().len(), 1);
    let error = store(cluster(&[&first, &second])).probe().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable);
}

#[actix_rt::test]
async fn failure_switches_to_the_next_member() {
    let gone = format!("http://127.0.0.1:{}", free_port());
    let leaderless = ScriptedServer::tcp(|_| {
        ScriptedResponse::status(
            500,
            r#"{"errorCode":300,"message":"Raft Internal Error","cause":"x"}"#,
        )
    });
    let silent = ScriptedServer::tcp(|_| ScriptedResponse::NoResponse);
    let web = ScriptedServer::tcp(|_| ScriptedResponse::html());
    let well = ScriptedServer::tcp(|_| ScriptedResponse::status(404, MISSING));
    let urls = [&leaderless, &silent, &web, &well].map(|one| format!("http://{}", one.authority()));
    let mut all = vec![gone.as_str()];
    all.extend(urls.iter().map(String::as_str));
    let store = store(Cluster { timeout: Duration::from_millis(300), ..cluster(&all) });
    let began = Instant::now();
    for (url, kind) in [
        (&gone, StoreErrorKind::Unavailable),
        (&urls[0], StoreErrorKind::Unknown),
        (&urls[1], StoreErrorKind::Unknown),
        (&urls[2], StoreErrorKind::Malformed),
    ] {
        let error = read(&store).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(url.as_str()), "{error}");
    }
    assert!(began.elapsed() < TIMEOUT, "{:?}", began.elapsed());
    for _ in 0..3 {
        read(&store).await.unwrap();
    }
    let asked = [&leaderless, &silent, &web, &well].map(|one| one.requests().len());
    assert_eq!(asked, [1, 1, 1, 3]);
}

#[actix_rt::test]
async fn failed_batch_switches_member_once() {
    let [first, second, third] = std::array::from_fn(|number| {
        ScriptedServer::tcp(move |_| match number {
            0 => ScriptedResponse::Hangup,
            _ => ScriptedResponse::status(404, MISSING),
        })
    });
    let urls = [&first, &second, &third].map(|one| format!("http://{}", one.authority()));
    let store = store(cluster(&urls.each_ref().map(String::as_str)));
    let keys = (0..8).map(|number| RecordKey::from_path(&format!("{ROOT}/{number}"))).collect();
    let failed = store.read(keys).await.into_iter().filter(Result::is_err).count();
    assert!(failed > 1, "{failed} failed");
    store.probe().await.unwrap();
    assert!(!second.requests().is_empty() && third.requests().is_empty());
}

#[actix_rt::test]
async fn key_error_does_not_switch_members() {
    let denying = ScriptedServer::tcp(|_| {
        ScriptedResponse::status(
            401,
            r#"{"errorCode":110,"message":"Denied","cause":"Insufficient"}"#,
        )
    });
    let other = ScriptedServer::tcp(|_| ScriptedResponse::status(404, MISSING));
    let urls = [&denying, &other].map(|one| format!("http://{}", one.authority()));
    let store = store(cluster(&urls.each_ref().map(String::as_str)));
    for _ in 0..2 {
        assert_eq!(store.probe().await.unwrap_err().kind, StoreErrorKind::Refused);
    }
    assert!(other.requests().is_empty());
}
