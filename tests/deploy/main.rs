//! What `deploy/` holds for those who run HighHock: the image, the Compose file, the
//! alerts, the dashboard, the Debian package, the snippets for other resolvers.
//!
//! No image is pulled. What the files take from a registry is made here, from the
//! programs of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test is to panic")]

mod alerts;
mod compose_file;
mod dashboard;
mod dockerfile;
mod engine_images;
mod metric_names;
mod package;
mod resolvers;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// For what has no deadline of its own, on a machine that is busy with other things.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A file of the repository, by its path from the top.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    let path = file(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a command that ends by itself: whether it was content, and all that it said.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.output();
    let output =
        output.unwrap_or_else(|error| panic!("needs {command:?}: run tests/run ({error})"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
}

/// Runs a command that is to be content; what it said.
#[track_caller]
fn run_successfully(command: &mut Command) -> String {
    let (content, said) = run(command);
    assert!(content, "{command:?}:\n{said}");
    said
}
