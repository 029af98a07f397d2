//! Programs that a machine may lack: those that `tests/tools/build` builds, and those that not
//! every distribution has.

use std::io::Write;
use std::path::PathBuf;

/// The program in `HIGHHOCK_TEST_<name>`. Without it the test is skipped with a visible message,
/// or fails in CI.
#[track_caller]
pub fn tool(name: &str) -> Option<PathBuf> {
    let variable = format!("HIGHHOCK_TEST_{name}");
    let program = std::env::var_os(&variable).filter(|path| !path.is_empty());
    if program.is_none() {
        skip_test(&format!("{variable} names no program (tests/run sets it)"));
    }
    program.map(PathBuf::from)
}

/// The program with this name in `PATH`, else like [`tool`].
#[track_caller]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        skip_test(&format!("there is no {name} here"));
    }
    found
}

#[track_caller]
fn skip_test(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let text = format!("SKIPPED: {test}: {reason}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
    // Not by a macro: the test harness hides macro output of passing tests.
    let _ = writeln!(std::io::stderr(), "{text}");
}
