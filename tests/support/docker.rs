//! Containers on a real Docker engine, by the `docker` program.
//!
//! The engine is that of `DOCKER_HOST`, else the one at the default socket. Without an engine the
//! test fails.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use highhock::docker::Endpoint;
use serde_json::json;

use super::cuttable_proxy::ServerAddress;
use super::{proxy, run_id, unique};

/// The image that is built if `HIGHHOCK_TEST_IMAGE` names none: a static busybox.
const OWN_IMAGE: &str = "highhock-test/busybox:1";

/// The default command of a container: waits, and exits at once on SIGTERM.
pub const WAIT_COMMAND: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"];

/// The label of all objects that a test creates in the engine. `tests/run` searches for it.
pub const LABEL: &str = "highhock-test";

/// Builds [`OWN_IMAGE`] once per machine, also if several tests request it at the same time.
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

/// The address of the engine.
pub fn endpoint() -> Endpoint {
    let url = std::env::var("DOCKER_HOST").ok().filter(|url| !url.is_empty());
    let url = url.unwrap_or_else(|| "unix:///var/run/docker.sock".into());
    Endpoint::parse(&url).unwrap_or_else(|error| panic!("DOCKER_HOST {url}: {error}"))
}

/// The engine's address, as the target of a proxy.
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

/// Runs `docker` with these arguments. Returns its standard output without the final newline.
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

/// The label with the id of this run.
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

/// Returns `true` if the engine is Podman, behind its Docker-compatible API.
pub fn is_podman() -> bool {
    static PODMAN: OnceLock<bool> = OnceLock::new();
    let components = "{{range .Server.Components}}{{.Name}},{{end}}";
    *PODMAN.get_or_init(|| docker(&["version", "--format", components]).contains("Podman"))
}

/// Returns `true` if the engine has networks with routed IPv4, or without IPv4.
pub fn has_routed_networks() -> bool {
    let version = docker(&["version", "--format", "{{.Server.Version}}"]);
    let major = version.split('.').next().unwrap().parse::<u32>();
    !is_podman() && major.unwrap() >= 28
}

/// The default network, by its name in inspections.
pub fn default_network() -> &'static str {
    if is_podman() { "podman" } else { "bridge" }
}

/// The image of the test containers. It is built if it is missing.
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

/// A container. Dropping it removes the container in any state.
pub struct Container {
    id: String,
    name: String,
}

impl Container {
    /// `docker run -d` with these options (`-p`, `-e` …) and this command (empty: wait).
    #[track_caller]
    pub fn run(options: &[&str], command: &[&str]) -> Self {
        Self::make(&["run", "-d"], options, image(), command)
    }

    /// `docker run -d` of another image, with the default command.
    #[track_caller]
    pub fn run_image(image: &str, options: &[&str]) -> Self {
        Self::make(&["run", "-d"], options, image, &[])
    }

    /// `docker create`, likewise.
    #[track_caller]
    pub fn create(options: &[&str], command: &[&str]) -> Self {
        Self::make(&["create"], options, image(), command)
    }

    #[track_caller]
    fn make(verb: &[&str], options: &[&str], image: &str, command: &[&str]) -> Self {
        let name = format!("highhock-test-{}-{}", std::process::id(), unique());
        let own = ["--name", &name, "--label", &label()];
        let command = if command.is_empty() { &WAIT_COMMAND } else { command };
        // Created before the container, so that a container that cannot start is removed.
        let mut container = Self { id: String::new(), name: name.clone() };
        container.id = docker(&[verb, &own, options, &[image], command].concat());
        container
    }

    /// The full id.
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

    /// Sends a signal (`HUP`, `RTMIN+3`).
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        docker(&["kill", "--signal", signal, &self.id]);
    }

    /// Renames the container. It is still removed by its id when dropped.
    #[track_caller]
    pub fn rename(&self, name: &str) {
        docker(&["rename", &self.id, name]);
    }

    /// Runs the health check if the engine does not run it itself: Podman relies on systemd,
    /// which a test machine may lack.
    #[track_caller]
    pub fn check_health(&self) {
        if is_podman() {
            let target = format!("/v4.0.0/libpod/containers/{}/healthcheck", self.id);
            let (status, output_text) =
                proxy::send_request(&server_address(), "GET", &target, "").unwrap();
            // 409: the container is not running.
            assert!(status == 200, "{target}: {status} {output_text}");
        }
    }

    /// Stops the container by SIGTERM, or by SIGKILL after a second.
    #[track_caller]
    pub fn stop(&self) {
        docker(&["stop", "-t", "1", &self.id]);
    }

    /// Stops the container likewise, and starts it again.
    #[track_caller]
    pub fn restart(&self) {
        docker(&["restart", "-t", "1", &self.id]);
    }

    /// The host port of a container port (`80/tcp`) at the IPv4 addresses.
    #[track_caller]
    pub fn published_port(&self, port: &str) -> u16 {
        self.host_port(port, false)
    }

    /// The host port of a container port at the IPv6 addresses, which may differ.
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

    /// Runs a command in the container.
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> String {
        docker(&[&["exec", &self.id], command].concat())
    }

    /// Runs a command in the container that may fail. Returns whether it succeeded, and its
    /// output.
    pub fn try_exec(&self, command: &[&str]) -> (bool, String) {
        let mut exec = Command::new("docker");
        exec.args(["exec", &self.id]).args(command).stdin(Stdio::null());
        let output = exec.output().unwrap();
        let output_text = [&output.stdout[..], &output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&output_text).trim_end().to_owned())
    }

    /// Removes the container now.
    pub fn remove(self) {}
}

impl Drop for Container {
    fn drop(&mut self) {
        // A panic during another panic would abort the test program.
        let known_as = if self.id.is_empty() { &self.name } else { &self.id };
        let _ = run(&["rm", "-f", known_as]);
    }
}

/// A network. Dropping it removes the network.
pub struct Network {
    name: String,
}

impl Network {
    /// `docker network create` with these options.
    #[track_caller]
    pub fn create(options: &[&str]) -> Self {
        let name = format!("highhock-test-{}-{}", std::process::id(), unique());
        let own = ["--label", &label()];
        docker(&[&["network", "create"], &own[..], options, &[&name]].concat());
        Self { name }
    }

    /// A network without IPv4, by the API of Docker 28 and newer: older programs have no option
    /// for it.
    #[track_caller]
    pub fn without_ipv4(subnet: &str) -> Self {
        let name = format!("highhock-test-{}-{}", std::process::id(), unique());
        let body = json!({
            "Name": name, "EnableIPv4": false, "EnableIPv6": true,
            "IPAM": {"Config": [{"Subnet": subnet}]}, "Labels": {LABEL: run_id()},
        });
        let answer = proxy::post_json(&server_address(), "/v1.48/networks/create", &body).unwrap();
        assert_eq!(answer.0, 201, "{}", answer.1);
        Self { name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects the container to the network.
    #[track_caller]
    pub fn connect(&self, container: &Container) {
        docker(&["network", "connect", &self.name, container.id()]);
    }

    /// Disconnects the container from the network.
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
