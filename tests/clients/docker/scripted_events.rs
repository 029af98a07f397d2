//! Event streams of scripted servers, and of a relay that fails.

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use futures_util::StreamExt;
use highhock::docker::{DEFAULT_TIMEOUT, Endpoint, VersionChoice};
use highhock_actors::{
    ContainerSource, Event, EventKind, EventStream, SourceError, SourceErrorKind,
};
use tokio::time::timeout;

use crate::client;
use crate::scripted::{assert_error, docker, engine, short_timeout_client};
use crate::support::cuttable_proxy::{CuttableProxy, ServerAddress};
use crate::support::scripted_server::{ScriptedResponse, ScriptedServer};

/// The time limit for events that are expected at once.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The time in which no event must arrive.
const OBSERVATION_TIME: Duration = Duration::from_millis(700);

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn start(id: &str) -> String {
    format!(
        r#"{{"Type":"container","Action":"start","Actor":{{"ID":"{id}","Attributes":{{"name":"n"}}}},"time":7}}"#
    )
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Builds a stream of these chunks. Without `ends`, its end marker is missing.
fn chunked<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, ends: bool) -> ScriptedResponse {
    let mut bytes = STREAM_HEAD.as_bytes().to_vec();
    pieces.into_iter().for_each(|piece| bytes.extend(chunk(piece)));
    if ends {
        bytes.extend(b"0\r\n\r\n");
    }
    ScriptedResponse::Raw(bytes)
}

/// The items of a stream.
#[derive(Default)]
struct StreamItems {
    events: Vec<Event>,
    /// The errors of unreadable events.
    unreadable: Vec<SourceError>,
    /// The error that ended the stream.
    end: Option<SourceError>,
}

/// Returns all items of a stream with this body.
async fn collect_items(
    reply: impl Fn() -> ScriptedResponse + Send + Sync + 'static,
) -> StreamItems {
    let server = engine("1.24", "1.41", move |_| reply());
    let mut events = docker(&server).events(None).await.unwrap();
    let mut items = StreamItems::default();
    while let Some(event) = timeout(TIMEOUT, events.next()).await.unwrap() {
        match event {
            Ok(event) => items.events.push(event),
            Err(error) if error.kind == SourceErrorKind::Malformed => items.unreadable.push(error),
            Err(error) => {
                assert!(events.next().await.is_none(), "the stream ends after an error");
                items.end = Some(error);
                return items;
            }
        }
    }
    items
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.container.as_str()).collect()
}

#[actix_rt::test]
async fn parses_events_across_chunks() {
    let body = format!(
        "{}\n{}\r\n\r\n\n{{\"Type\":\"image\"}}\n[]\n{}\n{}",
        start("one"),
        start("two"),
        start("three"),
        start("cut off")
    );
    for size in [1, 2, 7, 100, 10_000] {
        for ends in [true, false] {
            let body = body.clone();
            let reply = move || chunked(body.as_bytes().chunks(size), ends);
            let StreamItems { events, unreadable, end } = collect_items(reply).await;
            assert_eq!(ids(&events), ["one", "two", "three"], "pieces of {size}");
            assert!(unreadable.is_empty() && end.is_none(), "{unreadable:?} {end:?}");
        }
    }
}

#[actix_rt::test]
async fn malformed_event_is_skipped() {
    let garbage = |text: &'static str| {
        move || {
            chunked(
                [
                    start("one").as_bytes(),
                    b"\n",
                    text.as_bytes(),
                    b"\n",
                    start("two").as_bytes(),
                    b"\n",
                ],
                true,
            )
        }
    };
    for text in ["<html>", "{\"Type\":", "{} {}", "\u{1b}[31mred\u{7}"] {
        let StreamItems { events, unreadable, end } = collect_items(garbage(text)).await;
        assert_eq!(ids(&events), ["one", "two"], "{text:?}");
        assert!(end.is_none(), "{end:?}");
        let [error] = &*unreadable else { panic!("{unreadable:?}") };
        assert_error(error, SourceErrorKind::Malformed, "an event is not JSON: container unknown");
        assert!(!error.message.chars().any(char::is_control), "{error}");
    }
}

