//! The contents of `deploy/`: image, Compose file, alerts, dashboard, Debian package, resolver
//! snippets, shared functions of the scripts.
//!
//! The suite pulls no image. It builds the required images from the programs of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test panics")]

mod alerts;
mod compose_file;
mod dashboard;
mod dockerfile;
mod engine_images;
mod metric_names;
mod package;
mod resolvers;
mod scripts;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The limit of operations without a deadline of their own, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A file of the repository, by its relative path.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    let path = file(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a command to its end. Returns whether it succeeded, and its output.
fn run(command: &mut Command) -> (bool, String) {
    let output = command.output();
    let output =
        output.unwrap_or_else(|error| panic!("needs {command:?}: run tests/run ({error})"));
    let output_text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&output_text).trim().to_owned())
}

/// Runs a command that must succeed, and returns its output.
#[track_caller]
fn run_successfully(command: &mut Command) -> String {
    let (succeeded, output_text) = run(command);
    assert!(succeeded, "{command:?}:\n{output_text}");
    output_text
}
