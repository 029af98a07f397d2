//! What the black-box suites share: waiting for a condition, free ports, fakes
//! of other people's servers, and launchers of the real ones.
#![allow(dead_code, reason = "each suite is a crate of its own and uses a part of this")]

pub mod canned;
pub mod etcd;

use std::net::TcpListener;
use std::time::Duration;

/// A port on 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until `condition` gives a value; panics with `what` when it has not within `deadline`.
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
