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
const PIECE: usize = 1 << 16;

/// How long reading waits after it failed, so that it doesn't keep a core busy.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// A socket that knows to which of its host's addresses a question was sent: the
/// answer must come from there, or the client doesn't take it.
///
/// And that reads many datagrams with one call into the kernel, which is what most of
/// a question's time goes into.
#[derive(Debug)]
pub(super) struct UdpPort {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl UdpPort {
    /// Takes a bound socket, within a runtime.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, state })
    }

    /// Answers all that comes, until it is dropped.
    pub(super) async fn answer(self, responder: Arc<Responder>) {
        let port = Arc::new(self);
        let mut storage = vec![0; PIECE * BATCH_SIZE];
        let mut pieces = storage.chunks_mut(PIECE).map(IoSliceMut::new).collect::<Vec<_>>();
        let mut came = [RecvMeta::default(); BATCH_SIZE];
        let mut answer = Vec::with_capacity(1 << 11);
        loop {
            let Ok(count) = port.read(&mut pieces, &mut came).await else {
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            };
            for (piece, came) in pieces.iter().zip(&came).take(count) {
                let bytes = piece.get(..came.len).unwrap_or_default();
                for packet in bytes.chunks(came.stride.max(1)) {
                    port.answer_one(&responder, packet, came, &mut answer).await;
                }
            }
        }
    }

    async fn read(
        &self,
        pieces: &mut [IoSliceMut<'_>],
        came: &mut [RecvMeta],
    ) -> io::Result<usize> {
        let read = || self.state.recv((&self.socket).into(), pieces, came);
        self.socket.async_io(Interest::READABLE, read).await
    }

    async fn answer_one(
        self: &Arc<Self>,
        responder: &Arc<Responder>,
        packet: &[u8],
        came: &RecvMeta,
        answer: &mut Vec<u8>,
    ) {
        let (to, from) = (came.addr, came.dst_ip);
        // No answer ever goes to port 0, and asking there is a forger's play.
        if to.port() == 0 {
            return;
        }
        match responder.respond(packet, to.ip(), Transport::Udp, answer) {
            Reply::Send => self.send(answer, to, from).await,
            Reply::Silence => {}
            Reply::Ask(open) => {
                let (port, responder) = (self.clone(), responder.clone());
                tokio::spawn(async move {
                    let mut answer = Vec::new();
                    if let Reply::Send = responder.close(*open, &mut answer).await {
                        port.send(&answer, to, from).await;
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
