//! Measures the time from a container event to the change that a watch on etcd shows, over fifty
//! containers one after the other, and the steps in between. Measures etcd's v3 API, the v2 API
//! and, if the variable `REGISTRATOR` names its program, Registrator, all with the same engine
//! and etcd.
//!
//! Run `REGISTRATOR=… cargo bench --bench events`. The benchmark needs a Docker engine, and
//! starts an etcd.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed measurement panics")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use futures_util::StreamExt;
use highhock::docker::{DockerClient, DockerOptions, Endpoint, VersionChoice};
use highhock::etcd::{Cluster, EtcdV2, EtcdV2Options, EtcdV3, EtcdV3Options};
use highhock::record_store::Store;
use highhock_actors::model::names::DomainName;
use highhock_actors::model::publish_config::{
    AddressOwner, DiscoveryMethod, KeyLayout, PublishConfig,
};
use highhock_actors::{
    ChangeStream, Container, ContainerListing, ContainerSource, Core, CoreSettings, EngineIdentity,
    EngineTime, Event, EventKind, EventStream, GrantOutcome, Host, KeepAliveMode, KeptAlive, Lease,
    LeaseId, LeaseNamespace, LeasedRecords, RecordKey, RecordStore, SourceError, StoreError,
    StoredRecord, Write, WriteOutcome,
};
use slog::{Discard, Logger, o};
use tokio::time::Instant;

use support::docker::{Container as TestContainer, docker, endpoint};
use support::etcd::Etcd;
use support::{eventually, unique};

const CONTAINERS: usize = 50;
const ADDRESS: &str = "10.77.66.0";
const TIMEOUT: Duration = Duration::from_secs(20);

fn main() {
    // Cargo passes this flag only under `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("skipped: measurements run only under `cargo bench`");
        return;
    }
    // On a disk, as in production: etcd waits for the disk before it responds to a write.
    let etcd = Etcd::start_in(&std::env::temp_dir(), &["--enable-v2=true"]);
    let timeline = Timeline::default();
    follow_docker(timeline.clone());
    follow_v3(&etcd, timeline.clone());
    follow_v2(&etcd, timeline.clone());

    println!("medians (and maxima) of {CONTAINERS} containers, in ms:");
    for api in [Api::V3, Api::V2] {
        let core = InProcess::start(api, &etcd, &timeline);
        println!("HighHock, etcd API {api:?}:");
        measure(&timeline, true);
        drop(core);
    }
    if let Some(program) = std::env::var_os("REGISTRATOR") {
        let mut registrator = Command::new(program)
            .args(["-ip", ADDRESS, "-ttl", "60", "-ttl-refresh", "30"])
            .arg(format!("skydns2://{}/skydns.local", etcd.address()))
            .stderr(Stdio::null())
            .spawn()
            .expect("the program in REGISTRATOR starts");
        std::thread::sleep(Duration::from_secs(2));
        println!("Registrator, etcd API V2:");
        measure(&timeline, false);
        end(&mut registrator);
    } else {
        println!("SKIPPED: Registrator: the variable REGISTRATOR is not set");
    }
}

fn end(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Api {
    V2,
    V3,
}

/// A step between an event and its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// The benchmark's own event stream received the event.
    EventObserved(EventKind),
    /// HighHock received the event.
    EventReceived(EventKind),
    Inspecting,
    Inspected,
    Writing,
    Written,
    /// A watch on etcd shows the record.
    Shown,
    Gone,
}

/// The time of each step, by container id or service name.
#[derive(Clone, Default)]
struct Timeline(Arc<Mutex<HashMap<(String, Step), Instant>>>);

impl Timeline {
    /// Records the time of a step if it is the first one.
    fn record_step(&self, subject: &str, step: Step) {
        self.0.lock().unwrap().entry((subject.to_owned(), step)).or_insert_with(Instant::now);
    }

    fn at(&self, subject: &str, step: Step) -> Option<Instant> {
        self.0.lock().unwrap().get(&(subject.to_owned(), step)).copied()
    }

    fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    fn wait(&self, subject: &str, step: Step) -> Instant {
        eventually(&format!("{step:?} of {subject}"), TIMEOUT, || self.at(subject, step))
    }
}

/// Starts, stops and kills containers one after the other, and prints the durations.
fn measure(timeline: &Timeline, is_highhock: bool) {
    let mut start = Rows::default();
    let mut stop = Rows::default();
    let mut die = Rows::default();
    for number in 0..CONTAINERS {
        let name = format!("bench-{}-{}", std::process::id(), unique());
        let service = format!("{name}:80");
        let registrator = format!("SERVICE_NAME={name}");
        let discover = format!("DISCOVER={service}");
        let options = ["-p", "80", "-e", &discover, "-e", &registrator];
        let container = TestContainer::create(&options, &[]);
        let id = container.id().to_owned();

        timeline.clear();
        container.docker_command("start");
        let shown = timeline.wait(&name, Step::Shown);
        let received_at = timeline.wait(&id, Step::EventObserved(EventKind::Started));
        start.add("event to record", Some(received_at), Some(shown));
        if is_highhock {
            timeline.wait(&name, Step::Written);
            let at = |subject: &str, step| timeline.at(subject, step);
            let received = at(&id, Step::EventReceived(EventKind::Started));
            let (requested, inspected) = (at(&id, Step::Inspecting), at(&id, Step::Inspected));
            let (writing, written) = (at(&name, Step::Writing), at(&name, Step::Written));
            start.add("  inspection", requested, inspected);
            start.add("  write to response", writing, written);
            start.add("  write to watch", writing, Some(shown));
            start.add_sum("  own processing", &[(received, requested), (inspected, writing)]);
        }

        timeline.clear();
        let (rows, event) = match number % 2 {
            0 => (&mut stop, EventKind::Signalled(15)),
            _ => (&mut die, EventKind::Ended),
        };
        docker(&["kill", "-s", if number % 2 == 0 { "TERM" } else { "KILL" }, &id]);
        let gone = timeline.wait(&name, Step::Gone);
        let received_at = timeline.wait(&id, Step::EventObserved(event));
        rows.add("event to withdrawal", Some(received_at), Some(gone));
        if is_highhock {
            timeline.wait(&name, Step::Written);
            let received = timeline.at(&id, Step::EventReceived(event));
            let writing = timeline.at(&name, Step::Writing);
            rows.add("  write to watch", writing, Some(gone));
            rows.add("  own processing", received, writing);
        }
    }
    start.print("start");
    stop.print("stop signal");
    die.print("die");
}

