//! Servers that no package of the distribution brings; `tests/tools/build` does.

use std::io::Write;
use std::path::PathBuf;

/// The program that `HIGHHOCK_TEST_<name>` names. Without one the test is left
/// out, and says so even when it passes, unless CI is to see all of them.
#[track_caller]
pub fn tool(name: &str) -> Option<PathBuf> {
    let variable = format!("HIGHHOCK_TEST_{name}");
    let program = std::env::var_os(&variable).filter(|path| !path.is_empty());
    if program.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let text = format!("LEFT OUT: {test}: {variable} names no program (tests/run sets it)");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{text}");
        // Not by a macro: what those print of a test that passes is never shown.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    program.map(PathBuf::from)
}
