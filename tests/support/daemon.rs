//! The built `highhock`, run as an operator runs it.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use super::{TempDir, docker, eventually};

/// The variable with which `tests/run` marks the processes of a run.
const RUN_VARIABLE: &str = "HIGHHOCK_TEST_RUN";

/// The built program. Unit tests of the library share this module, but have no program.
const PROGRAM: Option<&str> = option_env!("CARGO_BIN_EXE_highhock");

/// The address that the tested daemons publish.
pub const ADDRESS: &str = "10.77.66.0";

/// The limit for log lines and actions that the daemon performs at once.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The flags and the environment of a `highhock`. The environment holds nothing else.
#[derive(Clone)]
pub struct Highhock {
    flags: Vec<(String, String)>,
    /// Flags without a value.
    switches: Vec<&'static str>,
    environment: Vec<(String, String)>,
    /// The text of the configuration file.
    config: String,
    /// The process whose network namespace the daemon uses; `None`: the network of the tests.
    network_pid: Option<String>,
    /// `true` if the program is the first process of its own container.
    is_contained: bool,
}

/// The namespaces of a container, except that of the network. The daemon ends with `unshare`.
const CONTAINER_NAMESPACES: [&str; 5] =
    ["--mount", "--uts", "--pid", "--mount-proc", "--kill-child"];

/// Shows the interfaces of the network namespace in `/sys`, and becomes the program.
const SHOW_INTERFACES: &str = r#"mount -t sysfs sysfs /sys && exec "$0" "$@""#;

impl Highhock {
    /// Uses the real Docker engine and this etcd, and polls each second. The admin interface is
    /// off, because several daemons would need the same port.
    pub fn new(etcd_url: &str) -> Self {
        let engine = docker::endpoint().to_string();
        let highhock = Self {
            flags: Vec::new(),
            switches: Vec::new(),
            environment: Vec::new(),
            config: "{}".to_owned(),
            network_pid: None,
            is_contained: false,
        };
        highhock
            .flag("--etcd-url", etcd_url)
            .flag("--docker-url", &engine)
            .flag("--docker-poll", "1")
            .flag("--docker-poll-container", "1")
            .flag("--discovery-host", ADDRESS)
            .flag("--admin-listen", "")
    }

    /// Without etcd: answers DNS at this port of 127.0.0.1.
    pub fn standalone(port: u16) -> Self {
        // A request to this address would wait for ever.
        let highhock = Self::new("http://127.0.0.1:1/");
        let highhock = highhock.flag("--dns-listen", &format!("127.0.0.1:{port}"));
        Self { switches: vec!["--standalone"], ..highhock }
    }

    /// Sets a flag, and replaces an earlier value.
    pub fn flag(self, name: &str, value: &str) -> Self {
        let mut highhock = self.without_flag(name);
        highhock.flags.push((name.to_owned(), value.to_owned()));
        highhock
    }

    /// Removes a flag, so that its default applies.
    pub fn without_flag(mut self, name: &str) -> Self {
        self.flags.retain(|(other, _)| other != name);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the text of the configuration file, which is JSON. Flags override it.
    pub fn config(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// Runs in the network namespace of a container, but not in the container.
    pub fn in_network_of(mut self, container: &docker::Container) -> Self {
        let process = docker::docker(&["inspect", "--format", "{{.State.Pid}}", container.id()]);
        self.network_pid = Some(process);
        self
    }

    /// Runs as the first process of a container, with a host name of its own, but with the files
    /// and the network of the test. Signals do not reach the daemon.
    pub fn in_own_container(mut self) -> Self {
        self.is_contained = true;
        self
    }

    /// The program with a configuration file of its own.
    fn command(&self, dir: &TempDir, subcommand: &[&str]) -> Command {
        let config = dir.0.join("highhock.json");
        fs::write(&config, &self.config).unwrap();
        let program = PROGRAM.expect("a suite of the daemon's");
        let mut command = match &self.network_pid {
            None if self.is_contained => {
                let mut command = Command::new("unshare");
                command.args(CONTAINER_NAMESPACES).args(["sh", "-c", SHOW_INTERFACES, program]);
                command
            }
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
        // `tests/run` finds leaked processes by this variable.
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

/// A running daemon. Dropping it kills the process, and prints the log if the test is failing.
pub struct Daemon {
    child: Child,
    status: Option<ExitStatus>,
    dir: TempDir,
}

impl Daemon {
    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.0.join("log")).unwrap()
    }

    /// The log lines that contain all these parts.
    pub fn lines_with(&self, parts: &[&str]) -> Vec<String> {
        let log = self.log();
        let hits = log.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        hits.map(str::to_owned).collect()
    }

    /// Waits for a log line that contains all these parts.
    #[track_caller]
    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        let what = format!("a log line with {parts:?}");
        eventually(&what, TIMEOUT, || self.lines_with(parts).into_iter().next())
    }

    /// Replaces the configuration file.
    pub fn reconfigure(&self, text: &str) {
        // Written under another name and then renamed, so that the daemon never reads a partial
        // file.
        let (new, config) = (self.dir.0.join("new"), self.dir.0.join("highhock.json"));
        fs::write(&new, text).unwrap();
        fs::rename(new, config).unwrap();
    }

    /// Replaces the configuration file and sends SIGHUP.
    pub fn reload(&self, text: &str) {
        self.reconfigure(text);
        self.signal("HUP");
    }

    /// Replaces the configuration file by a pipe without a writer, and sends SIGHUP.
    pub fn reload_from_pipe(&self) {
        let config = self.dir.0.join("highhock.json");
        fs::remove_file(&config).unwrap();
        assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
        self.signal("HUP");
    }

    /// Like [`Self::reload`], and waits for one more log line that reports an applied reload.
    #[track_caller]
    pub fn reload_and_wait(&self, text: &str) {
        let applied = || self.lines_with(&["NOTICE", "configuration reloaded"]).len();
        let before = applied();
        self.reload(text);
        eventually("it is applied", TIMEOUT, || (applied() > before).then_some(()));
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name (`TERM`, `INT` …).
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(status.success(), "kill -{name} {pid}: {status}");
    }

    /// Kills the daemon with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.status = Some(self.child.wait().unwrap());
    }

    /// Sends a signal that ends the daemon. Returns the exit status and the duration.
    #[track_caller]
    pub fn stop_with(&mut self, signal: &str) -> (Option<i32>, Duration) {
        let sent_at = Instant::now();
        self.signal(signal);
        let code = self.wait_for_exit();
        (code, sent_at.elapsed())
    }

    /// Waits for the end of the daemon. Returns the exit status.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = eventually("the daemon's end", TIMEOUT, || child.try_wait().unwrap());
        self.status = Some(status);
        status.code()
    }

    /// Returns `true` while the process runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.status.is_none() {
            // The process may have ended already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("highhock's log:\n{}", self.log());
        }
    }
}
