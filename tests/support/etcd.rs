//! A real etcd server of a test, and a client that reads its contents.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use highhock::tls::ClientIdentity;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::cuttable_proxy::ServerAddress;
use super::etcd_v3::V3Client;
use super::http_exchange::exchange;
use super::tools::tool;
use super::{eventually, free_port, run_id};

/// The limit until an etcd responds, or has ended.
const TIMEOUT: Duration = Duration::from_secs(20);

const FORM_HEADER: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// The release of an etcd server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The distribution's 3.4, with the v2 API enabled.
    V3_4,
    /// The first release without the v2 API.
    V3_6,
}

impl Release {
    /// The program. Returns `None`, with a visible message, if this machine has none; the test
    /// must then return.
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Self::V3_4 => Some("etcd".into()),
            Self::V3_6 => tool("ETCD36"),
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::V3_4 => &["--enable-v2=true"],
            Self::V3_6 => &[],
        }
    }
}

/// An etcd on loopback, alone or as a member of a [`Cluster`](super::cluster::Cluster). Dropping
/// it ends the process and removes its data.
pub struct Etcd {
    child: Option<Child>,
    program: PathBuf,
    client_port: u16,
    /// The additional port with TLS.
    tls_port: Option<u16>,
    peer_port: u16,
    dir: PathBuf,
    flags: Vec<String>,
}

/// A key in etcd's v2 API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Without the leading slash.
    pub key: String,
    pub value: String,
    pub dir: bool,
    /// In seconds; `None`: no expiry.
    pub ttl: Option<i64>,
    pub created: u64,
    pub modified: u64,
}

/// A reader that other threads can use, also while etcd is away.
#[derive(Clone, Copy)]
pub struct Reader {
    client_port: u16,
}

impl Reader {
    /// All directories and values below the key. Returns `None` if etcd does not respond.
    pub fn list(self, key: &str) -> Option<Vec<Node>> {
        let target = format!("/v2/keys/{key}?quorum=true&recursive=true");
        let (status, body) = exchange(self.client_port, TIMEOUT, "GET", &target, "", "")?;
        let mut nodes = Vec::new();
        match status {
            200 => {
                let answer: Value = serde_json::from_str(&body).ok()?;
                flatten(&answer["node"]["nodes"], &mut nodes);
                Some(nodes)
            }
            404 => Some(nodes),
            _ => None,
        }
    }
}

impl Etcd {
    /// Starts an etcd with the v2 API, and waits until it responds.
    pub fn start() -> Self {
        Self::start_with(Release::V3_4.flags())
    }

    /// Starts an etcd of this release, and waits until it responds. Returns `None` if this
    /// machine has none; the test must then return.
    pub fn start_release(release: Release) -> Option<Self> {
        Self::start_release_with(release, &[])
    }

    /// Like [`start_release`](Self::start_release), with additional flags.
    pub fn start_release_with(release: Release, flags: &[&str]) -> Option<Self> {
        let program = release.program()?;
        let flags = [release.flags(), flags].concat();
        Some(Self::start_program(&program, &default_parent(), &flags, false))
    }

    /// Starts an etcd with both APIs at this port, which is free in the network namespace of the
    /// test.
    pub fn start_at(port: u16) -> Self {
        let mut etcd = Self::prepare(Path::new("etcd"), &default_parent(), false);
        etcd.client_port = port;
        let alone = format!("default={}", etcd.peer_url());
        etcd.add_flags(&["--initial-cluster", &alone]);
        etcd.add_flags(Release::V3_4.flags());
        etcd.spawn();
        assert!(etcd.wait_until_ready(), "etcd ended: {}", etcd.log());
        etcd
    }

    /// Starts an etcd that serves only gRPC at `grpc_url`, and HTTP at [`url`](Self::url).
    pub fn start_with_separate_grpc(release: Release, grpc_url: &str) -> Option<Self> {
        let mut etcd = Self::prepare(&release.program()?, &default_parent(), false);
        let (http_url, alone) = (etcd.url(), format!("default={}", etcd.peer_url()));
        etcd.add_flags(&["--initial-cluster", &alone, "--listen-client-http-urls", &http_url]);
        etcd.add_flags(&["--listen-client-urls", grpc_url, "--advertise-client-urls", grpc_url]);
        etcd.spawn();
        assert!(etcd.wait_until_ready(), "etcd ended: {}", etcd.log());
        Some(etcd)
    }

