//! The built `highhock`, as its operator runs it.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::{TempDir, docker, eventually};

/// What tests/run marks processes with. Not named as the daemon's own variables are, which
/// would have it warn.
const RUN_VARIABLE: &str = "TEST_RUN_OF_HIGHHOCK";

/// The built program. The library's own tests, which share this module for other parts of
/// it, have none.
const PROGRAM: Option<&str> = option_env!("CARGO_BIN_EXE_highhock");

/// The address that the daemons of the tests publish.
pub const ADDRESS: &str = "10.77.66.0";

/// How long a daemon may take to say or to do something that it does at once.
const TIMEOUT: Duration = Duration::from_secs(20);

/// How to start a `highhock`: its flags and its environment, which holds nothing else.
#[derive(Clone)]
pub struct Highhock {
    flags: Vec<(String, String)>,
    /// Flags without a value.
    switches: Vec<&'static str>,
    environment: Vec<(String, String)>,
    /// What its configuration file says.
    config: String,
    /// The process whose network it is to be in; `None`: the tests' own.
    network_pid: Option<String>,
}

impl Highhock {
    /// With the real Docker engine and this etcd, polling each second. It shows its state
    /// nowhere: daemons beside each other would want one port.
    pub fn new(etcd_url: &str) -> Self {
        let engine = docker::endpoint().to_string();
        let highhock = Self {
            flags: Vec::new(),
            switches: Vec::new(),
            environment: Vec::new(),
            config: "{}".to_owned(),
            network_pid: None,
        };
        highhock
            .flag("--etcd-url", etcd_url)
            .flag("--docker-url", &engine)
            .flag("--docker-poll", "1")
            .flag("--docker-poll-container", "1")
            .flag("--discovery-host", ADDRESS)
            .flag("--admin-listen", "")
    }

    /// Without an etcd, answering DNS at this port of 127.0.0.1.
    pub fn standalone(port: u16) -> Self {
        // Whoever asked that etcd would wait for ever.
        let highhock = Self::new("http://127.0.0.1:1/");
        let highhock = highhock.flag("--dns-listen", &format!("127.0.0.1:{port}"));
        Self { switches: vec!["--standalone"], ..highhock }
    }

    /// With this flag, in place of what it was before.
    pub fn flag(self, name: &str, value: &str) -> Self {
        let mut highhock = self.without_flag(name);
        highhock.flags.push((name.to_owned(), value.to_owned()));
        highhock
    }

    /// Without a flag: the default holds.
    pub fn without_flag(mut self, name: &str) -> Self {
        self.flags.retain(|(other, _)| other != name);
        self
    }

    /// With this variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this text in its configuration file, which is JSON. Flags go before it.
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// In a container's network, though not in the container.
    pub fn in_network_of(mut self, container: &docker::Container) -> Self {
        let process = docker::docker(&["inspect", "--format", "{{.State.Pid}}", container.id()]);
        self.network_pid = Some(process);
        self
    }

    /// The program with a configuration file of its own.
    fn command(&self, dir: &TempDir, subcommand: &[&str]) -> Command {
        let config = dir.0.join("highhock.json");
        fs::write(&config, &self.config).unwrap();
        let program = PROGRAM.expect("a suite of the daemon's");
        let mut command = match &self.network_pid {
            None => Command::new(program),
            Some(process) => {
                let mut command = Command::new("nsenter");
                command.args(["--target", process, "--net", program]);
                command
            }
        };
        command.args(subcommand).arg("--config").arg(config);
        command.args(self.flags.iter().flat_map(|(name, value)| [name, value]));
        command.args(&self.switches);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        // By this, tests/run finds the processes that a test has left behind.
        if let Some(run) = std::env::var_os(RUN_VARIABLE) {
            command.env(RUN_VARIABLE, run);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command that ends by itself (`check`, `records` …).
    pub fn output(&self, subcommand: &[&str]) -> Output {
        self.command(&TempDir::new(), subcommand).output().unwrap()
    }

    /// Starts the daemon.
    pub fn start(&self) -> Daemon {
        let dir = TempDir::new();
        let log = File::create(dir.0.join("log")).unwrap();
        let child = self.command(&dir, &["run"]).stdout(Stdio::null()).stderr(log).spawn();
        Daemon { child: child.unwrap(), status: None, dir }
    }
}

/// A running daemon. It is killed when this is dropped; what it said is printed where
/// that is because the test fails.
pub struct Daemon {
    child: Child,
    status: Option<ExitStatus>,
    dir: TempDir,
}

impl Daemon {
    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.0.join("log")).unwrap()
    }

    /// The lines of its log that have all these parts.
    pub fn lines_with(&self, parts: &[&str]) -> Vec<String> {
        let log = self.log();
        let hits = log.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        hits.map(str::to_owned).collect()
    }

    /// Waits for a line that has all these parts.
    #[track_caller]
    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        let what = format!("a log line with {parts:?}");
        eventually(&what, TIMEOUT, || self.lines_with(parts).into_iter().next())
    }

    /// Puts this text in its configuration file.
    pub fn reconfigure(&self, text: &str) {
        // Under another name until it is whole, as a careful operator does it.
        let (new, config) = (self.dir.0.join("new"), self.dir.0.join("highhock.json"));
        fs::write(&new, text).unwrap();
        fs::rename(new, config).unwrap();
    }

    /// Puts this text in its configuration file and has it read again.
    pub fn reload(&self, text: &str) {
        self.reconfigure(text);
        self.signal("HUP");
    }

    /// Puts a pipe that nobody writes to in the place of its configuration file, and has it
    /// read again.
    pub fn reload_from_pipe(&self) {
        let config = self.dir.0.join("highhock.json");
        fs::remove_file(&config).unwrap();
        assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
        self.signal("HUP");
    }

    /// As [`Self::reload`]; waits until it says that it is applied, a time more than before.
    #[track_caller]
    pub fn reload_and_wait(&self, text: &str) {
        let applied = || self.lines_with(&["NOTICE", "the configuration was read again"]).len();
        let before = applied();
        self.reload(text);
        eventually("it is applied", TIMEOUT, || (applied() > before).then_some(()));
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name (`TERM`, `INT` …).
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success(), "kill -{name} {pid}: {status}");
    }

    /// Ends it with no chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.status = Some(self.child.wait().unwrap());
    }

    /// Sends a signal that asks it to end; the exit status, and how long that took.
    #[track_caller]
    pub fn stop_with(&mut self, signal: &str) -> (Option<i32>, Duration) {
        let sent_at = Instant::now();
        self.signal(signal);
        let code = self.wait_for_exit();
        (code, sent_at.elapsed())
    }

    /// Waits for its end; the exit status.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = eventually("the daemon's end", TIMEOUT, || child.try_wait().unwrap());
        self.status = Some(status);
        status.code()
    }

    /// Whether it has not ended by itself.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.status.is_none() {
            // It may have ended by itself; there is nothing else to do then.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("highhock said:\n{}", self.log());
        }
    }
}
