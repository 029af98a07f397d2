//! A network namespace of a test. It needs root.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The name of the interface beside loopback.
pub const INTERFACE: &str = "hhtest0";

/// Reports that the namespace is ready, and keeps it until standard input ends.
const HOLD: &str = "echo ready && read -r _";

/// The kind of an interface.
#[derive(Clone, Copy, Debug)]
pub enum InterfaceKind {
    /// An interface without a peer, as a machine has.
    Machine,
    /// One end of a pair, as a container has.
    Container,
}

/// A network namespace with a loopback interface. Dropping it ends the process that holds it.
pub struct NetworkNamespace(Child);

impl NetworkNamespace {
    /// A namespace without further interfaces.
    #[track_caller]
    pub fn new() -> Self {
        Self::start("")
    }

    /// A namespace with an interface that has this address.
    #[track_caller]
    pub fn with_interface(kind: InterfaceKind, address: &str) -> Self {
        let kind = match kind {
            InterfaceKind::Machine => "bridge",
            InterfaceKind::Container => "veth peer name hhtest1",
        };
        Self::start(&format!(
            "ip link add {INTERFACE} type {kind} && ip address add {address}/32 dev {INTERFACE} &&
             ip link set {INTERFACE} up &&"
        ))
    }

    #[track_caller]
    fn start(setup: &str) -> Self {
        let script = format!("ip link set lo up && {setup} {HOLD}");
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script]);
        let holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut namespace = Self(holder.unwrap());
        let mut line = String::new();
        BufReader::new(namespace.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "a network namespace needs root");
        namespace
    }

    /// Runs an action on a thread in the namespace. The processes that it starts stay there.
    pub fn enter<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.0.id())).unwrap();
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), kind).unwrap();
                action()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
