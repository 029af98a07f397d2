//! [`DnsError`]: the errors at the start of the DNS server.

use std::io;
use std::net::SocketAddr;

use highhock_actors::model::names::DomainName;
use rustix::io::Errno;
use thiserror::Error;

/// The reason why the DNS server cannot start.
#[derive(Debug, Error)]
pub enum DnsError {
    /// Another program uses the address.
    #[error(
        "cannot answer DNS at {0}: another program uses this address (see `ss -lnup`); stop that \
         program, or set another port in `dns.listen`"
    )]
    InUse(SocketAddr),
    /// The port is reserved for privileged programs.
    #[error(
        "cannot answer DNS at {0}: permission denied; ports below 1024 need the capability \
         CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=), or set another port in `dns.listen`"
    )]
    PermissionDenied(SocketAddr),
    /// The address does not belong to this host.
    #[error(
        "cannot answer DNS at {0}: this host has no such address (see `ip address`); set an \
         address of this host in `dns.listen`"
    )]
    AddressNotAvailable(SocketAddr),
    /// The address cannot be bound for another reason.
    #[error("cannot answer DNS at {0}: {1}; set another address in `dns.listen`")]
    Bind(SocketAddr, #[source] io::Error),
    /// An upstream is this server itself, so that forwarded queries would return.
    #[error(
        "cannot forward DNS to {0}: this server itself listens there; set another server in \
         `dns.forward`"
    )]
    ForwardsToItself(SocketAddr),
    /// The domain name leaves no room for the names below it.
    #[error("cannot answer DNS for {0}: the name is too long; set a shorter `skydns.domain`")]
    Domain(DomainName),
    /// The limit of open files is reached.
    #[error(
        "cannot answer DNS: too many open files: {0}; raise the limit (systemd: LimitNOFILE=, \
         else `ulimit -n`)"
    )]
    FileLimit(#[source] io::Error),
    /// The system cannot start a thread.
    #[error("cannot answer DNS: cannot start a thread: {0}; check the limits of the system")]
    Threads(#[source] io::Error),
}

impl DnsError {
    /// Classifies an error of binding `address`.
    pub(super) fn from_bind(address: SocketAddr, error: io::Error) -> Self {
        if is_file_limit(&error) {
            return Self::FileLimit(error);
        }
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::PermissionDenied(address),
            io::ErrorKind::AddrNotAvailable => Self::AddressNotAvailable(address),
            _ => Self::Bind(address, error),
        }
    }

    /// Classifies an error of starting the runtime or its threads.
    pub(super) fn from_spawn(error: io::Error) -> Self {
        if is_file_limit(&error) { Self::FileLimit(error) } else { Self::Threads(error) }
    }
}

/// Returns `true` if this process or the system has too many open files.
fn is_file_limit(error: &io::Error) -> bool {
    let (process, system) = (Errno::MFILE.raw_os_error(), Errno::NFILE.raw_os_error());
    error.raw_os_error().is_some_and(|code| code == process || code == system)
}
