//! The sockets that are answered at.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::error::DnsError;

/// How often another free port is tried, where the kernel's choice for TCP is taken
/// for UDP.
const BIND_ATTEMPTS_MAX: usize = 32;

/// How many connections wait to be accepted.
const BACKLOG: i32 = 128;

/// The bytes of questions that may wait to be read: some thousands that come at once.
const RECEIVE_BUFFER_BYTES: usize = 1 << 21;

/// One address, bound for UDP and TCP.
#[derive(Debug)]
pub(super) struct BoundSockets {
    /// With the port that was found.
    pub(super) address: SocketAddr,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Binds an address, UDP and TCP; port 0: both on one free port.
///
/// # Errors
/// Why it can't be bound.
pub(super) fn bind(address: SocketAddr) -> Result<BoundSockets, DnsError> {
    let mut attempts = if address.port() == 0 { BIND_ATTEMPTS_MAX } else { 1 };
    loop {
        attempts -= 1;
        match bind_both(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && attempts > 0 => {}
            result => return result.map_err(|error| DnsError::from_bind(address, error)),
        }
    }
}

fn bind_both(mut address: SocketAddr) -> io::Result<BoundSockets> {
    let tcp = socket(address, Type::STREAM, Protocol::TCP)?;
    // A connection of an earlier life that still ends is no reason not to begin.
    tcp.set_reuse_address(true)?;
    tcp.bind(&address.into())?;
    tcp.listen(BACKLOG)?;
    let tcp = TcpListener::from(tcp);
    address.set_port(tcp.local_addr()?.port());

    let udp = socket(address, Type::DGRAM, Protocol::UDP)?;
    // As much as the system admits, less than that is no reason not to begin.
    let _ = udp.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    udp.bind(&address.into())?;
    Ok(BoundSockets { address, udp: udp.into(), tcp })
}

fn socket(address: SocketAddr, socket_type: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), socket_type, Some(protocol))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and :: can be listed both.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