    /// Starts a learner beside a member that was started alone with this release. The learner is
    /// a part of the cluster, but does not serve requests that need a quorum.
    pub fn start_learner(&self, release: Release) -> Self {
        let program = release.program().expect("the program of the member");
        let mut learner = Self::prepare(&program, &default_parent(), false);
        let add = serde_json::json!({ "peerURLs": [learner.peer_url()], "isLearner": true });
        let (status, response) = self.v3().request("cluster/member/add", &add).unwrap();
        assert_eq!(status, 200, "{response}");
        let all = format!("default={},learner={}", self.peer_url(), learner.peer_url());
        learner.add_flags(&["--name", "learner", "--initial-cluster", &all]);
        learner.add_flags(&["--initial-cluster-state", "existing"]);
        learner.add_flags(release.flags());
        learner.spawn();
        assert!(learner.wait_until_ready(), "the learner ended: {}", learner.log());
        learner
    }

    /// Starts an etcd with additional flags.
    pub fn start_with(flags: &[&str]) -> Self {
        Self::start_in(&default_parent(), flags)
    }

    /// Starts an etcd with its data in a folder below `parent`.
    pub fn start_in(parent: &Path, flags: &[&str]) -> Self {
        Self::start_program(Path::new("etcd"), parent, flags, false)
    }

    /// Starts an etcd with both APIs and TLS with this identity. With `client_ca`, clients need a
    /// certificate of this CA. A second port without TLS serves the test itself.
    pub fn start_with_tls(identity: &ClientIdentity, client_ca: Option<&Path>) -> Self {
        let (cert, key) = (path_text(&identity.cert), path_text(&identity.key));
        let mut flags = vec!["--enable-v2=true", "--cert-file", &cert, "--key-file", &key];
        let ca = client_ca.map(path_text);
        if let Some(ca) = &ca {
            flags.extend(["--client-cert-auth", "--trusted-ca-file", ca]);
        }
        Self::start_program(Path::new("etcd"), &std::env::temp_dir(), &flags, true)
    }

    fn start_program(program: &Path, parent: &Path, flags: &[&str], tls: bool) -> Self {
        // Another process may take a free port before etcd does, so several attempts are made.
        let mut etcd = (0..5).find_map(|_| {
            let mut etcd = Self::prepare(program, parent, tls);
            // A single member need not wait long for votes.
            let quick = ["--heartbeat-interval", "20", "--election-timeout", "200"];
            let alone = format!("default={}", etcd.peer_url());
            etcd.add_flags(&["--initial-cluster", &alone]);
            etcd.add_flags(&quick);
            etcd.add_flags(flags);
            etcd.spawn();
            etcd.wait_until_ready().then_some(etcd)
        });
        etcd.take().expect("etcd did not start on any of five pairs of ports")
    }

    /// The members of a cluster of this release, not yet started.
    pub(super) fn prepare_members(release: Release, program: &Path, count: usize) -> Vec<Self> {
        let parent = default_parent();
        let mut members: Vec<_> =
            (0..count).map(|_| Self::prepare(program, &parent, false)).collect();
        let urls = members.iter().map(Self::peer_url).enumerate();
        let all = urls.map(|(at, url)| format!("member-{at}={url}")).collect::<Vec<_>>().join(",");
        for (at, member) in members.iter_mut().enumerate() {
            member.add_flags(&["--name", &format!("member-{at}"), "--initial-cluster", &all]);
            member.add_flags(release.flags());
        }
        members
    }

    fn prepare(program: &Path, parent: &Path, tls: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("highhock-etcd-{}-{}-{number}", run_id(), std::process::id());
        let etcd = Self {
            child: None,
            program: program.to_owned(),
            client_port: free_port(),
            tls_port: tls.then(free_port),
            peer_port: free_port(),
            dir: parent.join(name),
            flags: Vec::new(),
        };
        fs::create_dir_all(&etcd.dir).unwrap();
        etcd
    }

    pub(super) fn add_flags(&mut self, flags: &[&str]) {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    /// Starts the process at the same addresses without waiting: a member of a cluster may need
    /// the others before it responds.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "etcd runs already");
        let tls_url = self.tls_port.map(|_| format!(",{}", self.tls_url()));
        let client = self.url() + &tls_url.unwrap_or_default();
        let peer = self.peer_url();
        let log = File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let child = Command::new(&self.program)
            .args(["--data-dir", &self.dir.join("data").display().to_string()])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child =
            Some(child.unwrap_or_else(|error| panic!("needs etcd: run tests/run ({error})")));
    }

    /// Returns `false` if the process ended.
    pub(super) fn wait_until_ready(&mut self) -> bool {
        let port = self.client_port;
        let child = self.child.as_mut().unwrap();
        eventually("etcd answers", TIMEOUT, || {
            if child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            reports_healthy(port, TIMEOUT).then_some(true)
        })
    }

    /// Returns `true` if the member reports within this time that it has the latest revision of
    /// the leader.
    pub fn is_healthy(&self, within: Duration) -> bool {
        reports_healthy(self.client_port, within)
    }

