//! Against scripted servers.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highhock::docker::{
    ApiVersion, DEFAULT_TIMEOUT, Docker, DockerOptions, Endpoint, VersionChoice,
};
use highhock::tls::TlsFiles;
use highhock_actors::{ContainerSource, SourceError, SourceErrorKind};
use slog::{Drain, Logger, Never, OwnedKVList, Record, o};
use tokio::time::Instant;

use crate::client;
use crate::support::TempDir;
use crate::support::scripted_server::{Canned, Reply, Request};

const EMPTY: &str = "[]";

/// An engine that speaks these versions, and answers all else by `script`.
pub fn engine(
    oldest: &'static str,
    newest: &'static str,
    script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Canned {
    Canned::tcp(move |request| match request.target.as_str() {
        "/version" => version(oldest, newest),
        _ => script(request),
    })
}

fn version(oldest: &str, newest: &str) -> Reply {
    Reply::json(format!(r#"{{"ApiVersion":"{newest}","MinAPIVersion":"{oldest}","Version":"x"}}"#))
}

pub fn docker(server: &Canned) -> Docker {
    let endpoint = Endpoint::Tcp(server.authority());
    client(endpoint, VersionChoice::Auto, DEFAULT_TIMEOUT)
}

pub fn impatient(server: &Canned) -> Docker {
    let endpoint = Endpoint::Tcp(server.authority());
    client(endpoint, VersionChoice::Auto, Duration::from_millis(300))
}

/// One line of this kind that says this, and names the engine.
#[track_caller]
pub fn check(error: &SourceError, kind: SourceErrorKind, said: &str) {
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(said), "{said:?} in {error}");
    assert!(error.message.starts_with("Docker at "), "{error}");
    assert_eq!(error.message.lines().count(), 1, "{error}");
}

/// The error that a listing ends with where the engine answers it so.
async fn listing_fails(reply: impl Fn() -> Reply + Send + Sync + 'static) -> SourceError {
    let server = engine("1.24", "1.41", move |_| reply());
    impatient(&server).list().await.unwrap_err()
}

#[actix_rt::test]
async fn what_is_no_listing_is_malformed() {
    use SourceErrorKind::Malformed;
    check(&listing_fails(Reply::html).await, Malformed, "not JSON but text/html");
    let error = listing_fails(|| Reply::json(r#"{"message":"hello"}"#)).await;
    check(&error, Malformed, "not the listing of containers");
    check(&listing_fails(|| Reply::json("null")).await, Malformed, "not the listing");
    check(&listing_fails(|| Reply::json("")).await, Malformed, "broke off after 0 bytes");
    check(&listing_fails(|| Reply::status(404, "nothing here")).await, Malformed, "404 Not Found");
    check(&listing_fails(|| Reply::status(418, "")).await, Malformed, "418");
}

#[actix_rt::test]
async fn an_engine_that_makes_up_an_id_for_each_answer_has_none() {
    let asked = AtomicUsize::new(0);
    let server = Canned::tcp(move |request| match request.target.as_str() {
        "/version" => Reply::json(
            r#"{"ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[{"Name":"Podman Engine"}]}"#,
        ),
        _ => {
            let id = asked.fetch_add(1, Ordering::SeqCst);
            Reply::json(format!(r#"{{"ID":"{id}","DockerRootDir":"/r"}}"#))
        }
    });
    let docker = docker(&server);
    let engine = docker.engine().await.unwrap();
    assert_eq!((engine.id.as_str(), engine.root_dir.as_str()), ("", "/r"));
    assert_eq!(docker.identity().await.unwrap(), docker.identity().await.unwrap());
}

#[actix_rt::test]
async fn html_in_place_of_the_version_is_malformed() {
    let server = Canned::tcp(|_| Reply::html());
    let error = docker(&server).list().await.unwrap_err();
    check(&error, SourceErrorKind::Malformed, "GET /version: the answer is not JSON");
}

#[actix_rt::test]
async fn half_a_body_is_malformed() {
    let half = || Reply::CutOff { body: r#"[{"Id":"abc","Nam"#.into() };
    check(&listing_fails(half).await, SourceErrorKind::Malformed, "broke off after 17 bytes");
    let chunked = || {
        Reply::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{\"Id\r\n".into())
    };
    check(&listing_fails(chunked).await, SourceErrorKind::Malformed, "broke off after 5 bytes");
}

#[actix_rt::test]
async fn one_row_that_cannot_be_read_spoils_the_listing_loudly() {
    let reply = || Reply::json(r#"[{"Id":"good"},{"Id":7},{"Id":"good, too"}]"#);
    let error = listing_fails(reply).await;
    check(&error, SourceErrorKind::Malformed, "invalid type: integer `7`, expected a string");
}

#[actix_rt::test]
async fn silence_ends_in_a_time_out() {
    use SourceErrorKind::Unreachable;
    let started = Instant::now();
    check(&listing_fails(|| Reply::Silence).await, Unreachable, "no answer within 300ms");
    let stall = || Reply::Stall { body: "[".into() };
    check(&listing_fails(stall).await, Unreachable, "no answer within 300ms");
    let server = Canned::tcp(|_| Reply::Silence);
    let error = impatient(&server).list().await.unwrap_err();
    check(&error, Unreachable, "GET /version: no answer within 300ms");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[actix_rt::test]
async fn a_hangup_is_an_engine_that_is_away() {
    let error = listing_fails(|| Reply::Hangup).await;
    check(&error, SourceErrorKind::Unreachable, "closed without an answer");
    let half_a_head = || Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-".into());
    check(&listing_fails(half_a_head).await, SourceErrorKind::Unreachable, "connection was lost");
}

#[actix_rt::test]
async fn errors_of_the_engine_are_quoted_in_one_line() {
    use SourceErrorKind::{Refused, Unreachable};
    let long = format!(r#"{{"message":"disk\nfull {}"}}"#, "x".repeat(10_000));
    let error = listing_fails(move || Reply::status(500, long.clone())).await;
    check(&error, Unreachable, "answered 500 Internal Server Error: disk full xxx");
    assert!(error.message.chars().count() < 400, "{error}");
    let error = listing_fails(|| Reply::status(503, "busy")).await;
    check(&error, Unreachable, "503");
    let plugin = || Reply::status(403, r#"{"message":"authorization denied by plugin"}"#);
    check(&listing_fails(plugin).await, Refused, "denied by plugin");
}

#[actix_rt::test]
async fn a_port_that_wants_tls_says_so() {
    let go = || {
        let text = "Client sent an HTTP request to an HTTPS server.\n";
        Reply::Raw(format!("HTTP/1.0 400 Bad Request\r\n\r\n{text}").into_bytes())
    };
    let server = Canned::tcp(move |_| go());
    let error = docker(&server).list().await.unwrap_err();
    check(&error, SourceErrorKind::Refused, "wants TLS");
    // Other servers answer in TLS: an alert, "unexpected message".
    let server = Canned::tcp(|_| Reply::Raw(b"\x15\x03\x03\x00\x02\x02\x0a".into()));
    let error = docker(&server).list().await.unwrap_err();
    check(&error, SourceErrorKind::Malformed, "is this a TLS port");
}

#[actix_rt::test]
async fn a_redirect_is_not_followed() {
    let moved = "HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let server = engine("1.24", "1.41", move |_| Reply::Raw(moved.into()));
    let error = docker(&server).list().await.unwrap_err();
    check(&error, SourceErrorKind::Malformed, "a redirect to \"/elsewhere\"");
    let targets: Vec<_> = server.requests().into_iter().map(|it| it.target).collect();
    assert_eq!(targets, ["/version", "/v1.41/containers/json"]);
}

#[actix_rt::test]
async fn an_engine_too_new_or_too_old_says_so() {
    for (oldest, newest, said) in [
        ("1.90", "1.99", "too new: it speaks Docker API 1.90 to 1.99"),
        ("1.12", "1.23", "too old: it speaks Docker API 1.12 to 1.23"),
    ] {
        let server = engine(oldest, newest, |_| Reply::json(EMPTY));
        let docker = docker(&server);
        for _ in 0..2 {
            let error = docker.list().await.unwrap_err();
            check(&error, SourceErrorKind::Refused, said);
        }
        assert!(server.requests().iter().all(|request| request.target == "/version"));
    }
}

#[actix_rt::test]
async fn a_version_is_negotiated_once_and_connections_are_reused() {
    let server = engine("1.24", "1.41", |_| Reply::json(EMPTY));
    let docker = docker(&server);
    for _ in 0..3 {
        assert!(docker.list().await.unwrap().is_empty());
    }
    let targets: Vec<_> = server.requests().into_iter().map(|it| it.target).collect();
    let list = "/v1.41/containers/json";
    assert_eq!(targets, ["/version", list, list, list]);
    assert_eq!(server.connections(), 1);
}

#[actix_rt::test]
async fn an_exchanged_engine_is_asked_for_its_version_again() {
    // An upgrade between two questions: the old version is refused.
    let upgraded = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&upgraded);
    let server = Canned::tcp(move |request| {
        let upgraded = now.load(Ordering::SeqCst) > 0;
        match request.target.as_str() {
            "/version" if upgraded => version("1.44", "1.50"),
            "/version" => version("1.12", "1.41"),
            "/v1.41/containers/json" if upgraded => Reply::status(
                400,
                r#"{"message":"client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version"}"#,
            ),
            _ => Reply::json(EMPTY),
        }
    });
    let docker = docker(&server);
    docker.list().await.unwrap();
    upgraded.store(1, Ordering::SeqCst);
    docker.list().await.unwrap();
    assert_eq!(docker.api_version().await.unwrap().to_string(), "1.50");
}

#[actix_rt::test]
async fn an_engine_that_was_away_is_asked_for_its_version_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = engine("1.24", "1.41", move |_| match count.fetch_add(1, Ordering::SeqCst) {
        1 => Reply::Hangup,
        _ => Reply::json(EMPTY),
    });
    let docker = docker(&server);
    docker.list().await.unwrap();
    docker.list().await.unwrap_err();
    docker.list().await.unwrap();
    let versions = server.requests().iter().filter(|it| it.target == "/version").count();
    assert_eq!(versions, 2);
}

#[actix_rt::test]
async fn an_engine_that_refuses_what_it_offered_is_not_asked_for_ever() {
    let refusal = || Reply::status(400, r#"{"message":"client version 1.41 is too new."}"#);
    let server = engine("1.24", "1.41", move |_| refusal());
    let error = docker(&server).list().await.unwrap_err();
    check(&error, SourceErrorKind::Refused, "client version 1.41 is too new.");
    assert_eq!(server.requests().len(), 4);
}

#[actix_rt::test]
async fn a_fixed_version_is_spoken() {
    let server = engine("1.24", "1.41", |_| Reply::json(EMPTY));
    let endpoint = Endpoint::Tcp(server.authority());
    let fixed = VersionChoice::Exactly(ApiVersion { major: 1, minor: 30 });
    client(endpoint, fixed, DEFAULT_TIMEOUT).list().await.unwrap();
    assert_eq!(server.requests()[1].target, "/v1.30/containers/json");
}

#[actix_rt::test]
async fn only_an_engines_own_404_means_that_a_container_is_unknown() {
    let unknown = r#"{"message":"No such container: abc"}"#;
    let server = engine("1.24", "1.41", move |_| Reply::status(404, unknown));
    assert!(docker(&server).inspect("abc").await.unwrap().is_none());
    let server = engine("1.24", "1.41", |_| Reply::status(404, "<html>Not found</html>"));
    let error = docker(&server).inspect("abc").await.unwrap_err();
    check(&error, SourceErrorKind::Malformed, "404 Not Found");
}

#[actix_rt::test]
async fn an_inspection_with_odd_values_is_malformed() {
    let server = engine("1.24", "1.41", |_| {
        Reply::json(
            r#"{"Id":"abc","Name":"/a","State":{"Status":"undead","StartedAt":""},"Config":{}}"#,
        )
    });
    let error = docker(&server).inspect("abc").await.unwrap_err();
    check(&error, SourceErrorKind::Malformed, "State.Status is \"undead\"");
}

#[actix_rt::test]
async fn a_target_is_one_segment_of_the_path() {
    let unknown = r#"{"message":"No such container: abc"}"#;
    let server = engine("1.24", "1.41", move |_| Reply::status(404, unknown));
    docker(&server).inspect("../info?a b").await.unwrap();
    assert_eq!(server.requests()[1].target, "/v1.41/containers/..%2Finfo%3Fa%20b/json");
}

#[actix_rt::test]
async fn a_listing_of_many_mebibytes_is_read() {
    let mut body = String::from("[");
    for number in 0..10_000 {
        let label = "x".repeat(1000);
        write!(body, r#"{{"Id":"{number:064}","Labels":{{"a":"{label}"}}}},"#).unwrap();
    }
    body.pop();
    body.push(']');
    assert!(body.len() > 10 << 20);
    let server = engine("1.24", "1.41", move |_| Reply::json(body.clone()));
    assert_eq!(docker(&server).list().await.unwrap().len(), 10_000);
}

#[actix_rt::test]
async fn questions_may_be_asked_at_a_time() {
    let server = engine("1.24", "1.41", |request| match request.target.as_str() {
        "/v1.41/containers/json" => Reply::json(EMPTY),
        _ => Reply::status(404, r#"{"message":"No such container: abc"}"#),
    });
    let docker = docker(&server);
    let (list, one, two) =
        tokio::join!(docker.list(), docker.inspect("abc"), docker.inspect("def"));
    assert!(list.unwrap().is_empty() && one.unwrap().is_none() && two.unwrap().is_none());
}

#[actix_rt::test]
async fn an_engine_is_asked_over_a_unix_socket() {
    let folder = TempDir::new();
    let path = folder.0.join("docker.sock");
    let endpoint = Endpoint::Unix(path.clone());
    let docker = client(endpoint, VersionChoice::Auto, DEFAULT_TIMEOUT);
    let error = docker.list().await.unwrap_err();
    check(&error, SourceErrorKind::Unreachable, "there is no such socket");
    // A file where a socket should be.
    std::fs::write(&path, "").unwrap();
    let error = docker.list().await.unwrap_err();
    check(&error, SourceErrorKind::Unreachable, "connection refused");
    std::fs::remove_file(&path).unwrap();
    let _server = Canned::unix(&path, |request| match request.target.as_str() {
        "/version" => version("1.24", "1.41"),
        _ => Reply::json(EMPTY),
    });
    assert!(docker.list().await.unwrap().is_empty());
}

/// Keeps a log's lines: message, then the fields.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Drain for Lines {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        struct Fields(String);
        impl slog::Serializer for Fields {
            fn emit_arguments(
                &mut self,
                key: slog::Key,
                value: &std::fmt::Arguments<'_>,
            ) -> slog::Result {
                self.0 = format!(" {key}={value}{}", self.0);
                Ok(())
            }
        }
        let mut fields = Fields(String::new());
        slog::KV::serialize(&record.kv(), record, &mut fields).unwrap();
        self.0.lock().unwrap().push(format!("{}{}", record.msg(), fields.0));
        Ok(())
    }
}

#[actix_rt::test]
async fn each_request_is_logged() {
    let server = engine("1.24", "1.41", |_| Reply::Hangup);
    let lines = Lines::default();
    let options = DockerOptions {
        endpoint: Endpoint::Tcp(server.authority()),
        version: VersionChoice::Auto,
        tls: TlsFiles::default(),
        timeout: DEFAULT_TIMEOUT,
    };
    let docker = Docker::new(options, Logger::root(lines.clone(), o!())).unwrap();
    docker.list().await.unwrap_err();
    let lines = lines.0.lock().unwrap();
    for (line, start) in [
        (&lines[0], "docker request method=GET path=/version status=200 ms="),
        (&lines[2], "docker request method=GET path=/v1.41/containers/json status=unreachable ms="),
    ] {
        assert!(line.starts_with(start), "{line}");
    }
}
