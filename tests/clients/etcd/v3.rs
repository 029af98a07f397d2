//! The client of etcd's v3 API, with a real etcd in unusual states and with scripted servers.
//! Requirements on every store are tested in `store_conformance`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use highhock::credentials::secret::{Credentials, Secret, SecretSource};
use highhock::etcd::{Cluster, EtcdV3, EtcdV3Options};
use highhock_actors::{
    Change, ExpectedValue, KeptAlive, LeaseId, LeaseNamespace, Precondition, RecordKey,
    RecordStore, StoreError, StoreErrorKind, Write, WriteOutcome,
};
use serde_json::json;
use tokio::time::Instant;

use support::cluster::Cluster as Three;
use support::etcd::{Etcd, Release};
use support::eventually;
use support::scripted_server::{ScriptedResponse, ScriptedServer};

const ROOT: &str = "skydns/local/skydns";
const TTL: Duration = Duration::from_secs(60);
const VALUE: &str = r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#;
const LEASE: LeaseId = LeaseId(77);
const HEADER: &str =
    r#""header":{"cluster_id":"1","member_id":"2","revision":"3","raft_term":"4"}"#;

fn options(urls: &str, timeout: Duration) -> EtcdV3Options {
    let urls = urls.split(',').map(|url| url.parse().unwrap()).collect();
    let cluster = Cluster { timeout, ..Cluster::new(urls) };
    EtcdV3Options { cluster, root: RecordKey::from_path(ROOT) }
}

fn store_at(urls: &str, timeout: Duration) -> EtcdV3 {
    let log = slog::Logger::root(slog::Discard, slog::o!());
    EtcdV3::new(options(urls, timeout), log).unwrap()
}

fn store(etcd: &Etcd) -> EtcdV3 {
    store_at(&etcd.url(), Duration::from_secs(10))
}

fn store_of(server: &ScriptedServer) -> EtcdV3 {
    store_at(&format!("http://{}", server.authority()), Duration::from_millis(300))
}

async fn store_with_lease(etcd: &Etcd) -> EtcdV3 {
    let store = store(etcd);
    store.grant(LEASE, TTL).await.unwrap();
    store
}

fn path(name: &str) -> String {
    format!("/{ROOT}/{name}")
}

fn key(name: &str) -> RecordKey {
    RecordKey::from_path(&path(name))
}

fn put_value(name: &str, value: &str) -> Write {
    let precondition = Precondition::Absent;
    Write::Put { key: key(name), value: value.into(), ttl: TTL, lease: Some(LEASE), precondition }
}

fn put(name: &str) -> Write {
    put_value(name, VALUE)
}

fn puts(count: usize) -> Vec<Write> {
    (0..count).map(|number| put(&format!("s{number}"))).collect()
}

fn delete(name: &str) -> Write {
    let expected = ExpectedValue { value: VALUE.into(), lease: None, version: None };
    Write::Delete { key: key(name), expected }
}

async fn write(store: &EtcdV3, write: Write) -> Result<WriteOutcome, StoreError> {
    let mut outcomes = store.write(vec![write]).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Returns the kind of the error, and checks that its message is one line.
#[track_caller]
fn kind<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> StoreErrorKind {
    let error = outcome.unwrap_err();
    let message = &error.message;
    assert!(!message.chars().any(char::is_control), "more than one line: {message:?}");
    assert!(message.len() < 1000, "{message}");
    error.kind
}

fn all_done(outcomes: &[Result<WriteOutcome, StoreError>]) -> bool {
    outcomes.iter().all(|outcome| matches!(outcome, Ok(WriteOutcome::Done)))
}

#[actix_rt::test]
async fn learns_the_operation_limit() {
    for limit in [20, 5, 3, 2] {
        let etcd = Etcd::start_with(&["--max-txn-ops", &limit.to_string()]);
        let store = store_with_lease(&etcd).await;
        assert!(all_done(&store.write(puts(100)).await), "{limit}");
        let keys = (0..100).map(|number| key(&format!("s{number}"))).collect();
        assert!(store.read(keys).await.iter().all(|it| matches!(it, Ok(Some(_)))), "{limit}");
        assert_eq!(etcd.v3().list(&path("")).len(), 100);
    }
    let etcd = Etcd::start_with(&["--max-txn-ops", "1"]);
    let store = store_with_lease(&etcd).await;
    let error = write(&store, put("a")).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Refused);
    assert!(error.message.contains("--max-txn-ops"), "{error}");
}

