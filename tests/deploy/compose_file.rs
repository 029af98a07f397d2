//! The Compose file: as it is, and run with images that are built from the files of this machine.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::dockerfile::{socket, socket_group};
use crate::engine_images::Image;
use crate::support::daemon::ADDRESS;
use crate::support::dns::{Target, dig};
use crate::support::docker::{Container, docker, label};
use crate::support::tools::tool;
use crate::support::{TempDir, eventually, free_port, unique};
use crate::{TIMEOUT, file, run, run_successfully, text};

const COMPOSE_FILE: &str = "deploy/compose.yaml";

/// The variable that the Compose file requires.
const SOCKET_GROUP_VARIABLE: &str = "DOCKER_SOCKET_GROUP";

/// Docker Compose with this file, in an environment that only finds the engine.
fn compose() -> Command {
    compose_with(COMPOSE_FILE)
}

fn compose_with(compose_file: &str) -> Command {
    let mut command = Command::new("docker-compose");
    let kept = ["PATH", "HOME", "DOCKER_HOST", "TMPDIR", "HIGHHOCK_TEST_RUN"];
    command.env_clear().envs(std::env::vars().filter(|(name, _)| kept.contains(&&**name)));
    command.arg("-f").arg(file(compose_file));
    command
}

#[test]
fn compose_file_is_valid() {
    let config = run_successfully(compose().arg("config").env(SOCKET_GROUP_VARIABLE, "123"));
    // Every optional variable has its default.
    for part in ["127.0.0.1:5354:53/udp", "127.0.0.1:5354:53/tcp", "127.0.0.1:2379:2379", "'123'"] {
        assert!(config.contains(part), "{part} is not in:\n{config}");
    }
}

#[test]
fn socket_proxy_compose_file_is_valid() {
    let mut compose = compose_with("deploy/compose.socket-proxy.yaml");
    let variables = [("ETCD_URL", "http://e:2379/"), ("PUBLISH_HOST", "192.0.2.1")];
    let config =
        run_successfully(compose.arg("config").envs(variables).env("SKYDNS_HOSTNAME", "node-1"));
    for part in ["tcp://socket-proxy:2375", "http://e:2379/", "192.0.2.1", "node-1"] {
        assert!(config.contains(part), "{part} is not in:\n{config}");
    }
    let (succeeded, output_text) =
        run(compose_with("deploy/compose.socket-proxy.yaml").arg("config").envs(variables));
    assert!(!succeeded && output_text.contains("the name of this host"), "{output_text}");
}

#[test]
fn missing_socket_group_error_explains_how_to_find_it() {
    let (succeeded, output_text) = run(compose().arg("config"));
    assert!(!succeeded && output_text.contains("stat -c %g /var/run/docker.sock"), "{output_text}");
}

/// The Compose file uses the versions that the tests run.
#[test]
fn server_versions_match_the_tested_versions() {
    let compose = text(COMPOSE_FILE);
    for (image, module, folder) in [
        ("quay.io/coreos/etcd:v", "go.etcd.io/etcd/server/v3 v", "etcd36"),
        ("docker.io/coredns/coredns:", "github.com/coredns/coredns v", "coredns"),
    ] {
        let tested = text(&format!("tests/tools/{folder}/go.mod"));
        let (_, tested) = tested.split_once(module).unwrap();
        let tested = tested.lines().next().unwrap();
        assert!(compose.contains(&format!("{image}{tested}}}")), "{image}{tested}");
    }
}

/// The images that replace the public ones.
struct Images {
    etcd: Image,
    coredns: Image,
    highhock: Image,
}

impl Images {
    /// The images have the programs, paths and users that the Compose file relies on. `None` if
    /// this machine lacks a server.
    fn new() -> Option<Self> {
        let (etcd, coredns) = (tool("ETCD36")?, tool("COREDNS")?);
        let etcdctl = Path::new("/usr/bin/etcdctl");
        let path = "ENV PATH=/usr/local/bin";
        Some(Self {
            etcd: Image::from_programs(
                &[(&etcd, "/usr/local/bin/etcd"), (etcdctl, "/usr/local/bin/etcdctl")],
                &[path],
            ),
            coredns: Image::from_programs(
                &[(&coredns, "/coredns")],
                &["ENTRYPOINT [\"/coredns\"]", "USER 65532:65532", "WORKDIR /"],
            ),
            highhock: Image::from_last_stage(&[]),
        })
    }
}

