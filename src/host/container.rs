//! Recognises if this process runs in a container with a host name or a network of its own.

use std::fs;
use std::path::Path;

/// The inode of the initial UTS namespace (`PROC_UTS_INIT_INO` in Linux). Its host name is the
/// machine's.
const INITIAL_UTS_NAMESPACE: &str = "uts:[4026531838]";
/// The files with which Docker and Podman mark their containers.
const CONTAINER_MARKS: [&str; 2] = [".dockerenv", "run/.containerenv"];

/// The isolation of this process from its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// `true` if the host name is that of a container.
    pub own_hostname: bool,
    /// `true` if the interfaces are those of a container.
    pub own_network: bool,
}

impl Isolation {
    /// Returns the isolation of this process.
    pub fn detect() -> Self {
        Self::detect_below(Path::new("/"), std::process::id())
    }

    fn detect_below(root: &Path, pid: u32) -> Self {
        let is_marked = CONTAINER_MARKS.iter().any(|mark| root.join(mark).exists());
        // The first process of a container is the program itself.
        let own_network = (is_marked || pid == 1) && !has_machine_interface(root);
        // A container in the network of its machine has the machine's name, too.
        Self { own_hostname: own_network && !has_machine_name(root), own_network }
    }
}

/// Returns `true` if the host name is that of the machine, as with `--uts host`.
fn has_machine_name(root: &Path) -> bool {
    let namespace = fs::read_link(root.join("proc/self/ns/uts"));
    namespace.is_ok_and(|namespace| namespace == Path::new(INITIAL_UTS_NAMESPACE))
}

/// Returns `true` if an interface beside `lo` has no peer in another network namespace. A
/// container's interface is one end of a pair, or the child of one of the machine's interfaces.
fn has_machine_interface(root: &Path) -> bool {
    let Ok(interfaces) = fs::read_dir(root.join("sys/class/net")) else { return false };
    interfaces.flatten().filter(|interface| interface.file_name() != "lo").any(|interface| {
        let read = |name| fs::read_to_string(interface.path().join(name)).ok();
        read("iflink").is_some() && read("iflink") == read("ifindex")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates the files of a machine or container in a temporary folder.
    struct Root(std::path::PathBuf);

    impl Root {
        fn new(interfaces: &[(&str, &str, &str)], uts: &str) -> Self {
            let name = format!("highhock-host-{}-{}", std::process::id(), fastrand::u64(..));
            let root = std::env::temp_dir().join(name);
            for (interface, index, link) in interfaces {
                let folder = root.join("sys/class/net").join(interface);
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("ifindex"), index).unwrap();
                fs::write(folder.join("iflink"), link).unwrap();
            }
            fs::create_dir_all(root.join("proc/self/ns")).unwrap();
            fs::create_dir_all(root.join("run")).unwrap();
            std::os::unix::fs::symlink(uts, root.join("proc/self/ns/uts")).unwrap();
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn recognises_containers_by_their_interfaces() {
        let container = &[("lo", "1", "1"), ("tunl0", "2", "0"), ("eth0", "7", "8")][..];
        let machine = &[("lo", "1", "1"), ("eth0", "2", "2"), ("veth1", "8", "7")][..];
        let (own_uts, initial_uts) = ("uts:[4026532300]", INITIAL_UTS_NAMESPACE);
        for (interfaces, uts, mark, pid, expected) in [
            (container, own_uts, Some(".dockerenv"), 9, (true, true)),
            (container, own_uts, Some("run/.containerenv"), 9, (true, true)),
            (container, own_uts, None, 1, (true, true)),
            (container, initial_uts, Some(".dockerenv"), 1, (false, true)),
            (machine, own_uts, Some(".dockerenv"), 1, (false, false)),
            (machine, initial_uts, None, 9, (false, false)),
            (container, own_uts, None, 9, (false, false)),
        ] {
            let root = Root::new(interfaces, uts);
            mark.iter().for_each(|mark| fs::write(root.0.join(mark), "").unwrap());
            let Isolation { own_hostname, own_network } = Isolation::detect_below(&root.0, pid);
            assert_eq!((own_hostname, own_network), expected, "{interfaces:?} {uts} {mark:?}");
        }
    }
}
