//! Clusters in which one member cannot serve, tokens that expire, and ports without HTTP, with
//! real etcds.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use highhock::credentials::secret::{Credentials, Secret, SecretSource};
use highhock::etcd::{Api, Cluster, EtcdV3, EtcdV3Options, configured_domain, detect};
use highhock_actors::{KeptAlive, LeaseId, Precondition, RecordKey, RecordStore, Write};
use serde_json::json;

use support::certs::{CertificateAuthority, CertificateOptions};
use support::cluster::Cluster as Three;
use support::etcd::{Etcd, Release};
use support::{TempDir, eventually, free_port};

const ROOT: &str = "skydns/local/skydns";
const LEASE: LeaseId = LeaseId(77);
const TTL: Duration = Duration::from_secs(60);
const VALUE: &str = r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#;

fn log() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

fn cluster(urls: &str) -> Cluster {
    let urls = urls.split(',').map(|url| url.parse().unwrap()).collect();
    Cluster { timeout: Duration::from_secs(10), ..Cluster::new(urls) }
}

fn store(cluster: Cluster) -> EtcdV3 {
    EtcdV3::new(EtcdV3Options { cluster, root: RecordKey::from_path(ROOT) }, log()).unwrap()
}

fn put(name: &str) -> Write {
    Write::Put {
        key: RecordKey::from_path(&format!("{ROOT}/{name}")),
        value: VALUE.into(),
        ttl: TTL,
        lease: Some(LEASE),
        precondition: Precondition::Absent,
    }
}

async fn assert_learner_is_skipped(release: Release) {
    let Some(etcd) = Etcd::start_release(release) else { return };
    let learner = etcd.start_learner(release);
    // A learner is the current member of a new client.
    let client = || cluster(&format!("{},{}", learner.url(), etcd.url()));
    store(client()).grant(LEASE, TTL).await.unwrap();
    assert!(matches!(store(client()).keep_alive(LEASE).await.unwrap(), KeptAlive::For(_)));
    store(client()).write(vec![put("a")]).await.remove(0).unwrap();
    store(client()).probe().await.unwrap();
    let key = RecordKey::from_path(&format!("{ROOT}/a"));
    assert!(store(client()).read(vec![key]).await.remove(0).unwrap().is_some());
    assert_eq!(store(client()).leased(LEASE).await.unwrap().records.len(), 1);
    let mut changes = store(client()).watch().await.unwrap();
    store(client()).write(vec![put("b")]).await.remove(0).unwrap();
    assert!(changes.next().await.unwrap().unwrap().key.as_str().ends_with("/b"));
    assert_eq!(detect(&client(), "skydns", &log()).await.unwrap().api, Api::V3);
    assert_eq!(configured_domain(Api::V3, &client(), "skydns", &log()).await.unwrap(), None);
    etcd.enable_v3_auth("hunter2");
    let credentials = Some(credentials("hunter2"));
    store(Cluster { credentials, ..client() }).probe().await.unwrap();
}

fn credentials(password: &str) -> Credentials {
    let password = SecretSource::Inline(Secret::new(password));
    Credentials { username: "root".to_owned(), password }
}

#[actix_rt::test]
async fn learner_of_etcd_3_4_is_skipped() {
    assert_learner_is_skipped(Release::V3_4).await;
}

#[actix_rt::test]
async fn learner_of_etcd_3_6_is_skipped() {
    assert_learner_is_skipped(Release::V3_6).await;
}

/// The tokens of this many seconds expire if they are not used.
const TOKEN_TTL: &str = "1";

fn request_token(etcd: &Etcd) -> String {
    let user = json!({ "name": "root", "password": "hunter2" });
    let (status, response) = etcd.v3().request("auth/authenticate", &user).unwrap();
    assert_eq!(status, 200, "{response}");
    response["token"].as_str().unwrap().to_owned()
}

fn is_valid(etcd: &Etcd, token: &str) -> bool {
    let range = r#"{"key":"YQ=="}"#;
    etcd.send_json("POST", "/v3/kv/range", range, Some(token)).0 == 200
}

