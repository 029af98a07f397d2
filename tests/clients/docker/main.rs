//! The Docker client: with a real engine, and with scripted servers that show behaviour a real
//! engine does not show on command. The tests in `scripted` and `scripted_events` need no
//! engine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

#[path = "../../support/mod.rs"]
mod support;

mod engine;
mod events;
mod fingerprint;
mod images;
mod scripted;
mod scripted_events;
mod tls;

use std::time::Duration;

use highhock::docker::{DockerClient, DockerOptions, Endpoint, VersionChoice};
use highhock::tls::TlsFiles;
use slog::{Discard, Logger, o};

fn quiet() -> Logger {
    Logger::root(Discard, o!())
}

fn client(endpoint: Endpoint, version: VersionChoice, timeout: Duration) -> DockerClient {
    let options = DockerOptions { endpoint, version, tls: TlsFiles::default(), timeout };
    DockerClient::new(options, quiet()).unwrap()
}
