//! How requests get to an engine: over a Unix socket or TCP, with TLS or without.

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

/// How long an unused connection is kept: longer than the pause between two
/// polls, so that a poll needs no new one. Whether the other side has closed it
/// meanwhile is looked at before each use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How old a connection may grow.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(3600);

/// An HTTP client whose every request goes to `endpoint`, with no time-out of
/// its own but for connecting, and no redirects. `tls` is for an endpoint with TLS.
pub(super) fn client(endpoint: &Endpoint, tls: Option<Rc<Tls>>, limit: Duration) -> Client {
    match endpoint {
        Endpoint::Unix(path) => client_over(limit, path.clone(), UnixStream::connect::<PathBuf>),
        Endpoint::Tcp(authority) | Endpoint::Tls(authority) => {
            client_over(limit, authority.clone(), move |authority| open(authority, tls.clone()))
        }
    }
}

async fn open(authority: String, tls: Option<Rc<Tls>>) -> io::Result<MaybeTlsStream> {
    let (host, port) = authority.rsplit_once(':').unwrap_or((&authority, ""));
    let bare_host = host.trim_start_matches('[').trim_end_matches(']');
    MaybeTlsStream::open(bare_host, port.parse().unwrap_or(0), tls).await
}

/// A connector of our own for both sorts of streams: whatever a URL says, the
/// connection goes to the endpoint.
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
