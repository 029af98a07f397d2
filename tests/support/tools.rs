//! Programs that a machine may lack: those that no package of the distribution brings
//! (`tests/tools/build` does), and those that not every distribution has.

use std::io::Write;
use std::path::PathBuf;

/// The program that `HIGHHOCK_TEST_<name>` names. Without one the test is left
/// out, and says so even when it passes, unless CI is to see all of them.
#[track_caller]
pub fn tool(name: &str) -> Option<PathBuf> {
    let variable = format!("HIGHHOCK_TEST_{name}");
    let program = std::env::var_os(&variable).filter(|path| !path.is_empty());
    if program.is_none() {
        skip_test(&format!("{variable} names no program (tests/run sets it)"));
    }
    program.map(PathBuf::from)
}

/// The program of this name, where the path has it. Else as with [`tool`].
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
    let text = format!("LEFT OUT: {test}: {reason}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
    // Not by a macro: what those print of a test that passes is never shown.
    let _ = writeln!(std::io::stderr(), "{text}");
}
