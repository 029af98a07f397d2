//! The TCP transport of the DNS server.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::decode::Transport;
use super::responder::{Reply, Responder};

/// The maximum number of open connections. A further connection closes the oldest one. Most
/// connections end after one query, and idle connections do not block new clients.
const CONNECTIONS_MAX: usize = 256;

/// The maximum number of queries of one connection that are forwarded at the same time. Further
/// queries wait.
const FORWARDED_MAX: usize = 100;

/// The time limit for reading one complete query, for writing one response, and for a connection
/// without queries.
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

/// Answers the queries of one connection as the responses become ready (RFC 7766, section 6.2.1.1).
async fn serve_connection(
    stream: TcpStream,
    source: SocketAddr,
    responder: &Arc<Responder>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let (responses, ready) = mpsc::channel(1);
    let read = async {
        read_queries(reader, source, responder, responses).await;
        Ok(())
    };
    // The end of the queries lets the writer finish. A failed write ends the connection.
    tokio::try_join!(read, write_responses(writer, ready)).map(drop)
}

/// Reads queries until the client ends the connection or is idle, and passes their responses to
/// the writer. Returns after the last response.
async fn read_queries(
    mut reader: OwnedReadHalf,
    source: SocketAddr,
    responder: &Arc<Responder>,
    responses: mpsc::Sender<Vec<u8>>,
) {
    let mut forwarded = JoinSet::new();
    let mut query = Vec::new();
    while let Ok(()) = read_next(&mut reader, &mut query, &mut forwarded).await {
        let mut response = Vec::new();
        match responder.respond(&query, source.ip(), Transport::Tcp, &mut response) {
            Reply::Send if responses.send(response).await.is_ok() => {}
            Reply::Send | Reply::Drop => break,
            Reply::Forward(pending) => {
                let (responder, responses) = (responder.clone(), responses.clone());
                forwarded.spawn(async move {
                    let mut response = Vec::new();
                    if let Reply::Send = responder.finish(*pending, &mut response).await {
                        // The connection may have ended meanwhile.
                        let _ = responses.send(response).await;
                    }
                });
            }
        }
    }
    while forwarded.join_next().await.is_some() {}
}

/// Reads the next query. Waits first until fewer than the maximum number of queries are forwarded.
/// A connection is idle only if none of its queries is forwarded.
async fn read_next(
    reader: &mut OwnedReadHalf,
    query: &mut Vec<u8>,
    forwarded: &mut JoinSet<()>,
) -> io::Result<()> {
    while forwarded.len() >= FORWARDED_MAX {
        forwarded.join_next().await;
    }
    loop {
        while forwarded.try_join_next().is_some() {}
        match timeout(IDLE_TIMEOUT, reader.readable()).await {
            Ok(readable) => break readable?,
            Err(_) if forwarded.is_empty() => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => {}
        }
    }
    timeout(IDLE_TIMEOUT, read(reader, query)).await?
}

/// Writes responses with their length prefix until all senders are dropped.
async fn write_responses(
    mut writer: OwnedWriteHalf,
    mut ready: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let mut framed = Vec::new();
    while let Some(response) = ready.recv().await {
        let length = u16::try_from(response.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        framed.clear();
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(&response);
        timeout(IDLE_TIMEOUT, writer.write_all(&framed)).await??;
    }
    writer.shutdown().await
}

/// Reads one message with its length prefix (RFC 1035, section 4.2.2).
async fn read(stream: &mut OwnedReadHalf, message: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    message.resize(length, 0);
    stream.read_exact(message).await?;
    Ok(())
}
