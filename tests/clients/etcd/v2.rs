//! The client of etcd's v2 API, with a real etcd and with scripted servers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use highhock::etcd::{Cluster, EtcdV2, EtcdV2Options};
use highhock_actors::{
    Change, ExpectedValue, Expiry, Precondition, RecordKey, RecordStore, StoreError,
    StoreErrorKind, StoredRecord, Write, WriteOutcome,
};
use tokio::time::Instant;

use support::etcd::Etcd;
use support::scripted_server::{ScriptedResponse, ScriptedServer};

const ROOT: &str = "skydns/local/skydns";
const TTL: Duration = Duration::from_secs(60);
const VALUE: &str = r#"{"host":"10.77.66.0","port":8080,"ttl":60}"#;
const OTHER: &str = r#"{"host":"10.77.66.99","port":8080,"ttl":60}"#;

/// The response of etcd to a successful write.
const CREATED: &str = r#"{"action":"create","node":{"key":"/a","modifiedIndex":3}}"#;

type Outcome = Result<WriteOutcome, StoreError>;

fn store_at(url: &str, timeout: Duration) -> EtcdV2 {
    let cluster = Cluster { timeout, ..Cluster::new(vec![url.parse().unwrap()]) };
    let options = EtcdV2Options { cluster, root: key_of(ROOT), prefix: "skydns".to_owned() };
    EtcdV2::new(options, slog::Logger::root(slog::Discard, slog::o!())).unwrap()
}

fn store(etcd: &Etcd) -> EtcdV2 {
    store_at(&etcd.url(), Duration::from_secs(10))
}

fn key_of(path: &str) -> RecordKey {
    RecordKey::from_path(path)
}

/// Returns the path of a name in the domain's directory.
fn path(name: &str) -> String {
    format!("{ROOT}/{name}")
}

fn key(name: &str) -> RecordKey {
    key_of(&path(name))
}

fn put(name: &str) -> Write {
    put_value(name, VALUE)
}

fn put_value(name: &str, value: &str) -> Write {
    Write::Put {
        key: key(name),
        value: value.into(),
        ttl: TTL,
        lease: None,
        precondition: Precondition::Absent,
    }
}

fn expect(value: &str) -> ExpectedValue {
    ExpectedValue { value: value.into(), lease: None, version: None }
}

fn swap(name: &str, old: &str, version: Option<u64>) -> Write {
    let precondition = Precondition::Equals(ExpectedValue { version, ..expect(old) });
    Write::Put { key: key(name), value: VALUE.into(), ttl: TTL, lease: None, precondition }
}

fn refresh(name: &str) -> Write {
    Write::Refresh { key: key(name), value: VALUE.into(), ttl: TTL }
}

fn delete(name: &str) -> Write {
    delete_value(name, VALUE)
}

fn delete_value(name: &str, value: &str) -> Write {
    Write::Delete { key: key(name), expected: expect(value) }
}

