//! The Docker client with scripted servers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use highhock::docker::{
    ApiVersion, DEFAULT_TIMEOUT, DockerClient, DockerOptions, Endpoint, VersionChoice,
};
use highhock::tls::TlsFiles;
use highhock_actors::{ContainerSource, SourceError, SourceErrorKind};
use slog::{Drain, Logger, Never, OwnedKVList, Record, o};
use tokio::time::Instant;

use crate::client;
use crate::support::TempDir;
use crate::support::scripted_server::{ReceivedRequest, ScriptedResponse, ScriptedServer};

const EMPTY_LISTING: &str = "[]";

/// Starts an engine that supports these API versions, and answers all other requests by
/// `script`.
pub fn engine(
    oldest: &'static str,
    newest: &'static str,
    script: impl Fn(&ReceivedRequest) -> ScriptedResponse + Send + Sync + 'static,
) -> ScriptedServer {
    ScriptedServer::tcp(move |request| match request.target.as_str() {
        "/version" => version(oldest, newest),
        _ => script(request),
    })
}

fn version(oldest: &str, newest: &str) -> ScriptedResponse {
    ScriptedResponse::json(format!(
        r#"{{"ApiVersion":"{newest}","MinAPIVersion":"{oldest}","Version":"x"}}"#
    ))
}

pub fn docker(server: &ScriptedServer) -> DockerClient {
    let endpoint = Endpoint::Tcp(server.authority());
    client(endpoint, VersionChoice::Auto, DEFAULT_TIMEOUT)
}

pub fn short_timeout_client(server: &ScriptedServer) -> DockerClient {
    let endpoint = Endpoint::Tcp(server.authority());
    client(endpoint, VersionChoice::Auto, Duration::from_millis(300))
}

/// Checks that the error is one line of this kind, contains this text and names the engine.
#[track_caller]
pub fn assert_error(error: &SourceError, kind: SourceErrorKind, text: &str) {
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(text), "{text:?} in {error}");
    assert!(error.message.starts_with("Docker at "), "{error}");
    assert_eq!(error.message.lines().count(), 1, "{error}");
}

/// Returns the error of a listing for which the engine sends this response.
async fn listing_fails(
    reply: impl Fn() -> ScriptedResponse + Send + Sync + 'static,
) -> SourceError {
    let server = engine("1.24", "1.41", move |_| reply());
    short_timeout_client(&server).list().await.unwrap_err()
}