/// Waits until all tokens that are not in use have expired. The use of a token renews it, so each
/// of these tokens is used once.
async fn wait_until_tokens_expire(etcd: &Etcd) {
    let tokens: Vec<_> = (0..40).map(|_| request_token(etcd)).collect();
    for token in tokens {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if !is_valid(etcd, &token) {
            return;
        }
    }
    panic!("no token expired");
}

async fn assert_expired_tokens_are_renewed(release: Release) {
    let flags = ["--auth-token-ttl", TOKEN_TTL, "--bcrypt-cost", "4"];
    let Some(etcd) = Etcd::start_release_with(release, &flags) else { return };
    etcd.enable_v3_auth("hunter2");
    let credentials = Some(credentials("hunter2"));
    let store = store(Cluster { credentials, ..cluster(&etcd.url()) });
    store.grant(LEASE, TTL).await.unwrap();
    let mut changes = store.watch().await.unwrap();
    wait_until_tokens_expire(&etcd).await;
    assert!(matches!(store.keep_alive(LEASE).await.unwrap(), KeptAlive::For(_)));
    wait_until_tokens_expire(&etcd).await;
    let mut new_changes = store.watch().await.unwrap();
    wait_until_tokens_expire(&etcd).await;
    store.write(vec![put("a")]).await.remove(0).unwrap();
    // A watch outlives its token.
    for changes in [&mut changes, &mut new_changes] {
        assert!(changes.next().await.unwrap().unwrap().key.as_str().ends_with("/a"));
    }
}

#[actix_rt::test]
async fn expired_tokens_of_etcd_3_4_are_renewed() {
    assert_expired_tokens_are_renewed(Release::V3_4).await;
}

#[actix_rt::test]
async fn expired_tokens_of_etcd_3_6_are_renewed() {
    assert_expired_tokens_are_renewed(Release::V3_6).await;
}

/// Runs `highhock check` without Docker, and returns the result for etcd.
fn check_etcd(flags: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_highhock"))
        .args(["check", "--discovery-host", "10.0.0.1", "--docker-url", "unix:///nonexistent"])
        .args(flags)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("etcd "));
    line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
}

#[test]
fn check_names_a_dead_member_until_the_quorum_is_lost() {
    let Some(mut three) = Three::start(Release::V3_4) else { return };
    for api in ["v2", "v3"] {
        let wait_for = |three: &Three, verdict: &str| {
            let flags = ["--etcd-url", &three.urls(), "--etcd-api", api];
            eventually(verdict, Duration::from_secs(60), || {
                Some(check_etcd(&flags)).filter(|line| line.starts_with(verdict))
            })
        };
        wait_for(&three, "ok ");
        three.members[0].kill();
        let leader = three.wait_for_leader();
        let line = wait_for(&three, "degraded ");
        assert!(line.contains("members cannot serve"), "{line}");
        assert!(line.contains(&format!("in etcd at {}: ", three.members[0].url())), "{line}");
        three.members[leader].kill();
        wait_for(&three, "FAILED ");
        three.members[0].spawn();
        three.members[leader].spawn();
        three.wait_until_healthy();
    }
}

#[test]
fn check_names_the_url_that_serves_http() {
    let grpc_url = format!("http://127.0.0.1:{}", free_port());
    let Some(etcd) = Etcd::start_with_separate_grpc(Release::V3_6, &grpc_url) else { return };
    let line = check_etcd(&["--etcd-url", &grpc_url]);
    assert!(line.starts_with("FAILED ") && line.contains("--listen-client-http-urls"), "{line}");
    let line = check_etcd(&["--etcd-url", &etcd.url()]);
    assert!(line.starts_with("ok "), "{line}");
}

#[test]
fn check_explains_a_ca_certificate_of_a_server() {
    let (folder, ca) = (TempDir::new(), CertificateAuthority::new("private"));
    let options = CertificateOptions { is_ca: true, ..CertificateOptions::default() };
    let server = ca.issue(&folder.0, "server", options);
    let etcd = Etcd::start_with_tls(&server, None);
    let files = ca.client(&folder.0, None);
    let ca_file = files.ca.unwrap().display().to_string();
    let line = check_etcd(&["--etcd-url", &etcd.tls_url(), "--etcd-ca", &ca_file]);
    assert!(line.contains("basicConstraints=CA:FALSE"), "{line}");
}
