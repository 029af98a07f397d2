//! The UDP transport of the DNS server.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::decode::Transport;
use super::responder::{Reply, Responder};

/// The size of a receive buffer in bytes. The kernel may join several datagrams of one sender in
/// it.
const BUFFER_BYTES: usize = 1 << 16;

/// The pause after a failed read, which prevents a busy loop.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// A UDP socket that responds from the address that was queried. A client rejects a response
/// from another address of the host.
///
/// One system call reads many datagrams, because system calls take most of the time of a query.
#[derive(Debug)]
pub(super) struct UdpServer {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl UdpServer {
    /// Wraps a bound socket. Must be called within a runtime.
    ///
    /// # Errors
    /// Returns an error if the kernel does not support the socket options.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, state })
    }

    /// Reads and answers queries until the future is dropped.
    pub(super) async fn serve(self, responder: Arc<Responder>) {
        let server = Arc::new(self);
        let mut storage = vec![0; BUFFER_BYTES * BATCH_SIZE];
        let mut buffers = storage.chunks_mut(BUFFER_BYTES).map(IoSliceMut::new).collect::<Vec<_>>();
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut response = Vec::with_capacity(1 << 11);
        loop {
            let Ok(count) = server.read(&mut buffers, &mut meta).await else {
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            };
            for (buffer, meta) in buffers.iter().zip(&meta).take(count) {
                let bytes = buffer.get(..meta.len).unwrap_or_default();
                for packet in bytes.chunks(meta.stride.max(1)) {
                    server.respond_one(&responder, packet, meta, &mut response).await;
                }
            }
        }
    }

    async fn read(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> io::Result<usize> {
        let read = || self.state.recv((&self.socket).into(), buffers, meta);
        self.socket.async_io(Interest::READABLE, read).await
    }

    async fn respond_one(
        self: &Arc<Self>,
        responder: &Arc<Responder>,
        packet: &[u8],
        meta: &RecvMeta,
        response: &mut Vec<u8>,
    ) {
        let (to, from) = (meta.addr, meta.dst_ip);
        // Port 0 cannot receive a response. The source address is forged.
        if to.port() == 0 {
            return;
        }
        match responder.respond(packet, to.ip(), Transport::Udp, response) {
            Reply::Send => self.send(response, to, from).await,
            Reply::Drop => {}
            Reply::Forward(pending) => {
                let (server, responder) = (self.clone(), responder.clone());
                tokio::spawn(async move {
                    let mut response = Vec::new();
                    if let Reply::Send = responder.finish(*pending, &mut response).await {
                        server.send(&response, to, from).await;
                    }
                });
            }
        }
    }

    /// Sends a response. A response that cannot be sent is lost, like any datagram.
    async fn send(&self, contents: &[u8], destination: SocketAddr, src_ip: Option<IpAddr>) {
        let datagram = Transmit { destination, ecn: None, contents, segment_size: None, src_ip };
        let send = || self.state.try_send((&self.socket).into(), &datagram);
        let _ = self.socket.async_io(Interest::WRITABLE, send).await;
    }
}
