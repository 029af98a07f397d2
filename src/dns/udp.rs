//! Questions and answers over UDP.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::decode::Transport;
use super::responder::{Reply, Responder};

/// The bytes that the kernel may hand over in one piece: datagrams of one sender,
/// joined.
const BUFFER_BYTES: usize = 1 << 16;

/// How long reading waits after it failed, so that it doesn't keep a core busy.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// A socket that knows to which of its host's addresses a question was sent: the
/// answer must come from there, or the client doesn't take it.
///
/// And that reads many datagrams with one call into the kernel, which is what most of
/// a question's time goes into.
#[derive(Debug)]
pub(super) struct UdpServer {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl UdpServer {
    /// Takes a bound socket, within a runtime.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, state })
    }

    /// Answers all that comes, until it is dropped.
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
        // No answer ever goes to port 0, and asking there is a forger's play.
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

    /// Sends an answer; one that can't be sent is lost, as any datagram may be.
    async fn send(&self, contents: &[u8], destination: SocketAddr, src_ip: Option<IpAddr>) {
        let datagram = Transmit { destination, ecn: None, contents, segment_size: None, src_ip };
        let send = || self.state.try_send((&self.socket).into(), &datagram);
        let _ = self.socket.async_io(Interest::WRITABLE, send).await;
    }
}
