//! A Docker engine of one test, which can be stopped, killed and started again.
//!
//! The engine runs in its own namespaces. Network: two engines in one namespace remove each
//! other's bridge. Mounts and processes: everything ends with the first process, even if the test
//! crashes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use super::docker::{WAIT_COMMAND, docker, image};
use super::{TempDir, eventually, run_id, unique};

/// The limit until an engine responds, or has ended.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The first process of the namespaces. It adopts the shims of an ended engine. It ends with its
/// standard input, and everything in the namespaces with it. `/run` is private, because the shims
/// meet their engine there.
const NAMESPACE_SCRIPT: &str =
    "mount -t tmpfs tmpfs /run && ip link set lo up && : >\"$0/ready\" || exit
while read -r _; do :; done";

/// An engine, running or stopped. Dropping it ends the engine and all its containers.
pub struct PrivateEngine {
    folder: TempDir,
    /// The parent of the containers' control groups.
    cgroup: String,
    namespace_process: Child,
    namespace_stdin: Option<ChildStdin>,
    dockerd: Option<Child>,
    live_restore: bool,
}

/// Decides whether containers survive the end of their engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveRestore {
    On,
    Off,
}

impl PrivateEngine {
    /// Starts an engine that has the test image, and waits until it responds.
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

    /// Starts a stopped or killed engine at the same address, and waits until it responds.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.dockerd.is_none(), "the engine runs");
        let at = |name: &str| path_text(&self.folder.0.join(name));
        // The machine's own configuration may conflict with these options.
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

    /// Stops the engine with SIGTERM, and waits for its end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.stop_with("TERM");
    }

    /// Kills the engine with SIGKILL.
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

    /// The address of the engine: a Unix socket.
    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.0.join("docker.sock")
    }

    /// Runs `docker` on this engine. Returns its standard output without the final newline.
    #[track_caller]
    pub fn docker(&self, args: &[&str]) -> String {
        docker(&[&["--host", &self.url()], args].concat())
    }

    /// A container with this name that declares its port 80 by the same name, at a random host
    /// port, with these options.
    #[track_caller]
    pub fn run_service(&self, name: &str, options: &[&str]) {
        let offer = format!("DISCOVER={name}:80");
        let own = ["run", "-d", "--name", name, "-e", &offer, "-p", "0:80"];
        self.docker(&[&own[..], options, &[image()], &WAIT_COMMAND].concat());
    }

    /// The names of the running containers, with the host port of their port 80.
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

    /// The process id of a container's first process in the engine's namespace.
    #[track_caller]
    pub fn container_pid(&self, container: &str) -> u32 {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", container]);
        pid.parse().unwrap()
    }

    /// Sends a signal to a process in the engine's namespace, bypassing the engine.
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
            eprintln!("last log lines of the private engine:\n{}", self.log_tail());
        }
        // The kernel ends all processes of the namespace, then the network and the mounts.
        drop(self.namespace_stdin.take());
        let _ = self.namespace_process.wait();
        if let Some(mut dockerd) = self.dockerd.take() {
            let _ = dockerd.wait();
        }
        remove_control_groups(&self.cgroup);
    }
}

/// The groups are empty now. Cgroup version 1 has one below each controller.
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
