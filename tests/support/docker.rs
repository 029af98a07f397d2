//! Containers on a real Docker engine, by the `docker` program.
//!
//! The engine is the one that `DOCKER_HOST` names, else the one on the usual
//! socket. There is no test without one: a missing engine fails it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use highhock::docker::Endpoint;

use super::cuttable_proxy::ServerAddress;
use super::{proxy, run_id, unique};

/// The image that is built where `HIGHHOCK_TEST_IMAGE` names no other: a static
/// busybox.
const OWN_IMAGE: &str = "highhock-test/busybox:1";

/// What a container does that is given no command: it waits, and ends at once on
/// SIGTERM.
pub const WAIT_COMMAND: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"];

/// The label of all that a test makes in the engine; `tests/run` looks for it.
const LABEL: &str = "highhock-test";

/// Builds [`OWN_IMAGE`] once a machine, however many tests ask for it at a time.
const BUILD_IMAGE: &str = r#"
set -eu
image=$1 busybox=${HIGHHOCK_TEST_BUSYBOX:-/bin/busybox}
exec 9>"${TMPDIR:-/tmp}/highhock-test-image.lock"
flock 9
if docker image inspect "$image" >/dev/null 2>&1; then exit 0; fi
[ -x "$busybox" ] || { echo "no static busybox at $busybox (Debian: busybox-static)" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/www"
cp "$busybox" "$root/bin/busybox"
"$busybox" --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
tar -C "$root" -c . | docker import - "$image" >/dev/null
"#;

/// Where the engine listens.
pub fn endpoint() -> Endpoint {
    let url = std::env::var("DOCKER_HOST").ok().filter(|url| !url.is_empty());
    let url = url.unwrap_or_else(|| "unix:///var/run/docker.sock".into());
    Endpoint::parse(&url).unwrap_or_else(|error| panic!("DOCKER_HOST {url}: {error}"))
}

/// The engine, as the far end of a relay.
pub fn server_address() -> ServerAddress {
    match endpoint() {
        Endpoint::Unix(path) => ServerAddress::Unix(path),
        Endpoint::Tls(authority) => panic!("these tests speak no TLS to {authority}"),
        Endpoint::Tcp(authority) => {
            let address: SocketAddr = authority.to_socket_addrs().unwrap().next().unwrap();
            ServerAddress::Tcp(address)
        }
    }
}

/// Runs `docker` with these arguments; its standard output without the last line's end.
#[track_caller]
pub fn docker(args: &[&str]) -> String {
    require_engine();
    run(args).unwrap_or_else(|error| panic!("docker {args:?}: {error}"))
}

fn run(args: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// What marks all that this run makes in the engine.
pub fn label() -> String {
    format!("{LABEL}={}", run_id())
}

#[track_caller]
fn require_engine() {
    static ENGINE: OnceLock<Result<String, String>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| run(&["version", "--format", "{{.Server.Version}}"]));
    if let Err(error) = engine {
        panic!("needs a Docker engine: run tests/run ({error})");
    }
}

/// Whether the engine is Podman, behind the API that it has in common with Docker.
pub fn is_podman() -> bool {
    static PODMAN: OnceLock<bool> = OnceLock::new();
    let components = "{{range .Server.Components}}{{.Name}},{{end}}";
    *PODMAN.get_or_init(|| docker(&["version", "--format", components]).contains("Podman"))
}

/// The network of a container that asks for none, as inspections name it.
pub fn default_network() -> &'static str {
    if is_podman() { "podman" } else { "bridge" }
}

/// The image of the tests' containers; built where it is missing.
pub fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    require_engine();
    IMAGE.get_or_init(|| {
        if let Ok(image) = std::env::var("HIGHHOCK_TEST_IMAGE") {
            return image;
        }
        let build = Command::new("sh").args(["-c", BUILD_IMAGE, "sh", OWN_IMAGE]).output().unwrap();
        let output_text = String::from_utf8_lossy(&build.stderr);
        assert!(build.status.success(), "can't build {OWN_IMAGE}: {output_text}");
        OWN_IMAGE.to_owned()
    })
}

/// A container; removed when dropped, whatever its state.
pub struct Container {
    id: String,
    name: String,
}

impl Container {
    /// `docker run -d`, with these options (`-p`, `-e` …) and this command (none: wait).
    #[track_caller]
    pub fn run(options: &[&str], command: &[&str]) -> Self {
        Self::make(&["run", "-d"], options, command)
    }