/// A running Compose project. Dropping it removes the project.
struct Project {
    name: String,
    images: Images,
    dns_port: u16,
    etcd_port: u16,
    admin_port: u16,
    /// Holds an override file that labels the project's networks and volumes for the tests.
    folder: TempDir,
}

impl Project {
    #[track_caller]
    fn up(images: Images) -> Self {
        let name = format!("highhock-test-{}-{}", std::process::id(), unique());
        let (dns_port, etcd_port, admin_port) = (free_port(), free_port(), free_port());
        let folder = TempDir::new();
        let label = format!("{{ labels: [{:?}] }}", label());
        let labelled = format!("networks: {{ default: {label} }}\nvolumes: {{ etcd: {label} }}\n");
        std::fs::write(folder.0.join("labels.yaml"), labelled).unwrap();
        // Created before the containers, so that containers of a failed start are removed.
        let project = Self { name, images, dns_port, etcd_port, admin_port, folder };
        run_successfully(project.compose().args(["up", "-d", "--no-build"]));
        project
    }

    fn compose(&self) -> Command {
        let mut command = compose();
        command.arg("-f").arg(self.folder.0.join("labels.yaml"));
        command.args(["--project-name", &self.name]);
        command.envs([
            (SOCKET_GROUP_VARIABLE, &*socket_group()),
            ("DOCKER_SOCKET", &*socket()),
            ("PUBLISH_HOST", ADDRESS),
            ("ETCD_IMAGE", self.images.etcd.name()),
            ("COREDNS_IMAGE", self.images.coredns.name()),
            ("HIGHHOCK_IMAGE", self.images.highhock.name()),
        ]);
        let listen = format!("127.0.0.1:{}", self.admin_port);
        command.env("DNS_PORT", self.dns_port.to_string());
        command.env("ETCD_PORT", self.etcd_port.to_string()).env("ADMIN_LISTEN", listen);
        command
    }

    #[track_caller]
    fn container(&self, service: &str) -> String {
        let id = run_successfully(self.compose().args(["ps", "-q", service]));
        assert!(!id.is_empty(), "no container of {service}");
        id
    }

    #[track_caller]
    fn wait_until_healthy(&self, service: &str) {
        let id = self.container(service);
        eventually(&format!("{service} is healthy"), TIMEOUT, || {
            let health = docker(&["inspect", "--format", "{{.State.Health.Status}}", &id]);
            (health == "healthy").then_some(())
        });
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", run(self.compose().args(["logs", "--tail", "20"])).1);
        }
        // A panic during another panic would abort the test program.
        let _ = run(self.compose().args(["down", "--volumes", "--timeout", "5"]));
    }
}

#[test]
fn coredns_resolves_a_container() {
    let Some(images) = Images::new() else { return };
    let project = Project::up(images);
    let name = format!("compose-{}-{}", std::process::id(), unique());
    let offer = format!("DISCOVER={name}:80");
    let container = Container::run(&["-e", &offer, "-p", "0:80"], &[]);
    let question = format!("{name}.skydns.local");
    let expected = Target {
        priority: 10,
        weight: 100,
        port: container.published_port("80/tcp"),
        host: ADDRESS.into(),
    };
    eventually("its service", TIMEOUT, || {
        let reply = dig(project.dns_port, &question, "SRV")?;
        reply.targets().contains(&expected).then_some(())
    });
    for service in ["etcd", "highhock"] {
        project.wait_until_healthy(service);
    }

    // The container's resolver, here Docker's own, resolves names outside of the domain.
    let reply = dig(project.dns_port, "etcd", "A").expect("an answer");
    assert_eq!(reply.addresses().len(), 1, "{reply:?}");

    container.stop();
    // CoreDNS caches the answer for five seconds.
    eventually("no such name", Duration::from_secs(20), || {
        (dig(project.dns_port, &question, "A")?.status == "NXDOMAIN").then_some(())
    });

    let highhock = project.container("highhock");
    run_successfully(project.compose().args(["stop", "highhock"]));
    assert_eq!(docker(&["inspect", "--format", "{{.State.ExitCode}}", &highhock]), "0");
}