async fn write(store: &EtcdV2, write: Write) -> Outcome {
    let mut outcomes = store.write(vec![write]).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

async fn read(store: &EtcdV2, name: &str) -> Result<Option<StoredRecord>, StoreError> {
    let mut outcomes = store.read(vec![key(name)]).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// Reads many names in one listing.
async fn read_many(
    store: &EtcdV2,
    names: &[&str],
) -> Vec<Result<Option<StoredRecord>, StoreError>> {
    let fillers = (0..10).map(|number| key(&format!("no-such-{number}")));
    let keys = names.iter().map(|name| key(name)).chain(fillers).collect::<Vec<_>>();
    let mut outcomes = store.read(keys).await;
    for filler in outcomes.split_off(names.len()) {
        assert_eq!(filler.unwrap(), None);
    }
    outcomes
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

#[actix_rt::test]
async fn creates_an_absent_key() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    assert_eq!(write(&store, put("httpd")).await.unwrap(), WriteOutcome::Done);
    let node = etcd.get(&path("httpd")).unwrap();
    assert_eq!(node.value, VALUE);
    assert!(matches!(node.ttl, Some(58..=60)), "{node:?}");

    assert_eq!(write(&store, put("httpd")).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(etcd.get(&path("httpd")).unwrap().modified, node.modified);
}

#[actix_rt::test]
async fn swaps_by_value_and_by_version() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    assert_eq!(write(&store, swap("httpd", OTHER, None)).await.unwrap(), WriteOutcome::Missing);
    etcd.put(&path("httpd"), OTHER, Some(30));
    let version = read(&store, "httpd").await.unwrap().unwrap().version;

    let wrong_value = swap("httpd", "something else", Some(version));
    assert_eq!(write(&store, wrong_value).await.unwrap(), WriteOutcome::Conflict);
    let wrong_version = swap("httpd", OTHER, Some(version + 1));
    assert_eq!(write(&store, wrong_version).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(etcd.get(&path("httpd")).unwrap().value, OTHER);

    assert_eq!(
        write(&store, swap("httpd", OTHER, Some(version))).await.unwrap(),
        WriteOutcome::Done
    );
    let node = etcd.get(&path("httpd")).unwrap();
    assert_eq!(node.value, VALUE);
    assert!(matches!(node.ttl, Some(58..=60)), "{node:?}");
    assert_eq!(write(&store, swap("httpd", VALUE, None)).await.unwrap(), WriteOutcome::Done);
}

#[actix_rt::test]
async fn refreshes_only_own_records() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    assert_eq!(write(&store, refresh("httpd")).await.unwrap(), WriteOutcome::Missing);
    assert_eq!(etcd.get(&path("httpd")), None);

    etcd.put(&path("httpd"), VALUE, Some(10));
    let before = etcd.get(&path("httpd")).unwrap();
    assert_eq!(write(&store, refresh("httpd")).await.unwrap(), WriteOutcome::Done);
    let after = etcd.get(&path("httpd")).unwrap();
    assert_eq!((&after.value, after.created), (&before.value, before.created));
    assert!(matches!(after.ttl, Some(58..=60)), "{after:?}");

    etcd.put(&path("httpd"), OTHER, Some(10));
    assert_eq!(write(&store, refresh("httpd")).await.unwrap(), WriteOutcome::Conflict);
    let anothers = etcd.get(&path("httpd")).unwrap();
    assert_eq!(anothers.value, OTHER);
    assert!(matches!(anothers.ttl, Some(8..=10)), "{anothers:?}");

    etcd.put(&path("httpd"), OTHER, None);
    assert_eq!(write(&store, refresh("httpd")).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(etcd.get(&path("httpd")).unwrap().ttl, None);
}

#[actix_rt::test]
async fn deletes_only_own_records() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    assert_eq!(write(&store, delete("httpd")).await.unwrap(), WriteOutcome::Missing);
    etcd.put(&path("httpd"), OTHER, Some(30));
    assert_eq!(write(&store, delete("httpd")).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(etcd.get(&path("httpd")).unwrap().value, OTHER);
    etcd.put(&path("httpd"), VALUE, Some(30));
    assert_eq!(write(&store, delete("httpd")).await.unwrap(), WriteOutcome::Done);
    assert_eq!(etcd.get(&path("httpd")), None);
}

#[actix_rt::test]
async fn single_reads_and_listing_agree() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    etcd.put(&path("mine"), VALUE, Some(30));
    etcd.put(&path("static"), OTHER, None);
    etcd.put(&path("deep/down/here"), VALUE, Some(30));
    etcd.put(&path("_tcp/_http"), VALUE, Some(30));
    etcd.put(&path("a/_hidden/x"), OTHER, Some(30));
    etcd.make_directory(&path("empty"));

    let names = [
        "mine",
        "static",
        "deep/down/here",
        "_tcp/_http",
        "a/_hidden/x",
        "empty",
        "none",
        "none/x",
    ];
    let listed = read_many(&store, &names).await;
    for (name, listed) in names.iter().zip(listed) {
        let (single, listed) = (read(&store, name).await.unwrap(), listed.unwrap());
        assert_eq!(single, listed, "{name}");
        let node = etcd.get(&path(name)).filter(|node| !node.dir);
        let found = node.map(|node| (node.value, node.modified, node.ttl.is_none()));
        assert_eq!(
            single.map(|it| (it.value, it.version, it.expiry == Expiry::Never)),
            found,
            "{name}"
        );
    }

    for name in ["deep", "deep/down", "mine/below", "static/far/below"] {
        assert_eq!(kind(read(&store, name).await), StoreErrorKind::Blocked, "{name}");
        let listed = read_many(&store, &[name]).await.remove(0);
        assert_eq!(kind(listed), StoreErrorKind::Blocked, "{name}");
    }
}

#[actix_rt::test]
async fn reads_other_keys_and_a_missing_or_blocked_root() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    let elsewhere = || {
        let keys = (0..20).map(|number| key_of(&format!("skydns/old/domain/{number}")));
        keys.collect::<Vec<_>>()
    };
    assert!(store.read(elsewhere()).await.into_iter().all(|outcome| outcome.unwrap().is_none()));
    etcd.put("skydns/old/domain/7", VALUE, None);
    let found = store.read(elsewhere()).await;
    assert_eq!(found[7].as_ref().unwrap().as_ref().unwrap().value, VALUE);
    assert_eq!(found.iter().filter(|outcome| matches!(outcome, Ok(None))).count(), 19);

    etcd.put(ROOT, OTHER, None);
    let keys = (0..20).map(|number| key(&number.to_string())).collect::<Vec<_>>();
    for outcome in store.read(keys).await {
        assert_eq!(kind(outcome), StoreErrorKind::Blocked);
    }
}

#[actix_rt::test]
async fn name_above_or_below_another_is_blocked() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    etcd.put(&path("httpd"), OTHER, None);
    etcd.put(&path("full/api"), OTHER, None);
    etcd.put(&path("secret/_hidden"), OTHER, None);

    let below = write(&store, put("httpd/api")).await.unwrap_err();
    assert_eq!(below.kind, StoreErrorKind::Blocked);
    assert!(below.message.contains("there is a record at skydns/local/skydns/httpd, above it"));
    let above = write(&store, put("full")).await.unwrap_err();
    assert_eq!(above.kind, StoreErrorKind::Blocked);
    assert!(above.message.contains("such as skydns/local/skydns/full/api"), "{above}");
    assert!(above.message.contains(&etcd.url()), "{above}");

    for blocked in [put("secret"), swap("full", VALUE, None), refresh("full"), refresh("httpd/api")]
    {
        assert_eq!(kind(write(&store, blocked).await), StoreErrorKind::Blocked);
    }
    // A missing record is the intended result of a delete.
    for gone in [delete("full"), delete("httpd/api")] {
        assert_eq!(write(&store, gone).await.unwrap(), WriteOutcome::Missing);
    }
    assert_eq!(etcd.get(&path("httpd")).unwrap().value, OTHER);
    assert_eq!(etcd.get(&path("full/api")).unwrap().value, OTHER);
    assert_eq!(etcd.get(&path("secret/_hidden")).unwrap().value, OTHER);
}

