//! A proxy before a server that can be cut, restored or silenced. It makes a server unreachable
//! for one client without touching the server. Both ends are a Unix socket or a TCP port. Bytes
//! are forwarded as they arrive.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// One end of the proxy: the address that it listens on, or the address of the server.
#[derive(Clone, Debug)]
pub enum ServerAddress {
    /// The path of a socket.
    Unix(PathBuf),
    /// An address with a port.
    Tcp(SocketAddr),
}

/// A proxy. It starts in the restored state. Dropping it cuts it.
pub struct CuttableProxy {
    front: ServerAddress,
    back: ServerAddress,
    connections: Arc<Mutex<Vec<Connection>>>,
    accepting: Option<AcceptLoop>,
    /// Keeps the port while the proxy is cut. Otherwise another test could listen there.
    _reserved_port: Option<OwnedFd>,
}

/// The forwarded connection of one client.
struct Connection {
    ends: [Stream; 2],
    silent: Arc<AtomicBool>,
}

struct AcceptLoop {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    listener: Arc<Listener>,
}

impl CuttableProxy {
    /// Listens on a socket at `path`.
    pub fn unix(path: &Path, back: ServerAddress) -> Self {
        Self::start(ServerAddress::Unix(path.to_owned()), back, None)
    }

    /// Listens on a free port of 127.0.0.1.
    pub fn tcp(back: ServerAddress) -> Self {
        let (socket, address) = reserve_port().unwrap();
        Self::start(ServerAddress::Tcp(address), back, Some(socket))
    }

    fn start(front: ServerAddress, back: ServerAddress, reserved_port: Option<OwnedFd>) -> Self {
        let mut relay = Self {
            front,
            back,
            connections: Arc::default(),
            accepting: None,
            _reserved_port: reserved_port,
        };
        relay.restore();
        relay
    }

    /// The address to connect to: `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        match &self.front {
            ServerAddress::Tcp(address) => address.to_string(),
            ServerAddress::Unix(path) => panic!("{} is no TCP port", path.display()),
        }
    }

    /// Closes all connections and refuses new ones. The file of a Unix socket is removed, as when
    /// an engine stops. Complete on return.
    pub fn cut(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        accepting.stop.store(true, Ordering::SeqCst);
        if let ServerAddress::Unix(path) = &self.front {
            std::fs::remove_file(path).unwrap();
        }
        // Closing the listener is not enough. A process that another test is starting holds a copy
        // of it, and the kernel accepts connections for that copy and resets them later.
        rustix::net::shutdown(&*accepting.listener, rustix::net::Shutdown::Both).unwrap();
        accepting.thread.join().unwrap();
        self.close_connections();
    }

    /// Closes all connections, and continues to accept new ones.
    pub fn close_connections(&mut self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.ends.iter().for_each(Stream::close);
        }
    }

    /// Drops all further bytes of the existing connections, in both directions and without
    /// closing them. New connections work.
    pub fn silence_connections(&mut self) {
        for connection in self.connections.lock().unwrap().iter() {
            connection.silent.store(true, Ordering::SeqCst);
        }
    }

    /// Listens again at the same address.
    pub fn restore(&mut self) {
        if self.accepting.is_some() {
            return;
        }
        let listener = Arc::new(Listener::bind(&self.front));
        let accepted = Arc::clone(&listener);
        let stop = Arc::new(AtomicBool::new(false));
        let (back, connections, stop_handle) =
            (self.back.clone(), Arc::clone(&self.connections), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while let Ok(stream) = accepted.accept() {
                if stop_handle.load(Ordering::SeqCst) {
                    return;
                }
                // A client of an unreachable server sees a closed connection.
                if let Ok(server) = Stream::connect(&back) {
                    connections.lock().unwrap().push(forward(stream, server));
                }
            }
        });
        self.accepting = Some(AcceptLoop { thread, stop, listener });
    }
}

impl Drop for CuttableProxy {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Starts to forward bytes in both directions.
fn forward(client: Stream, server: Stream) -> Connection {
    let silent = Arc::new(AtomicBool::new(false));
    for (from, to) in [
        (client.clone_handle(), server.clone_handle()),
        (server.clone_handle(), client.clone_handle()),
    ] {
        let silent = Arc::clone(&silent);
        thread::spawn(move || forward_bytes(from, to, &silent));
    }
    Connection { ends: [client, server], silent }
}

/// Forwards until either side closes, then closes both. The end of one side of a silent
/// connection is not forwarded.
fn forward_bytes(mut from: Stream, mut to: Stream, silent: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if !silent.load(Ordering::SeqCst) && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    if !silent.load(Ordering::SeqCst) {
        from.close();
        to.close();
    }
}

/// Binds a socket to a free port of 127.0.0.1. It does not listen, so that a listener can use the
/// port as well.
fn reserve_port() -> io::Result<(OwnedFd, SocketAddr)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = rustix::net::getsockname(&socket)?.try_into()?;
    Ok((socket, address))
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    fn bind(address: &ServerAddress) -> Self {
        match address {
            ServerAddress::Unix(path) => Self::Unix(UnixListener::bind(path).unwrap()),
            ServerAddress::Tcp(address) => Self::Tcp(TcpListener::bind(address).unwrap()),
        }
    }

    fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Tcp(listener) => listener.as_fd(),
        }
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    fn connect(address: &ServerAddress) -> io::Result<Self> {
        match address {
            ServerAddress::Unix(path) => UnixStream::connect(path).map(Self::Unix),
            ServerAddress::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    fn clone_handle(&self) -> Self {
        match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone().unwrap()),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().unwrap()),
        }
    }

    fn close(&self) {
        // The connection may be closed already.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
        }
    }
}
