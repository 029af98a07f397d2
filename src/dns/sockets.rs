//! Binds the sockets of the DNS server.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::error::DnsError;

/// The number of attempts to find a port that is free for both TCP and UDP.
const BIND_ATTEMPTS_MAX: usize = 32;

/// The number of connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The size of the UDP receive buffer in bytes. It holds a burst of some thousand queries.
const RECEIVE_BUFFER_BYTES: usize = 1 << 21;

/// The sockets of one address.
#[derive(Debug)]
pub(super) struct BoundSockets {
    /// The address with the chosen port.
    pub(super) address: SocketAddr,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
}

/// Binds an address for UDP and TCP. Port 0 chooses one port that is free for both.
///
/// # Errors
/// Returns an error with a remedy if the address cannot be bound.
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
    // Allows a restart while connections of the previous process are closing.
    tcp.set_reuse_address(true)?;
    tcp.bind(&address.into())?;
    tcp.listen(BACKLOG)?;
    let tcp = TcpListener::from(tcp);
    address.set_port(tcp.local_addr()?.port());

    let udp = socket(address, Type::DGRAM, Protocol::UDP)?;
    // The system may limit the size. A smaller buffer is no reason to fail.
    let _ = udp.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    udp.bind(&address.into())?;
    Ok(BoundSockets { address, udp: udp.into(), tcp })
}

fn socket(address: SocketAddr, socket_type: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), socket_type, Some(protocol))?;
    if address.is_ipv6() {
        // Allows `0.0.0.0` and `::` in the same list.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