#[actix_rt::test]
async fn empty_directory_counts_as_absent() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    etcd.make_directory(&path("httpd"));
    assert_eq!(write(&store, put("httpd")).await.unwrap(), WriteOutcome::Done);
    assert_eq!(etcd.get(&path("httpd")).unwrap().value, VALUE);
    for gone in [swap("web", VALUE, None), refresh("web")] {
        etcd.make_directory(&path("web"));
        assert_eq!(write(&store, gone).await.unwrap(), WriteOutcome::Missing);
        assert_eq!(etcd.get(&path("web")), None);
    }

    // The state after a child has expired.
    etcd.put(&path("db/primary"), OTHER, Some(1));
    thread::sleep(Duration::from_millis(2500));
    assert!(etcd.get(&path("db")).unwrap().dir);
    assert_eq!(write(&store, put("db")).await.unwrap(), WriteOutcome::Done);
}

#[actix_rt::test]
async fn large_batch_continues_past_a_blocked_key() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    etcd.put(&path("s500/api"), OTHER, None);
    etcd.put(&path("s700"), OTHER, Some(100));
    let names = (0..1000).map(|number| format!("s{number}")).collect::<Vec<_>>();
    let outcomes = store.write(names.iter().map(|name| put(name)).collect()).await;
    assert_eq!(outcomes.len(), 1000);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match number {
            500 => assert_eq!(kind(outcome), StoreErrorKind::Blocked),
            700 => assert_eq!(outcome.unwrap(), WriteOutcome::Conflict),
            _ => assert_eq!(outcome.unwrap(), WriteOutcome::Done, "{number}"),
        }
    }
    let there = etcd.list(ROOT).into_iter().filter(|node| node.value == VALUE).count();
    assert_eq!(there, 998);

    let outcomes = store.write(names.iter().map(|name| refresh(name)).collect()).await;
    assert_eq!(outcomes.iter().filter(|it| matches!(it, Ok(WriteOutcome::Done))).count(), 998);
    let outcomes = store.write(names.iter().map(|name| delete(name)).collect()).await;
    assert_eq!(outcomes.iter().filter(|it| matches!(it, Ok(WriteOutcome::Done))).count(), 998);
    let left = etcd.list(ROOT).into_iter().map(|node| node.key).collect::<Vec<_>>();
    assert_eq!(left, [path("s500"), path("s500/api"), path("s700")]);
}