#[actix_rt::test]
async fn rejects_malformed_listings() {
    use SourceErrorKind::Malformed;
    assert_error(&listing_fails(ScriptedResponse::html).await, Malformed, "not JSON but text/html");
    let error = listing_fails(|| ScriptedResponse::json(r#"{"message":"hello"}"#)).await;
    assert_error(&error, Malformed, "not the listing of containers");
    assert_error(
        &listing_fails(|| ScriptedResponse::json("null")).await,
        Malformed,
        "not the listing",
    );
    assert_error(
        &listing_fails(|| ScriptedResponse::json("")).await,
        Malformed,
        "cut off after 0 bytes",
    );
    assert_error(
        &listing_fails(|| ScriptedResponse::status(404, "nothing here")).await,
        Malformed,
        "404 Not Found",
    );
    assert_error(&listing_fails(|| ScriptedResponse::status(418, "")).await, Malformed, "418");
}

#[actix_rt::test]
async fn changing_engine_id_is_ignored() {
    let asked = AtomicUsize::new(0);
    let server = ScriptedServer::tcp(move |request| match request.target.as_str() {
        "/version" => ScriptedResponse::json(
            r#"{"ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[{"Name":"Podman Engine"}]}"#,
        ),
        _ => {
            let id = asked.fetch_add(1, Ordering::SeqCst);
            ScriptedResponse::json(format!(r#"{{"ID":"{id}","DockerRootDir":"/r"}}"#))
        }
    });
    let docker = docker(&server);
    let engine = docker.engine().await.unwrap().unwrap();
    assert_eq!((engine.id.as_str(), engine.root_dir.as_str()), ("", "/r"));
    assert_eq!(docker.identity().await.unwrap(), docker.identity().await.unwrap());
}

#[actix_rt::test]
async fn rejects_html_version_response() {
    let server = ScriptedServer::tcp(|_| ScriptedResponse::html());
    let error = docker(&server).list().await.unwrap_err();
    assert_error(&error, SourceErrorKind::Malformed, "GET /version: the response is not JSON");
}

#[actix_rt::test]
async fn rejects_truncated_body() {
    let half = || ScriptedResponse::Truncated { body: r#"[{"Id":"abc","Nam"#.into() };
    assert_error(&listing_fails(half).await, SourceErrorKind::Malformed, "cut off after 17 bytes");
    let chunked = || {
        ScriptedResponse::Raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{\"Id\r\n".into(),
        )
    };
    assert_error(
        &listing_fails(chunked).await,
        SourceErrorKind::Malformed,
        "cut off after 5 bytes",
    );
}

#[actix_rt::test]
async fn unreadable_row_costs_only_its_container() {
    let big = format!(r#"{{"Id":"big","Labels":{{"a":"{}"}}}}"#, "x".repeat(33 << 20));
    let body = format!(
        r#"[{{"Id":"one"}},{{"Id":"bad","Ports":7}},{{"Id":7}},{big},{{"Id":"cut","Names":x}},{{"Id":"two"}}]"#
    );
    let server = engine("1.24", "1.41", move |_| ScriptedResponse::json(body.clone()));
    let endpoint = Endpoint::Tcp(server.authority());
    let docker = client(endpoint, VersionChoice::Auto, Duration::from_secs(300));
    let listing = docker.list().await.unwrap();
    let ids: Vec<_> = listing.containers.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["one", "bad", "big", "cut", "two"]);
    let unreadable: Vec<_> = listing.unreadable.iter().collect();
    let ids: Vec<_> =
        unreadable.iter().map(|it| it.container.as_ref().map(|it| it.as_str())).collect();
    assert_eq!(ids, [Some("bad"), None, Some("big"), Some("cut")]);
    assert!(unreadable[1].reason.contains("integer `7`, expected a string"), "{unreadable:?}");
    assert!(unreadable[2].reason.contains("longer than 32 MiB"), "{unreadable:?}");
    assert_eq!(listing.unnamed_rows(), 1);
}

#[actix_rt::test]
async fn listing_without_any_id_is_malformed() {
    let error = listing_fails(|| ScriptedResponse::json(r#"[{"Id":7},1]"#)).await;
    assert_error(&error, SourceErrorKind::Malformed, "integer `7`, expected a string");
}

#[actix_rt::test]
async fn unanswered_request_times_out() {
    use SourceErrorKind::Unreachable;
    let started = Instant::now();
    assert_error(
        &listing_fails(|| ScriptedResponse::NoResponse).await,
        Unreachable,
        "no response within 300ms (docker.timeout)",
    );
    let stall = || ScriptedResponse::Stall { body: "[".into() };
    assert_error(&listing_fails(stall).await, Unreachable, "no response within 300ms");
    let server = ScriptedServer::tcp(|_| ScriptedResponse::NoResponse);
    let error = short_timeout_client(&server).list().await.unwrap_err();
    assert_error(&error, Unreachable, "GET /version: no response within 300ms");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[actix_rt::test]
async fn closed_connection_is_unreachable() {
    let error = listing_fails(|| ScriptedResponse::Hangup).await;
    assert_error(&error, SourceErrorKind::Unreachable, "closed before a response");
    let half_a_head = || ScriptedResponse::Raw(b"HTTP/1.1 200 OK\r\nContent-".into());
    assert_error(
        &listing_fails(half_a_head).await,
        SourceErrorKind::Unreachable,
        "connection was lost",
    );
}

#[actix_rt::test]
async fn quotes_engine_errors_in_one_line() {
    use SourceErrorKind::{Refused, Unreachable};
    let long = format!(r#"{{"message":"disk\nfull {}"}}"#, "x".repeat(10_000));
    let error = listing_fails(move || ScriptedResponse::status(500, long.clone())).await;
    assert_error(&error, Unreachable, "status 500 Internal Server Error: disk full xxx");
    assert!(error.message.chars().count() < 400, "{error}");
    let error = listing_fails(|| ScriptedResponse::status(503, "busy")).await;
    assert_error(&error, Unreachable, "503");
    let plugin =
        || ScriptedResponse::status(403, r#"{"message":"authorization denied by plugin"}"#);
    assert_error(&listing_fails(plugin).await, Refused, "denied by plugin");
}

#[actix_rt::test]
async fn plain_request_to_a_tls_port_names_the_setting() {
    let go = || {
        let text = "Client sent an HTTP request to an HTTPS server.\n";
        ScriptedResponse::Raw(format!("HTTP/1.0 400 Bad Request\r\n\r\n{text}").into_bytes())
    };
    let server = ScriptedServer::tcp(move |_| go());
    let error = docker(&server).list().await.unwrap_err();
    assert_error(&error, SourceErrorKind::Refused, "requires TLS");
    // The response of other TLS servers: the alert "unexpected_message".
    let server =
        ScriptedServer::tcp(|_| ScriptedResponse::Raw(b"\x15\x03\x03\x00\x02\x02\x0a".into()));
    let error = docker(&server).list().await.unwrap_err();
    assert_error(&error, SourceErrorKind::Malformed, "use https:// for TLS");
}

#[actix_rt::test]
async fn does_not_follow_redirects() {
    let moved = "HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let server = engine("1.24", "1.41", move |_| ScriptedResponse::Raw(moved.into()));
    let error = docker(&server).list().await.unwrap_err();
    assert_error(&error, SourceErrorKind::Malformed, "a redirect to \"/elsewhere\"");
    let targets: Vec<_> = server.requests().into_iter().map(|it| it.target).collect();
    assert_eq!(targets, ["/version", "/v1.41/containers/json"]);
}

#[actix_rt::test]
async fn reports_engine_as_too_new_or_too_old() {
    for (oldest, newest, text) in [
        ("1.90", "1.99", "too new: it supports Docker API 1.90 to 1.99"),
        ("1.12", "1.23", "too old: it supports Docker API 1.12 to 1.23"),
    ] {
        let server = engine(oldest, newest, |_| ScriptedResponse::json(EMPTY_LISTING));
        let docker = docker(&server);
        for _ in 0..2 {
            let error = docker.list().await.unwrap_err();
            assert_error(&error, SourceErrorKind::Refused, text);
        }
        assert!(server.requests().iter().all(|request| request.target == "/version"));
    }
}

#[actix_rt::test]
async fn negotiates_once_and_reuses_connections() {
    let server = engine("1.24", "1.41", |_| ScriptedResponse::json(EMPTY_LISTING));
    let docker = docker(&server);
    for _ in 0..3 {
        assert!(docker.list().await.unwrap().containers.is_empty());
    }
    let targets: Vec<_> = server.requests().into_iter().map(|it| it.target).collect();
    let list = "/v1.41/containers/json";
    assert_eq!(targets, ["/version", list, list, list]);
    assert_eq!(server.connections(), 1);
}

#[actix_rt::test]
async fn negotiates_again_with_a_replaced_engine() {
    // The engine is upgraded between two requests and refuses the old version.
    let upgraded = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&upgraded);
    let server = ScriptedServer::tcp(move |request| {
        let upgraded = now.load(Ordering::SeqCst) > 0;
        match request.target.as_str() {
            "/version" if upgraded => version("1.44", "1.50"),
            "/version" => version("1.12", "1.41"),
            "/v1.41/containers/json" if upgraded => ScriptedResponse::status(
                400,
                r#"{"message":"client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade your client to a newer version"}"#,
            ),
            _ => ScriptedResponse::json(EMPTY_LISTING),
        }
    });
    let docker = docker(&server);
    docker.list().await.unwrap();
    upgraded.store(1, Ordering::SeqCst);
    docker.list().await.unwrap();
    assert_eq!(docker.api_version().await.unwrap().to_string(), "1.50");
}

#[actix_rt::test]
async fn negotiates_again_after_an_outage() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = engine("1.24", "1.41", move |_| match count.fetch_add(1, Ordering::SeqCst) {
        1 => ScriptedResponse::Hangup,
        _ => ScriptedResponse::json(EMPTY_LISTING),
    });
    let docker = docker(&server);
    docker.list().await.unwrap();
    docker.list().await.unwrap_err();
    docker.list().await.unwrap();
    let versions = server.requests().iter().filter(|it| it.target == "/version").count();
    assert_eq!(versions, 2);
}

#[actix_rt::test]
async fn stops_negotiating_if_the_engine_rejects_its_own_offer() {
    let refusal =
        || ScriptedResponse::status(400, r#"{"message":"client version 1.41 is too new."}"#);
    let server = engine("1.24", "1.41", move |_| refusal());
    let error = docker(&server).list().await.unwrap_err();
    assert_error(&error, SourceErrorKind::Refused, "client version 1.41 is too new.");
    assert_eq!(server.requests().len(), 4);
}

#[actix_rt::test]
async fn uses_the_configured_version() {
    let server = engine("1.24", "1.41", |_| ScriptedResponse::json(EMPTY_LISTING));
    let endpoint = Endpoint::Tcp(server.authority());
    let fixed = VersionChoice::Exactly(ApiVersion { major: 1, minor: 30 });
    client(endpoint, fixed, DEFAULT_TIMEOUT).list().await.unwrap();
    assert_eq!(server.requests()[1].target, "/v1.30/containers/json");
}

fn pinned(server: &ScriptedServer, minor: u16) -> DockerClient {
    let endpoint = Endpoint::Tcp(server.authority());
    let version = VersionChoice::Exactly(ApiVersion { major: 1, minor });
    client(endpoint, version, DEFAULT_TIMEOUT)
}

#[actix_rt::test]
async fn replaces_a_configured_version_that_is_not_shared() {
    for minor in [16, 23, 42, 99] {
        let server = engine("1.24", "1.41", |_| ScriptedResponse::json(EMPTY_LISTING));
        let docker = pinned(&server, minor);
        docker.list().await.unwrap();
        assert_eq!(server.requests()[1].target, "/v1.41/containers/json");
        assert_eq!(docker.replaced_version(), Some(ApiVersion { major: 1, minor }));
    }
}

#[actix_rt::test]
async fn replaces_a_configured_version_that_an_upgraded_engine_rejects() {
    // The text of old requests is no JSON.
    let text = "client version 1.30 is too old. Minimum supported API version is 1.40";
    for refusal in [text.to_owned(), format!(r#"{{"message":"{text}"}}"#)] {
        let upgraded = Arc::new(AtomicUsize::new(0));
        let now = Arc::clone(&upgraded);
        // The proxy refuses `/version`, so the oldest version is unknown.
        let server = ScriptedServer::tcp(move |request| match request.target.as_str() {
            "/version" => ScriptedResponse::status(403, "<html>Forbidden"),
            "/_ping" => ping("Api-Version: 1.50"),
            "/v1.30/containers/json" if now.load(Ordering::SeqCst) > 0 => {
                ScriptedResponse::status(400, refusal.clone())
            }
            _ => ScriptedResponse::json(EMPTY_LISTING),
        });
        let docker = pinned(&server, 30);
        docker.list().await.unwrap();
        assert_eq!(docker.replaced_version(), None);
        upgraded.store(1, Ordering::SeqCst);
        for _ in 0..3 {
            docker.list().await.unwrap();
            assert_eq!(docker.api_version().await.unwrap().to_string(), "1.50");
        }
        let rejected = server.requests().iter().filter(|it| it.target.contains("1.30")).count();
        assert_eq!(rejected, 2);
    }
}

/// Returns an empty response with this header.
fn ping(header: &str) -> ScriptedResponse {
    ScriptedResponse::Raw(
        format!("HTTP/1.1 200 OK\r\n{header}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK")
            .into_bytes(),
    )
}

#[actix_rt::test]
async fn works_with_the_least_rights() {
    for status in [403, 404, 501] {
        let server = ScriptedServer::tcp(move |request| match request.target.as_str() {
            "/_ping" => ping("API-Version: 1.41"),
            "/v1.41/containers/json" => ScriptedResponse::json(EMPTY_LISTING),
            _ => ScriptedResponse::status(status, "<html>Forbidden"),
        });
        let docker = docker(&server);
        assert!(docker.list().await.unwrap().containers.is_empty());
        assert_eq!(docker.engine().await.unwrap(), None);
        assert_eq!(docker.networks().await.unwrap(), None);
        let identity = docker.identity().await.unwrap();
        assert_eq!(identity.0, format!("tcp://{}", server.authority()));
        let error = docker.events(None).await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Refused);
        let refused: Vec<_> = docker.refusals().iter().map(|it| it.endpoint.path()).collect();
        assert_eq!(refused, ["/version", "/info", "/networks", "/events"]);
    }
}

#[actix_rt::test]
async fn only_some_failures_are_refusals() {
    use SourceErrorKind::{Malformed, Refused, Unreachable};
    for (status, kind) in
        [(400, Refused), (401, Refused), (418, Malformed), (500, Unreachable), (503, Unreachable)]
    {
        let server = engine("1.24", "1.41", move |_| ScriptedResponse::status(status, ""));
        let docker = docker(&server);
        assert_error(&docker.engine().await.unwrap_err(), kind, "GET /v1.41/info: status");
        assert_error(&docker.networks().await.unwrap_err(), kind, "GET /v1.41/networks: status");
        assert!(docker.refusals().is_empty());
    }
    // A listing is required.
    let server = engine("1.24", "1.41", |_| ScriptedResponse::status(403, ""));
    assert_error(&docker(&server).list().await.unwrap_err(), Refused, "403");
}

#[actix_rt::test]
async fn podman_listing_of_its_own_api_may_be_refused() {
    let server = ScriptedServer::tcp(|request| match request.target.as_str() {
        "/version" => ScriptedResponse::status(403, ""),
        "/_ping" => ping("Api-Version: 1.41\r\nLibpod-Api-Version: 4.3.1"),
        target if target.starts_with("/v1.41/containers/json?filters=") => {
            ScriptedResponse::json(r#"[{"Id":"one","Status":"Up 2 seconds"}]"#)
        }
        _ => ScriptedResponse::status(403, ""),
    });
    let docker = docker(&server);
    for _ in 0..5 {
        let listing = docker.list().await.unwrap();
        assert_eq!((listing.containers.len(), listing.containers[0].condition), (1, None));
    }
    // The first refusal may be the response of another engine.
    let negotiations = server.requests().iter().filter(|it| it.target == "/version").count();
    assert_eq!(negotiations, 2);
}

#[actix_rt::test]
async fn follows_an_engine_that_replaces_podman() {
    let podman =
        r#"{"ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[{"Name":"Podman Engine"}]}"#;
    let replaced = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&replaced);
    let server = ScriptedServer::tcp(move |request| match request.target.as_str() {
        "/version" if now.load(Ordering::SeqCst) == 0 => ScriptedResponse::json(podman),
        "/version" => version("1.24", "1.41"),
        "/v4.0.0/libpod/containers/json" if now.load(Ordering::SeqCst) > 0 => {
            ScriptedResponse::status(404, r#"{"message":"page not found"}"#)
        }
        _ => ScriptedResponse::json(EMPTY_LISTING),
    });
    let docker = docker(&server);
    docker.list().await.unwrap();
    replaced.store(1, Ordering::SeqCst);
    docker.list().await.unwrap();
    docker.list().await.unwrap();
    assert_eq!(server.requests().last().unwrap().target, "/v1.41/containers/json");
}

#[actix_rt::test]
async fn only_an_engine_404_means_unknown_container() {
    let unknown = r#"{"message":"No such container: abc"}"#;
    let server = engine("1.24", "1.41", move |_| ScriptedResponse::status(404, unknown));
    assert!(docker(&server).inspect("abc").await.unwrap().is_none());
    let server =
        engine("1.24", "1.41", |_| ScriptedResponse::status(404, "<html>Not found</html>"));
    let error = docker(&server).inspect("abc").await.unwrap_err();
    assert_error(&error, SourceErrorKind::Malformed, "404 Not Found");
}

#[actix_rt::test]
async fn rejects_inspection_with_invalid_values() {
    let server = engine("1.24", "1.41", |_| {
        ScriptedResponse::json(
            r#"{"Id":"abc","Name":"/a","State":{"Status":"undead","StartedAt":""},"Config":{}}"#,
        )
    });
    let error = docker(&server).inspect("abc").await.unwrap_err();
    assert_error(&error, SourceErrorKind::Malformed, "State.Status is \"undead\"");
}

#[actix_rt::test]
async fn escapes_target_as_one_path_segment() {
    let unknown = r#"{"message":"No such container: abc"}"#;
    let server = engine("1.24", "1.41", move |_| ScriptedResponse::status(404, unknown));
    docker(&server).inspect("../info?a b").await.unwrap();
    assert_eq!(server.requests()[1].target, "/v1.41/containers/..%2Finfo%3Fa%20b/json");
}

#[actix_rt::test]
async fn reads_a_listing_of_any_length() {
    const ROWS: usize = 70;
    let server = engine("1.24", "1.41", |_| {
        ScriptedResponse::Stream(Box::new(|client| {
            client.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let label = "x".repeat(1 << 20);
            for number in 0..ROWS {
                let start = if number == 0 { "[" } else { "," };
                let row = format!(r#"{start}{{"Id":"{number:064}","Labels":{{"a":"{label}"}}}}"#);
                write!(client, "{:x}\r\n{row}\r\n", row.len())?;
            }
            client.write_all(b"1\r\n]\r\n0\r\n\r\n")
        }))
    });
    let endpoint = Endpoint::Tcp(server.authority());
    let docker = client(endpoint, VersionChoice::Auto, Duration::from_secs(300));
    let listing = docker.list().await.unwrap();
    assert_eq!((listing.containers.len(), listing.unreadable.len()), (ROWS, 0));
}

#[actix_rt::test]
async fn sends_requests_concurrently() {
    let server = engine("1.24", "1.41", |request| match request.target.as_str() {
        "/v1.41/containers/json" => ScriptedResponse::json(EMPTY_LISTING),
        _ => ScriptedResponse::status(404, r#"{"message":"No such container: abc"}"#),
    });
    let docker = docker(&server);
    let (list, one, two) =
        tokio::join!(docker.list(), docker.inspect("abc"), docker.inspect("def"));
    assert!(
        list.unwrap().containers.is_empty() && one.unwrap().is_none() && two.unwrap().is_none()
    );
}

#[actix_rt::test]
async fn connects_over_a_unix_socket() {
    let folder = TempDir::new();
    let path = folder.0.join("docker.sock");
    let endpoint = Endpoint::Unix(path.clone());
    let docker = client(endpoint, VersionChoice::Auto, DEFAULT_TIMEOUT);
    let error = docker.list().await.unwrap_err();
    assert_error(&error, SourceErrorKind::Unreachable, "no such socket");
    // A file in place of the socket.
    std::fs::write(&path, "").unwrap();
    let error = docker.list().await.unwrap_err();
    assert_error(&error, SourceErrorKind::Unreachable, "connection refused");
    std::fs::remove_file(&path).unwrap();
    let _server = ScriptedServer::unix(&path, |request| match request.target.as_str() {
        "/version" => version("1.24", "1.41"),
        _ => ScriptedResponse::json(EMPTY_LISTING),
    });
    assert!(docker.list().await.unwrap().containers.is_empty());
}

/// Records the lines of a log, as the message followed by the fields.
#[derive(Clone, Default)]
struct LogLines(Arc<Mutex<Vec<String>>>);

impl Drain for LogLines {
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

fn logged_docker(server: &ScriptedServer, lines: &LogLines) -> DockerClient {
    let options = DockerOptions {
        endpoint: Endpoint::Tcp(server.authority()),
        version: VersionChoice::Auto,
        tls: TlsFiles::default(),
        timeout: DEFAULT_TIMEOUT,
    };
    DockerClient::new(options, Logger::root(lines.clone(), o!())).unwrap()
}

#[actix_rt::test]
async fn logs_unreadable_networks_once() {
    let server = engine("1.24", "1.41", |_| {
        ScriptedResponse::json(r#"[{"Name": 7}, {"Name": "bridge"}, {"Name": []}]"#)
    });
    let lines = LogLines::default();
    let docker = logged_docker(&server, &lines);
    for _ in 0..2 {
        let networks = docker.networks().await.unwrap().unwrap();
        assert_eq!(networks.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["bridge"]);
        assert_eq!(docker.unreadable_networks(), 2);
    }
    let lines = lines.0.lock().unwrap();
    let warnings: Vec<_> = lines.iter().filter(|it| it.contains("networks unreadable")).collect();
    assert_eq!(warnings.len(), 1, "{lines:?}");
    assert!(warnings[0].contains("networks=2 error=invalid type: integer `7`"), "{warnings:?}");
}

#[actix_rt::test]
async fn logs_each_request() {
    let server = engine("1.24", "1.41", |_| ScriptedResponse::Hangup);
    let lines = LogLines::default();
    let docker = logged_docker(&server, &lines);
    docker.list().await.unwrap_err();
    let lines = lines.0.lock().unwrap();
    for (line, start) in [
        (&lines[0], "docker request method=GET path=/version status=200 ms="),
        (&lines[2], "docker request method=GET path=/v1.41/containers/json status=unreachable ms="),
    ] {
        assert!(line.starts_with(start), "{line}");
    }
}
