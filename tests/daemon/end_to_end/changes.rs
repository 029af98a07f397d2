//! All changes of the records in etcd, recorded by a watch.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::TIMEOUT;
use crate::fixture::KEY_PREFIX;
use crate::support::etcd::Etcd;
use crate::support::eventually;

/// One change of one key.
#[derive(Clone, Debug)]
pub struct WatchedChange {
    /// The time of arrival, slightly after the change.
    pub at: Instant,
    pub key: String,
    /// `None`: the key was deleted, or its lease expired.
    pub value: Option<String>,
}

/// A watch on all keys below [`KEY_PREFIX`] from its start on.
pub struct WatchRecorder {
    stream: TcpStream,
    seen: Arc<Mutex<Vec<WatchedChange>>>,
    reader: Option<JoinHandle<()>>,
}

impl WatchRecorder {
    /// Starts the watch.
    #[track_caller]
    pub fn watch(etcd: &Etcd) -> Self {
        let range = json!({ "create_request": {
            "key": BASE64.encode(KEY_PREFIX),
            "range_end": BASE64.encode(format!("{}0", KEY_PREFIX.trim_end_matches('/'))),
        } });
        let range = range.to_string();
        let mut stream = TcpStream::connect(etcd.address()).unwrap();
        // HTTP/1.0, because a chunked response would have to be reassembled.
        let head = format!("POST /v3/watch HTTP/1.0\r\nContent-Length: {}\r\n\r\n", range.len());
        stream.write_all((head + &range).as_bytes()).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let created = lines.find(|line| line.as_ref().is_ok_and(|it| it.contains("\"created\"")));
        assert!(created.is_some(), "etcd begins no watch");
        let seen = Arc::<Mutex<Vec<WatchedChange>>>::default();
        let into = Arc::clone(&seen);
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.lock().unwrap().extend(changes(&line));
            }
        });
        Self { stream, seen, reader: Some(reader) }
    }

    /// All changes so far.
    pub fn recorded(&self) -> Vec<WatchedChange> {
        self.seen.lock().unwrap().clone()
    }

    /// Ends the watch. Returns all changes until now.
    #[track_caller]
    pub fn finish(mut self, etcd: &Etcd) -> Vec<WatchedChange> {
        // All earlier changes arrive before this one.
        let mark = format!("{KEY_PREFIX}mark-of-the-watch");
        etcd.v3().put(&mark, "end", None);
        let is_mark = |change: &WatchedChange| change.key == mark;
        eventually("the watch has reported every change", TIMEOUT, || {
            self.seen.lock().unwrap().iter().any(is_mark).then_some(())
        });
        etcd.v3().delete(&mark);
        self.close();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.into_iter().filter(|change| !is_mark(change)).collect()
    }

    fn close(&mut self) {
        // The connection may be closed already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for WatchRecorder {
    fn drop(&mut self) {
        self.close();
    }
}

/// The changes in one line, which is a JSON object.
fn changes(line: &str) -> Vec<WatchedChange> {
    let at = Instant::now();
    let Ok(message) = serde_json::from_str::<Value>(line) else { return Vec::new() };
    assert_eq!(message["result"]["canceled"], Value::Null, "etcd ended the watch: {line}");
    let events = message["result"]["events"].as_array().cloned().unwrap_or_default();
    let change = |event: &Value| WatchedChange {
        at,
        key: decode(&event["kv"]["key"]),
        value: (event["type"] != "DELETE").then(|| decode(&event["kv"]["value"])),
    };
    events.iter().map(change).collect()
}

/// The gateway omits empty fields.
fn decode(json: &Value) -> String {
    let bytes = BASE64.decode(json.as_str().unwrap_or_default()).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The deleted keys, once per deletion.
pub fn deleted_keys(changes: &[WatchedChange]) -> Vec<&str> {
    let deletions = changes.iter().filter(|change| change.value.is_none());
    deletions.map(|change| change.key.as_str()).collect()
}
