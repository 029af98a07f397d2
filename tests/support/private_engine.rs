//! A Docker engine of the test's own, to be stopped, killed and started again.
//!
//! It lives in namespaces of its own: for the network, as two engines in one tear down
//! each other's bridge; for mounts and processes, so that all ends with the first
//! process in it, whatever became of the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use super::docker::{WAIT_COMMAND, docker, image};
use super::{TempDir, eventually, run_id, unique};

/// How long an engine may take until it answers, or until it is gone.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The first process of the namespaces, which adopts the shims of an engine that has
/// ended. It ends, and everything with it, when its standard input does. `/run` is its
/// own, as shims meet their engine there.
const NAMESPACE_SCRIPT: &str =
    "mount -t tmpfs tmpfs /run && ip link set lo up && : >\"$0/ready\" || exit
while read -r _; do :; done";

/// A running engine, or one that was stopped. When this is dropped, it ends with all its
/// containers.
pub struct PrivateEngine {
    folder: TempDir,
    /// What its containers' control groups lie below.
    cgroup: String,
    namespace_process: Child,
    namespace_stdin: Option<ChildStdin>,
    dockerd: Option<Child>,
    live_restore: bool,
}

/// Whether containers outlive their engine's stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveRestore {
    On,
    Off,
}

impl PrivateEngine {
    /// Starts an engine that has the tests' image, and waits until it answers.
    #[track_caller]
    pub fn start(live_restore: LiveRestore) -> Self {
        let folder = TempDir::new();
        let saved = path_text(&folder.0.join("image.tar"));
        docker(&["save", "--output", &saved, image()]);
        let mut namespace_process = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "slave", "--pid", "--fork", "--mount-proc"])
            .args(["bash", "-c", NAMESPACE_SCRIPT])
            .arg(&folder.0)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let cgroup = format!("highhock-test-{}-{}-{}", run_id(), std::process::id(), unique());
        let mut engine = Self {
            cgroup,
            namespace_stdin: namespace_process.stdin.take(),
            namespace_process,
            dockerd: None,
            live_restore: live_restore == LiveRestore::On,
            folder,
        };
        let ready = engine.folder.0.join("ready");
        eventually("namespaces for an engine", TIMEOUT, || {
            let ended = engine.namespace_process.try_wait().unwrap();
            assert!(ended.is_none(), "no namespaces for an engine, which take root: {ended:?}");
            ready.exists().then_some(())
        });
        engine.restart();
        engine.docker(&["load", "--input", &saved]);
        engine
    }

    /// Starts it where it was stopped or killed, and waits until it answers.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.dockerd.is_none(), "the engine runs");
        let at = |name: &str| path_text(&self.folder.0.join(name));
        // The machine's own configuration may name what clashes with these.
        fs::write(at("daemon.json"), "{}").unwrap();
        let log = File::options().create(true).append(true).open(at("log")).unwrap();
        let mut command = self.command_inside("dockerd");
        for (flag, value) in [
            ("--config-file", at("daemon.json")),
            ("--host", self.url()),
            ("--data-root", at("data")),
            ("--exec-root", at("exec")),
            ("--pidfile", at("pid")),
            ("--cgroup-parent", format!("/{}", self.cgroup)),
            ("--exec-opt", "native.cgroupdriver=cgroupfs".to_owned()),
        ] {
            command.args([flag, &value]);
        }
        if self.live_restore {
            command.arg("--live-restore");
        }
        let said = log.try_clone().unwrap();
        self.dockerd = Some(command.stdin(Stdio::null()).stdout(said).stderr(log).spawn().unwrap());
        eventually("the engine of the test's own answers", TIMEOUT, || {
            let ended = self.dockerd.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "dockerd ended: {}", self.log_tail());
            self.is_ready().then_some(())
        });
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) {
        self.stop_with("TERM");
    }

    /// Ends it with no chance to tidy up.
    #[track_caller]
    pub fn kill(&mut self) {
        self.stop_with("KILL");
    }

    fn stop_with(&mut self, signal: &str) {
        let mut dockerd = self.dockerd.take().expect("a running engine");
        let pid = fs::read_to_string(self.folder.0.join("pid")).unwrap();
        self.signal(pid.trim().parse().unwrap(), signal);
        eventually("the engine's end", TIMEOUT, || dockerd.try_wait().unwrap());
    }

    /// Where it listens: a Unix socket.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// That socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.0.join("docker.sock")
    }

    /// Runs `docker` on this engine; its standard output without the last line's end.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        docker(&[&["--host", &self.url()], args].concat())
    }

    /// A container of this name that offers its port 80 by it, at a random port of the
    /// host's, with these options.
    #[track_caller]
    pub fn run_service(&self, name: &str, options: &[&str]) {
        let offer = format!("DISCOVER={name}:80");
        let own = ["run", "-d", "--name", name, "-e", &offer, "-p", "0:80"];
        self.docker(&[&own[..], options, &[image()], &WAIT_COMMAND].concat());
    }

    /// The running containers' names and the host's ports that lead to their port 80.
    #[track_caller]
    pub fn running_containers(&self) -> Vec<(String, u16)> {
        let names = self.docker(&["ps", "--format", "{{.Names}}"]);
        let port = |name: &str| {
            let bindings = self.docker(&["port", name, "80/tcp"]);
            let first = bindings.lines().next().unwrap();
            first.rsplit_once(':').unwrap().1.parse().unwrap()
        };
        names.lines().map(|name| (name.to_owned(), port(name))).collect()
    }

    /// The first process of a container, by its number in the engine's namespace.
    #[track_caller]
    pub fn container_pid(&self, container: &str) -> u32 {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", container]);
        pid.parse().unwrap()
    }

    /// Sends a signal to a process of the engine's namespace, past the engine.
    #[track_caller]
    pub fn signal(&self, process: u32, signal: &str) {
        let status = self
            .command_inside("kill")
            .args([&format!("-{signal}"), &process.to_string()])
            .status();
        assert!(status.unwrap().success(), "kill -{signal} {process}");
    }

    fn is_ready(&self) -> bool {
        let mut listing = Command::new("docker");
        listing.args(["--host", &self.url(), "ps"]).stdin(Stdio::null());
        listing.output().unwrap().status.success()
    }

    /// A program in the engine's namespaces.
    fn command_inside(&self, program: &str) -> Command {
        let of_holder = format!("/proc/{}/ns", self.namespace_process.id());
        let mut command = Command::new("nsenter");
        for (flag, file) in [("net", "net"), ("mount", "mnt"), ("pid", "pid_for_children")] {
            command.arg(format!("--{flag}={of_holder}/{file}"));
        }
        command.arg(program);
        command
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the engine of the test's own said at last:\n{}", self.log_tail());
        }
        // The first process ends, and the kernel all others in its namespace before it,
        // with the network and the mounts.
        drop(self.namespace_stdin.take());
        let _ = self.namespace_process.wait();
        if let Some(mut dockerd) = self.dockerd.take() {
            let _ = dockerd.wait();
        }
        remove_control_groups(&self.cgroup);
    }
}

/// Nobody is left in them; by version 1 there is one below each controller.
fn remove_control_groups(name: &str) {
    let _ = Command::new("find")
        .args(["/sys/fs/cgroup", "-depth", "-type", "d"])
        .args(["-path", &format!("*/{name}*"), "-exec", "rmdir", "{}", ";"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