#[actix_rt::test]
async fn oversized_event_is_skipped() {
    let labels = "x".repeat(1_200_000);
    let big = start("big").replace(r#""name":"n""#, &format!(r#""a":"{labels}""#)) + "\n";
    let body = start("one") + "\n" + &big + &start("two") + "\n";
    let reply = move || chunked(body.as_bytes().chunks(64 << 10), true);
    let StreamItems { events, unreadable, end } = collect_items(reply).await;
    assert_eq!(ids(&events), ["one", "two"]);
    assert!(end.is_none(), "{end:?}");
    let [error] = &*unreadable else { panic!("{unreadable:?}") };
    assert_error(error, SourceErrorKind::Malformed, "an event is longer than 1 MiB");
    // The message names the container, and shows no label.
    let length = big.len() - 1;
    let described = format!("container big, action start, {length} bytes");
    assert!(error.message.ends_with(&described), "{error}");
}

#[actix_rt::test]
async fn truncated_stream_ends_with_an_error() {
    let items = collect_items(|| ScriptedResponse::Truncated { body: start("one") + "\n{" }).await;
    assert_eq!(ids(&items.events), ["one"]);
    assert!(items.unreadable.is_empty());
    assert!(items.end.is_none_or(|error| error.kind == SourceErrorKind::Unreachable));
}

#[actix_rt::test]
async fn stream_has_filters_and_outlives_the_timeout() {
    let server = engine("1.24", "1.41", |_| ScriptedResponse::Stall { body: start("one") + "\n" });
    let mut events = short_timeout_client(&server).events(None).await.unwrap();
    let event = timeout(TIMEOUT, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((event.container.as_str(), event.kind), ("one", EventKind::Started));
    assert!(
        timeout(OBSERVATION_TIME, events.next()).await.is_err(),
        "an open stream without further events"
    );
    let target = &server.requests()[1].target;
    assert!(
        target.starts_with("/v1.41/events?filters=%7B%22type%22%3A%5B%22container"),
        "{target}"
    );
}

#[actix_rt::test]
async fn classifies_failed_stream_responses() {
    use SourceErrorKind::{Malformed, Refused, Unreachable};
    for (status, body, kind) in [
        (404, "nothing here", Refused),
        (501, "", Refused),
        (418, "", Malformed),
        (500, r#"{"message":"no journal"}"#, Unreachable),
        (403, r#"{"message":"denied by plugin"}"#, Refused),
    ] {
        let server = engine("1.24", "1.41", move |_| ScriptedResponse::status(status, body));
        let error = docker(&server).events(None).await.map(|_| ()).unwrap_err();
        assert_error(&error, kind, &format!("status {status}"));
    }
    for reply in [|| ScriptedResponse::NoResponse, || ScriptedResponse::Hangup] {
        let server = engine("1.24", "1.41", move |_| reply());
        let error = short_timeout_client(&server).events(None).await.map(|_| ()).unwrap_err();
        assert_error(&error, Unreachable, "/events");
    }
}

#[actix_rt::test]
async fn follows_a_replaced_engine_in_its_version() {
    let refusal =
        r#"{"message":"client version 1.41 is too new. Maximum supported API version is 1.40"}"#;
    let answered = Mutex::new(0);
    let server = engine("1.24", "1.41", move |_| {
        let mut answered = answered.lock().unwrap();
        *answered += 1;
        match *answered {
            1 => ScriptedResponse::status(400, refusal),
            _ => ScriptedResponse::Stall { body: start("one") + "\n" },
        }
    });
    let mut events = docker(&server).events(None).await.unwrap();
    assert!(timeout(TIMEOUT, events.next()).await.unwrap().unwrap().is_ok());
}

/// Starts an engine with one event stream, which sends the lines passed to the sender.
fn scripted() -> (ScriptedServer, Sender<String>) {
    let (sender, receiver) = mpsc::channel::<String>();
    let receiver = Mutex::new(Some(receiver));
    let server = engine("1.24", "1.41", move |request| {
        if !request.target.contains("/events") {
            return ScriptedResponse::json("[]");
        }
        let Some(lines) = receiver.lock().unwrap().take() else { return ScriptedResponse::Hangup };
        ScriptedResponse::Stream(Box::new(move |client| {
            client.write_all(STREAM_HEAD.as_bytes())?;
            lines.into_iter().try_for_each(|line| client.write_all(&chunk(line.as_bytes())))
        }))
    });
    (server, sender)
}

async fn connect_through(relay: &CuttableProxy) -> (highhock::docker::DockerClient, EventStream) {
    let endpoint = Endpoint::Tcp(relay.authority());
    let docker = client(endpoint, VersionChoice::Auto, DEFAULT_TIMEOUT);
    let events = docker.events(None).await.unwrap();
    (docker, events)
}

async fn next(events: &mut EventStream) -> Option<Result<Event, SourceError>> {
    timeout(TIMEOUT, events.next()).await.expect("an event or the end of the stream")
}

#[actix_rt::test]
async fn delivers_each_event_at_once_until_the_cut() {
    let (server, sender) = scripted();
    let mut relay = CuttableProxy::tcp(ServerAddress::Tcp(server.authority().parse().unwrap()));
    let (_docker, mut events) = connect_through(&relay).await;
    for id in ["one", "two", "three"] {
        sender.send(start(id) + "\n").unwrap();
        assert_eq!(next(&mut events).await.unwrap().unwrap().container.as_str(), id);
    }
    // The stream is cut within a line.
    sender.send(start("four")[..20].to_owned()).unwrap();
    relay.cut();
    match next(&mut events).await {
        None => {}
        Some(Err(error)) => assert_error(&error, SourceErrorKind::Unreachable, "/events"),
        Some(Ok(event)) => panic!("{event:?}"),
    }
}

#[actix_rt::test]
async fn silent_stream_does_not_affect_requests() {
    let (server, sender) = scripted();
    let mut relay = CuttableProxy::tcp(ServerAddress::Tcp(server.authority().parse().unwrap()));
    let (docker, mut events) = connect_through(&relay).await;
    sender.send(start("one") + "\n").unwrap();
    assert!(next(&mut events).await.unwrap().is_ok());
    relay.silence_connections();
    sender.send(start("two") + "\n").unwrap();
    assert!(timeout(OBSERVATION_TIME, events.next()).await.is_err());
    // Uses a new connection, because a reused one would be silent too.
    let fresh = client(docker.endpoint().clone(), VersionChoice::Auto, DEFAULT_TIMEOUT);
    assert!(fresh.list().await.unwrap().containers.is_empty());
    relay.close_connections();
    assert!(!matches!(next(&mut events).await, Some(Ok(_))));
}
