//! The start of the server at the limit of open files.

use std::fs::File;
use std::process::Command;

use highhock::dns::{DnsError, DnsServer};

use crate::query;

/// Set in the child process with a limit. The value is the limit.
const FILE_LIMIT_VARIABLE: &str = "HIGHHOCK_TEST_FEW_FILES";

#[test]
fn start_fails_cleanly_with_too_few_files() {
    if std::env::var_os(FILE_LIMIT_VARIABLE).is_some() {
        return start_with_decreasing_file_limit();
    }
    let this = std::env::current_exe().unwrap();
    let name = "few_files::start_fails_cleanly_with_too_few_files";
    let limited = "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture";
    let mut child = Command::new("sh");
    child.args(["-c", limited]).arg(this).arg(name).env(FILE_LIMIT_VARIABLE, "64");
    let output = child.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// Each start has one file less than the previous one, so that each file that the server opens
/// is once the first above the limit.
fn start_with_decreasing_file_limit() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut taken, mut failed) = (Vec::new(), 0);
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
        let start =
            || DnsServer::start(query::settings(|_| {}), query::zone(&[]), &query::silent());
        match runtime.block_on(async { start().map(drop) }) {
            Ok(()) => assert_eq!(failed, 0),
            Err(error) => {
                assert!(matches!(error, DnsError::FileLimit(_)), "{error}");
                failed += 1;
            }
        }
    }
    assert!(taken.len() > failed && failed > 2, "{failed} of {}", taken.len());
}
