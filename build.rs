//! Determines the commit of the build for `--version`: from `HIGHHOCK_COMMIT` if it is set, for
//! builds without a git clone, else from git. Without both, no commit is shown.

use std::path::{Path, PathBuf};
use std::process::Command;

const COMMIT: &str = "HIGHHOCK_COMMIT";

fn main() {
    println!("cargo:rerun-if-env-changed={COMMIT}");
    let from_environment = std::env::var(COMMIT).ok().filter(|commit| !commit.is_empty());
    if let Some(commit) = from_environment.or_else(commit_of_clone) {
        println!("cargo:rustc-env={COMMIT}={commit}");
    }
}

fn commit_of_clone() -> Option<String> {
    // A source tree that is no git clone may be inside the clone of another project.
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    if top != Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).canonicalize().ok()? {
        return None;
    }
    // These files change with each commit and each checkout, and cause another run of this script.
    for name in ["HEAD", "logs/HEAD"] {
        let file = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&file).exists() {
            println!("cargo:rerun-if-changed={file}");
        }
    }
    git(&["rev-parse", "--short=7", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
