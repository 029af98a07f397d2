//! A network namespace of its own, in which port 53 is free. It belongs to a container, and the
//! server's thread enters it.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::{Command, Output, Stdio};
use std::thread;

use highhock::dns::{DnsServer, DnsSettings};
use highhock::zone::Zone;
use highhock_actors::RecordKey;
use highhock_actors::model::names::DomainName;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::support::TempDir;
use super::support::docker::{Container, docker};

/// Configures the programs in the namespace to use only its own DNS server.
const RESOLV_CONF: &str =
    "nameserver 127.0.0.1\nsearch skydns.local\noptions timeout:5 attempts:2\n";
const NSSWITCH_CONF: &str = "hosts: files dns\n";

/// A container and a DNS server in the network namespace of the container.
pub struct NetworkNamespace {
    container: Container,
    zone: Zone,
    etc: TempDir,
    _server: DnsServer,
}

impl NetworkNamespace {
    /// Starts a server without records on port 53 of all addresses.
    pub fn new() -> Self {
        let container = Container::run(&[], &[]);
        enable_ipv6(&container);
        let zone = Zone::new();
        zone.mark_complete();
        let server = serve(pid(&container), zone.clone());
        let etc = TempDir::new();
        fs::write(etc.0.join("resolv.conf"), RESOLV_CONF).unwrap();
        fs::write(etc.0.join("nsswitch.conf"), NSSWITCH_CONF).unwrap();
        Self { container, zone, etc, _server: server }
    }

    /// Publishes a record at a path below the domain's key.
    pub fn put(&self, path: &str, value: &str) {
        let key = RecordKey::from_path(&format!("skydns/local/skydns/{path}"));
        self.zone.put(&key, value, None).unwrap();
    }

    /// Returns the container that owns the namespace.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Runs a program of this machine in the namespace, with its own resolver files.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> ProgramOutput {
        // The files may be missing, or links that change. They are therefore bind-mounted in a
        // mount namespace of the program.
        let cover = "for file in resolv.conf nsswitch.conf; do
            mount --bind \"$0/$file\" \"/etc/$file\" || exit 99
        done
        exec \"$@\"";
        let output = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", pid(&self.container)))
            .args(["unshare", "--mount", "sh", "-c", cover])
            .arg(&self.etc.0)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("cannot run nsenter and unshare: {error}"));
        ProgramOutput::from_output(&output, &format!("{program} {arguments:?}"))
    }
}

/// The output of a program.
#[derive(Debug)]
pub struct ProgramOutput {
    pub lines: Vec<String>,
    pub succeeded: bool,
}

impl ProgramOutput {
    fn from_output(output: &Output, command: &str) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(99), "{command}: {stderr}");
        assert_ne!(
            output.status.code(),
            Some(127),
            "{command}: program not found; run the suite by tests/run: {stderr}"
        );
        let text = String::from_utf8_lossy(&output.stdout);
        Self {
            lines: text.lines().map(str::to_owned).collect(),
            succeeded: output.status.success(),
        }
    }

    /// Returns the lines in sorted order, because sets of records are unordered.
    pub fn sorted(mut self) -> Vec<String> {
        self.lines.sort();
        self.lines
    }

    /// Returns `true` if one line contains all parts.
    pub fn has_line(&self, parts: &[&str]) -> bool {
        self.lines.iter().any(|line| parts.iter().all(|part| line.contains(part)))
    }
}

/// Returns the address of a container in a network.
pub fn address_in(network: &str, container: &Container) -> IpAddr {
    let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    docker(&["inspect", "--format", &format, container.id()]).parse().unwrap()
}

fn pid(container: &Container) -> String {
    docker(&["inspect", "--format", "{{.State.Pid}}", container.id()])
}

/// Assigns a link-local address to each interface: glibc does not query AAAA without an IPv6
/// address. Docker 29 disables IPv6 for each interface of a network without IPv6.
fn enable_ipv6(container: &Container) {
    let enable = "for setting in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
        echo 0 >\"$setting\" || exit
    done";
    let status = Command::new("nsenter")
        .arg(format!("--net=/proc/{}/ns/net", pid(container)))
        .args(["sh", "-c", enable])
        .status();
    assert!(status.unwrap().success(), "entering a container's network requires root");
}

/// Starts a server in the namespace. A new thread enters the namespace, and the threads it
/// starts inherit it.
fn serve(pid: String, zone: Zone) -> DnsServer {
    let started = thread::spawn(move || {
        let namespace = File::open(format!("/proc/{pid}/ns/net")).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("entering a container's network, which requires root");
        let settings = DnsSettings {
            listen: vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 53)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 53)),
            ],
            forward: Vec::new(),
            domain: DomainName::parse("skydns.local").unwrap(),
            prefix: "skydns".to_owned(),
            rate_limit: 0,
        };
        let log = slog::Logger::root(slog::Discard, slog::o!());
        DnsServer::start(settings, zone, &log).unwrap()
    });
    started.join().unwrap()
}