#[actix_rt::test]
async fn prunes_empty_directories_after_deletes() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    etcd.put(&path("a/b/c/two"), OTHER, None);
    etcd.put(&path("kept/_hidden"), OTHER, None);
    let names = ["a/b/c/one", "a/b/d/e/one", "x/y/one", "x/y/two", "kept/one", "top"];
    for outcome in store.write(names.map(put).to_vec()).await {
        assert_eq!(outcome.unwrap(), WriteOutcome::Done);
    }
    for outcome in store.write(names.map(delete).to_vec()).await {
        assert_eq!(outcome.unwrap(), WriteOutcome::Done);
    }
    let left = etcd.list("skydns").into_iter().map(|node| node.key).collect::<Vec<_>>();
    let expected = ["a", "a/b", "a/b/c", "a/b/c/two", "kept"].map(path);
    assert_eq!(left, [&["skydns/local".to_owned(), ROOT.to_owned()], &expected[..]].concat());
    assert_eq!(etcd.get(&path("kept/_hidden")).unwrap().value, OTHER);

    etcd.remove(ROOT);
    write(&store, put("last/one")).await.unwrap();
    write(&store, delete("last/one")).await.unwrap();
    assert!(etcd.get("skydns").unwrap().dir, "the prefix is kept");
    assert_eq!(etcd.list("skydns"), []);
}

/// The delay of the request that races with a request of the store in this round: from no time to
/// twice the time of the store's last request, on a machine of any speed.
fn racing_delay(round: u32, last_request: Duration) -> Duration {
    last_request * (round % 20) / 10
}

#[actix_rt::test]
async fn pruning_never_deletes_a_concurrent_record() {
    const ROUNDS: u32 = 150;
    let etcd = Arc::new(Etcd::start());
    let store = store(&etcd);
    let mut came_first = 0;
    let mut last_request = Duration::ZERO;
    for round in 0..ROUNDS {
        write(&store, put("dir/mine")).await.unwrap();
        let racer = Arc::clone(&etcd);
        let delay = racing_delay(round, last_request);
        let racing = thread::spawn(move || {
            thread::sleep(delay);
            racer.put(&path("dir/others"), OTHER, None);
        });
        let started = Instant::now();
        assert_eq!(write(&store, delete("dir/mine")).await.unwrap(), WriteOutcome::Done);
        last_request = started.elapsed();
        came_first += u32::from(racing.is_finished());
        racing.join().unwrap();
        let others = etcd.get(&path("dir/others"));
        assert_eq!(others.expect("the record of the other client").value, OTHER, "round {round}");
        etcd.remove(&path("dir"));
    }
    assert!(0 < came_first && came_first < ROUNDS, "no race: {came_first} of {ROUNDS}");
}

#[actix_rt::test]
async fn clearing_empty_directories_keeps_concurrent_records() {
    const ROUNDS: u32 = 100;
    let etcd = Arc::new(Etcd::start());
    let store = store(&etcd);
    let mut created_count = 0;
    let mut last_request = Duration::ZERO;
    for round in 0..ROUNDS {
        etcd.make_directory(&path("name"));
        let racer = Arc::clone(&etcd);
        let delay = racing_delay(round, last_request);
        let racing = thread::spawn(move || {
            thread::sleep(delay);
            racer.request("PUT", &path("name/below?prevExist=false"), Some("value=o")).0
        });
        let started = Instant::now();
        let outcome = write(&store, put("name")).await;
        last_request = started.elapsed();
        let created = racing.join().unwrap() == 201;
        match outcome {
            Ok(WriteOutcome::Done) => assert!(!created, "round {round}: both cannot exist"),
            Err(error) if error.kind == StoreErrorKind::Blocked => assert!(created, "{error}"),
            // The other client wrote between the removal and the put.
            Ok(WriteOutcome::Conflict) => assert!(created, "round {round}"),
            other => panic!("round {round}: {other:?}"),
        }
        if created {
            created_count += 1;
            assert_eq!(etcd.get(&path("name/below")).unwrap().value, "o", "round {round}");
        }
        etcd.remove(&path("name"));
    }
    assert!(0 < created_count && created_count < ROUNDS, "no race: {created_count} of {ROUNDS}");
}

