//! The functions of `deploy/lib.sh` that detect a running engine.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::{file, run, run_successfully};

/// Names itself as the engine is named, reports that, and ends with its standard input.
const NAMED_DOCKERD: &str = "printf dockerd >/proc/$$/comm && echo named && read -r _";

/// Prints the process id of an engine in the network namespace of the script.
const FIND_ENGINE: &str = ". \"$0\"; engine_process";

/// A process named `dockerd` in a new network namespace. Dropping it ends the process.
struct NamedProcess(Child);

impl NamedProcess {
    #[track_caller]
    fn start() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "bash", "-c", NAMED_DOCKERD]);
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = Self(process.unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "named\n", "a network namespace needs root");
        process
    }
}

impl Drop for NamedProcess {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn engine_of_another_network_namespace_is_ignored() {
    let engines = [NamedProcess::start(), NamedProcess::start()];
    for engine in &engines {
        let namespace = format!("--net=/proc/{}/ns/net", engine.0.id());
        let mut nsenter = Command::new("nsenter");
        nsenter.args([&namespace, "bash", "-c", FIND_ENGINE]).arg(file("deploy/lib.sh"));
        assert_eq!(run_successfully(&mut nsenter), engine.0.id().to_string());
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "bash", "-c", FIND_ENGINE]).arg(file("deploy/lib.sh"));
    assert_eq!(run(&mut unshare), (false, String::new()));
}
