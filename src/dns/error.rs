//! The errors of the DNS server's start.

use std::io;
use std::net::SocketAddr;

use highhock_actors::model::names::DomainName;
use rustix::io::Errno;
use thiserror::Error;

/// Why the DNS server could not be started.
#[derive(Debug, Error)]
pub enum DnsError {
    /// Another program answers there.
    #[error(
        "cannot answer DNS at {0}: another program does (see `ss -lnup`); end that one, or set \
         another port in `dns.listen`"
    )]
    InUse(SocketAddr),
    /// The port is reserved for the system.
    #[error(
        "cannot answer DNS at {0}: no permission; ports below 1024 need the capability \
         CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=), or set another port in `dns.listen`"
    )]
    PermissionDenied(SocketAddr),
    /// It is no address of this host.
    #[error(
        "cannot answer DNS at {0}: this host has no such address (see `ip address`); set one that \
         it has in `dns.listen`"
    )]
    AddressNotAvailable(SocketAddr),
    /// The address can't be bound for another reason.
    #[error("cannot answer DNS at {0}: {1}; set another address in `dns.listen`")]
    Bind(SocketAddr, #[source] io::Error),
    /// Questions about other domains would come back.
    #[error(
        "cannot forward DNS to {0}: that is where this server itself answers; name another one in \
         `dns.forward`"
    )]
    ForwardsToItself(SocketAddr),
    /// The domain leaves no room for names in it.
    #[error("cannot answer DNS for {0}: the name is too long; set a shorter `skydns.domain`")]
    Domain(DomainName),
    /// No more files may be opened.
    #[error(
        "cannot answer DNS: no more files may be opened: {0}; allow more (systemd: LimitNOFILE=, \
         else `ulimit -n`)"
    )]
    FileLimit(#[source] io::Error),
    /// The system gives no threads.
    #[error("cannot answer DNS: no thread could be started: {0}; look at the limits of the system")]
    Threads(#[source] io::Error),
}

impl DnsError {
    /// Why an address could not be bound.
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

    /// Why the threads that answer could not be had.
    pub(super) fn from_spawn(error: io::Error) -> Self {
        if is_file_limit(&error) { Self::FileLimit(error) } else { Self::Threads(error) }
    }
}

/// Whether it is that this process, or the whole system, has too many files open.
fn is_file_limit(error: &io::Error) -> bool {
    let (process, system) = (Errno::MFILE.raw_os_error(), Errno::NFILE.raw_os_error());
    error.raw_os_error().is_some_and(|code| code == process || code == system)
}
