//! The TCP transport of the DNS server.

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

/// The maximum number of open connections. A further connection closes the oldest one. Most
/// connections end after one query, and idle connections do not block new clients.
const CONNECTIONS_MAX: usize = 256;

/// The time limit for reading one complete query, and for writing one response.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The length of the longest accepted query in bytes. Real queries are less than half as long.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The pause after a failed accept, for example without free file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Accepts connections and serves them until the future is dropped.
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
            // An error only ends this connection.
            let _ = serve_connection(stream, source, &responder).await;
        });
        connections.push_back(connection.abort_handle());
    }
}

/// Answers the queries of one connection in order.
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

/// Reads one message with its length prefix (RFC 1035, section 4.2.2).
async fn read(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    message.resize(length, 0);
    stream.read_exact(message).await?;
    Ok(())
}