    /// The client URL, without a final slash.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// The address, as the target of a proxy.
    pub fn server_address(&self) -> ServerAddress {
        ServerAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], self.client_port)))
    }

    /// A reader for another thread.
    pub fn reader(&self) -> Reader {
        Reader { client_port: self.client_port }
    }

    fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// The v3 API, for blocking requests.
    pub fn v3(&self) -> V3Client {
        V3Client::new(self.client_port)
    }

    /// The client URL with TLS.
    pub fn tls_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.tls_port.expect("etcd speaks TLS"))
    }

    /// The address without TLS: `127.0.0.1:port`.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.client_port).into()
    }

    /// Creates the user root with this password and enables authentication of the v2 API.
    /// Anonymous clients may then read, but not write.
    pub fn enable_v2_auth(&self, password: &str) {
        let root = serde_json::json!({ "user": "root", "password": password }).to_string();
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("root:{password}")));
        let revoke = r#"{"role":"guest","revoke":{"kv":{"read":[],"write":["/*"]}}}"#;
        for (target, body) in [
            ("/v2/auth/users/root", root.as_str()),
            ("/v2/auth/enable", ""),
            ("/v2/auth/roles/guest", revoke),
        ] {
            let (status, response_body) = self.send_json("PUT", target, body, Some(&basic));
            assert!(matches!(status, 200 | 201), "{target}: {status} {response_body}");
        }
    }

    /// Changes the password of root in the v2 API.
    pub fn change_v2_password(&self, old: &str, new: &str) {
        let root = serde_json::json!({ "user": "root", "password": new }).to_string();
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("root:{old}")));
        let (status, response_body) =
            self.send_json("PUT", "/v2/auth/users/root", &root, Some(&basic));
        assert_eq!(status, 200, "{response_body}");
    }

    /// Creates the user root with this password and enables authentication of the v3 API.
    pub fn enable_v3_auth(&self, password: &str) {
        let v3 = self.v3();
        for (call, body) in [
            ("user/add", json!({ "name": "root", "password": password })),
            ("role/add", json!({ "name": "root" })),
            ("user/grant", json!({ "user": "root", "role": "root" })),
            ("enable", json!({})),
        ] {
            v3.change_auth(call, &body);
        }
    }

    /// Creates a user of the v3 API with this password and with one permission (`READ` or
    /// `READWRITE`), for all keys below a directory. Call it before [`Self::enable_v3_auth`].
    pub fn add_v3_tenant(&self, user: &str, password: &str, permission: &str, directory: &str) {
        let v3 = self.v3();
        let key = |end: &str| BASE64_STANDARD.encode(format!("{directory}{end}"));
        let perm = json!({ "permType": permission, "key": key("/"), "range_end": key("0") });
        for (call, body) in [
            ("user/add", json!({ "name": user, "password": password })),
            ("role/add", json!({ "name": user })),
            ("role/grant", json!({ "name": user, "perm": perm })),
            ("user/grant", json!({ "user": user, "role": user })),
        ] {
            v3.change_auth(call, &body);
        }
    }

    /// Sends one request with JSON. Returns status and body. Panics if etcd is away.
    pub fn send_json(
        &self,
        method: &str,
        target: &str,
        json: &str,
        authorization: Option<&str>,
    ) -> (u16, String) {
        let authorization =
            authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
        let headers = format!("Content-Type: application/json\r\n{authorization}");
        exchange(self.client_port, TIMEOUT, method, target, &headers, json).expect("etcd answers")
    }

    /// Stops the process with SIGTERM, and waits for its end.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let child = self.child.as_mut().expect("etcd runs");
        eventually("etcd ends", TIMEOUT, || child.try_wait().unwrap());
        self.child = None;
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("etcd runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts the process at the same addresses, with its data or with an empty store.
    pub fn restart(&mut self, empty: bool) {
        if empty {
            assert!(self.child.is_none(), "etcd runs still");
            fs::remove_dir_all(self.dir.join("data")).unwrap();
        }
        self.spawn();
        assert!(self.wait_until_ready(), "etcd ended: {}", self.log());
    }

    /// Saves a snapshot with `etcdctl`. Returns its path.
    pub fn snapshot(&self) -> PathBuf {
        let path = self.dir.join("snapshot");
        run_etcdctl(&["--endpoints", &self.url(), "snapshot", "save", &path_text(&path)]);
        path
    }

    /// Replaces the data of the stopped process by that of a snapshot, and starts the process.
    pub fn restore(&mut self, snapshot: &Path) {
        assert!(self.child.is_none(), "etcd runs still");
        let (data, peer) = (self.dir.join("data"), self.peer_url());
        fs::remove_dir_all(&data).unwrap();
        run_etcdctl(
            &[
                &["snapshot", "restore", &path_text(snapshot), "--data-dir", &path_text(&data)][..],
                &["--initial-cluster", &format!("default={peer}")],
                &["--initial-advertise-peer-urls", &peer],
            ]
            .concat(),
        );
        self.restart(false);
    }

    /// Pauses the process with SIGSTOP. Its connections stay open.
    pub fn pause(&self) {
        self.signal("STOP");
        // The signal is asynchronous: a thread may still send a response.
        let threads = format!("/proc/{}/task", self.pid());
        let is_stopped = |stat: String| stat.rsplit(") ").next().unwrap().starts_with('T');
        eventually("etcd is stopped", TIMEOUT, || {
            let mut threads = fs::read_dir(&threads).unwrap();
            threads
                .all(|thread| {
                    let stat = fs::read_to_string(thread.unwrap().path().join("stat"));
                    stat.map_or(true, is_stopped)
                })
                .then_some(())
        });
    }

    /// Resumes a paused process.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Returns `true` if the process was started, paused or not, and not ended since.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// The process id, while the process runs.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("etcd runs").id()
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success(), "kill -{name} {pid}: {status}");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// The value at a percent-encoded key without a leading slash.
    pub fn get(&self, key: &str) -> Option<Node> {
        let (status, answer) = self.request("GET", &format!("{key}?quorum=true"), None);
        (status == 200).then(|| node(&answer["node"]))
    }

    /// All directories and values below the key, in the order of their keys.
    pub fn list(&self, key: &str) -> Vec<Node> {
        let query = format!("{key}?quorum=true&recursive=true&sorted=true");
        let (_, answer) = self.request("GET", &query, None);
        let mut nodes = Vec::new();
        flatten(&answer["node"]["nodes"], &mut nodes);
        nodes
    }

    /// Sets a value unconditionally; without a TTL it does not expire.
    pub fn put(&self, key: &str, value: &str, ttl: Option<u64>) {
        let mut form = Serializer::new(String::new());
        form.append_pair("value", value);
        if let Some(ttl) = ttl {
            form.append_pair("ttl", &ttl.to_string());
        }
        let (status, answer) = self.request("PUT", key, Some(&form.finish()));
        assert!(matches!(status, 200 | 201), "put {key}: {status} {answer}");
    }

    /// Creates an empty directory.
    pub fn make_directory(&self, key: &str) {
        let (status, answer) = self.request("PUT", key, Some("dir=true"));
        assert_eq!(status, 201, "make directory {key}: {answer}");
    }

    /// Removes the key and everything below it, if present.
    pub fn remove(&self, key: &str) {
        self.request("DELETE", &format!("{key}?recursive=true"), None);
    }

    /// Sends one request to the keys API. Returns status and JSON. Panics if etcd is away.
    pub fn request(&self, method: &str, key_and_query: &str, form: Option<&str>) -> (u16, Value) {
        let target = format!("/v2/keys/{key_and_query}");
        let (status, body) = exchange(
            self.client_port,
            TIMEOUT,
            method,
            &target,
            FORM_HEADER,
            form.unwrap_or_default(),
        )
        .expect("etcd answers");
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The process may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(5).collect::<Vec<_>>();
            eprintln!(
                "last log lines of etcd at {} (newest first):\n{}",
                self.url(),
                tail.join("\n")
            );
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn run_etcdctl(arguments: &[&str]) {
    let mut etcdctl = Command::new("etcdctl");
    let output = etcdctl.env("ETCDCTL_API", "3").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("needs etcdctl: run tests/run ({error})"));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}

fn node(json: &Value) -> Node {
    Node {
        key: json["key"].as_str().unwrap_or_default().trim_start_matches('/').to_owned(),
        value: json["value"].as_str().unwrap_or_default().to_owned(),
        dir: json["dir"].as_bool().unwrap_or(false),
        ttl: json["ttl"].as_i64().or_else(|| json.get("expiration").map(|_| 0)),
        created: json["createdIndex"].as_u64().unwrap_or(0),
        modified: json["modifiedIndex"].as_u64().unwrap_or(0),
    }
}

fn flatten(nodes: &Value, into: &mut Vec<Node>) {
    for json in nodes.as_array().into_iter().flatten() {
        into.push(node(json));
        flatten(&json["nodes"], into);
    }
}

/// A folder in memory, if there is one: a test need not wait for disks.
fn default_parent() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn reports_healthy(port: u16, within: Duration) -> bool {
    let health = exchange(port, within, "GET", "/health", "", "");
    health.is_some_and(|(_, body)| body.contains(r#""health":"true""#))
}