#[actix_rt::test]
async fn stays_below_the_learned_limit() {
    let too_many = r#"{"error":"etcdserver: too many operations in txn request","code":3}"#;
    let server = ScriptedServer::tcp(move |request| {
        let txn: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        let puts = txn["success"].as_array().unwrap().len();
        if puts > 30 {
            return ScriptedResponse::status(400, too_many);
        }
        let done = vec![r#"{"response_put":{}}"#; puts].join(",");
        ScriptedResponse::json(format!(r#"{{{HEADER},"succeeded":true,"responses":[{done}]}}"#))
    });
    let store = store_of(&server);
    assert!(all_done(&store.write(puts(300)).await));
    let before = server.requests().len();
    assert!(all_done(&store.write(puts(300)).await));
    let later = &server.requests()[before..];
    let largest = later.iter().map(|request| request.body.matches("request_put").count()).max();
    assert!((15..=30).contains(&largest.unwrap()), "{largest:?}");
}

#[actix_rt::test]
async fn splits_large_batches_and_rejects_large_records() {
    let etcd = Etcd::start();
    let store = store_with_lease(&etcd).await;
    let long = "x".repeat(100_000);
    let mut writes =
        (0..60).map(|number| put_value(&format!("s{number}"), &long)).collect::<Vec<_>>();
    // Too large for etcd, and for the gateway in front of it.
    writes.insert(20, put_value("large", &"x".repeat(1_700_000)));
    writes.insert(40, put_value("huge", &"x".repeat(2_500_000)));
    let outcomes = store.write(writes).await;
    for (place, outcome) in outcomes.into_iter().enumerate() {
        match place {
            20 | 40 => assert_eq!(kind(outcome), StoreErrorKind::Refused, "{place}"),
            _ => assert_eq!(outcome.unwrap(), WriteOutcome::Done, "{place}"),
        }
    }

    let small = Etcd::start_with(&["--max-request-bytes", "50000"]);
    let store = store_with_lease(&small).await;
    let value = "x".repeat(4000);
    let writes = (0..100).map(|number| put_value(&format!("s{number}"), &value)).collect();
    assert!(all_done(&store.write(writes).await));
}

#[actix_rt::test]
async fn full_database_accepts_only_deletes_and_keep_alives() {
    let etcd = Etcd::start_with(&["--quota-backend-bytes", "2000000"]);
    let store = store_with_lease(&etcd).await;
    write(&store, put("httpd")).await.unwrap();
    write(&store, put("old")).await.unwrap();
    // A long value is refused before the alarm is raised, and a short value afterwards.
    for value in ["x".repeat(400_000), "shor".to_owned()] {
        let fill = json!({ "key": "ZmlsbA==", "value": value });
        eventually("the database is full", Duration::from_secs(20), || {
            let (status, _) = etcd.v3().request("kv/put", &fill)?;
            (status != 200).then_some(())
        });
    }
    for outcome in store.write(vec![put("a"), put("b")]).await {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Refused);
        assert!(error.message.contains("etcdctl alarm disarm"), "{error}");
    }
    let mut outcomes = store.write(vec![delete("old"), put("b")]).await;
    assert_eq!(kind(outcomes.pop().unwrap()), StoreErrorKind::Refused);
    assert_eq!(outcomes.pop().unwrap().unwrap(), WriteOutcome::Done);
    assert_eq!(store.keep_alive(LEASE).await.unwrap(), KeptAlive::For(TTL));
    store.probe().await.unwrap();
    let other = LeaseId(78);
    assert_eq!(kind(store.grant(other, TTL).await), StoreErrorKind::Refused);
}

/// Returns the error kind of each call if the server always sends this response.
async fn kinds_of(
    reply: impl Fn() -> ScriptedResponse + Send + Sync + 'static,
) -> HashSet<&'static str> {
    let server = ScriptedServer::tcp(move |_| reply());
    let store = store_of(&server);
    let mut kinds = HashSet::new();
    let mut note = |kind: StoreErrorKind| kinds.insert(kind.as_str());
    note(kind(write(&store, put("a")).await));
    note(kind(write(&store, delete("a")).await));
    for outcome in store.write(puts(3)).await {
        note(kind(outcome));
    }
    note(kind(store.read(vec![key("a")]).await.remove(0)));
    note(kind(store.probe().await));
    note(kind(store.grant(LEASE, TTL).await));
    note(kind(store.keep_alive(LEASE).await));
    note(kind(store.revoke(LEASE).await));
    note(kind(store.find_leases(LeaseNamespace::from_hash(1)).await));
    note(kind(store.leased(LEASE).await));
    // The start of a watch writes nothing, so its error is never uncertain.
    assert!(kind(store.watch().await.map(|_| ())).is_outage());
    kinds
}

#[actix_rt::test]
async fn foreign_response_is_malformed() {
    let malformed = HashSet::from(["malformed"]);
    assert_eq!(kinds_of(ScriptedResponse::html).await, malformed);
    assert_eq!(kinds_of(|| ScriptedResponse::json("{}")).await, malformed);
    assert_eq!(kinds_of(|| ScriptedResponse::json("[]")).await, malformed);
    assert_eq!(kinds_of(|| ScriptedResponse::status(302, "")).await, malformed);
    assert_eq!(kinds_of(|| ScriptedResponse::status(404, "404 page not found\n")).await, malformed);
    let newer = || ScriptedResponse::status(404, r#"{"code":5,"message":"Not Found"}"#);
    assert_eq!(kinds_of(newer).await, malformed);
}

#[actix_rt::test]
async fn truncated_response_or_server_error_is_unknown() {
    let unknown = HashSet::from(["unknown"]);
    let half = format!(r#"{{"result":{{{HEADER},"TT"#);
    assert_eq!(kinds_of(move || ScriptedResponse::Truncated { body: half.clone() }).await, unknown);
    assert_eq!(kinds_of(|| ScriptedResponse::Truncated { body: String::new() }).await, unknown);
    assert_eq!(kinds_of(|| ScriptedResponse::Hangup).await, unknown);
    assert_eq!(kinds_of(|| ScriptedResponse::NoResponse).await, unknown);
    assert_eq!(kinds_of(|| ScriptedResponse::status(503, "<html>")).await, unknown);
    for (status, text, code) in [
        (503, "etcdserver: request timed out", 14),
        (503, "etcdserver: request timed out, possibly due to previous leader failure", 14),
        (503, "etcdserver: leader changed", 14),
        (500, "context deadline exceeded", 2),
    ] {
        let body = format!(r#"{{"error":"{text}","message":"{text}","code":{code}}}"#);
        assert_eq!(
            kinds_of(move || ScriptedResponse::status(status, body.clone())).await,
            unknown,
            "{text}"
        );
        // The form of an error in a stream, with the status code of a success.
        let body = format!(
            r#"{{"error":{{"grpc_code":{code},"http_code":{status},"message":"{text}"}}}}"#
        );
        let server = ScriptedServer::tcp(move |_| ScriptedResponse::json(body.clone() + "\n"));
        let store = store_of(&server);
        assert_eq!(kind(store.keep_alive(LEASE).await), StoreErrorKind::Unknown, "{text}");
        assert_eq!(kind(store.watch().await.map(|_| ())), StoreErrorKind::Unknown, "{text}");
    }
    // Sent by etcd 3.6 for a keep-alive that it cannot parse.
    let server = ScriptedServer::tcp(|_| ScriptedResponse::json(""));
    assert_eq!(kind(store_of(&server).keep_alive(LEASE).await), StoreErrorKind::Unknown);
}

#[actix_rt::test]
async fn write_known_not_applied_is_unavailable() {
    let unavailable = HashSet::from(["unavailable"]);
    for (status, text, code) in [
        (503, "etcdserver: no leader", 14),
        (401, "etcdserver: invalid auth token", 16),
        (400, "etcdserver: user name is empty", 3),
        (400, "etcdserver: authentication failed, invalid user ID or password", 3),
        (429, "etcdserver: too many requests", 8),
    ] {
        let body = format!(r#"{{"error":"{text}","message":"{text}","code":{code}}}"#);
        let kinds = kinds_of(move || ScriptedResponse::status(status, body.clone())).await;
        assert_eq!(kinds, unavailable, "{text}");
    }
}

#[actix_rt::test]
async fn keep_alive_without_ttl_means_lease_lost() {
    let answer = |fields: &str| {
        let body = format!("{{\"result\":{{{HEADER}{fields}}}}}\n");
        ScriptedServer::tcp(move |_| ScriptedResponse::json(body.clone()))
    };
    let lost = answer(r#","ID":"77""#);
    assert_eq!(store_of(&lost).keep_alive(LEASE).await.unwrap(), KeptAlive::Lost);
    let kept = answer(r#","ID":"77","TTL":"60""#);
    assert_eq!(store_of(&kept).keep_alive(LEASE).await.unwrap(), KeptAlive::For(TTL));
    // One id per request. With several ids, all but one would be truncated silently.
    assert_eq!(kept.requests()[0].body, r#"{"ID":"77"}"#);
    let anothers = answer(r#","ID":"78","TTL":"60""#);
    assert_eq!(kind(store_of(&anothers).keep_alive(LEASE).await), StoreErrorKind::Malformed);
}

#[actix_rt::test]
async fn keep_alive_has_a_longer_timeout() {
    let etcd = Etcd::start();
    let store = store_at(&etcd.url(), Duration::from_millis(500));
    store.grant(LEASE, TTL).await.unwrap();
    etcd.pause();
    let started = Instant::now();
    assert_eq!(kind(store.keep_alive(LEASE).await), StoreErrorKind::Unknown);
    let took = started.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
    etcd.resume();
}

#[actix_rt::test]
async fn hung_etcd_is_unknown_and_stops_the_batch() {
    let etcd = Etcd::start();
    let store = store_at(&etcd.url(), Duration::from_secs(1));
    store.grant(LEASE, TTL).await.unwrap();
    etcd.pause();
    let started = Instant::now();
    let outcomes = store.write(puts(1000)).await;
    let took = started.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(6)).contains(&took), "{took:?}");
    let kinds = outcomes.into_iter().map(kind).collect::<Vec<_>>();
    let sent = kinds.iter().filter(|kind| **kind == StoreErrorKind::Unknown).count();
    let unsent = kinds.iter().filter(|kind| **kind == StoreErrorKind::Unavailable).count();
    // Four transactions, each as large as etcd permits.
    assert_eq!((sent, unsent), (256, 744));
    etcd.resume();
    store.probe().await.unwrap();
}

/// Whenever etcd dies, a reported success must be a success, and a reported "not sent" must be
/// unsent.
#[actix_rt::test]
async fn kill_during_a_batch_reports_correct_results() {
    let mut etcd = Etcd::start();
    let store = store_with_lease(&etcd).await;
    let mut seen = HashSet::new();
    let mut batch_time = None;
    // The first batch shows how long a batch takes.
    for round in 0..=6_u32 {
        let names = (0..3000).map(|number| format!("r{round}-{number}")).collect::<Vec<_>>();
        let pid = etcd.pid().to_string();
        let killer = batch_time.map(|time: Duration| {
            thread::spawn(move || {
                thread::sleep(time * round / 7);
                std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            })
        });
        let started = Instant::now();
        let outcomes = store.write(names.iter().map(|name| put(name)).collect()).await;
        batch_time.get_or_insert(started.elapsed());
        killer.into_iter().for_each(|killer| killer.join().unwrap());
        etcd.kill();
        etcd.restart(false);
        let there = etcd.v3().list(&path("")).into_iter().map(|kv| kv.key).collect::<HashSet<_>>();
        for (name, outcome) in names.iter().zip(outcomes) {
            let is_there = there.contains(&path(name));
            match outcome {
                Ok(WriteOutcome::Done) => assert!(is_there, "{name} was reported as done"),
                Ok(other) => panic!("{name}: {other:?}"),
                Err(error) => {
                    seen.insert(error.kind.as_str());
                    assert!(error.kind.is_outage(), "{error}");
                    assert!(!is_there || error.kind.is_uncertain(), "{name}: {error}");
                }
            }
        }
        etcd.v3().delete_below("/skydns/");
    }
    assert!(seen.contains("unknown"), "{seen:?}");
}

#[actix_rt::test]
async fn unreachable_etcd_is_unavailable() {
    let mut etcd = Etcd::start();
    let store = store_with_lease(&etcd).await;
    etcd.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(kind(store.probe().await), StoreErrorKind::Unavailable);
    for outcome in store.write(puts(1000)).await {
        assert_eq!(kind(outcome), StoreErrorKind::Unavailable);
    }
    assert_eq!(kind(store.keep_alive(LEASE).await), StoreErrorKind::Unavailable);
    etcd.restart(true);
    store.probe().await.unwrap();
    // A wiped etcd has no leases.
    assert_eq!(store.keep_alive(LEASE).await.unwrap(), KeptAlive::Lost);
    assert_eq!(kind(write(&store, put("a")).await), StoreErrorKind::LeaseLost);
}

#[actix_rt::test]
async fn lost_quorum_fails_fast_without_writing() {
    let Some(mut three) = Three::start(Release::V3_4) else { return };
    let store = store_at(&three.urls(), Duration::from_secs(4));
    store.grant(LEASE, TTL).await.unwrap();
    let mut watch = store.watch().await.unwrap();
    three.members[1].kill();
    three.members[2].kill();
    // The remaining member notices the lost quorum after one or two election timeouts.
    let ended = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.unwrap();
    assert!(kind(ended.unwrap()).is_outage());
    let started = Instant::now();
    let mut kinds = HashSet::new();
    for _ in 0..3 {
        kinds.insert(kind(write(&store, put("a")).await).as_str());
        assert!(kind(store.probe().await).is_outage());
    }
    assert_eq!(kinds, HashSet::from(["unavailable"]));
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    three.members[1].restart(false);
    three.wait_for_leader();
    support::eventually_async("writes continue", Duration::from_secs(10), async || {
        write(&store, put("a")).await.ok()
    })
    .await;
}

/// Builds a response without a length, with each piece as one chunk.
fn chunked(pieces: &[&str]) -> ScriptedResponse {
    let mut response = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                     Transfer-Encoding: chunked\r\n\r\n"
        .to_owned();
    for piece in pieces {
        response += &format!("{:x}\r\n{piece}\r\n", piece.len());
    }
    ScriptedResponse::Raw(response.into_bytes())
}

#[actix_rt::test]
async fn watch_is_split_at_lines_not_chunks() {
    let server = ScriptedServer::tcp(|_| {
        let created = format!("{{\"result\":{{{HEADER},\"created\":true}}}}\n");
        // The key /skydns/local/skydns/a is put with lease 77, and then deleted.
        let key = "L3NreWRucy9sb2NhbC9za3lkbnMvYQ==";
        let events = format!(
            "{{\"result\":{{{HEADER},\"events\":[{{\"kv\":{{\"key\":\"{key}\",\
             \"mod_revision\":\"9007199254740993\",\"value\":\"eA==\",\"lease\":\"77\"}}}},\
             {{\"type\":\"DELETE\",\"kv\":{{\"key\":\"{key}\",\"mod_revision\":\"8\"}}}}]}}}}\n"
        );
        let all = created + &events;
        let pieces = all.as_bytes().chunks(7).map(|it| std::str::from_utf8(it).unwrap());
        chunked(&pieces.collect::<Vec<_>>())
    });
    let store = store_of(&server);
    let mut changes = store.watch().await.unwrap();
    let Change { key: at, now } = changes.next().await.unwrap().unwrap();
    let now = now.unwrap();
    assert_eq!((at, now.value.as_str(), now.version), (key("a"), "x", 9_007_199_254_740_993));
    assert_eq!(changes.next().await.unwrap().unwrap(), Change { key: key("a"), now: None });
    // The connection ended.
    assert!(kind(changes.next().await.unwrap()).is_outage());
    assert!(changes.next().await.is_none());
}

#[actix_rt::test]
async fn watch_ended_by_etcd_reports_the_reason() {
    for (end, message) in [
        (
            format!(r#"{{"result":{{{HEADER},"canceled":true,"cancel_reason":"mvcc: no"}}}}"#),
            "mvcc: no",
        ),
        (
            format!(r#"{{"result":{{{HEADER},"canceled":true,"compact_revision":"9"}}}}"#),
            "compacted",
        ),
        (
            r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}"#
                .to_owned(),
            "no leader",
        ),
        (r#"{"error":{"code":14,"message":"etcdserver: no leader"}}"#.to_owned(), "no leader"),
        ("<html>".to_owned(), "check etcd.url"),
    ] {
        let created = format!("{{\"result\":{{{HEADER},\"created\":true}}}}\n");
        let line = end.clone() + "\n";
        let server = ScriptedServer::tcp(move |_| chunked(&[&created, &line]));
        let mut changes = store_of(&server).watch().await.unwrap();
        let error = changes.next().await.unwrap().unwrap_err();
        assert!(error.kind.is_outage() && error.message.contains(message), "{end}: {error}");
        assert!(changes.next().await.is_none());
    }
}

#[actix_rt::test]
async fn watch_ends_when_its_member_dies() {
    let mut etcd = Etcd::start();
    let mut changes = store(&etcd).watch().await.unwrap();
    let waiting = actix_rt::spawn(async move {
        let ended = changes.next().await.unwrap();
        (kind(ended), Instant::now())
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    let killed = Instant::now();
    etcd.kill();
    let (kind, ended) = waiting.await.unwrap();
    assert!(kind.is_outage());
    assert!(ended - killed < Duration::from_secs(3), "{:?}", ended - killed);
}

#[actix_rt::test]
async fn authenticates_on_etcd_3_4() {
    assert_authenticates(Release::V3_4).await;
}

#[actix_rt::test]
async fn authenticates_on_etcd_3_6() {
    assert_authenticates(Release::V3_6).await;
}

/// Checks that a denied key does not affect other keys, and that a lost token is renewed.
async fn assert_authenticates(release: Release) {
    let Some(mut etcd) = Etcd::start_release(release) else { return };
    let allowed = json!({ "name": "dns", "perm": { "permType": "READWRITE",
        "key": "L3NreWRucy8=", "range_end": "L3NreWRuczA=" } });
    for (operation, body) in [
        ("user/add", json!({ "name": "root", "password": "open sesame" })),
        ("user/grant", json!({ "user": "root", "role": "root" })),
        ("user/add", json!({ "name": "me", "password": "wide open" })),
        ("role/add", json!({ "name": "dns" })),
        ("role/grant", allowed),
        ("user/grant", json!({ "user": "me", "role": "dns" })),
        ("enable", json!({})),
    ] {
        if operation == "user/grant" && body["role"] == "root" {
            etcd.v3().request("auth/role/add", &json!({ "name": "root" }));
        }
        let (status, answer) = etcd.v3().request(&format!("auth/{operation}"), &body).unwrap();
        assert_eq!(status, 200, "{operation} {body}: {answer}");
    }
    let store = |password: Option<&str>| {
        let mut options = options(&etcd.url(), Duration::from_secs(10));
        options.cluster.credentials = password.map(|password| Credentials {
            username: "me".to_owned(),
            password: SecretSource::Inline(Secret::new(password)),
        });
        EtcdV3::new(options, slog::Logger::root(slog::Discard, slog::o!())).unwrap()
    };
    for wrong in [None, Some("sesame")] {
        let store = store(wrong);
        let error = store.probe().await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unavailable);
        assert!(error.message.contains("etcd.username"), "{error}");
        assert!(!error.message.contains("sesame"), "{error}");
        assert_eq!(kind(write(&store, put("a")).await), StoreErrorKind::Unavailable);
    }

    let store = store(Some("wide open"));
    store.probe().await.unwrap();
    store.grant(LEASE, TTL).await.unwrap();
    let elsewhere = RecordKey::from_path("elsewhere/a");
    let denied = || Write::Put {
        key: elsewhere.clone(),
        value: VALUE.into(),
        ttl: TTL,
        lease: Some(LEASE),
        precondition: Precondition::Absent,
    };
    assert_eq!(kind(write(&store, denied()).await), StoreErrorKind::Refused);
    let mut writes = puts(200);
    writes.insert(77, denied());
    for (place, outcome) in store.write(writes).await.into_iter().enumerate() {
        match place {
            77 => assert_eq!(kind(outcome), StoreErrorKind::Refused),
            _ => assert_eq!(outcome.unwrap(), WriteOutcome::Done, "{place}"),
        }
    }
    let mut keys = (0..200).map(|number| key(&format!("s{number}"))).collect::<Vec<_>>();
    keys.insert(77, elsewhere.clone());
    for (place, outcome) in store.read(keys).await.into_iter().enumerate() {
        match place {
            77 => assert_eq!(kind(outcome), StoreErrorKind::Refused),
            _ => assert_eq!(outcome.unwrap().unwrap().value, VALUE, "{place}"),
        }
    }
    let watch = store.watch().await;
    assert!(watch.is_ok());

    // Tokens do not survive a restart of etcd.
    drop(watch);
    etcd.kill();
    etcd.restart(false);
    support::eventually_async("etcd is available again", Duration::from_secs(10), async || {
        store.probe().await.ok()
    })
    .await;
    assert_eq!(write(&store, put("later")).await.unwrap(), WriteOutcome::Done);
    assert_eq!(store.keep_alive(LEASE).await.unwrap(), KeptAlive::For(TTL));
    assert!(store.watch().await.is_ok());
}
