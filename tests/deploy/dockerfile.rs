//! The last stage of the Dockerfile, and the daemon in a container of this image.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine_images::{Image, version_in_dockerfile};
use crate::support::daemon::ADDRESS;
use crate::support::docker::{Container, docker, endpoint, label};
use crate::support::etcd::Etcd;
use crate::support::{eventually, free_port, unique};
use crate::{TIMEOUT, run};
use highhock::docker::Endpoint;

/// The user of the image.
const USER_ID: u32 = 65532;

/// A container of the image. Dropping it removes the container.
struct RunningImage {
    name: String,
}

impl RunningImage {
    /// Starts the container as the head of the Dockerfile documents it, with a shorter health
    /// check interval.
    #[track_caller]
    fn start(image: &Image, etcd: &Etcd, options: &[&str]) -> Self {
        let name = format!("highhock-test-{}-{}", std::process::id(), unique());
        let running = Self { name };
        let socket = format!("{}:/var/run/docker.sock", socket());
        let own = label();
        let mut run = vec!["run", "-d", "--name", &running.name, "--label", &own];
        run.extend(["--network", "host", "--read-only", "--cap-drop", "ALL", "-v", &socket]);
        run.extend([
            "--health-interval",
            "1s",
            "--health-retries",
            "1",
            "--health-start-period",
            "0s",
        ]);
        let etcd_url = format!("HIGHHOCK_ETCD__URL={}", etcd.url());
        let admin = format!("HIGHHOCK_ADMIN__LISTEN=127.0.0.1:{}", free_port());
        let host = format!("HIGHHOCK_DISCOVERY__HOST={ADDRESS}");
        for variable in [&etcd_url, &admin, &host, "HIGHHOCK_DOCKER__POLL=1"] {
            run.extend(["-e", variable]);
        }
        run.extend(options);
        run.push(image.name());
        docker(&run);
        running
    }

    #[track_caller]
    fn inspect(&self, format: &str) -> String {
        docker(&["inspect", "--format", format, &self.name])
    }

    #[track_caller]
    fn wait_for_health(&self, health: &str) {
        eventually(&format!("the container is {health}"), TIMEOUT, || {
            (self.inspect("{{.State.Health.Status}}") == health).then_some(())
        });
    }

    /// Returns a line of `/proc/PID/status` of the container's process.
    #[track_caller]
    fn process_field(&self, line: &str) -> String {
        let process = self.inspect("{{.State.Pid}}");
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("no {line} in {status}")).trim().to_owned()
    }
}

impl Drop for RunningImage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the container said:\n{}",
                run(Command::new("docker").args(["logs", &self.name])).1
            );
        }
        // A panic during another panic would abort the test program.
        let _ = run(Command::new("docker").args(["rm", "-f", &self.name]));
    }
}

/// The engine's socket on this host.
pub fn socket() -> String {
    match endpoint() {
        Endpoint::Unix(path) => path.display().to_string(),
        other => panic!("the image takes the engine's socket, and DOCKER_HOST is {other}"),
    }
}

/// The group id of the socket.
pub fn socket_group() -> String {
    std::fs::metadata(socket()).unwrap().gid().to_string()
}

#[test]
fn image_has_labels_and_an_unprivileged_user() {
    let image = Image::from_last_stage(&["SOCKET_GROUP=123", "COMMIT=abc"]);
    assert_eq!(image.inspect("{{.Config.User}}"), format!("{USER_ID}:123"));
    assert_eq!(image.inspect("{{json .Config.Entrypoint}}"), r#"["/usr/local/bin/highhock"]"#);
    let check = image.inspect("{{json .Config.Healthcheck.Test}}");
    assert_eq!(check, r#"["CMD","/usr/local/bin/highhock","status"]"#);
    let labels = image.inspect("{{json .Config.Labels}}");
    for (key, value) in
        [("version", env!("CARGO_PKG_VERSION")), ("revision", "abc"), ("licenses", "AGPL-3.0-only")]
    {
        let label = format!(r#""org.opencontainers.image.{key}":"{value}""#);
        assert!(labels.contains(&label), "{labels}");
    }
    assert_eq!(version_in_dockerfile(), env!("CARGO_PKG_VERSION"));
}

/// The daemon needs the socket's group: given at the start, or built into the image.
#[test]
fn socket_group_can_be_built_in() {
    let socket = format!("{}:/var/run/docker.sock", socket());
    let verdict = |group: &str| {
        let image = Image::from_last_stage(&[&format!("SOCKET_GROUP={group}")]);
        let mut check = Command::new("docker");
        check.args(["run", "--rm", "--network", "host", "--read-only", "-v", &socket]);
        let (_, output_text) = run(check.args([image.name(), "check"]));
        let line = output_text.lines().find_map(|line| line.strip_prefix("docker "));
        line.unwrap_or_else(|| panic!("{output_text}")).trim().to_owned()
    };
    let with = verdict(&socket_group());
    assert!(with.starts_with("ok "), "{with}");
    let without = verdict("65532");
    assert!(without.starts_with("FAILED ") && without.contains("denied"), "{without}");
}

#[test]
fn container_publishes_reports_healthy_and_stops() {
    let image = Image::from_last_stage(&[]);
    let mut etcd = Etcd::start();
    etcd.stop();
    let running = RunningImage::start(&image, &etcd, &["--group-add", &socket_group()]);
    running.wait_for_health("unhealthy");
    etcd.restart(false);
    let name = format!("image-{}-{}", std::process::id(), unique());
    let offer = format!("DISCOVER={name}:80");
    let container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    let record =
        eventually("its record", TIMEOUT, || etcd.get(&format!("skydns/local/skydns/{name}")));
    let port = container.published_port("80/tcp");
    assert_eq!(record.value, format!(r#"{{"host":"{ADDRESS}","port":{port},"ttl":60}}"#));

    let uid = running.process_field("Uid");
    assert!(uid.split_whitespace().all(|id| id == USER_ID.to_string()), "{uid}");
    for capabilities in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(running.process_field(capabilities).trim_matches('0'), "", "{capabilities}");
    }
    running.wait_for_health("healthy");

    let asked = Instant::now();
    docker(&["stop", "-t", "20", &running.name]);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(running.inspect("{{.State.ExitCode}}"), "0");
}