#[actix_rt::test]
async fn preserves_unusual_keys_and_values() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    let long = r#"{"text":"a&b=c;d%20+ %zz \"q\" 'é' 日本 \\ /?#"}"#.repeat(90);
    assert!(long.len() > 4096);
    let values =
        ["&", "%", "+", " ", "a=b&prevExist=true", "\"quoted\"", "日本\u{1f40b}", "\n\t\r", &long];
    let names = [
        "plain",
        "_under",
        "under_score/_deep",
        "with:colon",
        "a b",
        "50%",
        "q?x=1",
        "h#sh",
        "日本",
    ];
    for value in values {
        for name in names {
            assert_eq!(
                write(&store, put_value(name, value)).await.unwrap(),
                WriteOutcome::Done,
                "{name} {value}"
            );
            let found = read(&store, name).await.unwrap().unwrap();
            assert_eq!(found.value, value, "{name}");
            let refresh = Write::Refresh { key: key(name), value: value.into(), ttl: TTL };
            assert_eq!(write(&store, refresh).await.unwrap(), WriteOutcome::Done, "{name} {value}");
            let swap = Write::Put {
                key: key(name),
                value: value.into(),
                ttl: TTL,
                lease: None,
                precondition: Precondition::Equals(expect(value)),
            };
            assert_eq!(write(&store, swap).await.unwrap(), WriteOutcome::Done, "{name} {value}");
            let not_quite = delete_value(name, &format!("{value}x"));
            assert_eq!(write(&store, not_quite).await.unwrap(), WriteOutcome::Conflict);
            assert_eq!(
                write(&store, delete_value(name, value)).await.unwrap(),
                WriteOutcome::Done,
                "{name} {value}"
            );
        }
    }
    assert_eq!(etcd.list("skydns"), []);
}

#[actix_rt::test]
async fn invalid_key_is_rejected_alone() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    etcd.put(&path("empty"), "", None);
    let version = read(&store, "empty").await.unwrap().unwrap().version;
    let huge = "&".repeat(20_000);
    let put_huge = put_value("huge", &huge);
    let longest = put_value("longest", &"&".repeat(16 << 10));
    let outcomes = store.write(vec![
        put("../up"),
        put("a//b"),
        swap("empty", "", None),
        delete_value("empty", ""),
        put_huge,
        longest,
        swap("empty", "", Some(version)),
        put("fine"),
    ]);
    let mut outcomes = outcomes.await;
    for outcome in outcomes.split_off(5) {
        assert_eq!(outcome.unwrap(), WriteOutcome::Done);
    }
    for outcome in outcomes {
        assert_eq!(kind(outcome), StoreErrorKind::Refused);
    }
    let delete = delete_value("longest", &"&".repeat(16 << 10));
    assert_eq!(write(&store, delete).await.unwrap(), WriteOutcome::Done);
}

#[actix_rt::test]
async fn reads_long_and_deep_listings() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    let long = "x".repeat(8000);
    let names = (0..400).map(|number| format!("s{number}")).collect::<Vec<_>>();
    let puts = names.iter().map(|name| put_value(name, &long));
    assert!(store.write(puts.collect()).await.iter().all(Result::is_ok));
    let everything = || names.iter().map(|name| key(name)).collect::<Vec<_>>();
    let holds = |outcome: &Result<Option<StoredRecord>, StoreError>| {
        outcome.as_ref().unwrap().as_ref().unwrap().value == long
    };
    assert!(store.read(everything()).await.iter().all(holds));

    // As deep as a domain name can be, and deeper than the recursion limit of JSON parsers.
    let deep = vec!["d"; 120].join("/");
    assert_eq!(write(&store, put(&deep)).await.unwrap(), WriteOutcome::Done);
    assert!(store.read(everything()).await.iter().all(holds));
    assert_eq!(write(&store, delete(&deep)).await.unwrap(), WriteOutcome::Done);
    assert!(!etcd.list(ROOT).iter().any(|node| node.dir));
}

#[actix_rt::test]
async fn unreachable_etcd_is_unavailable() {
    let mut etcd = Etcd::start();
    let store = store(&etcd);
    write(&store, put("httpd")).await.unwrap();
    etcd.stop();
    // The client must notice the end of the connections.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(kind(store.probe().await), StoreErrorKind::Unavailable);
    for outcome in store.write((0..100).map(|n| put(&format!("s{n}"))).collect()).await {
        assert_eq!(kind(outcome), StoreErrorKind::Unavailable);
    }
    let keys = || (0..100).map(|n| key(&format!("s{n}"))).collect::<Vec<_>>();
    for outcome in store.read(keys()).await {
        assert_eq!(kind(outcome), StoreErrorKind::Unavailable);
    }
    assert_eq!(kind(read(&store, "httpd").await), StoreErrorKind::Unavailable);

    etcd.restart(true);
    store.probe().await.unwrap();
    assert!(store.read(keys()).await.into_iter().all(|outcome| outcome.unwrap().is_none()));
    assert_eq!(write(&store, put("httpd")).await.unwrap(), WriteOutcome::Done);

    for url in ["http://no-such-host.invalid:4001", "http://192.0.2.1:4001"] {
        let store = store_at(url, Duration::from_secs(1));
        let error = store.probe().await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
        assert!(error.message.contains(url), "{error}");
    }
}

