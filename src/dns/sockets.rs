//! The sockets that are answered at.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::error::DnsError;

/// How often another free port is tried, where the kernel's choice for TCP is taken
/// for UDP.
const TRIES: usize = 32;

/// How many connections wait to be accepted.
const BACKLOG: i32 = 128;

/// The bytes of questions that may wait to be read: some thousands that come at once.
const BURST: usize = 1 << 21;

/// One address, bound for UDP and TCP.
#[derive(Debug)]
pub(super) struct Bound {
    /// With the port that was found.
    pub(super) address: SocketAddr,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Binds an address, UDP and TCP; port 0: both on one free port.
///
/// # Errors
/// Why it can't be bound.
pub(super) fn bind(address: SocketAddr) -> Result<Bound, DnsError> {
    let mut tries = if address.port() == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_both(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {}
            result => return result.map_err(|error| DnsError::of_binding(address, error)),
        }
    }
}

fn bind_both(mut address: SocketAddr) -> io::Result<Bound> {
    let tcp = socket(address, Type::STREAM, Protocol::TCP)?;
    // A connection of an earlier life that still ends is no reason not to begin.
    tcp.set_reuse_address(true)?;
    tcp.bind(&address.into())?;
    tcp.listen(BACKLOG)?;
    let tcp = TcpListener::from(tcp);
    address.set_port(tcp.local_addr()?.port());

    let udp = socket(address, Type::DGRAM, Protocol::UDP)?;
    // As much as the system admits, less than that is no reason not to begin.
    let _ = udp.set_recv_buffer_size(BURST);
    udp.bind(&address.into())?;
    Ok(Bound { address, udp: udp.into(), tcp })
}

fn socket(address: SocketAddr, sort: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), sort, Some(protocol))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and :: can be listed both.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
