//! Questions and answers over TCP.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::decode::Transport;
use super::responder::{Reply, Responder};

/// How many connections are open at a time. For one beyond, that which is open longest
/// is closed: most end after one question, and those that wait keep nobody out.
const CONNECTIONS_MAX: usize = 256;

/// How long a connection may take for its next question, whole, or to take an
/// answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The bytes of the longest question that is read: no real one is half as long.
const MESSAGE_BYTES_MAX: usize = 4096;

/// How long accepting waits after it failed (no more files, say).
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Answers all connections that come, until it is dropped.
pub(super) async fn serve(listener: TcpListener, responder: Arc<Responder>) {
    let mut connections = VecDeque::<AbortHandle>::with_capacity(CONNECTIONS_MAX);
    loop {
        let Ok((stream, source)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        if connections.len() == CONNECTIONS_MAX {
            connections.retain(|connection| !connection.is_finished());
        }
        if connections.len() == CONNECTIONS_MAX
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let responder = responder.clone();
        let connection = tokio::spawn(async move {
            // How a connection ends is its client's affair.
            let _ = serve_connection(stream, source, &responder).await;
        });
        connections.push_back(connection.abort_handle());
    }
}

/// Answers one connection's questions in their order.
async fn serve_connection(
    mut stream: TcpStream,
    source: SocketAddr,
    responder: &Responder,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut query = Vec::new();
    let (mut response, mut framed) = (Vec::new(), Vec::new());
    loop {
        timeout(IDLE_TIMEOUT, read(&mut stream, &mut query)).await??;
        let reply = responder.respond(&query, source.ip(), Transport::Tcp, &mut response);
        let reply = match reply {
            Reply::Forward(pending) => responder.finish(*pending, &mut response).await,
            reply => reply,
        };
        let Reply::Send = reply else { return Ok(()) };
        let Ok(length) = u16::try_from(response.len()) else { return Ok(()) };
        framed.clear();
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&response);
        timeout(IDLE_TIMEOUT, stream.write_all(&framed)).await??;
    }
}

/// Reads a message behind its length (RFC 1035, section 4.2.2).
async fn read(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    message.resize(length, 0);
    stream.read_exact(message).await?;
    Ok(())
}