#[actix_rt::test]
async fn restart_between_requests_is_harmless_or_unknown() {
    let mut etcd = Etcd::start();
    let store = store(&etcd);
    let names = (0..64).map(|number| format!("s{number}")).collect::<Vec<_>>();
    let refreshes = || names.iter().map(|name| refresh(name)).collect::<Vec<_>>();
    assert!(
        store.write(names.iter().map(|name| put(name)).collect()).await.iter().all(Result::is_ok)
    );
    etcd.kill();
    etcd.restart(false);
    tokio::time::sleep(Duration::from_millis(50)).await;
    for outcome in store.write(refreshes()).await {
        assert_eq!(outcome.unwrap(), WriteOutcome::Done);
    }
    // Without the pause, the client may not yet know that the connections are dead.
    etcd.kill();
    etcd.restart(false);
    let mut tries = 0;
    while store.write(refreshes()).await.iter().any(|outcome| {
        let outcome = outcome.clone();
        outcome.is_err() && kind(outcome).is_outage()
    }) {
        tries += 1;
        assert!(tries < 5, "dead connections are reused repeatedly");
    }
}

/// Whenever etcd dies, a reported success must be a success, and a reported "not sent" must be
/// unsent.
#[actix_rt::test]
async fn kill_during_a_batch_reports_correct_results() {
    let mut etcd = Etcd::start();
    let store = store(&etcd);
    let mut seen = HashSet::new();
    let mut batch_time = None;
    // The first batch shows how long a batch takes.
    for round in 0..=5_u32 {
        let names = (0..2000).map(|number| format!("r{round}-{number}")).collect::<Vec<_>>();
        let pid = etcd.pid().to_string();
        let killer = batch_time.map(|time: Duration| {
            thread::spawn(move || {
                thread::sleep(time * round / 6);
                std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            })
        });
        let started = Instant::now();
        let outcomes = store.write(names.iter().map(|name| put(name)).collect()).await;
        batch_time.get_or_insert(started.elapsed());
        killer.into_iter().for_each(|killer| killer.join().unwrap());
        etcd.kill();
        etcd.restart(false);
        let there = etcd.list(ROOT).into_iter().map(|node| node.key).collect::<HashSet<_>>();
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
        etcd.remove(ROOT);
    }
    assert!(seen.contains("unavailable"), "{seen:?}");
}

#[actix_rt::test]
async fn hung_etcd_is_unknown_after_the_timeout() {
    let etcd = Etcd::start();
    let store = store_at(&etcd.url(), Duration::from_secs(1));
    write(&store, put("httpd")).await.unwrap();
    etcd.pause();
    let started = Instant::now();
    let outcomes = store.write((0..100).map(|n| put(&format!("s{n}"))).collect()).await;
    let took = started.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(6)).contains(&took), "{took:?}");
    let kinds = outcomes.into_iter().map(kind).collect::<Vec<_>>();
    let sent = kinds.iter().filter(|kind| **kind == StoreErrorKind::Unknown).count();
    let unsent = kinds.iter().filter(|kind| **kind == StoreErrorKind::Unavailable).count();
    assert_eq!((sent, unsent), (32, 68));
    assert_eq!(kind(store.probe().await), StoreErrorKind::Unknown);
    etcd.resume();
    store.probe().await.unwrap();
    assert_eq!(write(&store, refresh("httpd")).await.unwrap(), WriteOutcome::Done);
}

#[actix_rt::test]
async fn missing_v2_api_error_names_a_remedy() {
    let etcd = Etcd::start_with(&["--enable-v2=false"]);
    let store = store(&etcd);
    let error = store.probe().await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Malformed);
    assert!(error.message.contains("start etcd with --enable-v2=true"), "{error}");
    assert!(error.message.contains(&etcd.url()), "{error}");
    assert_eq!(kind(write(&store, put("httpd")).await), StoreErrorKind::Malformed);
    assert_eq!(kind(read(&store, "httpd").await), StoreErrorKind::Malformed);
    for outcome in store.read((0..20).map(|n| key(&n.to_string())).collect()).await {
        assert!(kind(outcome).is_outage());
    }
}

/// Returns the error kind of each call if the server always sends this response.
async fn kinds_of(
    reply: impl Fn() -> ScriptedResponse + Send + Sync + 'static,
) -> HashSet<&'static str> {
    let server = ScriptedServer::tcp(move |_| reply());
    let store = store_at(&format!("http://{}", server.authority()), Duration::from_millis(300));
    let mut kinds = HashSet::new();
    for request in [put("a"), swap("a", OTHER, Some(1)), refresh("a"), delete("a")] {
        kinds.insert(kind(write(&store, request).await).as_str());
    }
    kinds.insert(kind(read(&store, "a").await).as_str());
    kinds.insert(kind(store.probe().await).as_str());
    for outcome in store.read((0..20).map(|n| key(&n.to_string())).collect()).await {
        assert!(kind(outcome).is_outage());
    }
    kinds
}