    /// `docker create`, likewise.
    #[track_caller]
    pub fn create(options: &[&str], command: &[&str]) -> Self {
        Self::make(&["create"], options, command)
    }

    #[track_caller]
    fn make(verb: &[&str], options: &[&str], command: &[&str]) -> Self {
        let name = format!("highhock-test-{}-{}", std::process::id(), unique());
        let own = ["--name", &name, "--label", &label()];
        let command = if command.is_empty() { &WAIT_COMMAND } else { command };
        // Made before the container, so that one that can't start is removed, too.
        let mut container = Self { id: String::new(), name: name.clone() };
        container.id = docker(&[verb, &own, options, &[image()], command].concat());
        container
    }

    /// The whole id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, `highhock-test-<process>-<number>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `docker <verb> <container>`: `pause`, `unpause`, `start` …
    #[track_caller]
    pub fn docker_command(&self, verb: &str) {
        docker(&[verb, &self.id]);
    }

    /// Sends it a signal (`HUP`, `RTMIN+3`).
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        docker(&["kill", "--signal", signal, &self.id]);
    }

    /// Gives it another name. It is still removed when dropped, by its id.
    #[track_caller]
    pub fn rename(&self, name: &str) {
        docker(&["rename", &self.id, name]);
    }

    /// Has its health checked where the engine doesn't do so by itself: Podman leaves
    /// that to systemd, which a machine of the tests need not have.
    #[track_caller]
    pub fn check_health(&self) {
        if is_podman() {
            let target = format!("/v4.0.0/libpod/containers/{}/healthcheck", self.id);
            let (status, output_text) =
                proxy::send_request(&server_address(), "GET", &target, "").unwrap();
            // 409: the container doesn't run.
            assert!(status == 200, "{target}: {status} {output_text}");
        }
    }

    /// Ends it by SIGTERM, or by SIGKILL after a second.
    #[track_caller]
    pub fn stop(&self) {
        docker(&["stop", "-t", "1", &self.id]);
    }

    /// Ends it likewise, and starts it again.
    #[track_caller]
    pub fn restart(&self) {
        docker(&["restart", "-t", "1", &self.id]);
    }

    /// The port of the host that leads to this one (`80/tcp`) at its IPv4 addresses.
    #[track_caller]
    pub fn published_port(&self, port: &str) -> u16 {
        self.host_port(port, false)
    }

    /// The port of the host that leads to this one at its IPv6 addresses, which may be another.
    #[track_caller]
    pub fn published_port_ipv6(&self, port: &str) -> u16 {
        self.host_port(port, true)
    }

    #[track_caller]
    fn host_port(&self, port: &str, v6: bool) -> u16 {
        let bindings = docker(&["port", &self.id, port]);
        let binding = bindings.lines().find(|line| line.starts_with('[') == v6);
        let binding =
            binding.unwrap_or_else(|| panic!("{port} of {} is at {bindings:?}", self.name));
        binding.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// Runs a command in it.
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> String {
        docker(&[&["exec", &self.id], command].concat())
    }

    /// Runs a command in it that may fail: whether it succeeded, and what it said.
    pub fn try_exec(&self, command: &[&str]) -> (bool, String) {
        let mut exec = Command::new("docker");
        exec.args(["exec", &self.id]).args(command).stdin(Stdio::null());
        let output = exec.output().unwrap();
        let output_text = [&output.stdout[..], &output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&output_text).trim_end().to_owned())
    }

    /// Removes it now.
    pub fn remove(self) {}
}

impl Drop for Container {
    fn drop(&mut self) {
        // Panicking here, in a failing test, would end the whole test program.
        let known_as = if self.id.is_empty() { &self.name } else { &self.id };
        let _ = run(&["rm", "-f", known_as]);
    }
}

/// A network; removed when dropped.
pub struct Network {
    name: String,
}

impl Network {
    /// `docker network create`, with these options.
    #[track_caller]
    pub fn create(options: &[&str]) -> Self {
        let name = format!("highhock-test-{}-{}", std::process::id(), unique());
        let own = ["--label", &label()];
        docker(&[&["network", "create"], &own[..], options, &[&name]].concat());
        Self { name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects the container to it.
    #[track_caller]
    pub fn connect(&self, container: &Container) {
        docker(&["network", "connect", &self.name, container.id()]);
    }

    /// Disconnects the container from it.
    #[track_caller]
    pub fn disconnect(&self, container: &Container) {
        docker(&["network", "disconnect", &self.name, container.id()]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = run(&["network", "rm", &self.name]);
    }
}
