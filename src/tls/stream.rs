//! A connection to a server, plain or with TLS.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::Tls;

/// A connection that awc can use for HTTP.
pub enum MaybeTlsStream {
    /// TCP without TLS.
    Plain(TcpStream),
    /// TCP with TLS.
    Tls {
        /// The connection.
        stream: Box<TlsStream<TcpStream>>,
        /// The client, which explains errors of the connection.
        tls: Rc<Tls>,
    },
}

impl MaybeTlsStream {
    /// Connects to a host, with TLS if `tls` is given. The host is a name, or an address without
    /// brackets.
    ///
    /// # Errors
    /// Returns an error if the connection or the TLS handshake fails. No request was sent then.
    pub async fn open(host: &str, port: u16, tls: Option<Rc<Tls>>) -> io::Result<Self> {
        let stream = TcpStream::connect((host, port)).await?;
        // Each request is small, and its response is awaited before the next request.
        stream.set_nodelay(true)?;
        match tls {
            None => Ok(Self::Plain(stream)),
            Some(tls) => {
                let stream = Box::new(tls.wrap(stream, host).await?);
                Ok(Self::Tls { stream, tls })
            }
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls { stream, .. } => stream.get_ref().0,
        }
    }
}

impl fmt::Debug for MaybeTlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.tcp(), f)
    }
}

impl ActixStream for MaybeTlsStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.tcp(), cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.tcp(), cx)
    }
}

impl AsyncRead for MaybeTlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls { stream, tls } => {
                let read = ready!(Pin::new(stream).poll_read(cx, into));
                Poll::Ready(read.map_err(|error| tls.explain(error)))
            }
        }
    }
}

impl AsyncWrite for MaybeTlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls { stream, tls } => {
                let written = ready!(Pin::new(&mut *stream).poll_write(cx, bytes));
                Poll::Ready(written.map_err(|error| write_error(stream, tls, cx, error)))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls { stream, tls } => {
                let flushed = ready!(Pin::new(&mut *stream).poll_flush(cx));
                Poll::Ready(flushed.map_err(|error| write_error(stream, tls, cx, error)))
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls { stream, .. } => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Returns the reason of a failed write.
///
/// A server that rejects the client certificate sends an alert after the client has finished the
/// handshake, and closes the connection. The alert can still be read.
fn write_error(
    stream: &mut TlsStream<TcpStream>,
    tls: &Tls,
    cx: &mut Context<'_>,
    error: io::Error,
) -> io::Error {
    let mut buffer = [0; 1];
    match Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut buffer)) {
        Poll::Ready(Err(read_error)) if read_error.get_ref().is_some() => tls.explain(read_error),
        _ => tls.explain(error),
    }
}
