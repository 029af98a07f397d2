//! Shared by the black-box suites: waiting for conditions, free ports, fakes of foreign servers,
//! and launchers of real servers.
#![allow(dead_code, reason = "each suite is a crate of its own and uses a part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

pub mod admin;
pub mod certs;
pub mod cluster;
pub mod compose;
pub mod cuttable_proxy;
pub mod daemon;
pub mod dns;
pub mod dns_wire;
pub mod docker;
pub mod etcd;
pub mod etcd_v3;
mod http_exchange;
pub mod network_namespace;
pub mod private_engine;
pub mod proxy;
pub mod scripted_server;
pub mod systemd;
pub mod test_image;
pub mod tls_proxy;
pub mod tools;

use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until `condition` returns a value. Panics with `what` after `deadline`.
#[track_caller]
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let end = tokio::time::Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: not within {deadline:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Like [`eventually`], for an asynchronous condition.
pub async fn eventually_async<T, F>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = tokio::time::Instant::now() + deadline;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: not within {deadline:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The id of this run of `tests/run`, which searches for leaked objects by it. Without
/// `tests/run`: the process id.
pub fn run_id() -> String {
    std::env::var("HIGHHOCK_TEST_RUN").unwrap_or_else(|_| std::process::id().to_string())
}

/// A number that is unique in this process, for names.
pub fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A temporary folder. Dropping it removes the folder.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let name = format!("highhock-test-{}-{}", std::process::id(), unique());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