#[actix_rt::test]
async fn foreign_response_is_malformed() {
    assert_eq!(kinds_of(ScriptedResponse::html).await, HashSet::from(["malformed"]));
    assert_eq!(kinds_of(|| ScriptedResponse::json("{}")).await, HashSet::from(["malformed"]));
    assert_eq!(kinds_of(|| ScriptedResponse::status(302, "")).await, HashSet::from(["malformed"]));
    let not_found = || ScriptedResponse::status(404, "404 page not found\n");
    assert_eq!(kinds_of(not_found).await, HashSet::from(["malformed"]));
    let docker = || ScriptedResponse::status(404, r#"{"message":"page not found"}"#);
    assert_eq!(kinds_of(docker).await, HashSet::from(["malformed"]));
}

#[actix_rt::test]
async fn truncated_response_or_server_error_is_unknown() {
    let half = r#"{"action":"set","node":{"key":"/skydns/lo"#;
    assert_eq!(
        kinds_of(move || ScriptedResponse::Truncated { body: half.into() }).await,
        HashSet::from(["unknown"])
    );
    assert_eq!(
        kinds_of(|| ScriptedResponse::Truncated { body: String::new() }).await,
        HashSet::from(["unknown"])
    );
    assert_eq!(kinds_of(|| ScriptedResponse::Hangup).await, HashSet::from(["unknown"]));
    assert_eq!(kinds_of(|| ScriptedResponse::NoResponse).await, HashSet::from(["unknown"]));
    let no_leader = r#"{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0}"#;
    assert_eq!(
        kinds_of(move || ScriptedResponse::status(500, no_leader)).await,
        HashSet::from(["unknown"])
    );
    assert_eq!(
        kinds_of(|| ScriptedResponse::status(503, "<html>")).await,
        HashSet::from(["unknown"])
    );
}

#[actix_rt::test]
async fn denied_key_does_not_affect_others() {
    let server = ScriptedServer::tcp(|request| {
        if request.target.contains("denied") {
            ScriptedResponse::status(
                401,
                r#"{"errorCode":110,"message":"The request requires user authentication","cause":"Insufficient credentials","index":0}"#,
            )
        } else {
            ScriptedResponse::json(CREATED)
        }
    });
    let store = store_at(&format!("http://{}", server.authority()), Duration::from_secs(1));
    let mut outcomes = store.write(vec![put("denied"), put("fine")]).await;
    assert_eq!(outcomes.pop().unwrap().unwrap(), WriteOutcome::Done);
    assert_eq!(kind(outcomes.pop().unwrap()), StoreErrorKind::Refused);
}

#[actix_rt::test]
async fn reuses_connections_and_limits_requests_in_flight() {
    let connections = Arc::new(Mutex::new(HashSet::new()));
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let (seen, high) = (Arc::clone(&connections), Arc::clone(&most));
    let server = ScriptedServer::tcp(move |_| {
        // The server uses one thread per connection.
        seen.lock().unwrap().insert(thread::current().id());
        high.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(30));
        now.fetch_sub(1, Ordering::SeqCst);
        ScriptedResponse::json(CREATED)
    });
    let store = store_at(&format!("http://{}", server.authority()), Duration::from_secs(10));
    for _ in 0..2 {
        let writes = (0..160).map(|number| put(&format!("s{number}"))).collect();
        assert!(store.write(writes).await.iter().all(Result::is_ok));
    }
    assert_eq!(server.requests().len(), 320);
    // A server slowed down by other tests may not see all 32 requests at once.
    let most = most.load(Ordering::SeqCst);
    assert!((16..=32).contains(&most), "{most} in flight at a time");
    let connections = connections.lock().unwrap().len();
    assert!((16..=32).contains(&connections), "{connections} connections");
}

#[actix_rt::test]
async fn never_follows_a_redirect() {
    let elsewhere = ScriptedServer::tcp(|_| ScriptedResponse::json(CREATED));
    let location = format!("http://{}/v2/keys/skydns", elsewhere.authority());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let answer = format!(
                "HTTP/1.1 307 Elsewhere\r\nLocation: {location}\r\nConnection: close\r\n\
                 Content-Length: 0\r\n\r\n"
            );
            // The client may have closed the connection.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let store = store_at(&url, Duration::from_secs(2));
    for request in [put("a"), refresh("a"), delete("a")] {
        assert!(kind(write(&store, request).await).is_uncertain());
    }
    assert_eq!(elsewhere.requests().len(), 0);
}

