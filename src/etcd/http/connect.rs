//! How connections to members are made.

use std::rc::Rc;
use std::time::Duration;

use actix_service::fn_service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use awc::http::header::USER_AGENT;
use awc::{Client, Connector};

use crate::tls::{MaybeTlsStream, Tls};

/// How long an idle connection is kept for reuse; longer than the core's longest
/// pause between two rounds of refreshes (20 s).
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How old a connection may get. A limit at all, so that a changed address behind
/// etcd's host name, or a replaced certificate, is noticed some time.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);

/// An HTTP client with no time-out of its own but for connecting, TLS included:
/// half the usual limit of a request, so that when it runs out it is certain that
/// nothing was sent.
///
/// It is given URLs with `http` even where TLS is spoken: the connections that it
/// is handed do that by themselves.
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
    // No redirects: a write must not be repeated elsewhere. No time-out of awc's:
    // it ends with the answer's head, ours covers the body too.
    Client::builder()
        .connector(connector)
        .disable_timeout()
        .disable_redirects()
        // Has a member without a leader say so at once, and end its watches, instead
        // of waiting for a leader; its v2 API takes no notice.
        .add_default_header(("Grpc-Metadata-hasleader", "true"))
        .add_default_header((USER_AGENT, concat!("highhock/", env!("CARGO_PKG_VERSION"))))
        .finish()
}