/// Durations by label, in order of first use.
#[derive(Default)]
struct Rows(Vec<(&'static str, Vec<Duration>)>);

impl Rows {
    fn add(&mut self, label: &'static str, from: Option<Instant>, to: Option<Instant>) {
        self.add_sum(label, &[(from, to)]);
    }

    fn add_sum(&mut self, label: &'static str, spans: &[(Option<Instant>, Option<Instant>)]) {
        let span = |(from, to): &(Option<Instant>, Option<Instant>)| {
            // The two event streams may deliver in either order. A negative duration counts as
            // zero.
            Some(to.as_ref()?.saturating_duration_since(*from.as_ref()?))
        };
        let Some(time) = spans.iter().map(span).sum::<Option<Duration>>() else { return };
        match self.0.iter_mut().find(|(known, _)| *known == label) {
            Some((_, times)) => times.push(time),
            None => self.0.push((label, vec![time])),
        }
    }

    fn print(self, subject: &str) {
        for (label, mut times) in self.0 {
            times.sort();
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            println!("  {subject:12} {label:20} {:6.2} ({:.2})", ms(median), ms(worst));
        }
    }
}

/// HighHock's core with its clients in a thread of their own, with recorded steps.
struct InProcess {
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl InProcess {
    fn start(api: Api, etcd: &Etcd, timeline: &Timeline) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let (url, timeline) = (etcd.url(), timeline.clone());
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let core = core(api, &url, timeline);
                tokio::time::sleep(Duration::from_secs(1)).await;
                ready.send(()).unwrap();
                let _ = stopped.await;
                core.stop(true, TIMEOUT).await;
            });
        });
        started.recv().unwrap();
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn core(
    api: Api,
    url: &str,
    timeline: Timeline,
) -> Core<Recording<DockerClient>, Recording<Store>> {
    let log = Logger::root(Discard, o!());
    let options = DockerOptions {
        endpoint: endpoint(),
        version: VersionChoice::Auto,
        tls: highhock::tls::TlsFiles::default(),
        timeout: TIMEOUT,
    };
    let engine = DockerClient::new(options, log.clone()).unwrap();
    let cluster = Cluster::new(vec![url.parse().unwrap()]);
    let root = RecordKey::from_path("skydns/local/skydns");
    let store = match api {
        Api::V2 => {
            let options = EtcdV2Options { cluster, root, prefix: "skydns".to_owned() };
            Store::EtcdV2(EtcdV2::new(options, log.clone()).unwrap())
        }
        Api::V3 => {
            Store::EtcdV3(EtcdV3::new(EtcdV3Options { cluster, root }, log.clone()).unwrap())
        }
    };
    let settings = CoreSettings {
        publish_config: PublishConfig {
            prefix: "skydns".into(),
            domain: DomainName::parse("skydns.local").unwrap(),
            layout: KeyLayout::Flat,
            hostname: "bench".into(),
            address: AddressOwner::Host,
            host: Host::parse(ADDRESS).unwrap(),
            host6: None,
            ttl: NonZeroU32::new(60).unwrap(),
            methods: vec![DiscoveryMethod::Env],
            compose_project: false,
            health: true,
            text_beside_name: true,
        },
        ttl: Duration::from_secs(60),
        lease_namespace: LeaseNamespace::from_hash(77),
        poll_interval: Duration::from_secs(10),
        recheck_interval: Duration::from_secs(10),
        events: true,
        drain: Some(Duration::from_secs(300)),
    };
    let (source, store) = (
        Recording { inner: engine, timeline: timeline.clone() },
        Recording { inner: store, timeline },
    );
    Core::start(settings, source, store, &log)
}

/// A client whose calls are recorded as steps.
struct Recording<T> {
    inner: T,
    timeline: Timeline,
}

impl ContainerSource for Recording<DockerClient> {
    async fn list(&self) -> Result<ContainerListing, SourceError> {
        self.inner.list().await
    }

    async fn inspect(&self, target: &str) -> Result<Option<Container>, SourceError> {
        self.timeline.record_step(target, Step::Inspecting);
        let answer = self.inner.inspect(target).await;
        self.timeline.record_step(target, Step::Inspected);
        answer
    }

    async fn events(&self, since: Option<EngineTime>) -> Result<EventStream, SourceError> {
        let timeline = self.timeline.clone();
        let recorded = move |event: &Result<Event, SourceError>| {
            if let Ok(event) = event {
                timeline.record_step(event.container.as_str(), Step::EventReceived(event.kind));
            }
        };
        Ok(self.inner.events(since).await?.inspect(recorded).boxed_local())
    }

    async fn identity(&self) -> Result<EngineIdentity, SourceError> {
        self.inner.identity().await
    }
}

