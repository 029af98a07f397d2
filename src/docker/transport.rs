//! Connections to an engine: a Unix socket or TCP, with or without TLS.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use actix_rt::net::UnixStream;
use actix_service::fn_service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use awc::{Client, Connector};

use super::endpoint::Endpoint;
use crate::tls::{MaybeTlsStream, Tls};

/// The time for which an unused connection is kept. It is longer than the pause between two polls,
/// so that a poll needs no new connection. Before each use awc checks whether the engine closed the
/// connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The maximum age of a connection.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(3600);

/// Returns an HTTP client that sends every request to `endpoint`. `timeout` limits connecting only,
/// and redirects are not followed. `tls` is used by an endpoint with TLS.
pub(super) fn client(endpoint: &Endpoint, tls: Option<Rc<Tls>>, timeout: Duration) -> Client {
    match endpoint {
        Endpoint::Unix(path) => client_over(timeout, path.clone(), UnixStream::connect::<PathBuf>),
        Endpoint::Tcp(authority) | Endpoint::Tls(authority) => {
            client_over(timeout, authority.clone(), move |authority| open(authority, tls.clone()))
        }
    }
}

async fn open(authority: String, tls: Option<Rc<Tls>>) -> io::Result<MaybeTlsStream> {
    let (host, port) = authority.rsplit_once(':').unwrap_or((&authority, ""));
    let bare_host = host.trim_start_matches('[').trim_end_matches(']');
    MaybeTlsStream::open(bare_host, port.parse().unwrap_or(0), tls).await
}

/// Returns a client with its own connector, for both kinds of streams. The connector ignores the
/// host of a URL and always connects to `address`.
fn client_over<A, Io, F>(
    timeout: Duration,
    address: A,
    connect: impl Fn(A) -> F + Clone + 'static,
) -> Client
where
    A: Clone + 'static,
    Io: actix_rt::net::ActixStream + std::fmt::Debug + 'static,
    F: Future<Output = io::Result<Io>> + 'static,
{
    let service = fn_service::<_, _, _, _, _, ()>(move |request: ConnectInfo<Uri>| {
        let connecting = connect(address.clone());
        async move {
            let stream = connecting.await.map_err(ConnectError::Io)?;
            Ok::<_, ConnectError>(Connection::new(request.request().clone(), stream))
        }
    });
    let connector = Connector::new()
        .connector(service)
        .timeout(timeout)
        .conn_keep_alive(IDLE_TIMEOUT)
        .conn_lifetime(CONNECTION_LIFETIME);
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}