#[actix_rt::test]
async fn reads_many_keys_with_one_request() {
    let value = "x".repeat(1 << 20);
    let nodes = (0..5).map(|n| {
        format!(r#"{{"key":"/{ROOT}/{n}","value":"{value}","modifiedIndex":7,"createdIndex":7}}"#)
    });
    let nodes = nodes.collect::<Vec<_>>().join(",");
    let listing =
        format!(r#"{{"action":"get","node":{{"key":"/{ROOT}","dir":true,"nodes":[{nodes}]}}}}"#);
    let server = ScriptedServer::tcp(move |_| ScriptedResponse::json(listing.clone()));
    let store = store_at(&format!("http://{}", server.authority()), Duration::from_secs(10));
    let outcomes = store.read((0..20).map(|n| key(&n.to_string())).collect()).await;
    let found = outcomes.into_iter().filter(|outcome| outcome.as_ref().unwrap().is_some());
    assert_eq!(found.count(), 5);
    let targets = server.requests().into_iter().map(|it| it.target).collect::<Vec<_>>();
    assert_eq!(targets, [format!("/v2/keys/{ROOT}?quorum=true&recursive=true")]);
}

#[actix_rt::test]
async fn watch_ends_when_etcd_dies() {
    let mut etcd = Etcd::start();
    let mut changes = store(&etcd).watch().await.unwrap();
    let waiting = actix_rt::spawn(async move {
        let ended = changes.next().await.unwrap();
        (kind(ended), changes.next().await.is_none(), Instant::now())
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished());
    let killed = Instant::now();
    etcd.kill();
    let (kind, is_over, ended) = waiting.await.unwrap();
    assert!(kind.is_outage() && is_over);
    assert!(ended - killed < Duration::from_secs(3), "{:?}", ended - killed);
}

#[actix_rt::test]
async fn watch_ends_when_the_root_is_removed() {
    for removed in [ROOT, "skydns"] {
        let etcd = Etcd::start();
        let store = store(&etcd);
        write(&store, put("httpd")).await.unwrap();
        let mut changes = store.watch().await.unwrap();
        etcd.remove(removed);
        let error = changes.next().await.unwrap().unwrap_err();
        assert!(error.message.contains("was removed with its content"), "{error}");
    }
}

#[actix_rt::test]
async fn watch_reports_directories_but_no_refreshes() {
    let etcd = Etcd::start();
    let store = store(&etcd);
    write(&store, put("httpd/one")).await.unwrap();
    let mut changes = store.watch().await.unwrap();
    assert_eq!(write(&store, refresh("httpd/one")).await.unwrap(), WriteOutcome::Done);
    etcd.remove(&path("httpd"));
    assert_eq!(changes.next().await.unwrap().unwrap(), Change { key: key("httpd"), now: None });
}

#[actix_rt::test]
async fn watch_ends_if_events_were_missed() {
    let cleared = r#"{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared [9/8]","index":1008}"#;
    let event = format!(
        r#"{{"action":"set","node":{{"key":"/{ROOT}/a","value":"x","modifiedIndex":8,"createdIndex":8}}}}"#
    );
    let waits = AtomicUsize::new(0);
    let server = ScriptedServer::tcp(move |request| {
        if !request.target.contains("wait=true") {
            let missing = r#"{"errorCode":100,"message":"m","cause":"/skydns","index":7}"#;
            let head = format!(
                "HTTP/1.1 404 Not Found\r\nX-Etcd-Index: 7\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{missing}",
                missing.len()
            );
            return ScriptedResponse::Raw(head.into_bytes());
        }
        match waits.fetch_add(1, Ordering::SeqCst) {
            0 => ScriptedResponse::json(event.clone()),
            _ => ScriptedResponse::status(400, cleared),
        }
    });
    let store = store_at(&format!("http://{}", server.authority()), Duration::from_secs(1));
    let mut changes = store.watch().await.unwrap();
    assert_eq!(changes.next().await.unwrap().unwrap().now.unwrap().value, "x");
    assert!(kind(changes.next().await.unwrap()).is_outage());
    assert!(changes.next().await.is_none());
    let waited = server.requests().into_iter().map(|request| request.target);
    let waited = waited.filter_map(|target| target.split("waitIndex=").nth(1).map(str::to_owned));
    assert_eq!(waited.collect::<Vec<_>>(), ["8", "9"]);
}
