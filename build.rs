//! Names the commit that is built, for `--version`: as `HIGHHOCK_COMMIT` says where that is
//! set (for those who build from no clone), else as git does; else no commit is named.

use std::path::{Path, PathBuf};
use std::process::Command;

const COMMIT: &str = "HIGHHOCK_COMMIT";

fn main() {
    println!("cargo:rerun-if-env-changed={COMMIT}");
    let given = std::env::var(COMMIT).ok().filter(|commit| !commit.is_empty());
    if let Some(commit) = given.or_else(commit_of_clone) {
        println!("cargo:rustc-env={COMMIT}={commit}");
    }
}

fn commit_of_clone() -> Option<String> {
    // A source tree without a git of its own may lie inside another's.
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?).canonicalize().ok()?;
    if top != Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).canonicalize().ok()? {
        return None;
    }
    // These change with each commit and each switch to another; only then is this run again.
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