impl RecordStore for Recording<Store> {
    fn keep_alive_mode(&self) -> KeepAliveMode {
        self.inner.keep_alive_mode()
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<WriteOutcome, StoreError>> {
        let names: Vec<_> =
            writes.iter().map(|write| service_name(write.key().as_str()).to_owned()).collect();
        names.iter().for_each(|name| self.timeline.record_step(name, Step::Writing));
        let outcomes = self.inner.write(writes).await;
        names.iter().for_each(|name| self.timeline.record_step(name, Step::Written));
        outcomes
    }

    async fn read(&self, keys: Vec<RecordKey>) -> Vec<Result<Option<StoredRecord>, StoreError>> {
        self.inner.read(keys).await
    }

    async fn probe(&self) -> Result<Option<u64>, StoreError> {
        self.inner.probe().await
    }

    async fn watch(&self) -> Result<ChangeStream, StoreError> {
        self.inner.watch().await
    }

    async fn find_leases(&self, namespace: LeaseNamespace) -> Result<Vec<Lease>, StoreError> {
        self.inner.find_leases(namespace).await
    }

    async fn grant(&self, id: LeaseId, ttl: Duration) -> Result<GrantOutcome, StoreError> {
        self.inner.grant(id, ttl).await
    }

    async fn keep_alive(&self, id: LeaseId) -> Result<KeptAlive, StoreError> {
        self.inner.keep_alive(id).await
    }

    async fn revoke(&self, id: LeaseId) -> Result<(), StoreError> {
        self.inner.revoke(id).await
    }

    async fn leased(&self, id: LeaseId) -> Result<LeasedRecords, StoreError> {
        self.inner.leased(id).await
    }
}

/// Returns `<service>` from `skydns/local/skydns/<service>`, with or without an instance below
/// it.
fn service_name(key: &str) -> &str {
    key.trim_start_matches('/').split('/').nth(3).unwrap_or_default()
}

/// Records the events of the engine from a stream that is independent of HighHock.
fn follow_docker(timeline: Timeline) {
    let Endpoint::Unix(path) = endpoint() else {
        panic!("this benchmark needs the engine's Unix socket")
    };
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(b"GET /events HTTP/1.0\r\nHost: docker\r\n\r\n").unwrap();
    in_background(BufReader::new(stream), move |line| {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { return };
        let kind = match event["status"].as_str() {
            Some("start") => EventKind::Started,
            Some("die") => EventKind::Ended,
            Some("kill") => {
                let signal = event["Actor"]["Attributes"]["signal"].as_str().unwrap_or_default();
                EventKind::Signalled(signal.parse().unwrap_or(0))
            }
            _ => return,
        };
        timeline.record_step(event["id"].as_str().unwrap_or_default(), Step::EventObserved(kind));
    });
}

/// Records the changes of a v3 watch.
fn follow_v3(etcd: &Etcd, timeline: Timeline) {
    let key = BASE64.encode("/skydns/");
    let end = BASE64.encode("/skydns0");
    let body = format!(r#"{{"create_request":{{"key":"{key}","range_end":"{end}"}}}}"#);
    let stream = open_stream(etcd, "POST", "/v3/watch", &body);
    in_background(stream, move |line| {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { return };
        for event in message["result"]["events"].as_array().into_iter().flatten() {
            let key = event["kv"]["key"].as_str().unwrap_or_default();
            let key = String::from_utf8(BASE64.decode(key).unwrap()).unwrap();
            let gone = event["type"] == "DELETE";
            timeline.record_step(service_name(&key), if gone { Step::Gone } else { Step::Shown });
        }
    });
}

/// Records the changes of a v2 watch.
fn follow_v2(etcd: &Etcd, timeline: Timeline) {
    let stream =
        open_stream(etcd, "GET", "/v2/keys/skydns?wait=true&recursive=true&stream=true", "");
    in_background(stream, move |line| {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { return };
        let gone = matches!(message["action"].as_str(), Some("delete" | "compareAndDelete"));
        let key = message["node"]["key"].as_str().unwrap_or_default();
        timeline.record_step(service_name(key), if gone { Step::Gone } else { Step::Shown });
    });
}

fn open_stream(etcd: &Etcd, method: &str, target: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(etcd.address()).unwrap();
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    BufReader::new(stream)
}

/// Calls `line` for each line of a stream in a background thread. Callers ignore lines that are
/// not JSON: chunk lengths and headers.
fn in_background(
    stream: impl BufRead + Send + 'static,
    mut line: impl FnMut(&str) + Send + 'static,
) {
    std::thread::spawn(move || {
        for text in stream.lines() {
            let Ok(text) = text else { return };
            line(text.trim());
        }
    });
}
