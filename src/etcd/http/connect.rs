//! Creates connections to the members of a cluster.

use std::rc::Rc;
use std::time::Duration;

use actix_service::fn_service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use awc::http::header::USER_AGENT;
use awc::{Client, Connector};

use crate::tls::{MaybeTlsStream, Tls};

/// The time for which an idle connection is kept. It is longer than the longest interval between
/// two refreshes of the core (20 s).
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum age of a connection. It is limited so that a new address behind etcd's host name, or
/// a replaced certificate, takes effect eventually.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);

/// Returns an HTTP client. Its only time-out is for connecting, including TLS: half the time limit
/// of a request. If connecting times out, it is certain that nothing was sent.
///
/// URLs for this client always have the scheme `http`, because the connections handle TLS
/// themselves.
pub(super) fn client(tls: Option<Rc<Tls>>, default_timeout: Duration) -> Client {
    let service = fn_service::<_, _, _, _, _, ()>(move |request: ConnectInfo<Uri>| {
        let uri = request.request().clone();
        let tls = tls.clone();
        async move {
            let host = uri.host().unwrap_or_default();
            let bare_host = host.trim_start_matches('[').trim_end_matches(']');
            let stream = MaybeTlsStream::open(bare_host, uri.port_u16().unwrap_or(80), tls).await;
            Ok::<_, ConnectError>(Connection::new(uri, stream.map_err(ConnectError::Io)?))
        }
    });
    let connector = Connector::new()
        .connector(service)
        .timeout(default_timeout / 2)
        .conn_keep_alive(IDLE_TIMEOUT)
        .conn_lifetime(CONNECTION_LIFETIME);
    // Redirects are not followed, because a write must not be repeated elsewhere. The time-out of
    // awc is disabled, because it ends with the response head. The time limit of a request includes
    // the body.
    Client::builder()
        .connector(connector)
        .disable_timeout()
        .disable_redirects()
        // A member without a leader then rejects the request and ends its watches at once, instead
        // of waiting for a leader. The v2 API ignores this header.
        .add_default_header(("Grpc-Metadata-hasleader", "true"))
        .add_default_header((USER_AGENT, concat!("highhock/", env!("CARGO_PKG_VERSION"))))
        .finish()
}
